"""The wire of this gateway itself: how one Pluggably asks another, and how it asks a runner that speaks as one.

Here is the life of one attempt. The body is built in `request`, answers are typed in `reply`, errors read in `faults`.
What surprises: nothing is translated, so nearly everything passes as it is, `provider_state` and warnings included; but
what comes is another version of ourselves at best, so its fields are read leniently and its events are checked before
they go on. A failure brings what was used up to there: `generation.failed` is told as usage first, and raised with the
end of the stream.

The end mark is the event `generation.completed`. Two gateways that name each other as providers would ask in a circle
for ever, so each call says in a header how many gateways it has passed.

Source: the API reference of this project, docs/reference/api.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct

from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    Item,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    Leased,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    Warned,
)
from pluggably.errors import BackendError, BackendInvalidResponse, BackendRejected, PluggablyError
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
from pluggably.wire.codecs.native.faults import Sent, fault_of_another_form, fault_of_problem, fault_of_reply
from pluggably.wire.codecs.native.reply import (
    FINISH_REASONS,
    GenerationSaid,
    Said,
    decode_event,
    decode_generation,
    item_of,
    logprobs_of,
)
from pluggably.wire.codecs.native.request import NativeOptions, generation_body

# A request's way through gateways that are set up on purpose is short; a longer one is a circle.
MAX_HOPS = 4
HOPS_HEADER = "Pluggably-Hops"


class NativeCodec:
    """One attempt at another Pluggably."""

    Options: ClassVar[type[Struct]] = NativeOptions

    def __init__(self, options: NativeOptions) -> None:
        self._options = options
        self._kinds: list[type[Item]] = []
        self._open: set[int] = set()
        self._has_started = False
        self._completed = False
        self._failure: PluggablyError | None = None

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        """Raises: BackendRejected for a request that has come through too many gateways; InvalidRequest."""
        self._request = request
        self._backend = address.backend
        if request.hops >= MAX_HOPS:
            raise BackendRejected(
                f"{address.backend}: the request has passed {request.hops} gateways already, so they probably name "
                "each other as providers. Their operators can end the circle."
            )
        # The last event of a stream repeats all of its output, which for vectors is more than an event may hold.
        stream = address.stream and request.modality != "embedding"
        body, own = generation_body(request, address.model, address.backend, stream)
        self._sent = Sent(backend=address.backend, own=own)
        headers = {**(SSE_HEADERS if stream else JSON_HEADERS), HOPS_HEADER: str(request.hops + 1)}
        url = f"{address.base_url}/generations"
        call = HttpCall(url=url, headers=headers, body=json_body(body), framing="sse" if stream else None)
        return Step((), call)

    def receive(self, reply: HttpReply) -> Step:
        generation = decode_generation(reply.body)
        if generation.status is None:
            raise BackendInvalidResponse(f"{self._backend} sent something that is no generation.")
        events: list[Event] = [*self._start(generation.served_by)]
        if generation.status == "completed":
            for index, value in enumerate(generation.output):
                item = item_of(value, self._backend)
                events += (ItemStarted(index, item), *_whole_delta(index, item), ItemCompleted(index, item))
            self._check_vectors(generation)
        events += self._end(generation)
        if self._failure is not None:
            raise self._failure
        return Step(events)

    def feed(self, frame: Frame) -> Step:
        if self._failure is not None:
            raise self._failure
        if self._completed or not frame.data:
            return NOTHING
        said = decode_event(frame.data)
        kind = said.type
        if kind == "output.delta":
            return Step(self._more(said))
        if kind == "output.started":
            return Step(self._begin_item(said))
        if kind == "output.completed":
            return Step(self._complete_item(said))
        if kind == "generation.progress":
            return Step((said.progress(),))
        if kind == "generation.started":
            return Step(self._start(said.served_by))
        if kind in ("generation.completed", "generation.failed", "generation.cancelled"):
            if said.generation is None:
                raise BackendInvalidResponse(f"{self._backend} ended its stream without the generation.")
            return Step(self._end(said.generation))
        if said.code is not None:
            raise fault_of_reply(HttpReply(status=502, headers={}, body=frame.data), self._sent)
        if frame.kind == "error":
            raise fault_of_another_form(frame.data, self._sent)
        return NOTHING

    def finish(self) -> Step:
        if self._failure is not None:
            raise self._failure
        if not self._completed:
            raise BackendInvalidResponse(f"{self._backend} ended its stream before the answer was complete.")
        return NOTHING

    def fault(self, reply: HttpReply) -> PluggablyError:
        return fault_of_reply(reply, self._sent)

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, served_by: Started | None) -> Sequence[Event]:
        """Who serves it there, told once and before any output."""
        if served_by is None or self._has_started or self._kinds:
            return ()
        self._has_started = True
        return (served_by,)

    def _begin_item(self, said: Said) -> Sequence[Event]:
        item = item_of(said.item, self._backend)
        if said.index != len(self._kinds):
            raise BackendInvalidResponse(f"{self._backend} sent an item out of its turn.")
        self._kinds.append(type(item))
        self._open.add(said.index)
        return (ItemStarted(said.index, item),)

    def _more(self, said: Said) -> Sequence[Event]:
        if said.index not in self._open:
            raise BackendInvalidResponse(f"{self._backend} sent a piece of an item that is not open.")
        if said.logprobs:
            return (ItemDelta(said.index, said.item_type, said.text, logprobs=logprobs_of(said.logprobs)),)
        return (ItemDelta(said.index, said.item_type, said.text, said.arguments),)

    def _complete_item(self, said: Said) -> Sequence[Event]:
        item = item_of(said.item, self._backend)
        if said.index not in self._open or type(item) is not self._kinds[said.index]:
            raise BackendInvalidResponse(f"{self._backend} completed an item that is not open.")
        self._open.remove(said.index)
        return (ItemCompleted(said.index, item),)

    def _end(self, generation: GenerationSaid) -> list[Event]:
        """What is known when it has ended; a failure is kept until its usage is told."""
        events: list[Event] = []
        if generation.usage is not None:
            events.append(generation.usage.reported())
            if generation.usage.queued_s > 0:
                events.append(Leased(generation.usage.queued_s))
        events += (Warned(warning.told()) for warning in generation.warnings)
        if generation.error is not None:
            self._failure = fault_of_problem(generation.error, None, self._sent)
        elif generation.status != "completed" or generation.finish_reason in ("error", "cancelled"):
            self._failure = BackendError(f"{self._backend} broke off its answer.")
        elif self._open:
            raise BackendInvalidResponse(f"{self._backend} ended its stream before the answer was complete.")
        else:
            self._completed = True
            events.append(Completed(FINISH_REASONS.get(generation.finish_reason or "", "stop")))
        return events

    def _check_vectors(self, generation: GenerationSaid) -> None:
        if self._request.modality != "embedding":
            return
        expected = set(range(len(self._request.texts)))
        indexes = [value.get("input_index") for value in generation.output if value.get("type") == "embedding"]
        if len(indexes) != len(expected) or set(indexes) != expected:
            raise BackendInvalidResponse(f"{self._backend} did not send one embedding for each input.")


def _whole_delta(index: int, item: Item) -> list[Event]:
    """The text of an item that came whole, as one piece."""
    if isinstance(item, ToolCall):
        return [ItemDelta(index, "tool_call", arguments=item.arguments)] if item.arguments else []
    if isinstance(item, Text | Reasoning | Refusal) and item.text:
        kind = str(type(item).__struct_config__.tag)
        if isinstance(item, Text) and item.logprobs:
            return [ItemDelta(index, kind, item.text, logprobs=item.logprobs)]
        return [ItemDelta(index, kind, item.text)]
    return []
