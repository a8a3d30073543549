"""Mistral's wire: chat completions and embeddings, plain and streamed.

Here is the life of one attempt: its call, and its answer as events. The bodies are built in `request`, answers typed in
`reply`, errors read in `faults`. It is a sister of OpenAI's wire, and shares with it what is truly the same.

What surprises: content may be a list of chunks, and in a stream now a text and now a list. Thoughts are reasoning; a
signature of them, or what else is no text, is kept in the `provider_state`. References are annotations of the text that
they follow, and a chunk of any other kind is a `provider_item`. So are calls that Mistral answers itself, and their
results; in a stream each time that the model speaks again has a usage of its own. An answer whose beginning the client
gave repeats it, and here does not. A stream is good only with a finish reason and its mark, `data: [DONE]`.

Source: docs.mistral.ai/api/endpoint/chat, …/endpoint/embeddings and …/capabilities/reasoning (2026-11); the types of
mistralai 3.7.0.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    JsonObject,
    ProviderItem,
    ProviderState,
    Reasoning,
    TokenLogprob,
    UsageReported,
)
from pluggably.errors import BackendError, BackendInvalidResponse, PluggablyError
from pluggably.wire.codec import NOTHING, Address, Frame, HttpCall, HttpReply, Step, json_call
from pluggably.wire.codecs.mistral.faults import ERROR_CODES, fault_in_answer, fault_of_reply
from pluggably.wire.codecs.mistral.options import MistralOptions
from pluggably.wire.codecs.mistral.reply import (
    FINISH_REASONS,
    Delta,
    HostedTools,
    PrefixCut,
    decode_completion,
    is_plain_thinking,
    thoughts_of,
)
from pluggably.wire.codecs.mistral.request import chat_body
from pluggably.wire.codecs.openai.calls import OpenCalls
from pluggably.wire.codecs.openai.reply import CallPiece, Scores, TokenCounts, decode_embeddings, scores_of
from pluggably.wire.codecs.openai.request import embeddings_body
from pluggably.wire.embedding_calls import EmbeddingCalls, summed
from pluggably.wire.faults import asked
from pluggably.wire.items import OutputItems, ignored_tool_choice, settled_reason

_REFERENCES = ("reference", "tool_reference")
# What stands for the id in the further pieces of a streamed call, at models that are passed on
# (github.com/langchain-ai/langchainjs/pull/11505, 2026-08), and in the type ToolCall of mistralai 3.7.0.
_NO_ID = "null"


class MistralCodec:
    """One attempt on Mistral's wire."""

    Options: ClassVar[type[Struct]] = MistralOptions

    def __init__(self, options: MistralOptions) -> None:
        self._options = options
        self._items = OutputItems()
        self._calls = OpenCalls(self._items)
        self._prefix = PrefixCut({})
        self._thinking: JsonObject = {}  # the chunk that the open reasoning adds up to
        self._hosted = HostedTools()
        self._message: int | None = None  # of an answer of several messages, the one that is told
        self._role = "assistant"
        self._finish_reason: str | None = None
        self._usage: UsageReported | None = None
        self._used_before: UsageReported | None = None  # by what the model said before it spoke again
        self._counted: int | None = None
        self._completed = False

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        self._request = request
        stream = address.stream and request.modality == "text"
        if request.modality == "embedding":
            body = embeddings_body(
                request, address.model, address.backend, self._options.lacks, size_field="output_dimension"
            )
        else:
            body = chat_body(request, address.model, address.backend, stream, self._options)
            self._prefix = PrefixCut(body.value["messages"][-1] if body.value["messages"] else {})
        self._asked = asked(request, address, body.origins, ERROR_CODES)
        if request.modality == "embedding":
            return Step(body.omissions.warned, self._begin_embeddings(f"{address.base_url}/embeddings", body.value))
        call = json_call(f"{address.base_url}/chat/completions", body.value, stream=stream)
        return Step(body.omissions.warned, call)

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    # ── the answer, whole ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        if self._request.modality == "embedding":
            return self._receive_embeddings(reply.body)
        completion = decode_completion(reply.body)
        if completion.is_error:
            raise fault_in_answer(msgspec.json.decode(reply.body), self._asked)
        choice = next((choice for choice in completion.choices or () if choice.index == 0), None)
        if choice is None or (choice.message is None and not choice.messages):
            raise BackendInvalidResponse(f"{self._asked.backend} sent an answer without a message.")
        if choice.finish_reason == "error":
            return Step(self._count(completion.usage), error=self._broken_off())
        events = self._take(choice.message, choice.logprobs) if choice.message is not None else []
        for place, message in enumerate(choice.messages or ()):
            message.index = place
            events += self._take(message, None)
        events += self._count(completion.usage)
        self._finish_reason = choice.finish_reason or "stop"  # a whole answer is complete by its form
        return Step(events + self._end())

    def _begin_embeddings(self, url: str, value: JsonObject) -> HttpCall:
        self._embeddings = EmbeddingCalls(
            self._request.texts,
            lambda texts: json_call(url, {**value, "input": texts}),
            self._asked.backend,
            texts_per_call=self._options.texts_per_call,
            tokens_per_call=self._options.tokens_per_call,
        )
        return self._embeddings.next()

    def _receive_embeddings(self, body: bytes) -> Step:
        answer = decode_embeddings(body)
        if answer.data is None:
            raise fault_in_answer(msgspec.json.decode(body), self._asked)
        usage = answer.usage.reported() if answer.usage is not None else None
        step = self._embeddings.received(answer.in_order(), usage)
        if step.next is not None:
            self._asked = msgspec.structs.replace(self._asked, origins=self._embeddings.under_way)
        return step

    # ── the answer, streamed ────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, frame: Frame) -> Step:
        data = frame.data
        if data == b"[DONE]":
            return self._done()
        if self._completed or not data or (frame.kind and frame.kind != "error" and data[:1] != b"{"):
            return NOTHING  # a keep-alive
        chunk = decode_completion(data)
        if chunk.is_error or frame.kind == "error":
            raise fault_in_answer(msgspec.json.decode(data), self._asked)
        events: list[Event] = []
        for choice in chunk.choices or ():
            if choice.index:
                continue  # of several choices the first one is the answer; `n` is no parameter of ours
            if choice.delta is not None:
                more = self._take(choice.delta, choice.logprobs)
                events = events + more if events else more
            if choice.finish_reason:
                self._finish_reason = choice.finish_reason
        if chunk.usage is not None:
            events += self._count(chunk.usage)
        return Step(events) if events else NOTHING

    def finish(self) -> Step:
        if not self._completed:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream before the answer was complete.")
        return NOTHING

    def _done(self) -> Step:
        if self._completed:
            return NOTHING
        if self._finish_reason is None:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream without a finish reason.")
        if self._finish_reason == "error":
            raise self._broken_off()
        return Step(self._end())

    def _broken_off(self) -> BackendError:
        return BackendError(f"{self._asked.backend} broke off its answer with an error.")

    def _end(self) -> list[Event]:
        """The last events of a good answer."""
        rest = self._prefix.rest()
        events = (self._items.text(rest) if rest else []) + self._settled()
        for piece in self._hosted.left():
            events += self._call(piece)
        has_calls = self._items.has_tool_calls
        events += self._items.close()
        reason = settled_reason(FINISH_REASONS.get(self._finish_reason or "", "stop"), has_calls=has_calls)
        if reason == "stop":
            events += ignored_tool_choice(self._request, self._asked.backend)
        self._completed = True
        events.append(Completed(reason))
        return events

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, delta: Delta, scores: Scores | None) -> list[Event]:
        """The events of a message, or of a piece of one."""
        content = delta.content
        if delta.index is not None or self._message is not None or delta.role == "tool":
            return self._one_of_several(delta, scores)
        if isinstance(content, str) and content and scores is None and delta.tool_calls is None:
            return self._text(content)
        events = self._said(content, scores)
        for piece in delta.tool_calls or ():
            events += self._call(piece)
        return events

    def _one_of_several(self, delta: Delta, scores: Scores | None) -> list[Event]:
        """One of the messages of an answer in which Mistral's own tools were at work, or a piece of one."""
        message = self._message
        if message is None or (delta.index is not None and delta.index != message):
            self._message = message = delta.index or 0
            self._role = delta.role or "assistant"
        if self._role == "tool":
            self._hosted.result(message, delta)
            return []
        events = self._settled()
        for piece in delta.tool_calls or ():
            self._hosted.call(message, piece)
        return events + self._said(delta.content, scores)

    def _settled(self) -> list[Event]:
        settled = self._hosted.settled()
        return [event for each in settled for event in self._items.whole(ProviderItem(self._asked.backend, each))]

    def _said(self, content: str | list[JsonObject] | None, scores: Scores | None) -> list[Event]:
        events: list[Event] = []
        scored = scores_of(scores)
        if isinstance(content, list):
            for chunk in content:
                events += self._chunk(chunk)
        elif content:
            events += self._text(content, scored)
        if scored and not isinstance(content, str):
            events += self._text("", scored)
        return events

    def _call(self, piece: CallPiece) -> list[Event]:
        if piece.id == _NO_ID:
            piece.id = None
        return self._calls.take(piece, self._asked.backend)

    def _chunk(self, chunk: JsonObject) -> list[Event]:
        kind = chunk.get("type")
        if kind == "text":
            return self._text(msgspec.convert(chunk.get("text") or "", str))
        if kind == "thinking":
            return self._thoughts(chunk)
        if kind in _REFERENCES:
            events = self._items.text("")
            self._items.attached.setdefault("annotations", []).append(chunk)
            return events
        return self._items.whole(ProviderItem(self._asked.backend, chunk))

    def _text(self, piece: str, scored: list[TokenLogprob] | None = None) -> list[Event]:
        piece = self._prefix.cut(piece)
        return self._items.text(piece, scored) if piece or scored else []

    def _thoughts(self, chunk: JsonObject) -> list[Event]:
        """A chunk of thoughts is whole, or in a stream a piece; a signature ends it."""
        text, is_plain = thoughts_of(chunk), is_plain_thinking(chunk)
        if not text and is_plain:
            return []
        events = self._items.close_prose() if self._thinking.get("signature") else []
        if not self._items.is_open(Reasoning):
            self._thinking = {}
        events += self._items.reasoning(text)
        self._thinking = _joined(self._thinking, chunk)
        if not is_plain_thinking(self._thinking):
            self._items.attached["provider_state"] = ProviderState(self._asked.backend, self._thinking)
        return events

    def _count(self, counts: TokenCounts | None) -> list[Event]:
        if counts is None:
            return []
        if self._usage is not None and self._message != self._counted:
            self._used_before = self._usage
        self._counted = self._message
        usage = counts.reported()
        if self._used_before is not None:
            usage = summed(self._used_before, usage)
        if usage == self._usage:
            return []
        self._usage = usage
        return [usage]


# The fields of a chunk of thoughts (mistralai 3.7.0, thinkchunk.py).
_OF_THOUGHTS = ("type", "signature", "closed")


def _joined(whole: JsonObject, piece: JsonObject) -> JsonObject:
    """One chunk of thoughts from its streamed pieces: its texts grow, its references are kept in their places."""
    inner: list[JsonObject] = list(whole.get("thinking", ()))
    given = piece.get("thinking")
    for each in [{"type": "text", "text": given}] if isinstance(given, str) else given or ():
        if each.get("type") != "text":
            inner.append(each)
        elif inner and inner[-1].get("type") == "text":
            inner[-1] = {"type": "text", "text": inner[-1]["text"] + (each.get("text") or "")}
        else:
            inner.append({"type": "text", "text": each.get("text") or ""})
    said = {name: piece[name] for name in _OF_THOUGHTS if piece.get(name) is not None}
    return {**whole, **said, "thinking": inner}
