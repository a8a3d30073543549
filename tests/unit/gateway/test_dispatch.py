"""Runs from their admission to their end, on a backend that does what the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
from snapshots import dispatch_over, snapshot

from pluggably.domain.catalog import Foresight, Price, RouteSpec, Target
from pluggably.domain.generation import (
    Breakdown,
    Completed,
    Event,
    GenerationRequest,
    GenerationWarning,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    Leased,
    MediaKind,
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
    BackendAuthenticationFailed,
    BackendError,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    PermissionDenied,
    PluggablyError,
    ShuttingDown,
    UnsupportedParameter,
)
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.dispatch import MOST_HELD, Run
from pluggably.gateway.health import Health
from pluggably.gateway.routing import RetryRules
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

    def takes_urls(self, target: Target) -> tuple[MediaKind, ...]:
        return ()

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
        assert run.line.generation_status == "completed"

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


@pytest.mark.parametrize("at_once", [False, True])
def test_who_serves_behind_a_gateway_is_told_once(at_once: bool) -> None:
    """After the progress that came with it and before the output, in one read or in several."""

    async def main() -> None:
        theirs = ServedBy("qwen", "qwen.gguf", "local")
        parts: list[Sequence[Event]] = [(Progress(stage="loading"),), (Started(theirs),), *ANSWER]
        steps = [tuple(event for batch in parts for event in batch)] if at_once else parts
        run = Gateway(Scripted(*steps)).start()
        events = await read(run)
        served_by = ServedBy("m", "m", "local", theirs)
        assert events[:2] == [Progress(stage="loading"), Started(served_by)]
        assert [type(event) for event in events].count(Started) == 1
        assert run.generation().served_by == served_by
        assert run.generation().output == [Text("Hello")]

    run_async(main)


def test_who_would_have_served_behind_a_gateway_is_not_told_as_who_served() -> None:
    """Where the answer breaks off before its first output, nobody has."""

    async def main() -> None:
        failing = Scripted((Started(ServedBy("qwen", "q", "local")),), BackendError("broken"))
        run = Gateway(failing).start()
        await failure(run)
        assert run.generation().served_by is None

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
        assert run.line.code == error.code

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


# ── several targets ─────────────────────────────────────────────────────────────────────────────────────────────────

WARNED = Warned(GenerationWarning(code="parameter_dropped", detail="no seed here"))
PATIENT = RetryRules(attempts=2, max_wait_s=60.0)


class Turns:
    """A backend that goes through one script after the other, one for each attempt, and notes who asked."""

    def __init__(self, *scripts: Sequence[Any], credentials: int = 1, foresight: Foresight | None = None) -> None:
        self.scripts = list(scripts)
        self.credentials = credentials
        self.asked: list[tuple[int, Patience]] = []
        self.asked_to_stream: list[bool] = []
        self.waiting = asyncio.Event()
        self.foresight = foresight or Foresight()

    async def generate(
        self, request: GenerationRequest, target: Target, patience: Patience, credential: int = 0
    ) -> AsyncGenerator[Sequence[Event], None]:
        self.asked.append((credential, patience))
        self.asked_to_stream.append(request.stream)
        script = Scripted(*self.scripts.pop(0))
        script.waiting = self.waiting
        async with aclosing(script.generate(request, target, patience, credential)) as batches:
            async for batch in batches:
                yield batch

    def takes_urls(self, target: Target) -> tuple[MediaKind, ...]:
        return ()

    def foresee(self, request: GenerationRequest, target: Target) -> Foresight:
        return self.foresight


class DollarAToken:
    """What one provider, or its operator, tells of its prices: a dollar a token."""

    detail = None

    def __init__(self, *, is_operators: bool = False) -> None:
        self.is_operators = is_operators

    def known(self, model: str) -> None:
        return None

    def told_price(self, model: str) -> Price:
        return Price(input_per_million="1000000", output_per_million="1000000")

    def operators_price(self, model: str) -> Price | None:
        return self.told_price(model) if self.is_operators else None


class ARoute:
    """The route `r` over the providers `a`, `b` and so on, each with its backend."""

    def __init__(self, *backends: Turns, rules: RetryRules = PATIENT, failures: int = 5, **route: Any) -> None:
        self.backends = dict(zip("abcd", backends, strict=False))
        spec = RouteSpec(targets=tuple(f"{name}/m" for name in self.backends), **route)
        catalog = Catalog(dict.fromkeys(self.backends, "remote"), {}, (), {"r": spec})
        self.now = 0.0
        self.closed = 0

        async def close() -> None:
            self.closed += 1

        self.metrics = Metrics()
        self.health = Health(lambda: self.now, failures, 10.0)
        self.snapshot = snapshot(
            catalog=catalog,
            backends=self.backends,
            remote=dict.fromkeys(self.backends, DollarAToken()),
            limits=LIMITS,
            rules=rules,
            close=close,
        )
        self.dispatch = dispatch_over(self.snapshot, self.metrics, self.health)

    def start(self, model: str = "r", **fields: Any) -> Run:
        asked = GenerationRequest(model=model, modality="text", parameters=TextParameters(), **fields)
        return self.dispatch.start(asked, "req_1")

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"pluggably_{name}", labels) or 0.0

    async def is_let_go(self) -> bool:
        """Whether nothing uses the snapshot any more: then it closes as soon as it is retired."""
        await self.snapshot.retire()
        return self.closed == 1


def test_a_failure_before_output_costs_only_time() -> None:
    """The next target answers as if it had been the first; of the failed attempt nothing is passed on but its progress,
    and the generation tells of it."""

    async def main() -> None:
        loads = (Progress(stage="loading"),)
        route = ARoute(Turns([loads, (USAGE, WARNED), BackendTimeout("slow")]), Turns(ANSWER))
        run = route.start()
        events = await read(run)
        assert events[0] == loads[0]
        assert events[1] == Started(ServedBy("b", "m", "remote"))
        assert WARNED not in events and events.count(USAGE) == 1
        generation = run.generation()
        assert (generation.status, generation.warnings, generation.error) == ("completed", [], None)
        assert generation.output == [Text("Hello")]
        [attempt] = generation.attempts
        assert (attempt.backend, attempt.model, attempt.code, attempt.cost_usd) == ("a", "m", "backend_timeout", "5")
        assert generation.usage.cost_usd == "5"
        assert route.sample("failed_attempts_total", backend="a", code="backend_timeout") == 1
        assert route.sample("cost_usd_total", backend="a") == 5
        assert route.sample("cost_usd_total", backend="b") == 5
        assert route.sample("tokens_total", backend="a", direction="input") == 3
        assert run.line.attempts == 1 and run.line.backend == "b"
        assert await route.is_let_go()

    run_async(main)


@pytest.mark.parametrize(("is_operators", "cost"), [(False, "0.25"), (True, "5")])
def test_what_a_backend_bills_stands_over_lists_of_prices(is_operators: bool, cost: str) -> None:
    """But not over the price that the operator set."""

    async def main() -> None:
        billed = UsageReported(input_tokens=3, output_tokens=2, cost_usd="0.25")
        route = ARoute(Turns([(billed,), *ANSWER[:-1], (Completed("stop"),)]))
        route.snapshot.remote = {"a": DollarAToken(is_operators=is_operators)}  # type: ignore[assignment,dict-item]
        run = route.start()
        await read(run)
        assert run.generation().usage.cost_usd == cost

    run_async(main)


def test_the_warnings_of_the_target_that_answers_are_kept() -> None:
    """They come right behind `Started`."""

    async def main() -> None:
        run = ARoute(Turns([BackendTimeout("slow")]), Turns([(WARNED,), *ANSWER])).start()
        events = await read(run)
        assert [type(event) for event in events[:2]] == [Started, Warned]
        assert run.generation().warnings == [WARNED.warning]

    run_async(main)


def test_where_all_fail_the_first_targets_error_stands() -> None:
    """With every attempt in it, and in the generation."""

    async def main() -> None:
        first = BackendTimeout("slow", backend_status=504)
        route = ARoute(Turns([first]), Turns([BackendRejected("404")]), Turns([(USAGE,), BackendTimeout("too")]))
        run = route.start()
        error = await failure(run)
        assert error is first
        problem = error.problem("req_1")
        assert (problem.backend, problem.backend_status, problem.generation_id) == ("a", 504, run.id)
        told = [("a", "backend_timeout"), ("b", "backend_error"), ("c", "backend_timeout")]
        assert [(one.backend, one.code) for one in problem.attempts] == told
        assert run.generation().attempts == problem.attempts
        assert run.generation().error == problem
        assert route.sample("failed_attempts_total", backend="c", code="backend_timeout") == 0
        assert route.sample("generations_total", backend="c", modality="text", status="failed") == 1
        assert route.sample("tokens_total", backend="c", direction="input") == 3
        assert await route.is_let_go()

    run_async(main)


def test_what_has_a_rate_of_its_own_is_in_each_cost() -> None:
    """Three tokens of the input went into a cache, which costs a quarter more: in an attempt that failed, and in the
    one that answered."""

    async def main() -> None:
        written = UsageReported(input_tokens=3, output_tokens=2, breakdown=Breakdown(cache_write_tokens=3))
        route = ARoute(
            Turns([(written,), BackendTimeout("slow")]), Turns([(written,), *ANSWER[:-1], (Completed("stop"),)])
        )
        run = route.start()
        await read(run)
        generation = run.generation()
        [attempt] = generation.attempts
        assert (attempt.cost_usd, generation.usage.cost_usd) == ("5.75", "5.75")

    run_async(main)


@pytest.mark.parametrize("error", [BackendError("broke"), BackendRateLimited("429", retry_after_s=0)])
def test_nothing_is_retried_after_output(error: PluggablyError) -> None:
    """From the first piece on the target is final; what it used until it failed is the cost of its attempt."""

    async def main() -> None:
        route = ARoute(Turns([(USAGE,), ANSWER[0], error]), Turns(ANSWER))
        run = route.start(stream=True)
        assert await failure(run) is error
        assert route.backends["b"].asked == []
        assert run.generation().output == [Text("Hel")]
        [attempt] = run.generation().attempts
        assert (attempt.backend, attempt.cost_usd) == ("a", "5")
        assert route.sample("cost_usd_total", backend="a") == 5
        assert await route.is_let_go()

    run_async(main)


def test_another_key_of_the_same_provider() -> None:
    """A refused key is followed by the next one, and stands behind it from then on."""

    async def main() -> None:
        backend = Turns([BackendAuthenticationFailed("401")], ANSWER, ANSWER, credentials=2)
        route = ARoute(backend)
        run = route.start()
        await read(run)
        assert [(one.backend, one.code) for one in run.generation().attempts] == [
            ("a", "backend_authentication_failed")
        ]
        await read(route.start())
        assert [credential for credential, _ in backend.asked] == [0, 1, 1]

    run_async(main)


def test_a_wait_is_told_and_counted() -> None:
    """Who follows the stream hears that it waits, and for how long; then the same target is asked again."""

    async def main() -> None:
        backend = Turns([BackendRateLimited("429", retry_after_s=0.26)], ANSWER)
        run = ARoute(backend).start()
        events = await read(run)
        assert isinstance(events[0], Progress)
        assert (events[0].stage, events[0].eta_s) == ("queued", 0.3)
        assert len(backend.asked) == 2
        generation = run.generation()
        assert generation.usage.time_to_first_event_s is not None
        assert generation.usage.time_to_first_event_s >= 0.26
        assert generation.status == "completed" and len(generation.attempts) == 1

    run_async(main)


async def in_its_wait(run: Run) -> asyncio.Task[list[Event]]:
    """Reads a run up to the progress that tells of its wait of twenty seconds, and on."""
    told = asyncio.Event()

    async def reader() -> list[Event]:
        async with aclosing(run.events()) as batches:
            async for batch in batches:
                if any(type(event) is Progress for event in batch):
                    told.set()
        return []

    task = asyncio.create_task(reader())
    while not told.is_set():
        assert not task.done(), task.exception()
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


def limited(after_s: float = 20.0) -> BackendRateLimited:
    return BackendRateLimited("429", retry_after_s=after_s)


def test_a_client_that_leaves_in_a_wait() -> None:
    """The run is cancelled at once; what the failed attempt used is counted once."""

    async def main() -> None:
        route = ARoute(Turns([(USAGE,), limited()]))
        run = route.start()
        task = await in_its_wait(run)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert run.generation().status == "cancelled"
        assert len(run.generation().attempts) == 1
        assert route.dispatch.running == set()
        assert route.sample("tokens_total", backend="a", direction="input") == 3
        assert route.sample("cost_usd_total", backend="a") == 5
        assert await route.is_let_go()

    run_async(main)


def test_a_shutdown_in_a_wait() -> None:
    """The run ends with `shutting_down`, and does not wait any more."""

    async def main() -> None:
        route = ARoute(Turns([limited()]))
        run = route.start()
        task = await in_its_wait(run)
        await route.dispatch.drain(0, lambda: True)
        with pytest.raises(ShuttingDown) as caught:
            await task
        assert [one.code for one in caught.value.attempts] == ["backend_rate_limited"]
        assert run.generation().status == "failed"
        assert await route.is_let_go()

    run_async(main)


def test_a_reader_that_closes_at_the_news_of_a_wait() -> None:
    """Closing there is leaving, too."""

    async def main() -> None:
        route = ARoute(Turns([limited()]))
        run = route.start()
        events = run.events()
        assert type((await anext(events))[0]) is Progress
        await events.aclose()
        assert run.generation().status == "cancelled"
        assert await route.is_let_go()

    run_async(main)


def test_a_try_of_a_resting_target_whose_client_leaves_in_a_wait() -> None:
    """Its place is free again for the next request, though the run was waiting and had nothing under way."""

    async def main() -> None:
        route = ARoute(Turns([BackendError("x")], [limited()], ANSWER), rules=RetryRules(attempts=3), failures=1)
        assert isinstance(await failure(route.start()), BackendError)
        with pytest.raises(ModelUnavailable) as caught:
            route.start()
        assert caught.value.retry_after_s == 10
        route.now = 10.0
        task = await in_its_wait(route.start())
        with pytest.raises(ModelUnavailable):
            route.start()
        task.cancel()
        await asyncio.wait((task,))
        run = route.start()
        await read(run)
        assert run.generation().status == "completed"
        assert route.health.is_well

    run_async(main)


def test_the_place_that_a_wait_holds_is_given_back() -> None:
    """The run waits to try a resting target again, after another one failed, and its client leaves: the place is that
    of the target that it waited for."""

    async def main() -> None:
        slow = BackendTimeout("slow")
        route = ARoute(Turns([BackendError("x")], [limited()], ANSWER), Turns(ANSWER, [slow]), failures=1)
        await read(route.start())
        route.now = 10.0
        task = await in_its_wait(route.start())
        task.cancel()
        await asyncio.wait((task,))
        run = route.start()
        await read(run)
        served = run.generation().served_by
        assert served is not None and served.backend == "a"

    run_async(main)


def test_one_request_at_a_time_tries_a_resting_target() -> None:
    """Another that was planned at the same moment goes to the next target; with none, it is told to come back."""

    async def main() -> None:
        route = ARoute(Turns([BackendError("x")], [asyncio.Event()]), Turns(ANSWER, ANSWER), failures=1)
        await read(route.start())
        route.now = 10.0
        runs = [route.start(), route.start()]
        alone = route.start("a/m")
        task = asyncio.create_task(read(runs[0]))
        await route.backends["a"].waiting.wait()
        await read(runs[1])
        served = runs[1].generation().served_by
        assert served is not None and served.backend == "b"
        assert isinstance(await failure(alone), ModelUnavailable)
        assert alone.generation().attempts == []
        task.cancel()
        await asyncio.wait((task,))

    run_async(main)


def test_a_target_at_rest_is_not_repeated_by_who_brought_it_there() -> None:
    """The breaker opens between two attempts of one request, and the second goes to the next target."""

    async def main() -> None:
        route = ARoute(Turns([BackendError("x")]), Turns(ANSWER), failures=1)
        run = route.start()
        await read(run)
        assert len(route.backends["a"].asked) == 1
        [prospect, _] = sorted(
            route.dispatch.explain(route.snapshot.catalog.resolve("r"), run.request), key=lambda one: one.backend
        )
        assert prospect.position is None and "it failed once" in prospect.reason

    run_async(main)


@pytest.mark.parametrize(("asked", "rests"), [(Timeouts(), True), (Timeouts(total_s=1), False)])
def test_only_the_operators_own_limit_makes_a_target_rest(asked: Timeouts, rests: bool) -> None:
    """A client's shorter limit says nothing about the target."""

    async def main() -> None:
        route = ARoute(Turns([BackendTimeout("slow")]), Turns(ANSWER), failures=1)
        await read(route.start(timeouts=asked))
        assert route.health.is_well != rests

    run_async(main)


