"""A run framed as server-sent events, sent to a list instead of a socket, in a time that the test makes pass."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from snapshots import dispatch_over, snapshot

from pluggably.api.sse import KEEP_ALIVE, EventStream, framed
from pluggably.domain.catalog import Target
from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    GenerationWarning,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    Leased,
    Message,
    Progress,
    ServedBy,
    Started,
    Text,
    TextParameters,
    TokenLogprob,
    UsageReported,
    Warned,
)
from pluggably.errors import BackendTimeout, PluggablyError, ShuttingDown
from pluggably.gateway.dispatch import Run
from pluggably.net.http import Patience

T = TypeVar("T")


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to its next timer as soon as there is nothing else to do."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(Jumping(self))

    def time(self) -> float:
        return self.now


class Jumping(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self._clock.now += timeout
        return ready


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(main())


class Timed:
    """A backend that waits for numbers, yields batches and raises errors."""

    credentials = 1

    def __init__(self, steps: Sequence[Any]) -> None:
        self._steps = steps
        self.closed = False

    async def generate(
        self, request: GenerationRequest, target: Target, patience: Patience, credential: int = 0
    ) -> Any:
        try:
            for step in self._steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, int | float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed = True


class Wire:
    """What was sent, and when."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.free = asyncio.Event()
        self.free.set()

    async def send(self, message: Any) -> None:
        await self.free.wait()
        self.messages.append((asyncio.get_running_loop().time(), message))

    @property
    def opened_at(self) -> float | None:
        starts = [at for at, message in self.messages if message["type"] == "http.response.start"]
        assert len(starts) <= 1
        return starts[0] if starts else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for _, message in self.messages)

    @property
    def has_ended(self) -> bool:
        return bool(self.messages) and self.messages[-1][1].get("more_body") is False

    def events(self) -> list[tuple[str, Any]]:
        """The events by name; that the data repeats the name is checked on the way."""
        found = []
        for block in self.body.decode().split("\n\n")[:-1]:
            if block.startswith(":"):
                continue
            first, second = block.split("\n")
            name, data = first.removeprefix("event: "), json.loads(second.removeprefix("data: "))
            assert data["type"] == name
            found.append((name, data))
        return found

    def names(self) -> list[str]:
        return [name for name, _ in self.events()]


def new_run(*steps: Any) -> tuple[Run, Timed]:
    backend: Any = Timed(steps)
    dispatch = dispatch_over(snapshot(backend))
    asked = GenerationRequest(
        model="m", modality="text", messages=[Message("user", "hi")], parameters=TextParameters(), stream=True
    )
    return dispatch.start(asked, "req_1"), backend


def streamed(*steps: Any) -> tuple[Wire, PluggablyError | None]:
    """What goes out for a run of these steps, and the error that it ends in before its head is out."""

    async def main() -> tuple[Wire, PluggablyError | None]:
        wire = Wire()
        answer = EventStream(new_run(*steps)[0])
        try:
            await answer({}, never, wire.send)
        except PluggablyError as error:
            return wire, error
        return wire, None

    return run(main)


async def never() -> Any:
    raise AssertionError


START: tuple[Event, ...] = (ItemStarted(0, Text("")), ItemDelta(0, "text", "Hel"))
END: tuple[Event, ...] = (ItemDelta(0, "text", "lo"), ItemCompleted(0, Text("Hello")), Completed("stop"))
WAITS = (Progress(stage="loading", fraction=0.5),)


def test_the_order_of_events() -> None:
    """Created first, started before the first output, the whole generation last."""
    wire, error = streamed(START, END)
    assert error is None
    assert wire.has_ended
    assert wire.names() == [
        "generation.created",
        "generation.started",
        "output.started",
        "output.delta",
        "output.delta",
        "output.completed",
        "generation.completed",
    ]
    events = wire.events()
    created, last = events[0][1]["generation"], events[-1][1]["generation"]
    assert created["id"] == last["id"]
    assert (created["status"], last["status"]) == ("running", "completed")
    assert last["output"] == [{"type": "text", "text": "Hello", "annotations": [], "logprobs": None}]
    assert last["finish_reason"] == "stop"


