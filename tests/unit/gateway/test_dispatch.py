"""Runs from their admission to their end, on a backend that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
from snapshots import dispatch_over, snapshot

from pluggably.domain.catalog import Foresight, Target
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
    Timeouts,
    UsageReported,
    Warned,
)
from pluggably.errors import (
    BackendError,
    BackendTimeout,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    PluggablyError,
    ShuttingDown,
)
from pluggably.gateway.dispatch import Run
from pluggably.gateway.snapshot import Backend
from pluggably.net.http import Patience
from pluggably.telemetry.metrics import Metrics

T = TypeVar("T")

WAIT_S = 10.0
LIMITS = Patience(10.0, 20.0, 30.0)
USAGE = UsageReported(input_tokens=3, output_tokens=2)
ANSWER: list[Sequence[Event]] = [
    (ItemStarted(0, Text("")), ItemDelta(0, "text", "Hel")),
    (ItemDelta(0, "text", "lo"),),
    (USAGE, ItemCompleted(0, Text("Hello")), Completed("stop")),
]


class Scripted:
    """A backend that yields batches, waits where there is an event to wait for, and raises what is an error."""

    credentials = 1

    def __init__(self, *steps: Any) -> None:
        self._steps = steps
        self.asked: list[tuple[GenerationRequest, Target, Patience]] = []
        self.waiting = asyncio.Event()
        self.closed = 0

    async def generate(
        self, request: GenerationRequest, target: Target, patience: Patience, credential: int = 0
    ) -> AsyncGenerator[Sequence[Event], None]:
        self.asked.append((request, target, patience))
        try:
            for step in self._steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    self.waiting.set()
                    await step.wait()
                else:
                    yield step
        finally:
            self.closed += 1

    def foresee(self, request: GenerationRequest, target: Target) -> Foresight:
        return Foresight()


class Gateway:
    """A dispatch with one local model, and what it counts."""

    def __init__(self, backend: Backend | Exception, most_running: int = 10) -> None:
        if isinstance(backend, Exception):
            backend = Scripted(backend)
        self.metrics = Metrics()
        current = snapshot(backend, limits=LIMITS, most_running=most_running)
        self.dispatch = dispatch_over(current, self.metrics)

    def start(self, model: str = "m", **fields: Any) -> Run:
        asked = GenerationRequest(
            model=model,
            modality="text",
            messages=[Message("user", "hi")],
            parameters=TextParameters(),
            metadata={"a": "b"},
            **fields,
        )
        return self.dispatch.start(asked, "req_1")

    def counted(self, status: str, backend: str = "m") -> float:
        labels = {"backend": backend, "modality": "text", "status": status}
        return self.metrics.registry.get_sample_value("pluggably_generations_total", labels) or 0.0


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(WAIT_S):
            return await main()

    return asyncio.run(bounded())


async def read(run: Run) -> list[Event]:
    async with aclosing(run.events()) as batches:
        return [event async for batch in batches for event in batch]


async def failure(run: Run) -> PluggablyError:
    with pytest.raises(PluggablyError) as caught:
        await read(run)
    return caught.value


def test_a_run_that_goes_well() -> None:
    """`Started` comes right before the first output; the generation holds all, and is counted once."""

    async def main() -> None:
        gateway = Gateway(Scripted(*ANSWER))
        run = gateway.start()
        created = run.created()
        assert (created.status, created.output, created.metadata) == ("running", [], {"a": "b"})
        events = await read(run)
        assert events[0] == Started(ServedBy("m", "m", "local"))
        assert events[1:] == [event for batch in ANSWER for event in batch]
        generation = run.generation()
        assert generation.id == created.id == run.id
        assert (generation.status, generation.finish_reason) == ("completed", "stop")
        assert generation.output == [Text("Hello")]
        assert (generation.usage.input_tokens, generation.usage.output_tokens) == (3, 2)
        assert generation.usage.cost_usd == "0"
        assert generation.served_by == ServedBy("m", "m", "local")
        assert generation.started_at is not None
        assert generation.completed_at is not None
        assert generation.created_at <= generation.started_at <= generation.completed_at
        assert generation.usage.duration_s is not None
        assert generation.usage.time_to_first_event_s is not None
        assert generation.usage.time_to_first_event_s <= generation.usage.duration_s
        assert generation.error is None
        assert gateway.dispatch.running == set()
        assert gateway.counted("completed") == 1
        assert run.facts["generation_status"] == "completed"

    run_async(main)


@pytest.mark.parametrize(
    "waiting",
    [
        (Progress(stage="queued", position=1),),
        (Leased(0.5),),
        (Warned(GenerationWarning(code="parameter_dropped", detail="no")),),
        (USAGE,),
    ],
)
def test_what_is_no_output_does_not_start(waiting: Sequence[Event]) -> None:
    """Progress is told at once; the end of a wait, warnings and usage wait for `Started`, and do not bring it."""

    async def main() -> None:
        run = Gateway(Scripted(waiting, *ANSWER)).start()
        events = await read(run)
        is_told_at_once = isinstance(waiting[0], Progress)
        assert events.index(waiting[0]) == (0 if is_told_at_once else 1)
        assert [type(event) for event in events].index(Started) == (1 if is_told_at_once else 0)
        assert [type(event) for event in events].count(Started) == 1

    run_async(main)


def test_waiting_is_told_in_the_usage() -> None:
    """How long a lease was waited for stands in the usage."""

    async def main() -> None:
        run = Gateway(Scripted((Progress(stage="loading"),), (Leased(1.25),), *ANSWER)).start()
        await read(run)
        assert run.generation().usage.queued_s == 1.25

    run_async(main)


def test_an_answer_without_output_is_one() -> None:
    """A backend may complete without a single item."""

    async def main() -> None:
        run = Gateway(Scripted((Completed("stop"),))).start()
        await read(run)
        assert (run.generation().status, run.generation().output) == ("completed", [])

    run_async(main)


@pytest.mark.parametrize("error", [BackendTimeout("slow"), BackendError("broke"), InvalidRequest("wrong")])
def test_a_failure_keeps_what_came(error: PluggablyError) -> None:
    """Output and usage up to the failure are kept; the error names the backend and the generation."""

    async def main() -> None:
        backend = Scripted((USAGE,), ANSWER[0], error)
        gateway = Gateway(backend)
        run = gateway.start()
        assert await failure(run) is error
        generation = run.generation()
        assert (generation.status, generation.finish_reason) == ("failed", "error")
        assert generation.output == [Text("Hel")]
        assert generation.usage.input_tokens == 3
        assert generation.error is not None
        assert (generation.error.code, generation.error.request_id) == (error.code, "req_1")
        assert generation.error.generation_id == run.id
        assert generation.error.backend == ("m" if isinstance(error, BackendError) else None)
        assert backend.closed == 1
        assert gateway.dispatch.running == set()
        assert gateway.counted("failed") == 1
        assert run.facts["code"] == error.code

    run_async(main)


def test_a_bug_is_an_internal_error() -> None:
    """An exception that is no error of the house is counted as a bug, and goes up as it is."""

    async def main() -> None:
        gateway = Gateway(Scripted(ANSWER[0], ZeroDivisionError("inside")))
        run = gateway.start()
        with pytest.raises(ZeroDivisionError):
            await read(run)
        generation = run.generation()
        assert generation.status == "failed"
        assert generation.error is not None
        assert generation.error.code == InternalError.code
        assert "inside" not in generation.error.detail
        assert gateway.counted("failed") == 1

    run_async(main)


def test_a_backend_that_cannot_be_found_is_a_failure_of_the_run() -> None:
    """What `plan` raises ends the run like anything else."""

    async def main() -> None:
        gateway = Gateway(Overloaded("none"))
        assert isinstance(await failure(gateway.start()), Overloaded)
        assert gateway.counted("failed") == 1

    run_async(main)


@pytest.mark.parametrize("started", [True, False])
def test_a_reader_that_leaves_cancels(started: bool) -> None:
    """A cancelled task ends the backend's work at once, and the run counts as cancelled, its usage kept."""

    async def main() -> None:
        backend = Scripted((USAGE,), *([ANSWER[0]] if started else []), asyncio.Event())
        gateway = Gateway(backend)
        run = gateway.start()
        task = asyncio.create_task(read(run))
        await backend.waiting.wait()
        assert gateway.dispatch.running == {run}
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backend.closed == 1
        generation = run.generation()
        assert (generation.status, generation.finish_reason, generation.error) == ("cancelled", "cancelled", None)
        assert generation.usage.input_tokens == 3
        assert generation.output == ([Text("Hel")] if started else [])
        assert gateway.dispatch.running == set()
        assert gateway.counted("cancelled") == 1

    run_async(main)


