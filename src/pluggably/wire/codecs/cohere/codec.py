"""Cohere's wire, its API v2: Chat and Embed, plain and streamed.

Here is the life of one attempt: its calls, and its answer as events. The bodies are built in `request`, answers typed
in `reply`, errors read in `faults`; what differs between models is data, in `options`.

What surprises: a tool plan is what the model thinks, so it is reasoning here. Citations are annotations of the text
that they point into, as Cohere has them. A stream is good only with its last event, `message-end`, which also brings
errors; there is no `[DONE]`.

Source: docs.cohere.com/reference/chat, …/reference/chat-stream, …/docs/streaming and …/docs/tool-use-streaming
(2026-11).
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
    Text,
)
from pluggably.errors import BackendError, BackendInvalidResponse, BackendTimeout, PluggablyError
from pluggably.wire.codec import NOTHING, Address, Frame, HttpCall, HttpReply, Step, json_call
from pluggably.wire.codecs.cohere.faults import fault_in_answer, fault_of_reply
from pluggably.wire.codecs.cohere.messages import PLAN, THINKING
from pluggably.wire.codecs.cohere.options import CohereOptions
from pluggably.wire.codecs.cohere.reply import (
    FINISH_REASONS,
    Call,
    Content,
    Delta,
    Message,
    MessagePiece,
    Scored,
    StreamEvent,
    TokenCounts,
    decode_embeddings,
    decode_event,
    decode_reply,
    scores_of,
)
from pluggably.wire.codecs.cohere.request import chat_body, embeddings_form
from pluggably.wire.embedding_calls import EmbeddingCalls
from pluggably.wire.faults import asked
from pluggably.wire.items import OutputItems, ignored_tool_choice, settled_reason


class CohereCodec:
    """One attempt on Cohere's wire."""

    Options: ClassVar[type[Struct]] = CohereOptions

    def __init__(self, options: CohereOptions) -> None:
        self._options = options
        self._items = OutputItems()
        self._block: int | str | None = None  # which block is open: the index of one of content, or the plan
        self._calls: set[int] = set()
        self._completed = False

    # ── the calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        self._request = request
        origins: list[int] = []
        warned: list[Event] = []
        if request.modality == "embedding":
            call = self._begin_embeddings(f"{address.base_url}/v2/embed", address)
        else:
            body = chat_body(request, address.model, address.backend, address.stream, self._options)
            origins, warned = body.origins, body.omissions.warned
            call = json_call(f"{address.base_url}/v2/chat", body.value, stream=address.stream)
        self._asked = asked(request, address, origins)
        return Step(warned, call)

    def _begin_embeddings(self, url: str, address: Address) -> HttpCall:
        value = embeddings_form(self._request, address.model, address.backend, self._options)
        self._embeddings = EmbeddingCalls(
            self._request.texts,
            lambda texts: json_call(url, {**value, "texts": texts}),
            address.backend,
            texts_per_call=self._options.texts_per_call,
        )
        return self._embeddings.next()

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    # ── the answer, whole ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        if self._request.modality == "embedding":
            return self._receive_embeddings(reply.body)
        answer = decode_reply(reply.body)
        if isinstance(answer.message, str):
            raise fault_in_answer(answer.message, self._asked)
        if answer.message is None or answer.finish_reason is None:
            raise BackendInvalidResponse(f"{self._asked.backend} sent an answer without a message.")
        error = self._failure(answer.finish_reason, None)
        if error is not None:
            return Step(_counted(answer.usage), error=error)
        events = self._take(msgspec.convert(answer.message, Message), answer.logprobs or [])
        return Step(events + self._end(answer.finish_reason, answer.usage))

    def _take(self, message: Message, scored: list[Scored]) -> list[Event]:
        """The events of a whole message, in the order in which a stream tells it."""
        events = self._plan(message.tool_plan) if message.tool_plan else []
        last = None
        for place, block in enumerate(message.content or ()):
            content = msgspec.convert(block, Content)
            events += self._begin_block(place)
            if content.type == "text" or content.type == "thinking":
                events += self._content(content, scored if content.type == "text" else [])
                if self._items.is_open(Text):
                    last = place
                    self._cite([one for one in message.citations or () if one.get("content_index") in (None, place)])
                    scored = []
            else:
                events += self._items.whole(ProviderItem(self._asked.backend, block))
        if last is None and message.citations and not message.tool_calls:
            events += self._items.text("")
            self._cite(message.citations)
        for index, call in enumerate(message.tool_calls or ()):
            events += self._call(index, call)
        return events

    def _receive_embeddings(self, body: bytes) -> Step:
        answer = decode_embeddings(body)
        if isinstance(answer.message, str):
            raise fault_in_answer(answer.message, self._asked)
        vectors = answer.embeddings.numbers() if answer.embeddings is not None else []
        usage = answer.meta.counts().reported() if answer.meta is not None else None
        return self._embeddings.received(vectors, usage)

    # ── the answer, streamed ────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, frame: Frame) -> Step:
        data = frame.data
        if self._completed or not data or data == b"[DONE]":
            return NOTHING
        if frame.kind and data[:1] != b"{":
            return NOTHING  # somebody's ping
        event = decode_event(data)
        if not event.type or event.type == "error":
            raise fault_in_answer(event.message, self._asked)
        if event.type == "message-end":
            delta = event.delta or Delta()
            error = self._failure(delta.finish_reason, delta.error)
            if error is not None:
                return Step(_counted(delta.usage), error=error)
            return Step(self._end(str(delta.finish_reason), delta.usage))
        events = self._react(event)
        return Step(events) if events else NOTHING

    def finish(self) -> Step:
        if not self._completed:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream before the answer was complete.")
        return NOTHING

    def _react(self, event: StreamEvent) -> list[Event]:
        """What an event adds. Those that only end something, and whatever is new, add nothing."""
        message = (event.delta.message if event.delta else None) or MessagePiece()
        if event.type in ("content-delta", "content-start"):
            events = self._begin_block(event.index)
            if isinstance(message.content, Content):
                events += self._content(message.content, [event.logprobs] if event.logprobs else [])
            return events
        if event.type == "tool-plan-delta":
            return self._plan(message.tool_plan or "")
        if event.type in ("tool-call-start", "tool-call-delta"):
            calls = message.tool_calls if isinstance(message.tool_calls, list) else [message.tool_calls or Call()]
            return [told for call in calls for told in self._call(event.index or 0, call)]
        if event.type == "citation-start" and message.citations is not None:
            cited = message.citations if isinstance(message.citations, list) else [message.citations]
            return self._late_citations(cited)
        return []

    def _late_citations(self, cited: list[JsonObject]) -> list[Event]:
        """Citations of a text; those of a plan or of thoughts say nothing that an answer has a place for."""
        if not any(map(_is_of_text, cited)):
            return []
        events = self._items.text("")
        self._cite(cited)
        return events

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin_block(self, block: int | str | None) -> list[Event]:
        if block == self._block:
            return []
        self._block = block
        return self._items.close_prose()

    def _content(self, content: Content, scored: list[Scored]) -> list[Event]:
        events: list[Event] = []
        if content.thinking:
            events += self._items.reasoning(content.thinking)
            self._items.attached["provider_state"] = ProviderState(self._asked.backend, THINKING)
        elif content.text or scored:
            events += self._items.text(content.text or "", scores_of(scored) if scored else None)
        return events

    def _plan(self, piece: str) -> list[Event]:
        events = self._begin_block("plan") + self._items.reasoning(piece)
        self._items.attached["provider_state"] = ProviderState(self._asked.backend, PLAN)
        return events

    def _call(self, index: int, call: Call) -> list[Event]:
        name = call.function.name if call.function else None
        arguments = (call.function.arguments if call.function else None) or ""
        if index in self._calls:
            return self._items.tool_call(index, arguments)
        if not call.id or not name:
            raise BackendInvalidResponse(f"{self._asked.backend} sent a tool call without a name.")
        self._calls.add(index)
        return self._items.tool_call(index, arguments, id=call.id, name=name)

    def _cite(self, citations: list[JsonObject]) -> None:
        cited = [each for each in citations if _is_of_text(each)]
        if cited:
            self._items.attached.setdefault("annotations", []).extend(cited)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _failure(self, given: str | None, error: str | None) -> PluggablyError | None:
        """The error in which an answer ended that is none."""
        backend = self._asked.backend
        if error:
            return fault_in_answer(error, self._asked)
        if given == "TIMEOUT":
            return BackendTimeout(f"{backend} took too long, and gave up its answer.")
        if given == "ERROR":
            return BackendError(f"{backend} broke off its answer with an error.")
        if not given:
            return BackendInvalidResponse(f"{backend} ended its stream without a finish reason.")
        return None

    def _end(self, given: str, counts: TokenCounts | None) -> list[Event]:
        """The last events of a good answer."""
        has_calls = self._items.has_tool_calls
        events = self._items.close() + _counted(counts)
        reason = settled_reason(FINISH_REASONS.get(given, "stop"), has_calls=has_calls)
        if reason == "stop":
            events += ignored_tool_choice(self._request, self._asked.backend)
        self._completed = True
        events.append(Completed(reason))
        return events


def _counted(counts: TokenCounts | None) -> list[Event]:
    return [counts.reported()] if counts is not None else []


def _is_of_text(citation: JsonObject) -> bool:
    return citation.get("type") in (None, "TEXT_CONTENT")
