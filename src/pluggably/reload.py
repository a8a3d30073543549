"""Follows the files of the config while the gateway runs, and puts a changed config into use.

A wrong file changes nothing: the config before it stays in use, and the log, the metrics and `/readyz` say so. They say
it, too, of a file that is gone. What surprises: the swap itself is one assignment. Generations that run keep the
snapshot that they began with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from pluggably.assembly import Assembly
from pluggably.config import Config, ConfigError, Settings
from pluggably.config.differences import differences
from pluggably.config.files import Fingerprint
from pluggably.config.watch import aside, changes, look_at
from pluggably.errors import PluggablyError
from pluggably.gateway.registry import Registry
from pluggably.gateway.snapshot import Live
from pluggably.telemetry.metrics import Metrics

log = structlog.get_logger()


class _MovedError(Exception):
    """A file was written again between the look at it and the load: it has not settled."""


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
        # What the process was started with, and cannot change.
        self._started = _in_effect(settings)
        self._wrong_words: str | None = None
        self._missing_words: str | None = None
        self._asked = asyncio.Event()
        self._assembly = assembly
        self._live = live
        self._registry = registry
        self._metrics = metrics
        self._taken = taken
        # What stood in the files that were loaded or tried last.
        self._tried = settings.files
        metrics.config_ok.set(1)

    @property
    def problem(self) -> str | None:
        """Why the files as they stand are not what is in use; fit for anybody's eyes."""
        return self._wrong_words or self._missing_words

    def look_now(self) -> None:
        """Has the files read again, and put into use or refused, also where they are as they were."""
        self._asked.set()

    async def follow(self) -> None:
        """Never ends by itself."""
        found = changes(
            lambda: self._tried,
            lambda: self.settings.config.server.reload_check_s,
            sleep=self._pause,
            is_asked=self._take_question,
            missing=self._note_missing,
        )
        async for seen in found:
            before, tried = self.settings, self._tried
            self._tried = {**tried, **seen}
            try:
                await self._load(seen)
            except _MovedError:
                self._tried = tried
            except PluggablyError as error:
                await self._wrong(error)
            except Exception:  # a fault of ours must not end the watch
                log.exception("config_reload_failed")
                if self.settings is before:
                    self._refused("The changed config could not be put into use; the log says why.")

    async def _load(self, seen: Mapping[Path, Fingerprint]) -> None:
        """Raises: ConfigError, StartupError, _MovedError, before anything has changed."""
        try:
            new = await aside(self.settings.reload)
        except ConfigError as error:
            _check_unmoved(seen, error.files)
            raise
        _check_unmoved(seen, new.files)
        # What the API registers meanwhile must be in one of the two snapshots.
        async with self._registry.changing:
            snapshot = await self._assembly.snapshot(new)
            old, self._live.current = self._live.current, snapshot
            self._registry.forget_all()
        changed = differences(self.settings.config, new.config)
        self.settings, self._tried, self._wrong_words, self._missing_words = new, new.files, None, None
        self._metrics.reloads.labels("applied").inc()
        self._show()
        self._taken(new)
        log.info("config_taken", changes=list(changed.taken))
        for words in differences(self._started, _in_effect(new)).needs_restart:
            log.warning("config_needs_restart", detail=words)
        for warning in new.warnings:
            log.warning("config", detail=warning)
        await old.retire()

    async def _wrong(self, error: PluggablyError) -> None:
        if isinstance(error, ConfigError):
            self._tried = {**self._tried, **error.files}
            issues = len(error.issues)
            self._refused(f"The config file has {issues} error{'s' if issues > 1 else ''}; the log lists them.")
        else:
            # A file that has gone since it was looked at was not tried, and counts when it is back.
            now = await look_at(self._tried)
            self._tried = {**self._tried, **{path: None for path, found in now.items() if found is None}}
            self._refused("The changed config cannot be used; the log says why.")
        log.error("config_wrong", detail=error.detail)

    def _refused(self, problem: str) -> None:
        self._wrong_words = f"{problem} The config before it is in use."
        self._metrics.reloads.labels("wrong").inc()
        self._show()

    def _note_missing(self, paths: frozenset[Path]) -> None:
        """Files that were there when they were loaded: what stood in them stays in use, but no start would find it."""
        self._missing_words = None
        if paths:
            own = self.settings.config_path in paths
            what = "The config file" if own else "A file that the config names"
            self._missing_words = f"{what} is gone, empty or unreadable. What stood in it is in use."
            log.warning("config_missing", files=sorted(map(str, paths)), detail=self._missing_words)
        self._show()

    def _show(self) -> None:
        self._metrics.config_ok.set(0 if self.problem else 1)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), seconds)

    def _take_question(self) -> bool:
        is_asked = self._asked.is_set()
        self._asked.clear()
        return is_asked


def _in_effect(settings: Settings) -> Config:
    """The config with what the command line and the environment put over it."""
    server = msgspec.structs.replace(settings.config.server, host=settings.host, port=settings.port)
    return msgspec.structs.replace(settings.config, server=server)


def _check_unmoved(seen: Mapping[Path, Fingerprint], loaded: Mapping[Path, Fingerprint]) -> None:
    """Raises: _MovedError."""
    if any(found is not None and loaded.get(path, found) != found for path, found in seen.items()):
        raise _MovedError