def test_later_attempts_have_what_time_is_left() -> None:
    """The total counts over all attempts, the wait for the first event anew for each, unless the client set it."""

    async def main() -> None:
        backend = Turns([limited(0.1)], ANSWER)
        await read(ARoute(backend).start(timeouts=Timeouts(first_event_s=5, total_s=20)))
        (_, first), (_, second) = backend.asked
        assert (first.first_event_s, first.total_s) == (5, 20)
        assert second.first_event_s <= 4.9 and second.total_s <= 19.9 and second.idle_s == first.idle_s

    run_async(main)


@pytest.mark.parametrize("stream", [False, True])
def test_a_route_may_be_impatient_while_another_target_is_left(stream: bool) -> None:
    """Then the next one is tried sooner, and asked for a stream in any case; the last one has the usual time, and is
    asked as the client asks."""

    async def main() -> None:
        slow, last = Turns([BackendTimeout("slow")]), Turns(ANSWER)
        run = ARoute(slow, last, first_event_s=2.0).start(stream=stream)
        await read(run)
        assert [patience.first_event_s for _, patience in (*slow.asked, *last.asked)] == [2.0, LIMITS.first_event_s]
        assert [*slow.asked_to_stream, *last.asked_to_stream] == [True, stream]
        assert run.generation().status == "completed"

    run_async(main)


