"""The models of this gateway as one thing to list, register, load and remove: the catalog's names, what the runners
know of them, and the registrations that must outlive a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from pluggably.domain.catalog import (
    FREE,
    Capabilities,
    Description,
    LocalModel,
    Model,
    ModelStatus,
    Prospect,
    RemoteModel,
    Route,
    Standing,
    Target,
    WorkerReport,
)
from pluggably.domain.generation import Location, Modality
from pluggably.errors import Conflict, InvalidRequest, ModelNotFound, ModelUnavailable, PermissionDenied, PluggablyError
from pluggably.gateway.snapshot import Live, Snapshot

T = TypeVar("T")

# `POST /v1/models/load` and `/unload` stand where a model of that id would.
RESERVED_IDS = ("load", "unload")


class LocalModels(Protocol):
    """What the registry needs of the runner pool."""

    def add(self, model: LocalModel) -> None: ...

    async def remove(self, model_id: str, *, at_once: bool = False) -> None: ...

    async def load(self, model_id: str) -> None: ...

    async def unload(self, model_id: str) -> None: ...

    async def describe(self, model_id: str) -> Description: ...

    def standing(self, model_id: str) -> Standing: ...

    def workers(self) -> list[WorkerReport]: ...


class Registrations(Protocol):
    """Where the API's registrations are kept."""

    async def add(self, model: LocalModel) -> None: ...

    async def remove(self, model_id: str) -> None: ...


