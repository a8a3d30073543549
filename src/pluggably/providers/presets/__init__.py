"""Vendors that need no code: one row each, their quirks as data, in the order of the alphabet in each file.

Here is what a vendor documents, with the page and the month it was read; a quirk without a page is not here. What a
row does not say is as in the codec's own defaults (for the OpenAI wire: `wire.codecs.openai.options`). What surprises:
a preset never says that its servers are local. `ollama` on this machine may well be asked to run a model in its
maker's cloud, so only the operator can say where data goes.

Every row has a page for operators, `docs/providers/<name>.md`; its table of facts is made from the row (`make docs`).
"""

from __future__ import annotations

from pluggably.providers.presets.clouds import CLOUDS
from pluggably.providers.presets.google import GOOGLE
from pluggably.providers.presets.hosts import HOSTS
from pluggably.providers.presets.makers import MAKERS
from pluggably.providers.presets.openai import OPENAI
from pluggably.providers.presets.preset import CodecRule, ModelList, Preset, Variable
from pluggably.providers.presets.routers import ROUTERS
from pluggably.providers.presets.servers import SERVERS

__all__ = ["PRESETS", "CodecRule", "ModelList", "Preset", "Variable"]

PRESETS: dict[str, Preset] = dict(sorted((OPENAI | GOOGLE | CLOUDS | MAKERS | HOSTS | ROUTERS | SERVERS).items()))
