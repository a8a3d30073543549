"""Runs generations: a route's targets are tried in turn until one answers, and each run is followed to its end.

There is one path for every way of answering. A plain answer reads a run's events to the end and takes its
`generation`; a streamed one frames the events on the way. Both end in the same place, so neither can drift.

What surprises: until the first piece of output nothing that a backend says is passed on but its progress, so a failure
up to there costs the client nothing but time. From the first piece on the target is final for whoever follows a stream;
of a plain answer nothing has gone out before its end, so there another attempt begins it anew.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import structlog
from msgspec import UNSET

from pluggably.domain.catalog import Foresight, Prospect, RemoteModel, Route, Target
from pluggably.domain.generation import (
    Completed,
    EmbeddingParameters,
    Event,
    Fold,
    Generation,
    GenerationRequest,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    JsonSchemaFormat,
    Leased,
    Location,
    Progress,
    ServedBy,
    Started,
    Status,
    TextParameters,
    Timeouts,
    ToolCall,
)
from pluggably.domain.ids import new_id
from pluggably.errors import BackendError, FailedAttempt, InternalError, Overloaded, PluggablyError, ShuttingDown
from pluggably.gateway.health import Health
from pluggably.gateway.inputs import holds_media, media_kinds
from pluggably.gateway.ledger import Ledger
from pluggably.gateway.routing import NO_ROUTING, Attempt, Known, Plan, Pursuit, plan
from pluggably.gateway.snapshot import Live, Snapshot
from pluggably.net.http import Patience
from pluggably.telemetry.logs import RequestLine

log = structlog.get_logger()

MOST_PLANS = 4096
# The least time that an attempt is given; and what earlier attempts took, below this, is not counted. Seconds.
SHORT_S = 0.01
# A longer wait than this is told to whoever follows the stream.
TOLD_WAIT_S = 0.25
# A backend that says more than this before any output has begun to answer.
MOST_HELD = 256
PLAIN_TEXT = TextParameters()
PLAIN_EMBEDDING = EmbeddingParameters()
NOTHING_AMISS = Foresight()
NOTHING_KNOWN = Known()

_clock = time.perf_counter  # the loop's own clock stands still within a turn of the loop


class Run:
    """One generation from its admission to its end. `events` is read once, to its end or closed."""

    def __init__(
        self, dispatch: Dispatch, snapshot: Snapshot, request: GenerationRequest, plan: Plan, request_id: str
    ) -> None:
        self.id = new_id("gen_")
        self.request = request
        # The target that is being tried, or was tried last.
        self.target = plan.candidates[0].target
        # The request's line in the log, which the run's end completes.
        self.line = RequestLine()
        self._dispatch = dispatch
        self._snapshot = snapshot
        self._plan = plan
        self._request_id = request_id
        self._media = snapshot.inputs.of(request, request_id)
        self._fold = Fold()
        self._attempts: list[FailedAttempt] = []
        self._status: Status = "running"
        self._error: PluggablyError | None = None
        self._created_at = datetime.now(UTC)
        self._started_at: datetime | None = None
        self._completed_at: datetime | None = None
        self._ended: Generation | None = None
        self._stopped_by: PluggablyError | None = None
        self._task: asyncio.Task[object] | None = None
        # Made with the first failure, unless something had to be decided before.
        self._pursuit: Pursuit | None = None
        self._first_error: PluggablyError | None = None
        # Times on the clock of `_clock`; waiting for slots and for models to load, in attempts that failed.
        self._began = self._tried_at = 0.0
        self._queued_s = 0.0
        # What the attempt has said before its first output.
        self._held: list[Event] = []
        # Whether the answer's beginning and its pauses have limits: in a stream, and where the client sets one. Only a
        # stream has either, so then the backend is asked for one.
        asked = request.timeouts
        is_limited = asked.first_event_s is not None or asked.idle_s is not None
        self._is_timed = request.stream or (is_limited and request.modality == "text")
        # Whether a time-out of the attempt would be the operator's limit, and not a shorter one.
        self._is_own_time = True

    def created(self) -> Generation:
        """The generation as it stands before any event."""
        return Generation(
            id=self.id,
            status="running",
            modality=self.request.modality,
            model=self.request.model,
            created_at=self._created_at,
            usage=self._fold.usage,
            metadata=self.request.metadata,
        )

    def generation(self) -> Generation:
        """The whole of it, as it stands now; after the last event, as it ended."""
        return self._ended or self._standing()

    def _standing(self) -> Generation:
        return Generation(
            id=self.id,
            status=self._status,
            modality=self.request.modality,
            model=self.request.model,
            served_by=self._fold.served_by,
            attempts=self._attempts,
            created_at=self._created_at,
            started_at=self._started_at,
            completed_at=self._completed_at,
            output=self._fold.output(),
            finish_reason=self._fold.finish_reason,
            usage=self._fold.usage,
            warnings=self._fold.warnings,
            error=self._error.problem(self._request_id) if self._error else None,
            metadata=self.request.metadata,
        )

    def stop(self, reason: PluggablyError) -> None:
        """Ends the run from outside, as a failure with `reason`: its backend call is cut."""
        if self._stopped_by is None and self._task is not None and not self._task.done():
            self._stopped_by = reason
            self._task.cancel()

    async def events(self) -> AsyncGenerator[Sequence[Event], None]:
        """The events, those of one read together.

        Raises: whatever ended the run, after the run's state has been settled. Where every target failed, that is the
        first target's error."""
        self._task = asyncio.current_task()
        self._dispatch.running.add(self)
        self._snapshot.enter()
        self._began = _clock()
        health = self._dispatch.health
        try:
            attempt = self._pursue()
            while True:
                try:
                    request = await self._prepare(attempt)
                    async with aclosing(self._ask(attempt, request)) as batches:
                        async for batch in batches:
                            if self._started_at is None:
                                batch = self._before_output(batch)
                            self._fold.add(batch)
                            yield batch
                    break
                except PluggablyError as error:
                    attempt = await self._after(error, attempt)
                if attempt.wait_s:
                    if attempt.wait_s >= TOLD_WAIT_S:
                        detail = f"waiting for {attempt.target.backend}, which could not answer yet"
                        yield (Progress(stage="queued", eta_s=round(attempt.wait_s, 1), detail=detail),)
                    await asyncio.sleep(attempt.wait_s)
            self._status = "completed"
            if not self.request.stream:
                latency_s = _clock() - self._tried_at - self._fold.usage.queued_s
                health.began(self.target, latency_s, stream=False, who=self)
            health.succeeded(self.target)
            health.credential_worked(self.target.backend, attempt.credential)
        except PluggablyError as error:
            raise self._failed(error) from error.__cause__
        except (asyncio.CancelledError, GeneratorExit):
            health.left(self.target, self)
            if self._stopped_by is not None:
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                raise self._failed(self._stopped_by) from None
            self._status = "cancelled"
            self._fold.finish_reason = "cancelled"
            raise
        except Exception:
            health.left(self.target, self)
            self._failed(InternalError())
            raise
        finally:
            self._completed_at = datetime.now(UTC)
            # What an attempt said before it failed or was left still counts.
            self._fold.add(event for event in self._held if type(event) is not Started)
            usage = self._fold.usage
            usage.duration_s = round(_clock() - self._began, 6)
            self._dispatch.running.discard(self)
            # It holds this run in a circle, which only the garbage collector would find.
            self._pursuit = None
            if self._media is not None:
                self._media.close()
            try:
                await self._settle(self._fold)
            finally:
                try:
                    self._ended = self._standing()
                    self._dispatch.ledger.record(self._ended, self.target, self.line)
                finally:
                    await self._snapshot.leave()

    # ── one attempt after the other ──

    def _pursue(self) -> Attempt:
        """The first attempt. Raises: ModelUnavailable where every target rests."""
        if self._dispatch.health.is_untroubled:
            # Nothing is to be decided yet, so nothing is made that could decide.
            candidates = self._plan.candidates
            impatience_s = self._plan.first_event_s if len(candidates) > 1 else None
            return Attempt(candidates[0].target, 0, 0.0, "first", impatience_s)
        self._pursuit = self._new_pursuit()
        return self._pursuit.first()

    def _new_pursuit(self) -> Pursuit:
        asked, snapshot, health = self.request.timeouts, self._snapshot, self._dispatch.health
        longest_s = min(asked.total_s or snapshot.limits.total_s, snapshot.limits.total_s)
        if self._is_timed and asked.first_event_s is not None:
            longest_s = min(longest_s, asked.first_event_s)
        return Pursuit(
            self._plan,
            lambda target: health.credentials(target.backend, snapshot.backend(target).credentials),
            lambda target: health.admits(target, self),
            snapshot.rules,
            random.random,
            # An attempt's timer may run out a moment early; the moment is not enough for another.
            self._began + longest_s - SHORT_S,
        )

    async def _prepare(self, attempt: Attempt) -> GenerationRequest:
        """Begins an attempt: the request in the form that its target takes."""
        self.target = target = attempt.target
        self._held = []
        self._tried_at = _clock()
        media, snapshot = self._media, self._snapshot
        if media is None:
            return self.request
        urls = snapshot.backend(target).takes_urls(target)
        if media.needs_fetching(urls):
            refusal = _asked_beforehand(snapshot, target, self.request).refusal
            if refusal is not None:
                raise refusal
        patience = _within(self.request.timeouts, snapshot.limits, self._spent_s())
        within_s = min(patience.first_event_s, patience.total_s) if self._is_timed else patience.total_s
        request, self._held[:] = await media.brought(urls, within_s)
        return request

    def _spent_s(self) -> float:
        """What is gone of the request's time: all of it, but for the waiting of earlier attempts for a free slot and
        for a model to load."""
        return _clock() - self._began - self._queued_s

    def _ask(self, attempt: Attempt, request: GenerationRequest) -> AsyncGenerator[Sequence[Event], None]:
        """The events of one attempt."""
        target = attempt.target
        self._tried_at = _clock()
        spent_s = self._spent_s()
        asked, limits = self.request.timeouts, self._snapshot.limits
        patience = _within(asked, limits, spent_s)
        if attempt.first_event_s is not None:
            first_event_s = min(attempt.first_event_s, patience.first_event_s)
            patience = Patience(first_event_s, patience.idle_s, patience.total_s)
        if not request.stream and (self._is_timed or attempt.first_event_s is not None):
            request = msgspec.structs.replace(request, stream=True)
        is_shortened = spent_s >= SHORT_S and limits.total_s - spent_s < limits.first_event_s
        asks_nothing = asked.first_event_s is None and asked.idle_s is None and asked.total_s is None
        self._is_own_time = asks_nothing and not is_shortened
        return self._snapshot.backend(target).generate(request, target, patience, attempt.credential)

    def _before_output(self, batch: Sequence[Event]) -> Sequence[Event]:
        """What of an attempt's first batches is passed on: progress, and nothing else until there is output. If the
        attempt fails, the rest never was."""
        if not _is_output(batch) and len(self._held) < MOST_HELD:
            self._held += (event for event in batch if type(event) is not Progress)
            return [event for event in batch if type(event) is Progress]
        now = _clock()
        self._started_at = datetime.now(UTC)
        self._fold.usage.time_to_first_event_s = round(now - self._began, 6)
        target = self.target
        if self.request.stream:
            latency_s = now - self._tried_at - _queued_s(self._held)
            self._dispatch.health.began(target, latency_s, stream=True, who=self)
        said = [*self._held, *batch]
        self._held = []
        behind = next((event.served_by for event in said if type(event) is Started), UNSET)
        started = Started(ServedBy(target.backend, target.model, target.location, behind))
        # A backend that is a gateway may tell its wait and its first output in one breath.
        waited = [event for event in said if type(event) is Progress]
        return [*waited, started, *(event for event in said if type(event) not in (Progress, Started))]

    async def _after(self, error: PluggablyError, failed: Attempt) -> Attempt:
        """Notes a failed attempt; returns the next one. Raises: the error to end with, where there is none."""
        target, health = failed.target, self._dispatch.health
        _attribute(error, target)
        health.failed(target, error, self, own_time=self._is_own_time)
        health.credential_failed(target.backend, failed.credential, error)
        if self._first_error is None or target == self._plan.candidates[0].target:
            self._first_error = error
        duration_s = _clock() - self._tried_at
        queued_s = _queued_s(self._held) if self._started_at is None else self._fold.usage.queued_s
        self._queued_s += queued_s
        pursuit = self._pursuit
        if pursuit is None:
            pursuit = self._pursuit = self._new_pursuit()
            pursuit.begin_with(failed)
        pursuit.extend(queued_s)
        used = Fold()
        used.add(self._held)
        fold = used if self._started_at is None else self._fold
        usage = fold.usage
        await self._settle(fold)
        self._attempts.append(
            FailedAttempt(
                backend=target.backend,
                model=target.model,
                code=error.code,
                duration_s=round(duration_s, 6),
                cost_usd=usage.cost_usd,
            )
        )
        is_final = self.request.stream and self._started_at is not None
        following = None if is_final else pursuit.after(error, _clock())
        if following is None:
            raise error if is_final else self._first_error
        self._dispatch.ledger.lost(target, error.code, usage)
        # What this attempt said is counted. From here on a run that is left leaves the next target.
        self._held = []
        if self._started_at is not None:
            self._started_at, self._fold = None, Fold()
        self.target = following.target
        log.info(
            "attempt_failed",
            generation_id=self.id,
            request_id=self._request_id,
            backend=target.backend,
            backend_model=target.model,
            code=error.code,
            next_backend=following.target.backend,
            next_backend_model=following.target.model,
            reason=following.reason,
            wait_s=round(following.wait_s, 3),
        )
        return following

    async def _settle(self, fold: Fold) -> None:
        snapshot = self._snapshot
        price_list, told = snapshot.price_lists.get(self.target.backend), snapshot.told_price(self.target)
        if fold.usage.cost_usd is not None:  # what the backend bills is nearer the truth than a list of prices
            price_list, told = None, snapshot.operators_price(self.target)
        await self._dispatch.ledger.settle(fold.usage, self.target, price_list, told, fold.breakdown)

    def _failed(self, error: PluggablyError) -> PluggablyError:
        _attribute(error, self.target)
        error.generation_id = self.id
        error.attempts = self._attempts
        self._status = "failed"
        self._fold.finish_reason = "error"
        self._error = error
        return error


