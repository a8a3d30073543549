"""Follows the files of the config while the gateway runs, and puts a changed config into use.

A wrong file changes nothing: the config before it stays in use, and the log, the metrics and `/readyz` say so. What
surprises: the swap itself is one assignment. Generations that run keep the snapshot that they began with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from pluggably.assembly import Assembly
from pluggably.config import ConfigError, Settings
from pluggably.config.differences import differences
from pluggably.config.watch import changes
from pluggably.errors import PluggablyError
from pluggably.gateway.registry import Registry
from pluggably.gateway.snapshot import Live
from pluggably.telemetry.metrics import Metrics

log = structlog.get_logger()


class Reload:
    """The settings in use. `taken` is told of new ones, for what stands outside the snapshot."""

    def __init__(
        self,
        settings: Settings,
        assembly: Assembly,
        live: Live,
        registry: Registry,
        metrics: Metrics,
        taken: Callable[[Settings], None],
    ) -> None:
        self.settings = settings
        # Why the file as it stands is not the one in use; fit for anybody's eyes.
        self.problem: str | None = None
        self._assembly = assembly
        self._live = live
        self._registry = registry
        self._metrics = metrics
        self._taken = taken
        self._seen = settings.files
        metrics.config_ok.set(1)

    async def follow(self) -> None:
        """Never ends by itself."""
        async for _ in changes(lambda: self._seen):
            try:
                await self._load()
            except Exception:  # a fault of ours must not end the watch; the config before it goes on
                self._refused("The changed config could not be put into use.")
                log.exception("config_not_taken")

    async def _load(self) -> None:
        try:
            new = await asyncio.to_thread(self.settings.reload)
            # What the API registers meanwhile must be in one of the two snapshots.
            async with self._registry.changing:
                snapshot = await self._assembly.snapshot(new)
                old, self._live.current = self._live.current, snapshot
                self._registry.forget_all()
        except PluggablyError as error:
            if isinstance(error, ConfigError):
                self._seen = {**self._seen, **error.files}
                issues = len(error.issues)
                self._refused(f"The config file has {issues} error{'s' if issues > 1 else ''}; the log lists them.")
            else:
                self._refused("The changed config cannot be used; the log says why.")
            log.error("config_wrong", detail=error.detail)  # noqa: TRY400  its detail says all, and a traceback nothing
            return
        changed = differences(self.settings.config, new.config)
        self.settings, self._seen, self.problem = new, new.files, None
        self._taken(new)
        self._metrics.reloads.labels("applied").inc()
        self._metrics.config_ok.set(1)
        log.info("config_taken", changes=list(changed.taken))
        for words in changed.needs_restart:
            log.warning("config_needs_restart", detail=words)
        for warning in new.warnings:
            log.warning("config", detail=warning)
        await old.retire()

    def _refused(self, problem: str) -> None:
        self.problem = f"{problem} The config before it is in use."
        self._metrics.reloads.labels("wrong").inc()
        self._metrics.config_ok.set(0)
