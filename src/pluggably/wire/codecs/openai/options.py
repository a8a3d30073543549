"""The quirks of the many servers that speak OpenAI's wire, as data that a preset or an operator sets.

Here is what may differ between vendors, never a vendor: their rows live in `providers.presets`. What surprises: the
defaults are not OpenAI's own but those under which most servers "shaped like OpenAI" work, because that is what
`codec: openai` with a `base_url` in a config means; OpenAI itself is a preset like the others.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.embedding_calls import PerCall
from pluggably.wire.faults import Meaning
from pluggably.wire.lacks import COMMON_EFFORTS, EffortField, Lack, ModelRule
from pluggably.wire.media import Input


class OpenAIOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server differs from the others that speak this wire."""

    # `developer` is what OpenAI's newer models call it; they take `system` all the same.
    system_role: Literal["system", "developer"] = "system"
    # `max_tokens` is the one that every server knows. An unknown field is often ignored without a word, and then the
    # answer has no bound.
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    effort_field: EffortField = "reasoning_effort"
    # The efforts that are understood; another becomes the nearest, with a warning. Empty: all, `max` among them.
    efforts: tuple[Effort, ...] = COMMON_EFFORTS
    # The fields that turn reasoning off, where the effort `none` does not: `{"thinking": {"type": "disabled"}}`.
    effort_none: dict[str, Any] = {}
    # The field of an assistant message in which the server takes its reasoning back; None: nowhere.
    reasoning_back: Literal["reasoning_content", "reasoning"] | None = None
    # What stands in that field of a message with tool calls where there is no reasoning, since the server refuses a
    # conversation without it; None: nothing, and no field.
    reasoning_filler: str | None = None
    # Whether an answer that begins with `<think>` begins with reasoning, up to `</think>`.
    think_tags: bool = False
    # Whether a refusal goes back as a part of its own (OpenAI) or as text.
    refusal_parts: bool = False
    # Whether `stream_options: {"include_usage": true}` may be sent. Without it a stream may not tell its usage.
    stream_options: bool = True
    # Whether a stream ends with `data: [DONE]`. Without it the finish reason is the end mark.
    done_mark: bool = True
    # Whether `usage.cost` is what the answer cost, in US dollars.
    cost_in_usd: bool = False
    # How the numbers of embeddings are asked for; answers are understood in both forms. base64 is a fifth of the
    # bytes and decodes many times faster.
    embedding_encoding: Literal["float", "base64"] = "float"
    # How many texts one call for embeddings may bring, and how many tokens in all; more become several calls. And how
    # many tokens a text may have. None: no limit known.
    texts_per_call: PerCall | None = None
    tokens_per_call: PerCall | None = None
    tokens_per_text: PerCall | None = None
    # Whether, after the system messages, user and assistant must take turns. Messages of one role that follow each
    # other are sent as one.
    taking_turns: bool = False
    # How many stop sequences are taken; None: no limit known.
    stop_limit: int | None = None
    # How many characters the id of a tool call may have; a longer one, which only another vendor can have given, is
    # replaced. None: no limit known.
    call_id_limit: int | None = None
    # How many likely tokens must be asked for to be told log probabilities at all.
    least_top_logprobs: int = 0
    # Whether the arguments of a call may be any text, as models write it. Most servers want to read a JSON object in
    # them, for their chat templates or for another vendor's wire.
    any_arguments: bool = False
    # Fields that the first call of a message must have, where none of its calls has them: other vendors' models made
    # those.
    foreign_calls: dict[str, Any] = {}
    inputs: tuple[Input, ...] = ("image", "image_url", "file", "audio")
    lacks: tuple[Lack, ...] = ("top_k", "min_p")
    model_rules: tuple[ModelRule, ...] = ()
    # The vendor's own codes or types of errors, in lower case, and what each means, where nothing else tells it.
    error_codes: dict[str, Meaning] = {}
    # Fields that go into every chat body, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}