class Registry:
    """The models of whatever snapshot is current."""

    def __init__(self, live: Live, pool: LocalModels, kept: Registrations, runners: Sequence[str]) -> None:
        self._live = live
        self._pool = pool
        self._kept = kept
        self._runners = [name for name in runners if name != "command"]
        # Held by whoever changes which local models there are: the API here, a reload of the config in `app`.
        self.changing = asyncio.Lock()
        self._modalities: dict[str, Sequence[Modality] | None] = {}

    async def models(self, promise: Location | None = None, *, for_operators: bool = False) -> list[Model]:
        """Every local model, route and alias, and what the providers list; with a `promise` what may be asked by a key
        whose data goes to this location only, as it is to that key. Operators are told more of what is wrong."""
        snapshot = self._live.current
        listed = await asyncio.gather(*(remote.models() for remote in snapshot.remote.values()))
        found = {
            f"{provider}/{facts.id}": _remote_model(provider, facts, snapshot.catalog.location(provider))
            for provider, models in zip(snapshot.remote, listed, strict=True)
            for facts in models
            if promise in (None, snapshot.catalog.location(provider))
        }
        for name in snapshot.catalog.names():
            with suppress(ModelNotFound):  # removed since
                found[name] = await self._told(snapshot, name, promise, for_operators)
        return [found[name] for name in sorted(found)]

    def list_problems(self, location: Location | None = None) -> dict[str, str]:
        """The providers, all or those of one location, whose list is missing or old, each with the reason."""
        snapshot = self._live.current
        return {
            provider: remote.detail
            for provider, remote in snapshot.remote.items()
            if remote.detail is not None and location in (None, snapshot.catalog.location(provider))
        }

    async def get(self, name: str, promise: Location | None = None, *, for_operators: bool = False) -> Model:
        """What is known of a model now, to whoever is promised that location. Raises: ModelNotFound."""
        while True:
            snapshot = self._live.current
            try:
                return await self._told(snapshot, name, promise, for_operators)
            except ModelNotFound:
                if snapshot is self._live.current:
                    raise

    async def _told(self, snapshot: Snapshot, name: str, promise: Location | None, for_operators: bool) -> Model:
        """Raises: ModelNotFound, also where no target keeps the promise."""
        catalog = snapshot.catalog
        route = catalog.resolve(name)
        promises = {route.location, promise} - {None}
        targets = [target for target in route.targets if promises <= {target.location}]
        if not targets:
            raise ModelNotFound("No target of this model keeps its data where it must stay.")
        models = [await self._model(snapshot, target, for_operators) for target in targets]
        model = models[0] if len(models) == 1 else _common(models)
        model.id = name
        if catalog.is_alias(name) or catalog.is_route(name):
            model.source = "file"
        if catalog.is_route(name):
            model.kind = "route"
        return model

    async def meaning(self, name: str) -> tuple[Route, Sequence[Modality] | None]:
        """The route of a name in the snapshot that is current on return, and what its targets make.

        Raises: ModelNotFound, ModelUnavailable."""
        while True:
            snapshot = self._live.current
            route = snapshot.catalog.resolve(name)
            try:
                made = await self.modalities(route)
            except PluggablyError:
                if snapshot is self._live.current:
                    raise
                continue
            if snapshot is self._live.current:
                return route, made

    async def modalities(self, route: Route) -> Sequence[Modality] | None:
        """What the targets of a route make; None where that is not known of all. Local weights are asked once.

        A target that cannot be described makes nothing: the attempt at it fails, and the next target's turn comes.

        Raises: ModelUnavailable where no target is left."""
        made: list[Modality] = []
        known = self._modalities  # a reload meanwhile begins another
        trouble: PluggablyError | None = None
        for target in route.targets:
            if target.runner is None:
                return None
            if target.backend not in known:
                try:
                    described = (await self._pool.describe(target.backend)).output_modalities
                except PluggablyError as error:
                    trouble = trouble or error
                    continue
                known[target.backend] = list(described) if described is not None else None
            one = known[target.backend]
            if one is None:
                return None
            made += one
        if trouble is not None and not made:
            raise _unavailable(trouble)
        return made

    def usual_modality(self, route: Route) -> Modality:
        """What is meant where a request does not say: text, unless nothing of the route is known to make it."""
        snapshot = self._live.current
        for target in route.targets:
            facts = snapshot.known(target)
            if facts is None or facts.output_modalities is None or "text" in facts.output_modalities:
                return "text"
        facts = snapshot.known(route.targets[0])
        made = facts.output_modalities if facts is not None else None
        return made[0] if made else "text"

    async def with_troubles(self, route: Route, prospects: Sequence[Prospect]) -> list[Prospect]:
        """What would become of a route's targets, with what now stands against those of this machine."""
        troubles: dict[str, str] = {}
        for target in (*route.targets, *route.on_context_length, *route.on_content_filter):
            if target.runner is not None:
                with suppress(ModelNotFound):  # removed since
                    trouble = await self._trouble(target.backend)
                    troubles.update({target.backend: trouble} if trouble is not None else {})
        return [
            msgspec.structs.replace(one, reason=f"{one.reason}; it would fail now: {troubles[one.backend]}")
            if one.backend in troubles
            else one
            for one in prospects
        ]

    async def _trouble(self, model_id: str) -> str | None:
        """Why a local model could not serve now, as far as that is known. Raises: ModelNotFound."""
        standing = self._pool.standing(model_id)
        if standing.status == "loaded":
            return None
        try:
            await self._pool.describe(model_id)
        except PluggablyError as error:
            return error.detail
        return standing.detail

    def forget_all(self) -> None:
        """The local models may not be what they were."""
        self._modalities = {}

    def workers(self) -> list[WorkerReport]:
        return self._pool.workers()

    async def _model(self, snapshot: Snapshot, target: Target, for_operators: bool) -> Model:
        local = snapshot.catalog.local(target.backend) if target.runner is not None else None
        if local is not None:
            return await self._describe(local, for_operators)
        facts = snapshot.known(target) or RemoteModel(id=target.model)
        model = _remote_model(target.backend, facts, target.location)
        model.detail = snapshot.doubt(target)
        if model.detail is not None:
            model.status = "unavailable"
        return model

    async def _describe(self, local: LocalModel, for_operators: bool) -> Model:
        standing = self._pool.standing(local.id)
        more = standing.for_operators if for_operators else None
        model = Model(
            id=local.id,
            location="local",
            free=True,
            backends=[local.id],
            status=standing.status,
            detail=standing.detail if more is None else f"{standing.detail} {more}",
            source=local.source,
            last_used_at=standing.last_used_at,
            price=FREE,
        )
        try:
            described = await self._pool.describe(local.id)
        except PluggablyError as error:
            # What is loaded serves on, also where its file has gone since.
            model.status = "loaded" if standing.status == "loaded" else "error"
            model.detail = error.detail
            return model
        model.name = described.name
        model.license = described.license
        model.quantization = described.quantization
        model.bytes = described.bytes
        model.context_tokens = described.context_tokens
        model.capabilities = described.capabilities
        model.input_modalities = list(described.input_modalities) if described.input_modalities else None
        model.output_modalities = list(described.output_modalities) if described.output_modalities else None
        return model

    async def register(
        self,
        model_id: str,
        source: str,
        runner: str,
        *,
        slots: int,
        queue: int,
        context_tokens: int | None,
        keep_alive_s: float | None,
        options: dict[str, Any],
    ) -> Model:
        """Raises: InvalidRequest, PermissionDenied, Conflict, ModelUnavailable."""
        if runner not in self._runners:
            known = ", ".join(self._runners)
            raise InvalidRequest(
                f"/runner: must be one of {known}; a command can only come from the config file",
                pointer="/runner",
            )
        if model_id in RESERVED_IDS:
            raise InvalidRequest("/id: is a path of the API itself", pointer="/id")
        weights = await asyncio.to_thread(self._weights, source)
        model = LocalModel(
            id=model_id,
            runner=runner,
            weights=str(weights),
            source="api",
            slots=slots,
            queue=queue,
            context_tokens=context_tokens,
            keep_alive_s=keep_alive_s,
            options=options,
        )
        async with self.changing:
            catalog = self._live.current.catalog
            catalog.check_free(model_id)
            self._pool.add(model)
            try:
                await self._pool.describe(model_id)  # says now what a first request would say later
                await self._kept.add(model)
                catalog.add(model)
            except BaseException:
                await self._pool.remove(model_id)
                raise
        return await self.get(model_id)

    async def remove(self, name: str, force: bool) -> None:
        """Forgets a model that the API registered; its file stays, since the gateway did not bring it.

        Raises: ModelNotFound, Conflict."""
        async with self.changing:
            catalog = self._live.current.catalog
            catalog.check_removable(name)
            busy = any(worker.model == name and worker.slots_in_use for worker in self._pool.workers())
            if busy and not force:
                raise Conflict(f"{name!r} is running; unload it first, or add ?force=true.")
            await self._kept.remove(name)
            catalog.remove(name)
            self._modalities.pop(name, None)
            await self._pool.remove(name, at_once=force)

    async def load(self, name: str) -> None:
        """Starts a local model's process and waits until it is ready. Raises: InvalidRequest, ModelUnavailable."""
        await self._pool.load(self._local_id(name))

    async def unload(self, name: str) -> None:
        """Ends a local model's process, which gives its memory back. Raises: InvalidRequest."""
        await self._pool.unload(self._local_id(name))

    def _local_id(self, name: str) -> str:
        targets = self._live.current.catalog.resolve(name).targets
        if len(targets) > 1:
            raise InvalidRequest("A route cannot be loaded or unloaded; name one of its models.", pointer="/model")
        if targets[0].runner is None:
            raise InvalidRequest("Only a model on this machine can be loaded or unloaded.", pointer="/model")
        return targets[0].backend

    def _weights(self, source: str) -> Path:
        """The file that a source names, if it lies in an allowed folder once every link is followed."""
        folders = self._live.current.folders
        kind, colon, rest = source.partition(":")
        if not colon or kind != "file":
            raise InvalidRequest("/source: must be `file:` and an absolute path", pointer="/source")
        if not folders:
            raise PermissionDenied("The operator allows no folder for models (`model_folders` in the config).")
        path = Path(rest.removeprefix("//"))
        if not path.is_absolute() or "\0" in rest:
            raise InvalidRequest("/source: must be `file:` and an absolute path", pointer="/source")
        try:
            real = path.resolve()
            is_allowed = any(real.is_relative_to(folder) for folder in folders) and real.is_file()
        except (OSError, RuntimeError):  # a name that is too long, a loop of links
            is_allowed = False
        # What lies outside is not told apart from what is not there: the answer must not map the disk.
        if not is_allowed:
            raise InvalidRequest("/source: is no file in a folder that the operator allows", pointer="/source")
        return real