def test_a_reader_that_closes_cancels() -> None:
    """Closing the events is leaving, too."""

    async def main() -> None:
        backend = Scripted(*ANSWER)
        gateway = Gateway(backend)
        run = gateway.start()
        events = run.events()
        await anext(events)
        await events.aclose()
        assert run.generation().status == "cancelled"
        assert backend.closed == 1
        assert gateway.counted("cancelled") == 1

    run_async(main)


@pytest.mark.parametrize("where", ["waiting", "held"])
def test_a_run_can_be_stopped(where: str) -> None:
    """A stop ends the run as a failure with its reason, whether it waits for the backend or for its reader; the
    task that reads goes on."""

    async def main() -> None:
        backend = Scripted(ANSWER[0], asyncio.Event())
        gateway = Gateway(backend)
        run = gateway.start()
        holds = asyncio.Event()

        async def reader() -> str:
            try:
                async with aclosing(run.events()) as batches:
                    async for _ in batches:
                        if where == "held":
                            holds.set()
                            await asyncio.Event().wait()
            except ShuttingDown as error:
                await asyncio.sleep(0)
                return error.detail
            return ""

        task = asyncio.create_task(reader())
        await (holds if where == "held" else backend.waiting).wait()
        run.stop(ShuttingDown("stopped"))
        run.stop(ShuttingDown("again"))
        assert await task == "stopped"
        generation = run.generation()
        assert generation.status == "failed"
        assert generation.error is not None
        assert generation.error.code == "shutting_down"
        assert generation.output == [Text("Hel")]
        assert backend.closed == 1
        assert gateway.counted("failed") == 1

    run_async(main)