def test_a_plain_answer_that_breaks_off_is_begun_anew() -> None:
    """Nothing of its first half is in the answer but what it cost, and the wait for a slot that was before it is no
    time of the request."""

    async def main() -> None:
        route = ARoute(Turns([(WARNED, Leased(9.0)), (USAGE,), ANSWER[0], limited(0.1)], ANSWER))
        run = route.start(timeouts=Timeouts(total_s=5))
        await read(run)
        generation = run.generation()
        assert (generation.status, generation.output, generation.warnings) == ("completed", [Text("Hello")], [])
        assert (generation.usage.output_tokens, generation.usage.queued_s) == (2, 0)
        [attempt] = generation.attempts
        assert (attempt.code, attempt.cost_usd) == ("backend_rate_limited", "5")
        (_, first), (_, second) = route.backends["a"].asked
        assert second.total_s == first.total_s == 5
        assert await route.is_let_go()

    run_async(main)


@pytest.mark.parametrize("stream", [False, True])
def test_how_soon_a_target_answers(stream: bool) -> None:
    """To its first output where the client reads a stream, to its end where it does not, though the target streams."""

    async def main() -> None:
        go = asyncio.Event()
        route = ARoute(Turns([ANSWER[0], go, *ANSWER[1:]]))
        run = route.start(stream=stream)
        reader = asyncio.create_task(read(run))
        await route.backends["a"].waiting.wait()
        assert (route.health.latency_s(run.target, stream) is not None) == stream
        go.set()
        await reader
        assert route.health.latency_s(run.target, stream) is not None

    run_async(main)


