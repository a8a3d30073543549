"""The models of this gateway as one thing to list, register, load and remove: the catalog's names, what the runners
know of them, and the registrations that must outlive a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pluggably.domain.catalog import (
    Description,
    LocalModel,
    Model,
    Price,
    Source,
    Standing,
    Target,
    WorkerReport,
)
from pluggably.domain.generation import Modality
from pluggably.errors import Conflict, InvalidRequest, PermissionDenied, PluggablyError
from pluggably.gateway.catalog import Catalog

# What runs on the operator's own machine costs no money.
FREE = Price(input_per_million="0", cached_input_per_million="0", output_per_million="0")


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
    """`folders` are those from which the API may take weights."""

    def __init__(
        self,
        catalog: Catalog,
        pool: LocalModels,
        kept: Registrations,
        folders: Sequence[Path],
        runners: Sequence[str],
    ) -> None:
        self._catalog = catalog
        self._pool = pool
        self._kept = kept
        self._folders = [folder.resolve() for folder in folders]
        self._runners = [name for name in runners if name != "command"]
        self._changing = asyncio.Lock()
        self._modalities: dict[str, Sequence[Modality] | None] = {}

    async def models(self) -> list[Model]:
        return [await self.get(name) for name in self._catalog.names()]

    async def get(self, name: str) -> Model:
        """What is known of a model now. Raises: ModelNotFound."""
        target = self._catalog.resolve(name)
        source: Source = "file" if self._catalog.is_alias(name) else "discovered"
        local = self._catalog.local(target.backend)
        if local is None:
            return Model(
                id=name, location=target.location, backends=[target.backend], status="available", source=source
            )
        model = await self._describe(local)
        model.id = name
        if self._catalog.is_alias(name):
            model.source = source
        return model

    async def modalities(self, target: Target) -> Sequence[Modality] | None:
        """What a target makes; None where that is not known. Local weights are asked once."""
        if target.backend not in self._modalities:
            if self._catalog.local(target.backend) is None:
                return None
            made = (await self._pool.describe(target.backend)).output_modalities
            self._modalities[target.backend] = list(made) if made is not None else None
        return self._modalities[target.backend]

    def workers(self) -> list[WorkerReport]:
        return self._pool.workers()

    async def _describe(self, local: LocalModel) -> Model:
        standing = self._pool.standing(local.id)
        model = Model(
            id=local.id,
            location="local",
            free=True,
            backends=[local.id],
            status=standing.status,
            detail=standing.detail,
            source=local.source,
            last_used_at=standing.last_used_at,
            price=FREE,
        )
        try:
            described = await self._pool.describe(local.id)
        except PluggablyError as error:
            model.status, model.detail = "error", error.detail
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
        async with self._changing:
            self._catalog.check_free(model_id)
            self._pool.add(model)
            try:
                await self._pool.describe(model_id)  # says now what a first request would say later
                await self._kept.add(model)
                self._catalog.add(model)
            except BaseException:
                await self._pool.remove(model_id)
                raise
        return await self.get(model_id)

    async def remove(self, name: str, force: bool) -> None:
        """Forgets a model that the API registered; its file stays, since the gateway did not bring it.

        Raises: ModelNotFound, Conflict."""
        async with self._changing:
            self._catalog.check_removable(name)
            busy = any(worker.model == name and worker.slots_in_use for worker in self._pool.workers())
            if busy and not force:
                raise Conflict(f"{name!r} is running; unload it first, or add ?force=true.")
            await self._kept.remove(name)
            self._catalog.remove(name)
            self._modalities.pop(name, None)
            await self._pool.remove(name, at_once=force)

    async def load(self, name: str) -> None:
        """Starts a local model's process and waits until it is ready. Raises: InvalidRequest, ModelUnavailable."""
        await self._pool.load(self._local_id(name))

    async def unload(self, name: str) -> None:
        """Ends a local model's process, which gives its memory back. Raises: InvalidRequest."""
        await self._pool.unload(self._local_id(name))

    def _local_id(self, name: str) -> str:
        target = self._catalog.resolve(name)
        if self._catalog.local(target.backend) is None:
            raise InvalidRequest("Only a model on this machine can be loaded or unloaded.", pointer="/model")
        return target.backend

    def _weights(self, source: str) -> Path:
        """The file that a source names, if it lies in an allowed folder once every link is followed."""
        kind, colon, rest = source.partition(":")
        if not colon or kind != "file":
            raise InvalidRequest("/source: must be `file:` and an absolute path", pointer="/source")
        if not self._folders:
            raise PermissionDenied("The operator allows no folder for models (`model_folders` in the config).")
        path = Path(rest.removeprefix("//"))
        if not path.is_absolute() or "\0" in rest:
            raise InvalidRequest("/source: must be `file:` and an absolute path", pointer="/source")
        try:
            real = path.resolve()
            is_allowed = any(real.is_relative_to(folder) for folder in self._folders) and real.is_file()
        except (OSError, RuntimeError):  # a name that is too long, a loop of links
            is_allowed = False
        # What lies outside is not told apart from what is not there: the answer must not map the disk.
        if not is_allowed:
            raise InvalidRequest("/source: is no file in a folder that the operator allows", pointer="/source")
        return real