class Dispatch:
    """Admits generations, and decides which targets each one tries."""

    def __init__(self, live: Live, ledger: Ledger, health: Health, draw: Callable[[], float] = random.random) -> None:
        self._live = live
        self._draw = draw
        self.ledger = ledger
        self.health = health
        self.running: set[Run] = set()
        self._closing: ShuttingDown | None = None

    def start(
        self,
        request: GenerationRequest,
        request_id: str,
        *,
        promise: Location | None = None,
        is_small: bool = True,
    ) -> Run:
        """`promise` is where the caller's data may go. What a large request would lose at each target is not looked at
        beforehand, because that costs as much as sending it.

        Raises: ModelNotFound, ShuttingDown, Overloaded; InvalidRequest, PermissionDenied, ModelUnavailable and their
        kin where no target is left."""
        if self._closing is not None:
            raise self._closing
        snapshot = self._live.current
        if len(self.running) >= snapshot.most_running:
            raise Overloaded(f"{snapshot.most_running} generations are running, which is the limit.", retry_after_s=1)
        route = snapshot.catalog.resolve(request.model)
        planned = self._plan(snapshot, route, request, promise)
        if len(planned.candidates) > 1 and is_small and _asks_for_more(request):
            planned = _preferring(snapshot, planned, request)
        if not planned.candidates:
            raise planned.nothing_left()
        return Run(self, snapshot, request, planned, request_id)

    def explain(self, route: Route, request: GenerationRequest, promise: Location | None = None) -> list[Prospect]:
        """Which targets would be tried now, in which order and why, and why others would not."""
        snapshot = self._live.current
        planned = self._order(snapshot, route, request, promise, is_told=True)
        if planned.candidates:
            planned = _preferring(snapshot, planned, request)
        return planned.prospects()

    def _plan(self, snapshot: Snapshot, route: Route, request: GenerationRequest, promise: Location | None) -> Plan:
        """The order of a route's targets. Where nothing but the config and chance decide it, it is kept."""
        by_config = route.choose == "order" or route.choose == "weight"
        if by_config and request.routing is None and promise is None and self.health.is_well:
            kept = snapshot.plans.get(route.id)
            if kept is None or kept[0] is not route:
                if len(snapshot.plans) >= MOST_PLANS:
                    snapshot.plans.clear()
                kept = snapshot.plans[route.id] = (route, self._order(snapshot, route, request, None))
            return kept[1] if route.choose == "order" else kept[1].drawn(route, self._draw)
        return self._order(snapshot, route, request, promise)

    def _order(
        self,
        snapshot: Snapshot,
        route: Route,
        request: GenerationRequest,
        promise: Location | None,
        *,
        is_told: bool = False,
    ) -> Plan:
        health, wishes = self.health, request.routing or NO_ROUTING
        choose = wishes.sort or route.choose
        # What the order does not depend on is not looked up: with ten targets it would be much of a request's cost.
        is_well = health.is_well
        by_facts = is_told or choose == "price" or bool(wishes.only or wishes.ignore or wishes.order)
        by_latency = is_told or choose == "latency"

        def known(target: Target) -> Known:
            if is_well and not by_facts and not by_latency:
                return NOTHING_KNOWN
            facts = snapshot.known(target) if by_facts else None
            rests_s = 0.0 if is_well else health.rests_s(target)
            return Known(
                free=True if target.runner is not None else facts.free if facts is not None else None,
                price=facts.price if facts is not None else None,
                latency_s=health.latency_s(target, request.stream) if by_latency else None,
                rests_s=rests_s,
                resting=health.why(target) if rests_s else "",
            )

        return plan(route, wishes, known, promise=promise, draw=self._draw, is_told=is_told)

    @property
    def is_closing(self) -> bool:
        return self._closing is not None

    def close(self) -> None:
        """Admits no more generations; those that run go on."""
        self._closing = ShuttingDown("The gateway is shutting down; ask again in a moment.", retry_after_s=5)

    async def drain(self, limit_s: float, at_once: Callable[[], bool]) -> None:
        """Admits no more, and waits until the running generations have ended: at most `limit_s`, or until `at_once`
        says so. Those that still run are ended with `shutting_down`."""
        self.close()
        deadline = asyncio.get_running_loop().time() + limit_s
        while self.running and asyncio.get_running_loop().time() < deadline and not at_once():  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # `at_once` changes by a signal, which sets no event of ours
        for run in list(self.running):
            run.stop(ShuttingDown("The gateway was shut down before the generation had ended."))