def test_every_request_of_a_weighted_route_is_drawn_anew() -> None:
    """Though the rest of its plan is kept, each target comes first in proportion to its weight."""
    route = ARoute(Turns(), Turns(), choose="weight", weights=(3.0, 1.0))
    first = Counter(route.start().target.backend for _ in range(2000))
    assert first["a"] / 2000 == pytest.approx(0.75, abs=0.05)


def test_targets_that_honour_everything_come_first() -> None:
    """A target that would drop a hint stands behind one that drops none, and one that refuses is not asked."""

    async def main() -> None:
        drops, refuses = Foresight(None, 1), Foresight(UnsupportedParameter("no"))
        route = ARoute(Turns(foresight=drops), Turns(foresight=refuses), Turns(ANSWER))
        asked = GenerationRequest(model="r", modality="text", parameters=TextParameters(seed=7))
        run = route.dispatch.start(asked, "req_1")
        await read(run)
        served = run.generation().served_by
        assert served is not None and served.backend == "c"
        assert run.generation().attempts == []

    run_async(main)


def test_where_every_target_would_refuse_the_first_refusal_stands() -> None:
    """Nothing is asked, and no generation begins."""
    refuses = UnsupportedParameter("no tools here")
    route = ARoute(Turns(foresight=Foresight(refuses)), Turns(foresight=Foresight(UnsupportedParameter("nor here"))))
    asked = GenerationRequest(model="r", modality="text", parameters=TextParameters(seed=7))
    with pytest.raises(UnsupportedParameter) as caught:
        route.dispatch.start(asked, "req_1")
    assert caught.value is refuses
    assert route.dispatch.running == set()