def test_stopping_what_has_ended_does_nothing() -> None:
    """A run that has ended stays as it ended."""

    async def main() -> None:
        run = Gateway(Scripted(*ANSWER)).start()
        await asyncio.create_task(read(run))
        run.stop(ShuttingDown("late"))
        assert run.generation().status == "completed"

    run_async(main)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Timeouts(), (10, 20, 30)),
        (Timeouts(first_event_s=1), (1, 20, 30)),
        (Timeouts(idle_s=2, total_s=3), (10, 2, 3)),
        (Timeouts(first_event_s=100, idle_s=100, total_s=100), (10, 20, 30)),
        (Timeouts(first_event_s=10, idle_s=20, total_s=30), (10, 20, 30)),
    ],
)
def test_a_client_may_only_wait_less(asked: Timeouts, expected: tuple[float, ...]) -> None:
    """The client's limits count within the operator's."""

    async def main() -> None:
        backend = Scripted(*ANSWER)
        await read(Gateway(backend).start(timeouts=asked))
        patience = backend.asked[0][2]
        assert (patience.first_event_s, patience.idle_s, patience.total_s) == expected

    run_async(main)


def test_the_target_is_what_the_name_means() -> None:
    """A provider's model goes to that provider under its own id; an unknown name is not admitted."""

    async def main() -> None:
        backend = Scripted(*ANSWER)
        gateway = Gateway(backend)
        run = gateway.start("far/some/model")
        await read(run)
        assert backend.asked[0][1] == Target(backend="far", model="some/model", location="remote")
        assert run.generation().model == "far/some/model"
        assert run.generation().usage.cost_usd is None
        assert gateway.counted("completed", "far") == 1
        with pytest.raises(ModelNotFound):
            gateway.start("nothing")

    run_async(main)


def test_too_many_are_refused() -> None:
    """One more than may run answers `overloaded`; when one has ended, there is room again."""

    async def main() -> None:
        holds = asyncio.Event()
        backend = Scripted(holds, *ANSWER)
        gateway = Gateway(backend, most_running=2)
        tasks = [asyncio.create_task(read(gateway.start())) for _ in range(2)]
        while len(gateway.dispatch.running) < 2:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            gateway.start()
        assert caught.value.retry_after_s
        holds.set()
        await asyncio.gather(*tasks)
        await read(gateway.start())
        assert gateway.counted("completed") == 3

    run_async(main)


def test_draining_waits_for_what_runs() -> None:
    """A drain admits no more, and ends as soon as all have ended."""

    async def main() -> None:
        holds = asyncio.Event()
        backend = Scripted(holds, *ANSWER)
        gateway = Gateway(backend)
        run = gateway.start()
        task = asyncio.create_task(read(run))
        await backend.waiting.wait()
        drain = asyncio.create_task(gateway.dispatch.drain(60, lambda: False))
        while not gateway.dispatch.is_closing:
            await asyncio.sleep(0)
        with pytest.raises(ShuttingDown) as caught:
            gateway.start()
        assert caught.value.retry_after_s
        holds.set()
        await drain
        await task
        assert run.generation().status == "completed"

    run_async(main)


@pytest.mark.parametrize(("limit_s", "at_once"), [(0.0, False), (60.0, True)])
def test_draining_ends_what_runs_too_long(limit_s: float, at_once: bool) -> None:
    """After its limit, or at once where it is told so, a drain ends what still runs."""

    async def main() -> None:
        backend = Scripted(ANSWER[0], asyncio.Event())
        gateway = Gateway(backend)
        runs = [gateway.start() for _ in range(3)]
        tasks = [asyncio.create_task(failure(run)) for run in runs]
        while len(backend.asked) < 3:
            await asyncio.sleep(0)
        await gateway.dispatch.drain(limit_s, lambda: at_once)
        errors = await asyncio.gather(*tasks)
        assert {error.code for error in errors} == {"shutting_down"}
        assert backend.closed == 3
        assert gateway.counted("failed") == 3

    run_async(main)


def test_draining_what_is_idle_takes_no_time() -> None:
    """Without a generation a drain is over at once."""

    async def main() -> None:
        await Gateway(Scripted()).dispatch.drain(60, lambda: False)

    run_async(main)