def _is_output(batch: Sequence[Event]) -> bool:
    """Whether a batch brings output: more than the bare opening of a text, which some wires begin with."""
    for event in batch:
        kind = type(event)
        if kind is ItemDelta or kind is ItemCompleted or kind is Completed:
            return True
        if isinstance(event, ItemStarted) and type(event.item) is ToolCall:
            return True
    return False


def _queued_s(events: Sequence[Event]) -> float:
    return sum(event.queued_s for event in events if isinstance(event, Leased))


def _attribute(error: PluggablyError, target: Target) -> None:
    """Names the backend of an error that is its own, or its refusal of the request."""
    if error.backend is None and (isinstance(error, BackendError) or error.backend_status or error.backend_code):
        error.backend = target.backend


def _within(asked: Timeouts, limits: Patience, spent_s: float) -> Patience:
    """How long one attempt may take: the client's limits within the operator's, less what earlier attempts took."""
    if spent_s < SHORT_S:
        spent_s = 0.0
        if asked.first_event_s is None and asked.idle_s is None and asked.total_s is None:
            return limits
    first_event_s = limits.first_event_s
    if asked.first_event_s is not None:
        first_event_s = min(asked.first_event_s - spent_s, first_event_s)
    total_s = min(asked.total_s or limits.total_s, limits.total_s) - spent_s
    # The first attempt has what was asked for, however little; a later one is only made with time left.
    least_s = SHORT_S if spent_s else 0.0
    idle_s = min(asked.idle_s or limits.idle_s, limits.idle_s)
    return Patience(max(first_event_s, least_s), idle_s, max(total_s, least_s))


