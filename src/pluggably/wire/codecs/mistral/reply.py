"""Answers on Mistral's wire, as far as we read them: whole completions, and the chunks of a stream.

What surprises: the content of an answer is a text, or a list of chunks of many kinds; chunks stay objects, because
some are handed on and back as they came. Counts, scores and pieces of calls are those of OpenAI's wire.

Source: docs.mistral.ai/api/endpoint/chat and …/capabilities/reasoning, …/citations (2026-11); the types of mistralai
3.7.0.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pluggably.domain.generation import FinishReason, JsonObject
from pluggably.wire.codecs.openai.reply import CallPiece, Scores, TokenCounts

# `error` is no answer, and stands in the codec.
FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
}


class Delta(Struct, gc=False):
    """What one choice says: a whole message, or a piece of it."""

    content: str | list[JsonObject] | None = None
    tool_calls: list[CallPiece] | None = None


class Choice(Struct, gc=False):
    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Scores | None = None


class Completion(Struct, gc=False):
    """A whole answer, or a chunk of a stream. An error has `object` so, and a `message`; or it has a `detail`."""

    object: str = ""
    choices: list[Choice] | None = None
    usage: TokenCounts | None = None
    error: Any = None
    message: Any = None
    detail: Any = None

    @property
    def is_error(self) -> bool:
        return self.object == "error" or self.choices is None


class PrefixCut:
    """Takes the beginning that the client gave from an answer that repeats it: a prefix forces the model "to start its
    answer by the content of the message" (mistralai 3.7.0, assistantmessage.py). It may come in pieces, so what agrees
    with it is held back."""

    def __init__(self, message: JsonObject) -> None:
        content = message.get("content") if message.get("prefix") else None
        chunks = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        self._awaited = "".join(chunk["text"] for chunk in chunks if chunk.get("type") == "text")
        self._held = ""

    def cut(self, piece: str) -> str:
        """What of a piece is new."""
        if not self._awaited:
            return piece
        held = self._held + piece
        if len(held) < len(self._awaited) and self._awaited.startswith(held):
            self._held = held
            return ""
        awaited, self._awaited, self._held = self._awaited, "", ""
        return held.removeprefix(awaited)

    def rest(self) -> str:
        """What is held back when the answer ends."""
        held, self._awaited, self._held = self._held, "", ""
        return held


def thoughts_of(chunk: JsonObject) -> str:
    """The text of a chunk `thinking`."""
    inner = chunk.get("thinking")
    if isinstance(inner, str):
        return inner
    return "".join(str(piece.get("text") or "") for piece in inner or () if isinstance(piece, dict))


def is_plain_thinking(chunk: JsonObject) -> bool:
    """Whether its text is all that there is to hand back."""
    inner = chunk.get("thinking")
    is_text = isinstance(inner, str) or all(piece.get("type", "text") == "text" for piece in inner or ())
    return is_text and not chunk.get("signature")


decode_completion = msgspec.json.Decoder(Completion).decode
