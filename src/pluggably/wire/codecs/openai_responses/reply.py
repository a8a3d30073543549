"""Answers on the Responses wire, as far as we read them: the events of a stream, and the response itself.

Only what is needed is typed, and every field has a default. What surprises: items stay as they came, objects and not
structs, because some of them must be handed back word for word; `Message` and `Call` are looks at such an object. And
fields that other events fill with something else (`delta`, `code`) are of any type here.

Source: developers.openai.com/api/reference/resources/responses, "The response object" and "Streaming events" (2026-11);
the types of the openai package 3.54.0.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pluggably.domain.generation import FinishReason, JsonObject, UsageReported
from pluggably.errors import BackendInvalidResponse
from pluggably.wire.codec import Named
from pluggably.wire.codecs.openai.reply import (
    OutputDetails,
    PromptDetails,
    TokenScore,
    breakdown_of,
    dollars_of_ticks,
    with_reasoning,
)

# `incomplete_details.reason`. What is not here was cut for a reason that nobody knows, so it did not stop by itself.
INCOMPLETE: dict[str | None, FinishReason] = {"content_filter": "content_filter", "steered": "stop"}


class TokenCounts(Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost_in_usd_ticks: int | None = None
    input_tokens_details: PromptDetails | None = None
    output_tokens_details: OutputDetails | None = None

    def reported(self) -> UsageReported:
        asked, said = self.input_tokens_details, self.output_tokens_details
        thought = said.reasoning_tokens if said else None
        return UsageReported(
            input_tokens=self.input_tokens,
            cached_input_tokens=asked.cached_tokens if asked else None,
            output_tokens=with_reasoning(self.input_tokens, self.output_tokens, thought, self.total_tokens),
            reasoning_tokens=thought,
            cost_usd=dollars_of_ticks(self.cost_in_usd_ticks),
            breakdown=breakdown_of(asked, said),
        )


class IncompleteDetails(Struct, gc=False):
    reason: str | None = None


class Response(Struct):
    status: str | None = None
    output: list[JsonObject] | None = None
    error: Any = None
    incomplete_details: IncompleteDetails | None = None
    usage: TokenCounts | None = None


class StreamEvent(Struct, gc=False):
    """Any event of a stream; `type` says which."""

    type: str = ""
    delta: Any = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    logprobs: list[TokenScore] | None = None
    annotation: JsonObject | None = None
    item: JsonObject | None = None
    response: Response | None = None
    # Of the event `error`: flat as the reference has it, or in an object, as OpenAI and Azure also send it
    # (github.com/openai/openai-dotnet/issues/881).
    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None

    def piece(self) -> str:
        """The delta of a text. Raises: BackendInvalidResponse for one of another kind."""
        if not isinstance(self.delta, str):
            raise BackendInvalidResponse(f"An event {self.type[:60]} came without its text.")
        return self.delta


class ContentPart(Struct):
    type: str = ""
    text: str = ""
    refusal: str = ""
    annotations: list[JsonObject] = []
    logprobs: list[TokenScore] | None = None


class Message(Struct):
    """An item of the type `message`. Its parts stay objects beside their look, for those of an unknown type."""

    content: list[JsonObject] | None = None  # while it is begun, Perplexity's is null
    phase: str | None = None

    def kept(self) -> JsonObject:
        """What is handed back with the text: "preserve and resend phase on all assistant messages"."""
        return {"phase": self.phase} if self.phase else {}


class Call(Struct):
    """An item of the type `function_call`."""

    call_id: Named
    name: Named
    arguments: str = ""
    namespace: str | None = None
    caller: JsonObject | None = None
    thought_signature: str | None = None  # Perplexity: "for thinking models"
    is_async: bool | None = msgspec.field(default=None, name="async")

    def kept(self) -> JsonObject:
        """What is handed back with the call, of tools that stand in a namespace or are called by a program, and for
        models that sign their thoughts."""
        kept = {
            "namespace": self.namespace,
            "caller": self.caller,
            "async": self.is_async,
            "thought_signature": self.thought_signature,
        }
        return {key: value for key, value in kept.items() if value is not None}


class ReasoningPart(Struct):
    text: str = ""


class ReasoningItem(Struct):
    """An item of the type `reasoning`. OpenAI gives summaries, servers with open models the text itself."""

    summary: list[ReasoningPart] | None = None
    content: list[ReasoningPart] | None = None

    def text(self) -> str:
        return "\n\n".join(part.text for part in self.summary or self.content or ())


decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_response = msgspec.json.Decoder(Response).decode
