"""Answers on Mistral's wire, as far as we read them: whole completions, and the chunks of a stream.

What surprises: the content of an answer is a text, or a list of chunks of many kinds; chunks stay objects, because
some are handed on and back as they came. An answer in which Mistral's own tools were at work is several messages:
calls, their results, and what is said of them. Counts, scores and pieces of calls are those of OpenAI's wire.

Source: docs.mistral.ai/api/endpoint/chat and …/capabilities/reasoning, …/citations, …/cookbooks/
mistral-connectors-05-connectors-in-completions (2026-11); the types of mistralai 3.7.0.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pluggably.domain.generation import FinishReason, JsonObject
from pluggably.wire.codec import json_body
from pluggably.wire.codecs.openai.reply import CallPiece, Scores, TokenCounts

# `error` is no answer, and stands in the codec.
FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
}


class Delta(Struct, gc=False):
    """What one choice says: a whole message, or a piece of it. `index`: "if the completion returns multiple messages,
    this is to specify which message this delta is for" (mistralai 3.7.0, deltamessage.py)."""

    content: str | list[JsonObject] | None = None
    tool_calls: list[CallPiece] | None = None
    role: str | None = None
    index: int | None = None
    tool_call_id: str | None = None


class Choice(Struct, gc=False):
    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    messages: list[Delta] | None = None
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


class HostedTools:
    """The calls that Mistral answers itself, in the midst of an answer, and their results. Whose a call is shows only
    when a result of Mistral's comes or none does, so the calls of an answer of several messages wait for that."""

    def __init__(self) -> None:
        # By the message that they stand in, and their place there: the pieces of each.
        self._calls: dict[tuple[int, int | None], list[CallPiece]] = {}
        self._results: dict[int, JsonObject] = {}

    def call(self, message: int, piece: CallPiece) -> None:
        self._calls.setdefault((message, piece.index), []).append(piece)

    def result(self, message: int, delta: Delta) -> None:
        """A message of the role `tool`, or a piece of one."""
        result = self._results.setdefault(message, {"role": "tool", "tool_call_id": delta.tool_call_id, "content": ""})
        content = delta.content or ""
        if isinstance(result["content"], str) and isinstance(content, str):
            result["content"] += content
        else:
            result["content"] = [*_chunks_of(result["content"]), *_chunks_of(content)]

    def settled(self) -> list[JsonObject]:
        """The calls that have results, and these, as the messages that go back."""
        if not self._results:
            return []
        results, self._results = list(self._results.values()), {}
        answered = {result["tool_call_id"] for result in results}
        keys = [key for key, pieces in self._calls.items() if pieces[0].id in answered]
        calls = [_whole_call(self._calls.pop(key)) for key in keys]
        return [{"role": "assistant", "tool_calls": calls}, *results] if calls else results

    def left(self) -> list[CallPiece]:
        """The pieces of the calls that are the client's to answer."""
        pieces = [piece for each in self._calls.values() for piece in each]
        self._calls = {}
        return pieces


def _chunks_of(content: str | list[JsonObject]) -> list[JsonObject]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _whole_call(pieces: list[CallPiece]) -> JsonObject:
    name, arguments = "", ""
    for piece in pieces:
        if piece.function is not None:
            name = name or piece.function.name or ""
            given = piece.function.arguments or ""
            arguments += given if isinstance(given, str) else json_body(given).decode()
    return {"id": pieces[0].id, "type": "function", "function": {"name": name, "arguments": arguments}}


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
