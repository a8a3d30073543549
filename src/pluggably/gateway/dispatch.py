"""Runs generations: name → target → backend, and the state of each run until it has ended.

There is one path for every way of answering. A plain answer reads a run's events to the end and takes its
`generation`; a streamed one frames the events on the way. Both end in the same place, so neither can drift.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Protocol

from pluggably.domain.catalog import Target
from pluggably.domain.generation import (
    Event,
    Fold,
    Generation,
    GenerationRequest,
    Leased,
    Progress,
    ServedBy,
    Started,
    Status,
    Timeouts,
    UsageReported,
    Warned,
)
from pluggably.domain.ids import new_id
from pluggably.errors import BackendError, InternalError, Overloaded, PluggablyError, ShuttingDown
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.ledger import Ledger
from pluggably.net.http import Patience


class Backend(Protocol):
    """What dispatch needs of a backend; a provider and a runner each come as one."""

    def generate(
        self, request: GenerationRequest, target: Target, patience: Patience
    ) -> AsyncGenerator[Sequence[Event], None]: ...


class Run:
    """One generation from its admission to its end. `events` is read once, to its end or closed."""

    def __init__(
        self,
        dispatch: Dispatch,
        request: GenerationRequest,
        target: Target,
        request_id: str,
    ) -> None:
        self.id = new_id("gen_")
        self.request = request
        self.target = target
        # What the log tells of the run once it has ended.
        self.facts: dict[str, Any] = {}
        self._dispatch = dispatch
        self._request_id = request_id
        self._fold = Fold()
        self._status: Status = "running"
        self._error: PluggablyError | None = None
        self._created_at = datetime.now(UTC)
        self._started_at: datetime | None = None
        self._completed_at: datetime | None = None
        self._ended: Generation | None = None
        self._stopped_by: PluggablyError | None = None
        self._task: asyncio.Task[object] | None = None

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

        Raises: whatever ended the run, after the run's state has been settled."""
        self._task = asyncio.current_task()
        self._dispatch.running.add(self)
        clock = time.perf_counter  # the loop's own clock stands still within a turn of the loop
        began = clock()
        usage = self._fold.usage
        try:
            backend, patience = self._dispatch.plan(self)
            async with aclosing(backend.generate(self.request, self.target, patience)) as batches:
                async for batch in batches:
                    if self._started_at is None and _is_output(batch):
                        self._started_at = datetime.now(UTC)
                        usage.time_to_first_event_s = round(clock() - began, 6)
                        batch = [self._start(), *batch]
                    self._fold.add(batch)
                    yield batch
            self._status = "completed"
        except PluggablyError as error:
            raise self._failed(error) from error.__cause__
        except (asyncio.CancelledError, GeneratorExit):
            if self._stopped_by is not None:
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                raise self._failed(self._stopped_by) from None
            self._status = "cancelled"
            self._fold.finish_reason = "cancelled"
            raise
        except Exception:
            self._failed(InternalError())
            raise
        finally:
            self._completed_at = datetime.now(UTC)
            usage.duration_s = round(clock() - began, 6)
            self._dispatch.running.discard(self)
            await self._dispatch.ledger.settle(usage, self.target)
            self._ended = self._standing()
            self.facts.update(self._dispatch.ledger.record(self._ended, self.target))

    def _start(self) -> Started:
        return Started(ServedBy(self.target.backend, self.target.model, self.target.location))

    def _failed(self, error: PluggablyError) -> PluggablyError:
        if isinstance(error, BackendError) and error.backend is None:
            error.backend = self.target.backend
        error.generation_id = self.id
        self._status = "failed"
        self._fold.finish_reason = "error"
        self._error = error
        return error


class Dispatch:
    """Admits generations, at most `most_running` at once. `limits` are the operator's upper bounds in seconds."""

    def __init__(
        self,
        catalog: Catalog,
        backends: Callable[[Target], Backend],
        ledger: Ledger,
        limits: Patience,
        most_running: int,
    ) -> None:
        self._catalog = catalog
        self._backends = backends
        self._limits = limits
        self._most_running = most_running
        self.ledger = ledger
        self.running: set[Run] = set()
        self._closing: ShuttingDown | None = None

    def start(self, request: GenerationRequest, request_id: str, target: Target | None = None) -> Run:
        """Raises: ModelNotFound, ShuttingDown, Overloaded."""
        if self._closing is not None:
            raise self._closing
        if len(self.running) >= self._most_running:
            raise Overloaded(f"{self._most_running} generations are running, which is the limit.", retry_after_s=1)
        return Run(self, request, target or self._catalog.resolve(request.model), request_id)

    def plan(self, run: Run) -> tuple[Backend, Patience]:
        """The backend of a run, and how long to wait for it: the client's limits, within the operator's."""
        return self._backends(run.target), _within(run.request.timeouts, self._limits)

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
    return any(not isinstance(event, Progress | Leased | Warned | UsageReported) for event in batch)


def _within(asked: Timeouts, limits: Patience) -> Patience:
    if asked.first_event_s is None and asked.idle_s is None and asked.total_s is None:
        return limits
    return Patience(
        min(asked.first_event_s or limits.first_event_s, limits.first_event_s),
        min(asked.idle_s or limits.idle_s, limits.idle_s),
        min(asked.total_s or limits.total_s, limits.total_s),
    )
