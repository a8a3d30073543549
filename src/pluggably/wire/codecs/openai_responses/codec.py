"""OpenAI's Responses wire, plain and streamed: what its newest and its largest models are served by, and some by alone.

Here is the life of one attempt: its call, and its answer as events. Items are turned in `input`, the body is built in
`request`, answers are typed in `reply`; errors are those of Chat Completions, in `openai.faults`. The gateway keeps
nothing at the vendor (`store: false`): reasoning goes to the client as `provider_state` and comes back from there, and
so does, as a `provider_item`, every item that has no form of ours.

What surprises: a stream tells everything twice, in deltas and whole at the end of each item. The deltas are passed on;
the whole item gives what only it has (the reasoning's encrypted form, annotations), and stands in for deltas that never
came. A stream is good only with its last event, `response.completed` or `response.incomplete`; there is no `[DONE]`.

Source: developers.openai.com/api/reference/resources/responses, "Create a model response" and "Streaming events"
(2026-11).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec
from msgspec import UNSET, Struct

from pluggably.domain.generation import (
    Completed,
    Event,
    FinishReason,
    GenerationRequest,
    JsonObject,
    ProviderItem,
    ProviderState,
    Reasoning,
    Refusal,
    Text,
)
from pluggably.errors import BackendError, BackendInvalidResponse, PluggablyError, UnsupportedModality
from pluggably.wire.codec import NOTHING, Address, Frame, HttpReply, Step, json_call
from pluggably.wire.codecs.openai.faults import failed, fault_in_answer, fault_of_reply
from pluggably.wire.codecs.openai.reply import logprobs_of
from pluggably.wire.codecs.openai_responses.options import ResponsesOptions
from pluggably.wire.codecs.openai_responses.reply import (
    INCOMPLETE,
    Call,
    ContentPart,
    Message,
    ReasoningItem,
    Response,
    StreamEvent,
    decode_event,
    decode_response,
)
from pluggably.wire.codecs.openai_responses.request import is_streamed, responses_body
from pluggably.wire.faults import asked
from pluggably.wire.items import OutputItems, ignored_tool_choice


class OpenAIResponsesCodec:
    """One attempt on the Responses wire."""

    Options: ClassVar[type[Struct]] = ResponsesOptions

    def __init__(self, options: ResponsesOptions) -> None:
        self._options = options
        self._items = OutputItems()
        # Which part of which item the open text, refusal or reasoning is.
        self._place = (-1, -1)
        self._thinks_aloud = ""  # the kind of deltas that the open reasoning is made of
        # What is known of the items that have begun, by their index in the answer; and of which parts deltas have come.
        self._messages: dict[int, Message] = {}
        self._calls: set[int] = set()
        self._told: set[tuple[int, int]] = set()
        self._completed = False

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        if request.modality != "text":
            raise UnsupportedModality(
                f"{address.backend} serves {address.model} through an API that makes text only.", pointer="/modality"
            )
        self._request = request
        stream = address.stream and is_streamed(address.model, self._options)
        body = responses_body(request, address.model, address.backend, stream, self._options)
        self._asked = asked(request, address, body.origins, self._options.error_codes)
        call = json_call(f"{address.base_url}/responses", body.value, stream=stream)
        return Step(body.omissions.warned, call)

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    # ── the answer, whole ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        if reply.body[:1] == b"[":  # an error in a list, as Google's services have it
            raise fault_in_answer(msgspec.json.decode(reply.body)[0]["error"], self._asked)
        response = decode_response(reply.body)
        if response.output is None and response.error is None:
            raise BackendInvalidResponse(f"{self._asked.backend} sent an answer without any output.")
        return self._end(response, response.status or "completed")

    # ── the answer, streamed ────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, frame: Frame) -> Step:
        data = frame.data
        if self._completed or not data or data == b"[DONE]":  # some servers end with it, as on the older wire
            return NOTHING
        if frame.kind and frame.kind != "error" and data[:1] != b"{":
            return NOTHING  # somebody's ping
        event = decode_event(data)
        if event.type == "response.output_text.delta":
            return Step(self._text(event))
        if event.error is not None:
            raise fault_in_answer(event.error, self._asked)
        if event.type == "error" or frame.kind == "error":
            complaint = {"code": event.code, "message": event.message, "param": event.param}
            raise fault_in_answer(complaint, self._asked)
        if event.type in _ENDS:
            response = event.response or Response()
            return self._end(response, response.status or event.type.removeprefix("response."))
        react = _REACTIONS.get(event.type)
        if react is None:
            return NOTHING  # progress of the vendor's own tools, what the deltas have told, and whatever is new
        events = react(self, event)
        return Step(events) if events else NOTHING

    def finish(self) -> Step:
        if not self._completed:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream before the answer was complete.")
        return NOTHING

    def _text(self, event: StreamEvent) -> list[Event]:
        events = self._move(event.output_index, event.content_index)
        scores = logprobs_of(event.logprobs) if event.logprobs else None
        more = self._items.text(event.piece(), scores)
        return events + more if events else more

    def _refusal(self, event: StreamEvent) -> list[Event]:
        return self._move(event.output_index, event.content_index) + self._items.refusal(event.piece())

    def _summary(self, event: StreamEvent) -> list[Event]:
        return self._thought(event, "summary", event.summary_index)

    def _thinking(self, event: StreamEvent) -> list[Event]:
        return self._thought(event, "text", event.content_index)

    def _thought(self, event: StreamEvent, kind: str, part: int) -> list[Event]:
        """A piece of a summary or of the reasoning itself. Where a server sends both, the first one is told; the other
        is in the item's state. The parts of a summary are paragraphs."""
        piece = event.piece()
        if self._items.is_open(Reasoning) and self._place[0] == event.output_index:
            if kind != self._thinks_aloud:
                return []
            if part != self._place[1]:
                piece = f"\n\n{piece}"
            self._place = (event.output_index, part)
            return self._items.reasoning(piece)
        self._thinks_aloud = kind
        return self._move(event.output_index, part) + self._items.reasoning(piece)

    def _annotation(self, event: StreamEvent) -> list[Event]:
        events = self._move(event.output_index, event.content_index) + self._items.text("")
        if event.annotation is not None:
            self._items.attached.setdefault("annotations", []).append(event.annotation)
        return events

    def _arguments(self, event: StreamEvent) -> list[Event]:
        if event.output_index not in self._calls:
            return []  # the whole call is still to come
        self._told.add((event.output_index, 0))
        return self._items.tool_call(event.output_index, event.piece())

    def _item_added(self, event: StreamEvent) -> list[Event]:
        item = event.item or {}
        if item.get("type") == "message":
            self._messages[event.output_index] = msgspec.convert(item, Message)
        elif item.get("type") == "function_call" and not self._options.calls_when_whole:
            # Its arguments are left to the deltas, or to the whole item.
            return self._begin_call(event.output_index, msgspec.convert(item, Call))
        return []

    def _item_done(self, event: StreamEvent) -> list[Event]:
        return self._take(event.item or {}, event.output_index)

    def _move(self, index: int, part: int) -> list[Event]:
        """Completes what is open where a new item or a new part of one begins."""
        if self._place == (index, part):
            return []
        events = self._close_part()
        self._place = (index, part)
        self._told.add(self._place)
        return events

    # ── items ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, item: JsonObject, index: int) -> list[Event]:
        """The events of a whole item, but for what deltas have told of it."""
        kind = item.get("type")
        if kind == "message":
            return self._take_message(item, index)
        if kind == "function_call":
            call = msgspec.convert(item, Call)
            events = [] if index in self._calls else self._begin_call(index, call)
            return events if (index, 0) in self._told else events + self._items.tool_call(index, call.arguments)
        if kind == "reasoning":
            return self._take_reasoning(item, index)
        return self._close_part() + self._items.whole(ProviderItem(self._asked.backend, item))

    def _take_message(self, item: JsonObject, index: int) -> list[Event]:
        message = self._messages[index] = msgspec.convert(item, Message)
        events: list[Event] = []
        for place, value in enumerate(message.content or ()):
            part = msgspec.convert(value, ContentPart)
            if (index, place) in self._told:
                if self._place != (index, place):
                    continue
            else:
                events += self._move(index, place)
                if part.type == "output_text":
                    events += self._items.text(part.text, logprobs_of(part.logprobs) if part.logprobs else None)
                elif part.type == "refusal":
                    events += self._items.refusal(part.refusal)
                else:  # in a message of its own, so that it can go back as an item
                    alone: JsonObject = {"type": "message", "role": "assistant", "content": [value]}
                    events += self._items.whole(ProviderItem(self._asked.backend, alone))
            if part.annotations and self._items.is_open(Text):
                self._items.attached["annotations"] = part.annotations
            events += self._close_part()
        return events

    def _take_reasoning(self, item: JsonObject, index: int) -> list[Event]:
        state = ProviderState(self._asked.backend, item)
        events: list[Event] = []
        if not self._items.is_open(Reasoning) or self._place[0] != index:
            events += self._close_part()
            is_told = any(told == index for told, _ in self._told)
            text = "" if is_told else msgspec.convert(item, ReasoningItem).text()
            if not text:
                return events + self._items.whole(Reasoning(provider_state=state))
            events += self._items.reasoning(text)
        self._items.attached["provider_state"] = state
        return events + self._close_part()

    def _begin_call(self, index: int, call: Call) -> list[Event]:
        self._calls.add(index)
        kept = call.kept()
        return self._close_part() + self._items.tool_call(
            index,
            "",
            id=call.call_id,
            name=call.name,
            provider_options={self._asked.backend: kept} if kept else UNSET,
        )

    def _close_part(self) -> list[Event]:
        message = self._messages.get(self._place[0])
        kept = message.kept() if message is not None else None
        if kept and (self._items.is_open(Text) or self._items.is_open(Refusal)):
            self._items.attached["provider_options"] = {self._asked.backend: kept}
        self._place = (-1, -1)
        return self._items.close_prose()

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, response: Response, status: str) -> Step:
        """The last events of a good answer; of another what it used, and what the vendor says went wrong. Raises:
        BackendInvalidResponse for an answer that is not finished."""
        backend = self._asked.backend
        used: list[Event] = [response.usage.reported()] if response.usage is not None else []
        if response.error is not None or status == "failed":
            return failed(used, fault_in_answer(response.error, self._asked))
        if status == "cancelled":
            return failed(used, BackendError(f"{backend} cancelled the generation."))
        if status not in ("completed", "incomplete", "requires_action"):  # the last with calls: Perplexity
            raise BackendInvalidResponse(f"{backend} ended an answer that it calls {status[:40]}.")
        events: list[Event] = []
        if self._items.is_empty:  # a whole answer, or a stream of which nothing was told before its end
            for index, item in enumerate(response.output or ()):
                events += self._take(item, index)
        has_calls = self._items.has_tool_calls
        events += self._close_part() + self._items.close()
        events += used
        reason: FinishReason = "tool_calls" if has_calls else "stop"
        if status == "incomplete":
            details = response.incomplete_details
            reason = INCOMPLETE.get(details.reason if details else None, "length")
        elif not has_calls:
            events += ignored_tool_choice(self._request, backend)
        self._completed = True
        events.append(Completed(reason))
        return Step(events)


_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_REACTIONS: dict[str, Callable[[OpenAIResponsesCodec, StreamEvent], list[Event]]] = {
    "response.output_item.added": OpenAIResponsesCodec._item_added,
    "response.output_item.done": OpenAIResponsesCodec._item_done,
    "response.output_text.annotation.added": OpenAIResponsesCodec._annotation,
    "response.refusal.delta": OpenAIResponsesCodec._refusal,
    "response.reasoning_summary_text.delta": OpenAIResponsesCodec._summary,
    "response.reasoning_text.delta": OpenAIResponsesCodec._thinking,
    "response.function_call_arguments.delta": OpenAIResponsesCodec._arguments,
}