def test_the_head() -> None:
    """The head says what it is, and keeps proxies from holding it back; the gate may add to it."""
    wire, _ = streamed(START, END)
    assert wire.messages[0][1]["status"] == 200
    assert dict(wire.messages[0][1]["headers"]) == {
        b"content-type": b"text/event-stream",
        b"cache-control": b"no-store",
        b"x-accel-buffering": b"no",
    }


def test_the_events_of_one_read_go_in_one_write() -> None:
    """What came together is written together."""
    wire, _ = streamed(START, END)
    assert len(wire.messages) == 4  # the head, two reads, the last event


def test_the_head_goes_with_the_first_output() -> None:
    """Not before the backend's first event, and at once with it."""
    wire, _ = streamed(0.5, START, 2, END)
    assert wire.opened_at == pytest.approx(0.5)


@pytest.mark.parametrize("first", [(), (WAITS,)])
def test_the_head_goes_after_a_second_of_waiting(first: tuple[Any, ...]) -> None:
    """Whoever waits longer is told that it goes on, with what was told until then."""
    wire, _ = streamed(*first, 5, START, END)
    assert wire.opened_at == pytest.approx(1)
    body = wire.messages[1][1]["body"]
    assert body.startswith(b"event: generation.created\n")
    assert (b"generation.progress" in body) == bool(first)
    assert wire.names()[: 1 + len(first)] == ["generation.created", *["generation.progress"] * len(first)]


def test_progress_before_the_head_is_held() -> None:
    """Progress alone does not bring the head, so that an early failure has its own status."""
    wire, error = streamed(WAITS, 0.5, WAITS, BackendTimeout("slow"))
    assert isinstance(error, BackendTimeout)
    assert wire.messages == []


def test_progress_after_the_head_goes_at_once() -> None:
    """Once the head is out, progress is told when it comes."""
    wire, _ = streamed(3, WAITS, 3, START, END)
    progress = [at for at, message in wire.messages if b"generation.progress" in message.get("body", b"")]
    assert progress == [pytest.approx(3)]


@pytest.mark.parametrize(
    "quiet",
    [
        (Warned(GenerationWarning(code="parameter_dropped", detail="no")),),
        (UsageReported(input_tokens=1),),
        (Leased(0.5),),
    ],
)
def test_what_is_not_for_clients_is_not_sent(quiet: Sequence[Event]) -> None:
    """Warnings and usage stand in the last event; by themselves they bring neither an event nor the head."""
    wire, _ = streamed(quiet, 0.5, START, quiet, END)
    assert wire.opened_at == pytest.approx(0.5)
    assert set(wire.names()) <= {
        "generation.created",
        "generation.started",
        "output.started",
        "output.delta",
        "output.completed",
        "generation.completed",
    }
    assert framed(quiet) == b""
    assert all(message.get("body", b"x") for _, message in wire.messages)


def test_a_failure_before_the_head_is_an_ordinary_one() -> None:
    """Nothing was sent, so the caller can answer with the error's own status."""
    wire, error = streamed(0.9, BackendTimeout("slow"))
    assert isinstance(error, BackendTimeout)
    assert wire.messages == []


@pytest.mark.parametrize("steps", [(START, BackendTimeout("slow")), (2, BackendTimeout("slow"))])
def test_a_failure_after_the_head_is_an_event(steps: tuple[Any, ...]) -> None:
    """A stream never just ends: the last event says what went wrong, and holds what came."""
    wire, error = streamed(*steps)
    assert error is None
    assert wire.has_ended
    name, data = wire.events()[-1]
    assert name == "generation.failed"
    generation = data["generation"]
    assert (generation["status"], generation["error"]["code"]) == ("failed", "backend_timeout")
    assert generation["error"]["request_id"] == "req_1"
    if steps[0] is START:
        assert generation["output"][0]["text"] == "Hel"