def _unavailable(error: PluggablyError) -> PluggablyError:
    """Whatever is wrong with a model, a client that asks for it did nothing wrong."""
    return error if isinstance(error, ModelUnavailable | ModelNotFound) else ModelUnavailable(error.detail)


def _remote_model(provider: str, facts: RemoteModel, location: Location) -> Model:
    return Model(
        id=f"{provider}/{facts.id}",
        name=facts.name,
        location=location,
        free=facts.free,
        input_modalities=_listed(facts.input_modalities),
        output_modalities=_listed(facts.output_modalities),
        capabilities=facts.capabilities,
        context_tokens=facts.context_tokens,
        max_output_tokens=facts.max_output_tokens,
        price=facts.price,
        backends=[provider],
        status="available",
        source="discovered",
    )


def _common(models: Sequence[Model]) -> Model:
    """What holds for a route whichever of its targets answers. What is not known of one is not known of the route."""
    can = {
        name: _agreed([getattr(model.capabilities, name) for model in models])
        for name in Capabilities.__struct_fields__
    }
    statuses = {model.status for model in models}
    return Model(
        id="",
        location="local" if all(model.location == "local" for model in models) else "remote",
        free=_agreed([model.free for model in models]),
        input_modalities=_shared([model.input_modalities for model in models]),
        output_modalities=_shared([model.output_modalities for model in models]),
        capabilities=Capabilities(**can),
        context_tokens=_least([model.context_tokens for model in models]),
        max_output_tokens=_least([model.max_output_tokens for model in models]),
        backends=list(dict.fromkeys(backend for model in models for backend in model.backends)),
        status=next((status for status in _BEST_FIRST if status in statuses), "unavailable"),
    )


_BEST_FIRST: tuple[ModelStatus, ...] = ("loaded", "available", "loading", "registered", "error")


def _agreed(values: Sequence[bool | None]) -> bool | None:
    return values[0] if len(set(values)) == 1 else None


def _least(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def _shared(values: Sequence[list[T] | None]) -> list[T] | None:
    known = [value for value in values if value is not None]
    if not known or len(known) != len(values):
        return None
    return [kind for kind in known[0] if all(kind in other for other in known)]


def _listed(values: Sequence[T] | None) -> list[T] | None:
    return list(values) if values is not None else None
