"""Companies that serve the models they make themselves (OpenAI has a file of its own)."""

from __future__ import annotations

from pluggably.providers.presets.preset import Preset

MAKERS: dict[str, Preset] = {}
