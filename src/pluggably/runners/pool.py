"""The pool: local models as addresses to lease. It decides when a worker starts, who gets its slots, and when it ends.

Every model has a lane: the leases that run, those that wait in order of arrival, and the worker that they share. A
lane changes only by plain functions on the event loop, never across an await, so it needs no lock, and a lease that
is cancelled anywhere gives back what it has. What surprises: a start belongs to the lane, not to the lease that
caused it, so it goes on when that client leaves; and a lease on a worker that died holds no slot of the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import structlog
from msgspec import Struct

from pluggably.domain.catalog import Description, LocalModel, ModelStatus, Standing, Target, WorkerReport
from pluggably.domain.generation import Progress
from pluggably.errors import (
    Conflict,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    PluggablyError,
    ShuttingDown,
)
from pluggably.net.http import HttpClient
from pluggably.runners.backoff import Failure, Kind, failure
from pluggably.runners.devices import memory_bytes, usable_cores
from pluggably.runners.runner import Launch, Placement, ServerRunner
from pluggably.runners.supervisor import StartLimits, Worker, free_port
from pluggably.wire.codec import Codec
from pluggably.wire.endpoint import Endpoint

log = structlog.get_logger(__name__)

MakeWorker: TypeAlias = Callable[[Launch, int, Callable[[Worker], None]], Worker]

# How much of a new duration goes into the running mean of a lane's generations.
MEAN_WEIGHT = 0.2
LONGEST_RETRY_AFTER_S = 60.0
# Of the worker's own log, in ours when it fails.
LOGGED_LINES = 10
# How often to look whether a lane that is retiring has nothing left to serve.
RETIRING_LOOK_S = 0.1


class PoolSettings(Struct, frozen=True, kw_only=True):
    """Units: seconds, where `_s`. `keep_alive_s` is how long a worker stays without a generation, where neither the
    request nor the model says; infinite is for ever. After a start that failed the next one waits `first_backoff_s`,
    twice as long after each further one up to `longest_backoff_s`, until a worker has been well for `stable_s`. A crash
    counts as such a start, but the first one is followed by a start at once: whoever asks again is then served."""

    keep_alive_s: float = 300.0
    start: StartLimits = StartLimits()
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 60.0
    stable_s: float = 60.0
    progress_every_s: float = 0.5
    unload_grace_s: float = 10.0
    stop_grace_s: float = 3.0
    # None: the cores that this process may use.
    cores: int | None = None


class Pool:
    """The local models of this process. To be made and used on one event loop, and closed."""

    def __init__(
        self,
        runners: Mapping[str, ServerRunner],
        codecs: Mapping[str, type[Codec]],
        http: HttpClient,
        *,
        environment: Mapping[str, str],
        settings: PoolSettings | None = None,
        clock: Callable[[], float] | None = None,
        make_worker: MakeWorker | None = None,
    ) -> None:
        """`http` is for asking workers whether they are ready. `environment` is the gateway's own, of which workers
        get a small part. `clock` (seconds, the event loop's by default) and `make_worker` are there for tests."""
        self._runners = runners
        self._codecs = codecs
        self._http = http
        self._environment = environment
        self._settings = settings or PoolSettings()
        self._clock = clock or asyncio.get_running_loop().time
        self._make_worker = make_worker or self._real_worker
        self._lanes: dict[str, _Lane] = {}
        self._retiring: dict[asyncio.Task[None], _Lane] = {}
        self._is_closing = False

    # ── the models ──────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, model: LocalModel) -> None:
        """Raises: Conflict (the id is taken), InvalidRequest (no such runner, wrong options)."""
        if model.id in self._lanes:
            raise Conflict(f"There is already a local model named {model.id}.")
        self._lanes[model.id] = self._new_lane(model)

    def _new_lane(self, model: LocalModel) -> _Lane:
        runner = self._runners.get(model.runner)
        if runner is None:
            known = ", ".join(sorted(self._runners))
            raise InvalidRequest(f"There is no runner {model.runner}; there are: {known}.", pointer="/runner")
        try:
            options = msgspec.convert(model.options, runner.Options)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"The options of {model.id} are wrong: {error}", pointer="/options") from error
        return _Lane(self, model, runner, options)

    async def remove(self, model_id: str, *, at_once: bool = False) -> None:
        """Unloads the model and forgets it; its running generations get a moment to end, unless `at_once`.

        Raises: ModelNotFound."""
        lane = self._lane(model_id)
        del self._lanes[model_id]
        await lane.unload(0.0 if at_once else self._settings.unload_grace_s)

    def replace(self, models: Iterable[LocalModel], grace_s: float) -> list[str]:
        """Makes `models` the ones there are. One that is as it was keeps its worker; one that is gone or changed
        serves the requests that it has, for at most `grace_s`, and then ends. Returns the ids of these.

        Raises: Conflict, InvalidRequest, before anything has changed."""
        lanes: dict[str, _Lane] = {}
        for model in models:
            old = self._lanes.get(model.id)
            lanes[model.id] = old if old is not None and old.model == model else self._new_lane(model)
        gone = [lane for model_id, lane in self._lanes.items() if lanes.get(model_id) is not lane]
        self._lanes = lanes
        for lane in gone:
            task = asyncio.get_running_loop().create_task(lane.retire(grace_s))
            self._retiring[task] = lane
            task.add_done_callback(self._retiring.pop)
        return [lane.model.id for lane in gone]

    def models(self) -> list[LocalModel]:
        return [lane.model for lane in self._lanes.values()]

    async def describe(self, model_id: str) -> Description:
        """What the weights say, without a start; remembered until their file changes.

        Raises: ModelNotFound, ModelUnavailable, InvalidRequest."""
        return await self._lane(model_id).describe()

    def standing(self, model_id: str) -> Standing:
        """Raises: ModelNotFound."""
        return self._lane(model_id).standing()

    # ── the leases ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def lease(
        self, target: Target, keep_alive_s: float | None = None
    ) -> AsyncGenerator[Progress | Endpoint, None]:
        """See `wire.endpoint.AddressSource`. Raises: Overloaded, ModelUnavailable, ShuttingDown, ModelNotFound."""
        lane = self._lane(target.model)
        lease = lane.enter(keep_alive_s)
        try:
            while not lease.granted.done():
                yield lane.progress(lease)
                await asyncio.wait((lease.granted,), timeout=self._settings.progress_every_s)
            endpoint = lease.granted.result()
            yield msgspec.structs.replace(endpoint, backend=target.backend)
        finally:
            lane.leave(lease)

    def last_endpoint(self, target: Target) -> Endpoint | None:
        """See `wire.endpoint.AddressSource`."""
        lane = self._lanes.get(target.model)
        endpoint = lane.endpoint if lane is not None else None
        return msgspec.structs.replace(endpoint, backend=target.backend) if endpoint is not None else None

    async def load(self, model_id: str) -> None:
        """Returns when the model is loaded; it then stays for its keep-alive time. Does not wait out a back-off.

        Raises: ModelNotFound, ModelUnavailable, ShuttingDown."""
        await self._lane(model_id).load()

    async def unload(self, model_id: str) -> None:
        """Lets running generations end for a while, refuses waiting ones, and ends the worker.

        Raises: ModelNotFound."""
        await self._lane(model_id).unload(self._settings.unload_grace_s)

    def workers(self) -> list[WorkerReport]:
        lanes = [*self._lanes.values(), *self._retiring.values()]
        return [report for lane in lanes if (report := lane.report()) is not None]

    async def close(self, grace_s: float = 10.0) -> None:
        """Takes no more leases, lets running ones end within `grace_s`, and ends all workers."""
        self._is_closing = True
        lanes = [*self._lanes.values(), *self._retiring.values()]
        for task in list(self._retiring):
            task.cancel()
        await asyncio.gather(*(lane.unload(grace_s) for lane in lanes))

    # ── for the lanes ───────────────────────────────────────────────────────────────────────────────────────────────

    def placement(self) -> Placement:
        running = sum(lane.has_worker for lane in self._lanes.values())
        cores = self._settings.cores or usable_cores()
        return Placement(
            port=free_port(),
            # In hexadecimal: a word that began with a dash would be an option on a command line.
            secret=secrets.token_hex(32),
            threads=max(1, cores // max(1, running)),
            parent_pid=os.getpid(),
        )

    def worker(self, launch: Launch, port: int, on_exit: Callable[[Worker], None]) -> Worker:
        return self._make_worker(launch, port, on_exit)

    def _real_worker(self, launch: Launch, port: int, on_exit: Callable[[Worker], None]) -> Worker:
        return Worker(
            launch,
            port,
            environment=self._environment,
            http=self._http,
            limits=self._settings.start,
            on_exit=on_exit,
        )

    def codec(self, launch: Launch) -> tuple[type[Codec], Any]:
        """Raises: ModelUnavailable."""
        codec = self._codecs.get(launch.codec)
        if codec is None:
            raise ModelUnavailable(f"There is no codec {launch.codec}; there are: {', '.join(sorted(self._codecs))}.")
        try:
            return codec, msgspec.convert(dict(launch.codec_options), codec.Options)
        except msgspec.ValidationError as error:
            raise ModelUnavailable(f"The options of the codec {launch.codec} are wrong: {error}") from error

    @property
    def settings(self) -> PoolSettings:
        return self._settings

    @property
    def is_closing(self) -> bool:
        return self._is_closing

    def now(self) -> float:
        return self._clock()

    def _lane(self, model_id: str) -> _Lane:
        lane = self._lanes.get(model_id)
        if lane is None:
            raise ModelNotFound(f"There is no local model {model_id}.")
        return lane


class _Lease:
    """One client's claim on a slot. `granted` is set to the address, or to the error that ends the wait."""

    __slots__ = ("granted", "granted_at", "keep_alive_s")

    def __init__(self, keep_alive_s: float) -> None:
        self.granted: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self.granted_at = 0.0
        self.keep_alive_s = keep_alive_s


class _Lane:
    """One model: see the head of the file."""

    def __init__(self, pool: Pool, model: LocalModel, runner: ServerRunner, options: Any) -> None:
        self.model = model
        self._pool = pool
        self._runner = runner
        self._options = options
        self._waiting: deque[_Lease] = deque()
        self._running: set[_Lease] = set()
        self._worker: Worker | None = None
        self._endpoint: Endpoint | None = None
        self._starting: asyncio.Task[bool] | None = None
        # Whether the worker has had a request; from then on its output may quote one.
        self._has_served = False
        self._unloading: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._keep_alive_s = self._default_keep_alive_s()
        self._failure: Failure | None = None
        self._described: tuple[Any, Description] | None = None
        self._ready_since = 0.0
        self._started_at = datetime.now(UTC)
        self._last_used_at: datetime | None = None
        self._mean_generation_s = 1.0
        self._last_start_s: float | None = None
        self._start_began = 0.0

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the last worker was."""
        return self._endpoint

    @property
    def has_worker(self) -> bool:
        return self._worker is not None or self._starting is not None

    @property
    def _is_ready(self) -> bool:
        return self._worker is not None and self._worker.state == "ready" and self._unloading is None

    # ── a lease comes and goes ──────────────────────────────────────────────────────────────────────────────────────

    def enter(self, keep_alive_s: float | None) -> _Lease:
        """Raises: Overloaded, ModelUnavailable, ShuttingDown."""
        self._refuse_while_closing()
        self._refuse_in_backoff()
        if len(self._running) + len(self._waiting) >= self.model.slots + self.model.queue:
            raise Overloaded(
                f"The queue of {self.model.id} is full: {len(self._running)} requests run, {len(self._waiting)} wait.",
                retry_after_s=self._wait_estimate_s(len(self._waiting)),
            )
        lease = _Lease(self._default_keep_alive_s() if keep_alive_s is None else keep_alive_s)
        self._waiting.append(lease)
        self._advance()
        return lease

    def leave(self, lease: _Lease) -> None:
        """Gives back what the lease has: a slot, a place in the queue, or nothing any more."""
        if lease in self._running:
            self._running.discard(lease)
            self._keep_alive_s = lease.keep_alive_s
            lasted_s = self._pool.now() - lease.granted_at
            self._mean_generation_s += MEAN_WEIGHT * (lasted_s - self._mean_generation_s)
        else:
            with contextlib.suppress(ValueError):
                self._waiting.remove(lease)
        if lease.granted.done() and not lease.granted.cancelled():
            lease.granted.exception()  # a refusal that nobody waited for is no loose end
        self._advance()

    def progress(self, lease: _Lease) -> Progress:
        if self._is_ready or self._unloading is not None:
            position = self._waiting.index(lease) + 1
            return Progress(stage="queued", position=position, eta_s=self._wait_estimate_s(position - 1))
        eta_s = None
        if self._last_start_s is not None:
            eta_s = round(max(0.0, self._start_began + self._last_start_s - self._pool.now()), 1)
        return Progress(stage="loading", eta_s=eta_s, detail=f"{self.model.runner} loads {self.model.id}")

    def _advance(self) -> None:
        """Brings the lane on as far as it can go now. Called after everything that changes it."""
        if self._unloading is not None:
            if self._drained is not None and not self._running and not self._drained.done():
                self._drained.set_result(None)
            return
        if self._is_ready:
            self._grant()
            self._watch_idleness()
        elif self._waiting and self._starting is None and self._worker is None:
            self._begin_start()

    def _grant(self) -> None:
        while self._endpoint is not None and self._waiting and len(self._running) < self.model.slots:
            lease = self._waiting.popleft()
            self._has_served = True
            lease.granted_at = self._pool.now()
            self._last_used_at = datetime.now(UTC)
            self._running.add(lease)
            lease.granted.set_result(self._endpoint)

    def _refuse_waiting(self, error: Callable[[], PluggablyError]) -> None:
        while self._waiting:
            self._waiting.popleft().granted.set_exception(error())

    # ── start ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self) -> None:
        """Raises: ModelUnavailable, ShuttingDown."""
        self._refuse_while_closing()
        if self._failure is not None:
            self._failure = msgspec.structs.replace(self._failure, until=0.0)
        while self._unloading is not None:
            await asyncio.shield(self._unloading)
        self._refuse_while_closing()
        if not self.has_worker:
            self._begin_start()
        starting = self._starting
        if starting is not None:
            await asyncio.wait((starting,))
            # One that is to be unloaded when idle may be on its way out again.
            if not starting.cancelled() and starting.result():
                return
        if not self._is_ready:
            raise self._unavailable()

    def _begin_start(self) -> None:
        self._keep_alive_s = self._default_keep_alive_s()
        self._start_began = self._pool.now()
        self._started_at = datetime.now(UTC)
        self._starting = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> bool:
        """Whether the worker is ready. Never raises: what goes wrong is told to those who wait."""
        try:
            await self._start_worker()
            return True
        except asyncio.CancelledError:
            # Only `unload` cancels a start, and it has told those who waited.
            self._worker = None
        except PluggablyError as error:
            self._fail_start(error)
        except Exception as error:  # a runner is a plugin, and this is the loop that supervises it
            log.exception("runner_failed", model=self.model.id, runner=self.model.runner)
            self._fail_start(ModelUnavailable(f"The runner {self.model.runner} failed: {type(error).__name__}."))
        finally:
            self._starting = None
            self._advance()
        return False

    async def _start_worker(self) -> None:
        description = await self.describe()
        placement = self._pool.placement()
        launch = await asyncio.to_thread(self._runner.launch, self.model, self._options, description, placement)
        codec, options = self._pool.codec(launch)
        self._worker = worker = self._pool.worker(launch, placement.port, self._on_exit)
        self._has_served = False
        url = await worker.start()
        self._endpoint = Endpoint(
            base_url=f"{url}{launch.base_path}",
            model=launch.model,
            backend=self.model.runner,
            location="local",
            codec=codec,
            options=options,
            headers=launch.headers,
            always_streams=launch.always_streams,
        )
        self._ready_since = self._pool.now()
        self._last_start_s = self._ready_since - self._start_began
        log.info("model_loaded", model=self.model.id, pid=worker.pid, duration_s=round(self._last_start_s, 3))

    def _fail_start(self, error: PluggablyError) -> None:
        worker, self._worker = self._worker, None
        had_process = worker is not None and worker.pid is not None
        self._record_failure("start" if had_process else "look", error.detail, error.for_operators)
        log.warning(
            "model_load_failed",
            model=self.model.id,
            error=error.detail,
            cause=error.for_operators,
            log=None if worker is None else _last_lines(worker),
        )
        self._refuse_waiting(self._unavailable)

    async def describe(self) -> Description:
        """Raises: ModelUnavailable, InvalidRequest."""
        signature, description = await asyncio.to_thread(self._describe_in_thread, self._described)
        self._described = (signature, description)
        return description

    def _describe_in_thread(self, known: tuple[Any, Description] | None) -> tuple[Any, Description]:
        signature = None
        if self.model.weights is not None:
            with contextlib.suppress(OSError):
                stat = Path(self.model.weights).stat()
                signature = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if known is not None and signature is not None and known[0] == signature:
            return known
        return signature, self._runner.describe(self.model, self._options)

    # ── failures ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_exit(self, worker: Worker) -> None:
        """The worker is gone. While it started, and while it is unloaded, others wait for that and act."""
        if worker is not self._worker or self._starting is not None or self._unloading is not None:
            return
        self._worker = None
        self._running.clear()
        self._cancel_idle_timer()
        if self._pool.now() - self._ready_since >= self._pool.settings.stable_s:
            self._failure = None
        detail = f"The model's process ended ({worker.how_it_ended()})."
        last_words = worker.last_words()
        self._record_failure("crash", detail, last_words)
        self._tell_end(worker, detail, last_words)
        if self._is_resting:
            self._refuse_waiting(self._unavailable)
        else:
            self._advance()

    def _tell_end(self, worker: Worker, detail: str, last_words: str | None) -> None:
        """What a worker has said since its first request may quote one, so it is logged at the level `debug` alone."""
        told = {"model": self.model.id, "pid": worker.pid}
        lines = _last_lines(worker)
        if self._has_served:
            log.error("worker_ended", **told, error=detail, hint="Its last lines are logged at the level debug.")
            log.debug("worker_output", **told, log=lines)
        else:
            log.error("worker_ended", **told, error=detail, cause=last_words, log=lines)

    def _record_failure(self, kind: Kind, detail: str, for_operators: str | None) -> None:
        settings = self._pool.settings
        self._failure = failure(
            self._failure,
            kind,
            detail,
            for_operators,
            now=self._pool.now(),
            first_s=settings.first_backoff_s,
            longest_s=settings.longest_backoff_s,
        )

    def _unavailable(self) -> ModelUnavailable:
        if self._failure is None:
            return ModelUnavailable(
                f"The model {self.model.id} is not loaded; ask again to load it.", retry_after_s=1.0
            )
        return self._failure.unavailable(self._pool.now())

    @property
    def _is_resting(self) -> bool:
        """Whether no other start is tried yet."""
        return self._failure is not None and self._pool.now() < self._failure.until

    def _refuse_in_backoff(self) -> None:
        if self._is_resting and not self.has_worker:
            raise self._unavailable()

    def _refuse_while_closing(self) -> None:
        if self._pool.is_closing:
            raise _shutting_down()

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def retire(self, grace_s: float) -> None:
        """Another lane has taken this one's name: serves those that run and wait here, and unloads."""
        until = self._pool.now() + grace_s
        while (self._running or self._waiting) and self._pool.now() < until:  # noqa: ASYNC110
            await asyncio.sleep(RETIRING_LOOK_S)  # so rare that it is worth no event of its own
        await self.unload(0)

    async def unload(self, grace_s: float) -> None:
        self._refuse_waiting(self._why_unloaded)
        if self._unloading is None:
            self._unloading = asyncio.get_running_loop().create_task(self._unload(grace_s))
            self._unloading.add_done_callback(self._unloaded)
        await asyncio.shield(self._unloading)

    async def _unload(self, grace_s: float) -> None:
        self._cancel_idle_timer()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait((self._starting,))
            self._starting = None  # one that was cancelled before its first step could not say so
        if self._running and grace_s > 0:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._drained,), timeout=grace_s)
        worker = self._worker
        if worker is not None:
            await worker.stop(self._pool.settings.stop_grace_s)
            log.info("model_unloaded", model=self.model.id, pid=worker.pid)

    def _unloaded(self, _: asyncio.Task[None]) -> None:
        self._unloading = self._drained = self._worker = self._failure = None
        self._running.clear()
        self._advance()

    def _why_unloaded(self) -> PluggablyError:
        if self._pool.is_closing:
            return _shutting_down()
        return ModelUnavailable(f"The model {self.model.id} was unloaded; ask again to load it.", retry_after_s=1.0)

    def _watch_idleness(self) -> None:
        self._cancel_idle_timer()
        if self._running:
            return
        self._idle_since = self._pool.now()
        if self._keep_alive_s != math.inf:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._keep_alive_s, self._end_idleness)

    def _end_idleness(self) -> None:
        if self._is_ready and not self._running and not self._waiting:
            self._unloading = asyncio.get_running_loop().create_task(self._unload(0))
            self._unloading.add_done_callback(self._unloaded)

    def _cancel_idle_timer(self) -> None:
        self._idle_since = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    # ── what is told of it ──────────────────────────────────────────────────────────────────────────────────────────

    def standing(self) -> Standing:
        status: ModelStatus = "available"
        detail = for_operators = None
        if self._is_ready:
            status = "loaded"
        elif self._starting is not None:
            status = "loading"
        elif self._failure is not None:
            status, detail = "error", self._failure.detail
            for_operators = self._failure.for_operators
        return Standing(status=status, detail=detail, for_operators=for_operators, last_used_at=self._last_used_at)

    def report(self) -> WorkerReport | None:
        worker = self._worker
        if worker is None:
            return None
        now = self._pool.now()
        return WorkerReport(
            model=self.model.id,
            runner=self.model.runner,
            pid=worker.pid,
            state=worker.state,
            slots=self.model.slots,
            slots_in_use=len(self._running),
            queue_length=len(self._waiting),
            started_at=self._started_at,
            idle_s=None if self._idle_since is None else round(now - self._idle_since, 3),
            memory_bytes=None if worker.pid is None else memory_bytes(worker.pid),
        )

    def _default_keep_alive_s(self) -> float:
        own = self.model.keep_alive_s
        return self._pool.settings.keep_alive_s if own is None else own

    def _wait_estimate_s(self, ahead: int) -> float:
        rounds = (ahead + 1) / self.model.slots
        return round(min(LONGEST_RETRY_AFTER_S, max(1.0, rounds * self._mean_generation_s)), 1)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("The gateway is shutting down; ask again in a moment.", retry_after_s=5.0)


def _last_lines(worker: Worker) -> list[str]:
    return list(worker.log)[-LOGGED_LINES:]
