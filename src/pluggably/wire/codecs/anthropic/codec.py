"""Anthropic's wire: the Messages API, plain and streamed.

Here is the life of one attempt: its call, and its answer as events. The body is built in `request`, messages are turned
in `messages`, answers typed in `reply`, errors read in `faults`. How models and servers differ is data, in `options`.

What surprises: an answer is a list of blocks, and each becomes an item: text and calls of tools in our form; thinking
with the whole block as its state, since its signature holds for every field; and a block of the vendor's own tools as a
`provider_item`. A stream is good only with its last event, `message_stop`, and a reason to stop before it.

Source: platform.claude.com/docs/en/api/messages/create and …/build-with-claude/streaming (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import msgspec
from msgspec import UNSET, Struct

from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    GenerationWarning,
    JsonObject,
    ProviderItem,
    ProviderState,
    Reasoning,
    UsageReported,
    Warned,
)
from pluggably.errors import BackendInvalidResponse, PluggablyError, UnsupportedModality
from pluggably.wire.codec import (
    JSON_HEADERS,
    NOTHING,
    SSE_HEADERS,
    Address,
    Frame,
    HttpCall,
    HttpReply,
    Step,
    json_body,
)
from pluggably.wire.codecs.anthropic.faults import fault_in_answer, fault_of_reply
from pluggably.wire.codecs.anthropic.options import MODEL_GAP, AnthropicOptions
from pluggably.wire.codecs.anthropic.reply import (
    FINISH_REASONS,
    KNOWN_DELTAS,
    Container,
    Delta,
    InputTransformation,
    StopDetails,
    StreamEvent,
    TextBlock,
    ThinkingBlock,
    TokenCounts,
    ToolUse,
    decode_event,
    decode_message,
)
from pluggably.wire.codecs.anthropic.request import messages_body, model_step
from pluggably.wire.faults import asked, shown
from pluggably.wire.items import OutputItems, ignored_tool_choice, settled_reason
from pluggably.wire.parts import as_object

# "`messages.{i}.content.{j}`": where a block stood in the request.
_MESSAGE = re.compile(r"messages\.(\d+)\.")


class AnthropicCodec:
    """One attempt on Anthropic's wire."""

    Options: ClassVar[type[Struct]] = AnthropicOptions

    def __init__(self, options: AnthropicOptions) -> None:
        self._options = options
        self._items = OutputItems()
        # The block that is open, as it came, and the pieces of what grows in it.
        self._block: JsonObject = {}
        self._kind = ""
        self._index = -1
        self._pieces: list[str] = []
        self._has_arguments = False
        self._counts = TokenCounts()
        self._usage: UsageReported | None = None
        self._stop_reason: str | None = None
        self._stop_details: StopDetails | None = None
        self._container: Container | None = None
        self._completed = False

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        if request.modality != "text":
            raise UnsupportedModality(f"{address.backend} makes text only.", pointer="/modality")
        self._request = request
        body = messages_body(request, address.model, address.backend, address.stream, self._options)
        self._limit = body.value["max_tokens"]
        self._asked = asked(request, address, body.origins)
        headers = SSE_HEADERS if address.stream else JSON_HEADERS
        path = self._options.stream_path if address.stream else self._options.path
        if MODEL_GAP in path:
            path = path.replace(MODEL_GAP, model_step(body.value.pop("model"), address.backend))
        call = HttpCall(
            url=f"{address.base_url}/{path}",
            headers={**headers, "anthropic-beta": ",".join(body.betas)} if body.betas else headers,
            body=json_body(body.value),
            framing="sse" if address.stream else None,
        )
        return Step(body.omissions.warned, call)

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._asked)

    # ── the answer, whole ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, reply: HttpReply) -> Step:
        message = decode_message(reply.body)
        if message.error is not None:
            raise fault_in_answer(message.error, self._asked)
        events = self._tell_of_input(message.input_transformations)
        if message.usage is not None:
            events += self._count(message.usage)
        if message.content is None:
            error = BackendInvalidResponse(f"{self._asked.backend} sent an answer without content.")
            return Step(events, error=error)
        for index, block in enumerate(message.content):
            events += self._take(block, index)
        # A whole answer is complete by its form, so a missing reason is no sign of a cut.
        self._stop_reason = message.stop_reason or "end_turn"
        self._stop_details = message.stop_details
        self._container = message.container
        return Step(events + self._end())

    def _take(self, block: JsonObject, index: int) -> list[Event]:
        """The events of a whole block."""
        kind = block.get("type")
        if kind == "text":
            text = msgspec.convert(block, TextBlock)
            if text.citations:
                self._items.attached["annotations"] = text.citations
            return self._items.text(text.text) + self._items.close_prose() if text.text or text.citations else []
        if kind in ("thinking", "redacted_thinking"):
            return self._whole_thinking(block)
        if kind == "tool_use":
            call = msgspec.convert(block, ToolUse)
            return self._begin_call(call, index, json_body(call.input).decode() if call.input else "{}")
        return self._items.whole(ProviderItem(self._asked.backend, block))

    def _whole_thinking(self, block: JsonObject) -> list[Event]:
        """Thinking that is shown to nobody has only its state."""
        state = ProviderState(self._asked.backend, block)
        text = msgspec.convert(block, ThinkingBlock).thinking
        if not text:
            return self._items.whole(Reasoning(provider_state=state))
        events = self._items.reasoning(text)
        self._items.attached["provider_state"] = state
        return events + self._items.close_prose()

    # ── the answer, streamed ────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, frame: Frame) -> Step:
        data = frame.data
        if self._completed or not data or frame.kind == "ping":
            return NOTHING
        if frame.kind == "error" and b'"type"' not in data:  # of whatever stands before the API
            said = msgspec.json.decode(data)
            raise fault_in_answer(said.get("error", said), self._asked)
        event = decode_event(data)
        delta = event.delta
        if delta is not None and delta.type == "text_delta" and self._kind == "text":
            return Step(self._items.text(delta.text))
        if event.error is not None or event.type == "error":
            raise fault_in_answer(event.error, self._asked)
        react = _REACTIONS.get(event.type)
        if react is None:
            return NOTHING  # a ping without its name, and whatever is new
        if delta is not None and event.type == "content_block_delta" and delta.type not in KNOWN_DELTAS:
            self._grow_block(data)
            return NOTHING
        events = react(self, event)
        return Step(events) if events else NOTHING

    def finish(self) -> Step:
        if not self._completed:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream before the answer was complete.")
        return NOTHING

    def _message_start(self, event: StreamEvent) -> list[Event]:
        message = event.message
        if message is None:
            return []
        self._container = message.container
        events = self._tell_of_input(message.input_transformations)
        return events + self._count(message.usage) if message.usage is not None else events

    def _block_start(self, event: StreamEvent) -> list[Event]:
        block = event.content_block or {}
        events = self._close_block()
        self._block, self._kind, self._index = block, block.get("type", ""), event.index
        if self._kind == "tool_use":
            # Its input comes in pieces; where it came at once, there are none.
            call = msgspec.convert(block, ToolUse)
            given = json_body(call.input).decode() if call.input else ""
            self._has_arguments = bool(given)
            return events + self._begin_call(call, event.index, given)
        if self._kind == "text":
            text = msgspec.convert(block, TextBlock)
            if text.citations:
                self._items.attached["annotations"] = list(text.citations)
            return events + self._items.text(text.text) if text.text else events
        if self._kind == "thinking":
            thought = msgspec.convert(block, ThinkingBlock).thinking
            self._pieces = [thought]
            return events + self._items.reasoning(thought) if thought else events
        return events

    def _block_delta(self, event: StreamEvent) -> list[Event]:
        delta = event.delta or Delta()
        kind = self._kind
        if delta.type == "text_delta" and kind == "text":
            return self._items.text(delta.text)
        if delta.type == "input_json_delta":
            if kind == "tool_use":
                if event.index != self._index:
                    raise BackendInvalidResponse(f"{self._asked.backend} sent a piece of a block that is not open.")
                self._has_arguments = self._has_arguments or bool(delta.partial_json)
                return self._items.tool_call(event.index, delta.partial_json)
            self._pieces.append(delta.partial_json)
        elif delta.type == "thinking_delta" and kind == "thinking":
            self._pieces.append(delta.thinking)
            return self._items.reasoning(delta.thinking) if delta.thinking else []
        elif delta.type == "signature_delta":
            self._block["signature"] = delta.signature
        elif delta.type == "citations_delta" and kind == "text" and delta.citation is not None:
            events = self._items.text("")
            self._items.attached.setdefault("annotations", []).append(delta.citation)
            return events
        return []

    def _grow_block(self, data: bytes) -> None:
        """A piece of a block of the vendor's own, in a form that is not known here: its fields are the block's, as with
        `compaction_delta` (lib/streaming/_beta_messages.py of anthropic 2.12.0)."""
        if self._kind not in ("", "text", "thinking", "tool_use"):
            piece: JsonObject = msgspec.json.decode(data)["delta"]
            self._block.update((name, value) for name, value in piece.items() if name != "type")

    def _block_stop(self, _: StreamEvent) -> list[Event]:
        if self._kind == "tool_use" and not self._has_arguments:
            # A call without arguments may come without any piece, and "" is no JSON.
            return self._items.tool_call(self._index, "{}") + self._close_block()
        return self._close_block()

    def _message_delta(self, event: StreamEvent) -> list[Event]:
        if event.delta is not None:
            self._stop_reason = event.delta.stop_reason or self._stop_reason
            self._stop_details = event.delta.stop_details or self._stop_details
            self._container = event.delta.container or self._container
        return self._count(event.usage) if event.usage is not None else []

    def _message_stop(self, _: StreamEvent) -> list[Event]:
        if self._stop_reason is None:
            raise BackendInvalidResponse(f"{self._asked.backend} ended its stream without a reason to stop.")
        return self._close_block() + self._end()

    def _close_block(self) -> list[Event]:
        """The end of the open block; its item is complete with it, as the next may be of the same kind."""
        block, kind, pieces = self._block, self._kind, self._pieces
        self._block, self._kind, self._pieces = {}, "", []
        if kind in ("", "tool_use"):
            return []
        if kind == "text":
            return self._items.close_prose()
        if kind == "thinking":
            block["thinking"] = "".join(pieces)
            state = ProviderState(self._asked.backend, block)
            if not self._items.is_open(Reasoning):
                return self._items.whole(Reasoning(provider_state=state))
            self._items.attached["provider_state"] = state
            return self._items.close_prose()
        if kind == "redacted_thinking":
            return self._items.whole(Reasoning(provider_state=ProviderState(self._asked.backend, block)))
        if pieces:
            block["input"] = as_object("".join(pieces))
        return self._items.whole(ProviderItem(self._asked.backend, block))

    # ── both ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin_call(self, call: ToolUse, index: int, arguments: str) -> list[Event]:
        kept = call.kept()
        return self._items.tool_call(
            index,
            arguments,
            id=call.id,
            name=call.name,
            provider_options={self._asked.backend: kept} if kept else UNSET,
        )

    def _tell_of_input(self, transformed: list[InputTransformation] | None) -> list[Event]:
        """Reasoning of the conversation that the model was not shown."""
        events: list[Event] = []
        for one in transformed or ():
            if one.type != "thinking_dropped":
                continue
            place, origins = _MESSAGE.match(str(one.path)), self._asked.origins
            known = place is not None and int(place.group(1)) < len(origins)
            pointer = f"/input/{origins[int(place.group(1))]}" if place is not None and known else "/input"
            detail = f"{self._asked.backend} left reasoning out that came with this request ({shown(one.reason, 60)})"
            warning = GenerationWarning(code="provider_state_dropped", parameter=pointer, detail=detail)
            events.append(Warned(warning))
        return events

    def _count(self, counts: TokenCounts) -> list[Event]:
        self._counts = counts.over(self._counts)
        usage = self._counts.reported()
        if usage == self._usage:
            return []
        self._usage = usage
        return [usage]

    def _end(self) -> list[Event]:
        """The last events of a good answer."""
        backend = self._asked.backend
        has_calls = self._items.has_tool_calls
        events: list[Event] = []
        reason = settled_reason(FINISH_REASONS.get(self._stop_reason or "", "stop"), has_calls=has_calls)
        if reason == "content_filter" and self._stop_details is not None and self._stop_details.explanation:
            events += self._items.refusal(self._stop_details.explanation)
        events += self._items.close()
        if self._container is not None and self._container.id:
            events += self._items.whole(ProviderItem(backend, self._container.as_block()))
        if reason == "stop":
            events += ignored_tool_choice(self._request, backend)
        if self._stop_reason == "max_tokens" and self._request.text.max_output_tokens is None:
            detail = f"{backend} wants a limit of tokens; it was given {self._limit}, and that cut the answer"
            warning = GenerationWarning(
                code="parameter_changed", parameter="/parameters/max_output_tokens", detail=detail
            )
            events.append(Warned(warning))
        self._completed = True
        events.append(Completed(reason))
        return events


_REACTIONS: dict[str, Callable[[AnthropicCodec, StreamEvent], list[Event]]] = {
    "message_start": AnthropicCodec._message_start,
    "content_block_start": AnthropicCodec._block_start,
    "content_block_delta": AnthropicCodec._block_delta,
    "content_block_stop": AnthropicCodec._block_stop,
    "message_delta": AnthropicCodec._message_delta,
    "message_stop": AnthropicCodec._message_stop,
}
