"""Answers on Cohere's wire, as far as we read them: whole messages, the events of a stream, and embeddings.

Only what is needed is typed, and every field has a default. What surprises: in a stream `tool_calls` and `citations`
hold one object where a whole message has a list, so the two forms have types of their own. And counts are floats.

Source: docs.cohere.com/reference/chat, …/reference/chat-stream and …/reference/embed (2026-11); the types of the cohere
package 7.3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pluggably.domain.generation import FinishReason, JsonObject, TokenLogprob, UsageReported
from pluggably.errors import BackendInvalidResponse
from pluggably.wire.embedding_calls import floats_of

# `ERROR` and `TIMEOUT` are no answers, and stand in the codec.
FINISH_REASONS: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}


class Units(Struct, gc=False):
    input_tokens: float | None = None
    output_tokens: float | None = None


class TokenCounts(Struct, gc=False):
    """`tokens` counts Cohere's own prompt around the request as well, several hundred of them beside a short question;
    `billed_units` is what is paid for, so it is what we tell (docs.cohere.com/docs/how-does-cohere-pricing-work)."""

    billed_units: Units | None = None
    tokens: Units | None = None
    cached_tokens: float | None = None

    def reported(self) -> UsageReported:
        asked, said = self._count("input_tokens"), self._count("output_tokens")
        cached = _whole(self.cached_tokens)
        return UsageReported(
            input_tokens=asked,
            # They are counted among `tokens`, so there may be more of them than were billed.
            cached_input_tokens=cached if cached is None or asked is None else min(cached, asked),
            output_tokens=said,
        )

    def _count(self, name: str) -> int | None:
        for units in (self.billed_units, self.tokens):
            count = getattr(units, name, None)
            if count is not None:
                return _whole(count)
        return None


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)


class Scored(Struct, gc=False):
    """The log probabilities of a piece of text: one for each of its tokens, whose own texts are not told."""

    text: str | None = None
    logprobs: list[float] | None = None


def scores_of(pieces: Sequence[Scored]) -> list[TokenLogprob]:
    """A piece of several tokens is told as one: their sum is the log probability of the piece."""
    return [TokenLogprob(piece.text or "", sum(piece.logprobs)) for piece in pieces if piece.logprobs]


class Function(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class Call(Struct, gc=False):
    id: str | None = None
    function: Function | None = None


class Content(Struct, gc=False):
    """A block of an answer, or a piece of one."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class Message(Struct):
    """Content stays objects, for blocks of an unknown type."""

    content: list[JsonObject] | None = None
    tool_plan: str | None = None
    tool_calls: list[Call] | None = None
    citations: list[JsonObject] | None = None


class Reply(Struct):
    """A whole answer. `message` is a text where it is an error."""

    message: Any = None
    finish_reason: str | None = None
    usage: TokenCounts | None = None
    logprobs: list[Scored] | None = None


class MessagePiece(Struct, gc=False):
    content: Content | list[Any] | None = None
    tool_plan: str | None = None
    tool_calls: Call | list[Call] | None = None
    citations: JsonObject | list[JsonObject] | None = None


class Delta(Struct, gc=False):
    message: MessagePiece | None = None
    finish_reason: str | None = None
    usage: TokenCounts | None = None
    error: str | None = None


class StreamEvent(Struct, gc=False):
    """Any event of a stream; `type` says which. `message` is there only where an error stands in place of an event."""

    type: str = ""
    index: int | None = None
    delta: Delta | None = None
    logprobs: Scored | None = None
    message: Any = None


class Meta(Struct):
    billed_units: Units | None = None
    tokens: Units | None = None
    cached_tokens: float | None = None

    def counts(self) -> TokenCounts:
        return TokenCounts(self.billed_units, self.tokens, self.cached_tokens)


class Vectors(Struct):
    """One list for each kind that was asked for, in the order of the inputs."""

    floats: list[list[float]] | None = msgspec.field(default=None, name="float")
    int8: list[list[float]] | None = None
    uint8: list[list[float]] | None = None
    binary: list[list[float]] | None = None
    ubinary: list[list[float]] | None = None
    base64: list[str] | None = None

    def numbers(self) -> list[list[Any]]:
        """The kind that came. Raises: BackendInvalidResponse where there is none."""
        for kind in (self.floats, self.int8, self.uint8, self.binary, self.ubinary):
            if kind is not None:
                return kind
        if self.base64 is not None:
            return [floats_of(text) for text in self.base64]
        raise BackendInvalidResponse("Cohere sent embeddings of no known kind.")


class Embeddings(Struct):
    embeddings: Vectors | None = None
    meta: Meta | None = None
    message: Any = None


decode_reply = msgspec.json.Decoder(Reply).decode
decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_embeddings = msgspec.json.Decoder(Embeddings).decode
