"""Ollama's own wire: `/api/chat` as lines of JSON, and `/api/embed`.

Here are the life of one attempt and the types of its answers. Bodies are built in `request`, errors read in `faults`.
What surprises: thinking, text and calls of tools stand side by side in a message, and are told in that order, which is
how models speak. Calls come whole; older versions give them no ids, so they get ours. The end is the line with `"done":
true`; an error may stand in place of any line. A model that is loaded first says nothing while it loads: how long that
took stands at the end, and counts as waiting.

Source: docs.ollama.com/api/chat, …/api/embed, …/api/errors and …/api/usage (2026-11); the types of ollama 0.6.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import uuid4

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    AlternativeToken,
    Completed,
    Event,
    FinishReason,
    GenerationRequest,
    JsonObject,
    Leased,
    ProviderItem,
    TokenLogprob,
    UsageReported,
)
from pluggably.errors import BackendInvalidResponse, PluggablyError
from pluggably.wire.codec import (
    JSON_HEADERS,
    NOTHING,
    Address,
    Frame,
    HttpCall,
    HttpReply,
    Named,
    Step,
    json_body,
    json_call,
)
from pluggably.wire.codecs.ollama.faults import fault_of_line, fault_of_reply
from pluggably.wire.codecs.ollama.request import OllamaOptions, chat_body, embed_body
from pluggably.wire.embedding_calls import EmbeddingCalls
from pluggably.wire.faults import asked
from pluggably.wire.items import OutputItems, settled_reason

NDJSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
_NANOSECONDS = 1_000_000_000
_FINISH_REASONS: dict[str | None, FinishReason] = {"length": "length"}


class FunctionSaid(Struct, gc=False):
    name: Named
    # `null` where there are none, from some models: github.com/use-agent-os/agent-os/pull/2042 (2026-09).
    arguments: dict[str, Any] | None = None


class CallSaid(Struct, gc=False):
    function: FunctionSaid
    id: str | None = None


class MessageSaid(Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[CallSaid] | None = None
    images: list[str] | None = None


class AlternativeSaid(Struct, gc=False):
    token: str
    logprob: float


class LogprobSaid(Struct, gc=False):
    token: str
    logprob: float
    top_logprobs: list[AlternativeSaid] | None = None


class ChatSaid(Struct, gc=False):
    """A whole answer, or a line of one."""

    message: MessageSaid | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    load_duration: int | None = None
    logprobs: list[LogprobSaid] | None = None
    error: Any = None


class EmbedSaid(Struct):
    embeddings: list[list[float]] | None = None
    prompt_eval_count: int | None = None
    load_duration: int | None = None
    error: Any = None


_decode_chat = msgspec.json.Decoder(ChatSaid).decode
_decode_embed = msgspec.json.Decoder(EmbedSaid).decode


class OllamaCodec:
    """One attempt on Ollama's wire."""

    Options: ClassVar[type[Struct]] = OllamaOptions

    def __init__(self, options: OllamaOptions) -> None:
        self._options = options
        self._items = OutputItems()
        self._call_count = 0
        self._images: list[str] = []
        self._completed = False

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        self._request = request
        if request.modality == "embedding":
            self._asked = asked(request, address)
            body = embed_body(request, address.model, address.backend, self._options)
            return Step(body.omissions.warned, self._begin_embeddings(f"{address.base_url}/api/embed", body.value))
        body = chat_body(request, address.model, address.backend, address.stream, self._options)
        self._asked = asked(request, address, body.origins)
        call = HttpCall(
            url=f"{address.base_url}/api/chat",
            headers=NDJSON_HEADERS if address.stream else JSON_HEADERS,
            body=json_body(body.value),
            framing="ndjson" if address.stream else None,
        )
        return Step(body.omissions.warned, call)

    def receive(self, reply: HttpReply) -> Step:
        if self._request.modality == "embedding":
            return self._receive_embeddings(reply.body)
        said = _decode_chat(reply.body)
        if said.error is not None:
            raise fault_of_line(said.error, self._asked)
        if not said.done or said.message is None:
            raise BackendInvalidResponse(f"{self._asked.backend} sent an answer without its end.")
        return Step(self._take(said))

    def _begin_embeddings(self, url: str, value: JsonObject) -> HttpCall:
        """All texts in one call: no limit is known."""
        self._embeddings = EmbeddingCalls(
            self._request.texts, lambda texts: json_call(url, {**value, "input": texts}), self._asked.backend
        )
        return self._embeddings.next()

    def _receive_embeddings(self, body: bytes) -> Step:
        said = _decode_embed(body)
        if said.error is not None:
            raise fault_of_line(said.error, self._asked)
        usage = UsageReported(input_tokens=said.prompt_eval_count)
        step = self._embeddings.received(said.embeddings or [], usage)
        return Step([*_waited(said.load_duration), *step.events])

    def feed(self, frame: Frame) -> Step:
        if self._completed:
            return NOTHING
        said = _decode_chat(frame.data)
        if said.error is not None:
            raise fault_of_line(said.error, self._asked)
        return Step(self._take(said))

    def finish(self) -> Step:
        if not self._completed:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream before the answer was complete.")
        return NOTHING

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, said: ChatSaid) -> list[Event]:
        events: list[Event] = []
        message, items = said.message, self._items
        if message is not None:
            if message.thinking:
                events += items.reasoning(message.thinking)
            if message.content or said.logprobs:
                events += items.text(message.content or "", _scores(said.logprobs))
            for call in message.tool_calls or ():
                id_ = call.id or f"call_{uuid4().hex[:24]}"
                arguments = json_body(call.function.arguments or {}).decode()
                events += items.tool_call(self._call_count, arguments, id=id_, name=call.function.name)
                self._call_count += 1
            self._images += message.images or ()
        return events + self._end(said) if said.done else events

    def _end(self, said: ChatSaid) -> list[Event]:
        """Raises: BackendInvalidResponse for the answer to a call that was no conversation."""
        if said.done_reason in ("load", "unload"):
            raise BackendInvalidResponse(f"{self._asked.backend} answered as if there had been no messages.")
        has_calls = self._items.has_tool_calls
        events = self._items.close()
        if self._images:
            events += self._items.whole(ProviderItem(self._asked.backend, {"images": self._images}))
        events += _waited(said.load_duration)
        if said.prompt_eval_count is not None or said.eval_count is not None:
            events.append(UsageReported(input_tokens=said.prompt_eval_count, output_tokens=said.eval_count))
        reason = _FINISH_REASONS.get(said.done_reason, "stop")
        self._completed = True
        events.append(Completed(settled_reason(reason, has_calls=has_calls)))
        return events


def _waited(load_duration: int | None) -> list[Event]:
    return [Leased(round(load_duration / _NANOSECONDS, 6))] if load_duration is not None and load_duration > 0 else []


def _scores(said: list[LogprobSaid] | None) -> list[TokenLogprob] | None:
    if said is None:
        return None
    return [
        TokenLogprob(
            token.token, token.logprob, [AlternativeToken(top.token, top.logprob) for top in token.top_logprobs or ()]
        )
        for token in said
    ]
