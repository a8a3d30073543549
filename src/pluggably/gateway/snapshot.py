"""One reading of the config, as the gateway works by it: what names mean, which backends there are, and the limits.

A reload builds a new snapshot and swaps it in. A generation keeps the snapshot that it began with, and an old one is
closed when its last generation has ended. What surprises: nothing in a snapshot changes, but for its catalog, to which
the API adds local models and from which it takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pluggably.domain.catalog import Foresight, Price, RemoteModel, Route, Target
from pluggably.domain.generation import Event, GenerationRequest, MediaKind
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.inputs import Inputs
from pluggably.gateway.routing import Plan, RetryRules
from pluggably.net.http import Patience


class Backend(Protocol):
    """What the gateway needs of a backend; a provider and the models of this machine each come as one."""

    def generate(
        self, request: GenerationRequest, target: Target, patience: Patience, credential: int = 0
    ) -> AsyncGenerator[Sequence[Event], None]:
        """The events of one attempt, with the credential of this index."""
        ...

    @property
    def credentials(self) -> int:
        """How many credentials there are to choose from, at least one."""
        ...

    def takes_urls(self, target: Target) -> Collection[MediaKind]:
        """The kinds of media that a target may be given by URL. The others it gets as data."""
        ...

    def foresee(self, request: GenerationRequest, target: Target) -> Foresight:
        """What it would make of a request, as far as that can be told without asking it."""
        ...


class RemoteModels(Protocol):
    """What is known of one provider's models, by the provider's own ids."""

    def known(self, model: str) -> RemoteModel | None:
        """Without any waiting; None: nothing at all."""
        ...

    def told_price(self, model: str) -> Price | None:
        """The operator's price, or that of the provider's list."""
        ...

    def doubt(self, model: str) -> str | None:
        """Why a model may not be there, in words to be shown; None where nothing speaks against it."""
        ...

    def operators_price(self, model: str) -> Price | None:
        """The operator's price alone."""
        ...

    async def models(self) -> list[RemoteModel]:
        """All that are listed, sorted; waits a few seconds where none is known yet, and never fails."""
        ...

    def refresh(self) -> None:
        """Has the list read in the background where it is old."""
        ...

    @property
    def detail(self) -> str | None:
        """Why there is no list, or no new one; None while all is well."""
        ...


class Snapshot:
    """`local` serves the models of this machine, `backends` the others, by the provider's name; `close` is called once
    the snapshot is retired and nothing uses it any more."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        local: Backend,
        backends: Mapping[str, Backend],
        remote: Mapping[str, RemoteModels],
        price_lists: Mapping[str, str],
        inputs: Inputs,
        limits: Patience,
        rules: RetryRules,
        most_running: int,
        folders: Sequence[Path],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.catalog = catalog
        self.backends = backends
        self.remote = remote
        self.price_lists = price_lists
        self.inputs = inputs
        self.limits = limits
        self.rules = rules
        self.most_running = most_running
        self.folders = [folder.resolve() for folder in folders]
        # What `dispatch` has worked out for routes, by their names.
        self.plans: dict[str, tuple[Route, Plan]] = {}
        self._local = local
        self._close = close
        self._users = 0
        self._is_retired = False
        self._closing: asyncio.Future[None] | None = None

    def backend(self, target: Target) -> Backend:
        return self._local if target.runner is not None else self.backends[target.backend]

    def known(self, target: Target) -> RemoteModel | None:
        """What is known of a target at a provider; None for one of this machine, or where nothing is."""
        remote = self._remote(target)
        return remote.known(target.model) if remote is not None else None

    def told_price(self, target: Target) -> Price | None:
        remote = self._remote(target)
        return remote.told_price(target.model) if remote is not None else None

    def doubt(self, target: Target) -> str | None:
        remote = self._remote(target)
        return remote.doubt(target.model) if remote is not None else None

    def operators_price(self, target: Target) -> Price | None:
        remote = self._remote(target)
        return remote.operators_price(target.model) if remote is not None else None

    def _remote(self, target: Target) -> RemoteModels | None:
        return self.remote.get(target.backend) if target.runner is None else None

    def enter(self) -> None:
        """A generation begins to use it."""
        self._users += 1

    async def leave(self) -> None:
        """A generation has ended."""
        self._users -= 1
        if self._is_retired and self._users == 0:
            await self._closed()

    async def retire(self) -> None:
        """Another one has taken its place."""
        self._is_retired = True
        if self._users == 0:
            await self._closed()

    async def _closed(self) -> None:
        """Closes once, and to the end: whoever closes it last may be cancelled meanwhile."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)


class Live:
    """Holds the snapshot that new work begins with."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.current = snapshot