def test_a_bug_after_the_head_is_an_event_too() -> None:
    """The client is told of a fault, and nothing about the inside."""
    wire, error = streamed(START, ZeroDivisionError("inside"))
    assert error is None
    assert wire.names()[-1] == "generation.failed"
    assert wire.events()[-1][1]["generation"]["error"]["code"] == "internal_error"
    assert b"inside" not in wire.body


def test_a_bug_before_the_head_is_the_gates() -> None:
    """It goes up as it is."""
    with pytest.raises(ZeroDivisionError):
        streamed(ZeroDivisionError("inside"))


def test_silence_is_broken_every_fifteen_seconds() -> None:
    """A comment line goes out whenever nothing else did for that long, and never beside a busy stream."""
    wire, _ = streamed(START, 50, END)
    beats = [at for at, message in wire.messages if message.get("body") == KEEP_ALIVE]
    assert beats == [pytest.approx(15), pytest.approx(30), pytest.approx(45)]
    busy, _ = streamed(START, *[10, START[1:]] * 6, END)
    assert not [at for at, message in busy.messages if message.get("body") == KEEP_ALIVE]


def test_silence_is_counted_from_the_last_event() -> None:
    """Fifteen seconds after the last event, not of the clock."""
    wire, _ = streamed(10, START, 10, START[1:], 20, END)
    beats = [at for at, message in wire.messages if message.get("body") == KEEP_ALIVE]
    assert beats == [pytest.approx(35)]


def test_no_keep_alive_into_a_blocked_connection() -> None:
    """Where a write waits for its client, no second one is begun beside it."""

    async def main() -> Wire:
        wire = Wire()
        started, _ = new_run(START, 1, END)
        task = asyncio.create_task(EventStream(started)({}, never, wire.send))
        while wire.opened_at is None:
            await asyncio.sleep(0)
        wire.free.clear()
        await asyncio.sleep(100)
        wire.free.set()
        await task
        return wire

    wire = run(main)
    assert wire.names()[-1] == "generation.completed"
    assert KEEP_ALIVE not in wire.body


@pytest.mark.parametrize("when", [0.5, 3])
def test_a_client_that_leaves_closes_the_backend(when: float) -> None:
    """A cancelled answer, waiting or running, cuts the backend's work, and sends nothing more."""

    async def main() -> None:
        wire = Wire()
        started, backend = new_run(0.1, START, 100, END)
        task = asyncio.create_task(EventStream(started)({}, never, wire.send))
        await asyncio.sleep(when)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backend.closed
        assert started.generation().status == "cancelled"
        count = len(wire.messages)
        await asyncio.sleep(100)
        assert len(wire.messages) == count

    run(main)


def test_a_stop_is_told_as_the_last_event() -> None:
    """A run that is stopped from outside ends its stream as a failure that says why."""

    async def main() -> Wire:
        wire = Wire()
        started, _ = new_run(START, 100, END)
        task = asyncio.create_task(EventStream(started)({}, never, wire.send))
        await asyncio.sleep(2)
        started.stop(ShuttingDown("going down"))
        await task
        return wire

    wire = run(main)
    assert wire.has_ended
    assert wire.events()[-1][1]["generation"]["error"]["code"] == "shutting_down"


def test_frames_hold_one_line_each() -> None:
    """Whatever a text holds, the data is one line of JSON in UTF-8."""
    text = 'a\nb\r\nc\u2028d\u0085"e\\ \U0001f600'
    delta = ItemDelta(0, "text", text, logprobs=[TokenLogprob("a", -0.5)])
    frame = framed([delta, Started(ServedBy("m", "m", "local"))])
    blocks = frame.split(b"\n\n")
    assert len(blocks) == 3
    assert all(block.count(b"\n") == 1 for block in blocks[:2])
    assert json.loads(blocks[0].split(b"data: ")[1])["text"] == text
