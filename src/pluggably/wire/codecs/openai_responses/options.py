"""The quirks of the servers that speak OpenAI's Responses wire, as data that a preset or an operator sets.

What surprises: what this wire has no field for at all (top_k, stop, …) is not listed in `lacks`, since no server can
add it. The names and the rules for models are those of the Chat Completions wire, so that a preset writes them once.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.faults import Meaning
from pluggably.wire.lacks import COMMON_EFFORTS, Lack, ModelRule
from pluggably.wire.media import Input


class ResponsesOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server differs from the others that speak this wire."""

    # `developer` is what OpenAI's newer models call it; they take `system` all the same.
    system_role: Literal["system", "developer"] = "system"
    # Whether the vendor may keep the answer (OpenAI: for 30 days or more). The gateway never asks for it again.
    store: bool = False
    # Whether to ask for reasoning in a form that the client can hand back (`include: ["reasoning.encrypted_content"]`).
    # Models that lack `reasoning` are not asked: "Encrypted content is not supported with this model."
    encrypted_reasoning: bool = True
    # What the model shows of its reasoning; None: nothing. OpenAI gives it to verified organisations only.
    reasoning_summary: Literal["auto", "concise", "detailed"] | None = None
    # The efforts that are understood; another becomes the nearest, with a warning. Empty: all, `max` among them.
    efforts: tuple[Effort, ...] = COMMON_EFFORTS
    # A regular expression, matched from the start of the vendor's model id: models that give no streams. They are asked
    # for a whole answer, whose events then come at once.
    unstreamed: str | None = None
    # Whether the conversation goes as messages (each with its `type`), calls and results alone: results as text, and
    # nothing of the vendor's own (Perplexity).
    plain_input: bool = False
    # Whether a call is one of the client's tools only where it is whole. The vendor's own tools begin as calls, too,
    # and end as their results (Perplexity).
    calls_when_whole: bool = False
    # Where the form of the answer stands: in `text.format`, or as on the Chat Completions wire.
    format_field: Literal["text", "response_format"] = "text"
    inputs: tuple[Input, ...] = ("image", "image_url", "file", "file_url")
    lacks: tuple[Lack, ...] = ()
    # Of a rule all counts but `effort_field`: this wire has one place for it.
    model_rules: tuple[ModelRule, ...] = ()
    # The vendor's own codes or types of errors, in lower case, and what each means, where nothing else tells it.
    error_codes: dict[str, Meaning] = {}
    # Fields that go into every body, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}
