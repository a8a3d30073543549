"""Answers on Anthropic's wire, as far as we read them: a message, and the events of a stream.

Only what is needed is typed, and every field has a default. What surprises: a content block stays the object that it
came as, because thinking and the blocks of the vendor's own tools must go back as they are, field for field.

Source: platform.claude.com/docs/en/api/messages/create and …/build-with-claude/streaming (2026-11); the types of the
anthropic package 2.12.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pluggably.domain.generation import Breakdown, FinishReason, JsonObject, UsageReported
from pluggably.wire.codec import Named

# …/build-with-claude/handling-stop-reasons. A turn that was paused, or stopped behind a compaction
# (…/build-with-claude/compaction, `pause_after_compaction`), is not finished: handed back, it goes on. `refusal` is the
# word of classifiers beside the model; one that refuses in words ends its turn as with any answer
# (…/test-and-evaluate/strengthen-guardrails/handle-streaming-refusals).
FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "compaction": "length",
    "refusal": "content_filter",
}


class OutputDetails(Struct, gc=False):
    thinking_tokens: int | None = None


class CacheCreation(Struct, gc=False):
    ephemeral_1h_input_tokens: int = 0


class Iteration(Struct, gc=False):
    """What one step of an answer used."""

    type: str = ""
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class TokenCounts(Iteration, gc=False):
    """The counts of a stream's end are those of all of it, and may leave out what its beginning said. "A `compaction`
    entry's tokens are not included in the top-level `usage` fields": of `iterations`."""

    output_tokens_details: OutputDetails | None = None
    iterations: list[Iteration] | None = None

    def over(self, earlier: TokenCounts) -> TokenCounts:
        said = {name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name) is not None}
        return msgspec.structs.replace(earlier, **said)

    def reported(self) -> UsageReported:
        """ "Total input tokens in a request is the summation of `input_tokens`, `cache_creation_input_tokens`, and
        `cache_read_input_tokens`"; ours are all of them."""
        steps: list[Iteration] = [self, *(step for step in self.iterations or () if step.type == "compaction")]
        asked, read = _sum_of(steps, "input_tokens"), _sum_of(steps, "cache_read_input_tokens")
        written = _sum_of(steps, "cache_creation_input_tokens")
        details = self.output_tokens_details
        if asked is not None:
            asked += (written or 0) + (read or 0)
        breakdown = None
        if written:
            for_1h = sum(step.cache_creation.ephemeral_1h_input_tokens for step in steps if step.cache_creation)
            breakdown = Breakdown(cache_write_tokens=written, cache_write_1h_tokens=min(for_1h, written))
        return UsageReported(
            input_tokens=asked,
            cached_input_tokens=read,
            output_tokens=_sum_of(steps, "output_tokens"),
            reasoning_tokens=details.thinking_tokens if details else None,
            breakdown=breakdown,
        )


def _sum_of(steps: Sequence[Iteration], name: str) -> int | None:
    """One count of all steps; None where none of them tells it."""
    counts = [count for step in steps if (count := getattr(step, name)) is not None]
    return sum(counts) if counts else None


class StopDetails(Struct, gc=False):
    explanation: str | None = None


class Container(Struct, gc=False):
    """The sandbox that ran a model's code. "The container ID is required" where a call waits that such code made:
    …/agents-and-tools/tool-use/programmatic-tool-calling, "Container lifecycle"."""

    id: str | None = None
    expires_at: str | None = None

    def as_block(self) -> JsonObject:
        return {"type": "container", "id": self.id, "expires_at": self.expires_at}


class InputTransformation(Struct, gc=False):
    """What became of a block of the request; told with the beta `thinking-binding-controls-2026-08-01`."""

    type: Any = None
    path: Any = None
    reason: Any = None


class Message(Struct):
    content: list[JsonObject] | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: TokenCounts | None = None
    container: Container | None = None
    input_transformations: list[InputTransformation] | None = None
    error: Any = None


# The pieces of a block that are read as they are typed below.
KNOWN_DELTAS = frozenset(("text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta"))


class Delta(Struct, gc=False):
    """Of a content block, or of the message."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    citation: JsonObject | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    container: Container | None = None


class StreamEvent(Struct, gc=False):
    """Any event of a stream; `type` says which."""

    type: str = ""
    index: int = 0
    delta: Delta | None = None
    content_block: JsonObject | None = None
    message: Message | None = None
    usage: TokenCounts | None = None
    error: Any = None


class TextBlock(Struct):
    text: str = ""
    citations: list[JsonObject] | None = None


class ThinkingBlock(Struct):
    thinking: str = ""


class ToolUse(Struct):
    """A call of one of the client's tools."""

    id: Named
    name: Named
    input: Any = None
    caller: JsonObject | None = None
    toolset_name: str | None = None

    def kept(self) -> JsonObject:
        """What is handed back with the call: who made it, where that was not the model itself."""
        kept: JsonObject = {}
        if self.caller is not None and self.caller.get("type") != "direct":
            kept["caller"] = self.caller
        if self.toolset_name is not None:
            kept["toolset_name"] = self.toolset_name
        return kept


decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_message = msgspec.json.Decoder(Message).decode