def test_a_promise_holds_at_the_last_moment() -> None:
    """A key that may use local models only starts nothing at a remote one."""
    route = ARoute(Turns(ANSWER), on_context_length=("a/long",))
    asked = GenerationRequest(model="r", modality="text", parameters=TextParameters())
    with pytest.raises(PermissionDenied):
        route.dispatch.start(asked, "req_1", promise="local")
    assert route.backends["a"].asked == []


def test_a_backend_that_never_comes_to_output_is_not_held_back_for_ever() -> None:
    """What is held back is bounded; past that the target is final."""

    async def main() -> None:
        route = ARoute(Turns([*([(USAGE,)] * (MOST_HELD + 1)), BackendError("broke")]), Turns(ANSWER))
        run = route.start(stream=True)
        assert isinstance(await failure(run), BackendError)
        assert run.generation().served_by == ServedBy("a", "m", "remote")
        assert route.backends["b"].asked == []

    run_async(main)


def test_a_retired_snapshot_closes_with_its_last_run_even_if_that_is_cancelled() -> None:
    """Its last run may be cancelled again while it closes; it is closed to the end, and once."""

    async def main() -> None:
        route = ARoute(Turns([asyncio.Event()]))
        may_close, ended = asyncio.Event(), []

        async def close() -> None:
            await may_close.wait()
            ended.append(1)

        current = snapshot(
            catalog=route.snapshot.catalog, backends=route.backends, limits=LIMITS, rules=PATIENT, close=close
        )
        dispatch = dispatch_over(current)
        asked = GenerationRequest(model="r", modality="text", parameters=TextParameters())
        task = asyncio.create_task(read(dispatch.start(asked, "req_1")))
        await route.backends["a"].waiting.wait()
        await current.retire()
        assert not ended
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        may_close.set()
        await current.retire()
        assert ended == [1]

    run_async(main)