def _asks_for_more(request: GenerationRequest) -> bool:
    """Whether a request has anything that some target may not honour."""
    if request.tools or request.response_format is not None or request.parallel_tool_calls is not None:
        return True
    if request.parameters != (PLAIN_TEXT if request.modality == "text" else PLAIN_EMBEDDING):
        return True
    return any(not isinstance(message.content, str) for message in request.messages)


def _preferring(snapshot: Snapshot, planned: Plan, request: GenerationRequest) -> Plan:
    """The plan with the targets first that honour all that is asked. Usually the first does, and then nothing else is
    looked at."""
    foreseen: dict[Target, Foresight] = {}
    for i, candidate in enumerate(planned.candidates):
        foreseen[candidate.target] = foresight = _foresee(snapshot, candidate.target, request)
        if i == 0 and foresight == NOTHING_AMISS:
            return planned
    keeps_order = request.routing is not None and bool(request.routing.order)
    return planned.preferring(foreseen, keeps_order=keeps_order)


def _asked_beforehand(snapshot: Snapshot, target: Target, request: GenerationRequest) -> Foresight:
    """What a target says of a request, as it would get it."""
    backend = snapshot.backend(target)
    if not holds_media(request):
        return backend.foresee(request, target)
    likely = snapshot.inputs.foreseen(request, backend.takes_urls(target))
    foresight = backend.foresee(likely, target)
    refusal = foresight.refusal
    if refusal is not None and likely is not request and (refusal.pointer or "").endswith("/media_type"):
        return NOTHING_AMISS  # which type it is, is not known before it is fetched
    return foresight


def _foresee(snapshot: Snapshot, target: Target, request: GenerationRequest) -> Foresight:
    foresight = _asked_beforehand(snapshot, target, request)
    if foresight.refusal is not None:
        return foresight
    facts = snapshot.known(target)
    lacks = _lacks(facts, request) if facts is not None else 0
    return Foresight(None, foresight.drops + lacks) if lacks else foresight


def _lacks(facts: RemoteModel, request: GenerationRequest) -> int:
    """How much of what is asked a model is known not to have. A list may be wrong, so this only puts it behind."""
    can = facts.capabilities
    lacks = int(bool(request.tools) and can.tools is False)
    lacks += int(isinstance(request.response_format, JsonSchemaFormat) and can.json_schema is False)
    lacks += int(facts.output_modalities is not None and request.modality not in facts.output_modalities)
    if facts.input_modalities is not None:
        lacks += sum(kind not in facts.input_modalities for kind in media_kinds(request))
    return lacks
