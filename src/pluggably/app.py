"""The composition root: builds every object of the gateway, runs the server, and closes everything in reverse.

The only place that knows all rooms. Nothing receives the whole: each constructor lists what it needs.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
import structlog

from pluggably import __version__
from pluggably.api.documents import Documents
from pluggably.api.gate import Gate, RouteTable
from pluggably.api.generations import Generations
from pluggably.api.http import Limits
from pluggably.api.resources import Keys, Models, Operations
from pluggably.api.routes import routes
from pluggably.api.server import Server, listen
from pluggably.assembly import Assembly
from pluggably.config import Config, Settings
from pluggably.config.settings import process_environment
from pluggably.domain.access import Principal
from pluggably.errors import StartupError
from pluggably.gateway.dispatch import Dispatch
from pluggably.gateway.health import Health
from pluggably.gateway.ledger import Ledger
from pluggably.gateway.prices import Prices
from pluggably.gateway.registry import Registry
from pluggably.gateway.snapshot import Live
from pluggably.net.http import HttpClient
from pluggably.plugins import CODECS, RUNNERS, Plugins
from pluggably.reload import Reload
from pluggably.runners.pool import Pool
from pluggably.storage.database import Database, open_database
from pluggably.storage.datadir import ADMIN_KEY, DataDirectory, open_data_directory
from pluggably.storage.keys import KeyRing, KeyStore
from pluggably.storage.models import ModelStore
from pluggably.telemetry import logs
from pluggably.telemetry.metrics import Metrics
from pluggably.wire.transport import LeasedBackend

log = structlog.get_logger()

# Told once the gateway listens: its address, and the admin key where one was just made.
Announce = Callable[[str, str | None], None]

# A request allocates about a hundred objects; the default of 700 collects several times a second under load.
GC_THRESHOLD = 20_000
# More open files than that no gateway needs, and some systems name a limit that they do not take.
MOST_FILES = 1 << 20
# The key that `pluggably run` and `pluggably models` on the same machine use; it lives as long as the process.
LOCAL_PRINCIPAL = Principal("key_local", "command line", frozenset({"admin"}))


def serve(settings: Settings, announce: Announce) -> int:
    """Runs the gateway until it is told to stop; returns the exit code. Raises: StartupError."""
    logs.configure(settings.config.log.level, settings.config.log.format)
    _allow_files()
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        raise StartupError(_cannot_listen(settings, error)) from error
    with listener, asyncio.Runner(loop_factory=_event_loop) as runner:
        return runner.run(_serve(settings, announce, listener))


def _event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own does the same, slower
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _serve(settings: Settings, announce: Announce, listener: socket.socket) -> int:
    async with AsyncExitStack() as closing:
        directory = open_data_directory(settings.data_dir)
        closing.callback(directory.lock().release)
        database = open_database(directory)
        closing.push_async_callback(database.close)
        store = KeyStore(database, directory.pepper)
        await store.set_preset_admin(settings.admin_key.reveal() if settings.admin_key else None)
        ring = KeyRing(store)
        await ring.open()
        closing.push_async_callback(ring.close)

        gateway = await _Gateway.build(settings, directory.cache, database, store, ring, closing)
        url = _url(listener)
        _write_local_credential(directory, url, ring.grant(LOCAL_PRINCIPAL), closing)
        # Only now, when nothing but the announcement is left to fail: a key that was made and never told is lost.
        first = await store.create_first()
        if first is not None:
            await ring.refresh()

        def started() -> None:
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            for warning in settings.warnings:
                log.warning("config", detail=warning)
            log.info("started", url=url, version=__version__, data_dir=str(settings.data_dir))
            announce(url, first.token if first is not None else None)
            if first is not None and (settings.data_dir / ADMIN_KEY).is_file():
                log.info("admin_key", file=str(settings.data_dir / ADMIN_KEY))

        async def drain(at_once: Callable[[], bool]) -> None:
            limit_s, running = gateway.config.server.shutdown_grace_s, len(gateway.dispatch.running)
            if running:
                log.warning("stopping", detail=_wait_words(running, limit_s))
            await gateway.dispatch.drain(limit_s, at_once)

        server = Server(
            gateway.gate,
            max_header_bytes=settings.config.server.max_header_bytes,
            body_timeout_s=settings.config.server.body_timeout_s,
            started=started,
            drain=drain,
        )
        _follow_hang_ups(server, gateway.reload)
        following = asyncio.create_task(gateway.reload.follow())
        closing.push_async_callback(_ended, following)
        await server.serve(sockets=[listener])
        log.info("stopped")
    return 0


class _Gateway:
    """The objects that `serve` still talks to once all are built."""

    def __init__(self, gate: Gate, dispatch: Dispatch, reload: Reload) -> None:
        self.gate = gate
        self.dispatch = dispatch
        self.reload = reload

    @property
    def config(self) -> Config:
        """The one that is in use now."""
        return self.reload.settings.config

    @classmethod
    async def build(
        cls,
        settings: Settings,
        cache: Path,
        database: Database,
        store: KeyStore,
        ring: KeyRing,
        closing: AsyncExitStack,
    ) -> _Gateway:
        codecs, runners = Plugins(CODECS), Plugins(RUNNERS)
        metrics = Metrics()
        metrics.build.labels(__version__).set(1)

        http = HttpClient(reuses=False)
        closing.push_async_callback(http.close)
        started_runners = {name: runners[name]() for name in runners}
        pool = Pool(started_runners, codecs, http, environment=process_environment())
        closing.push_async_callback(pool.close)
        registrations = ModelStore(database)

        health, prices = Health(time.monotonic), Prices()
        local, environment = LeasedBackend(pool, http), process_environment()
        assembly = Assembly(codecs, pool, local, registrations, health, prices, metrics, cache, environment)
        live = Live(await assembly.snapshot(settings))
        closing.push_async_callback(lambda: live.current.retire())
        registry = Registry(live, pool, registrations, list(runners))
        dispatch = Dispatch(live, Ledger(metrics, prices), health)

        def taken(new: Settings) -> None:
            server = new.config.server
            gate.limits = Limits(server.max_body_bytes, server.max_nesting)

        reload = Reload(settings, assembly, live, registry, metrics, taken)
        documents = Documents(__version__)
        operations = Operations(
            metrics,
            ring.authenticate,
            open_metrics=lambda: reload.settings.config.server.open_metrics,
            closing=lambda: dispatch.is_closing,
            problem=lambda: reload.problem,
            check=database.check,
            refresh=lambda: _refresh(metrics, dispatch, pool, health),
        )
        table = routes(
            Generations(registry, dispatch),
            Models(live, registry, dispatch),
            Keys(store, ring.refresh),
            operations,
            documents,
        )
        documents.describe(table)
        server = settings.config.server
        gate = Gate(RouteTable(table), ring.authenticate, Limits(server.max_body_bytes, server.max_nesting), metrics)
        return cls(gate, dispatch, reload)


def _allow_files() -> None:
    """Each connection is an open file, and the usual limit of 1024 is for programs that use `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # less is served then
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _follow_hang_ups(server: Server, reload: Reload) -> None:
    """SIGHUP means that the terminal was closed, where there was one: stop as for SIGTERM. Where there was none, it is
    how an operator or systemd asks for a look at the config. `nohup` keeps it from us."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    has_terminal = os.isatty(0) or os.isatty(1)

    def hung_up() -> None:
        if not has_terminal:
            reload.look_now()
        elif not server.should_exit:  # shells and the kernel each send one, and a second one would mean "at once"
            server.handle_exit(signal.SIGHUP, None)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def _wait_words(running: int, limit_s: float) -> str:
    noun, them = ("generation", "it") if running == 1 else ("generations", "them")
    return f"Waiting for {running} {noun}, at most {limit_s:g} s; Ctrl-C again, or another signal, ends {them} now."


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


def _refresh(metrics: Metrics, dispatch: Dispatch, pool: Pool, health: Health) -> None:
    """Brings the gauges up to date."""
    metrics.running.set(len(dispatch.running))
    metrics.resting.clear()
    for target in health.resting():
        metrics.resting.labels(target.backend).inc()
    metrics.workers.clear()
    metrics.worker_memory.clear()
    metrics.queued.clear()
    for worker in pool.workers():
        metrics.workers.labels(worker.state).inc()
        # A model whose config has changed may have two workers for a while.
        metrics.queued.labels(worker.model).inc(worker.queue_length)
        if worker.memory_bytes is not None:
            metrics.worker_memory.labels(worker.model).inc(worker.memory_bytes)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    # An address that means "everywhere" is not one to connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _write_local_credential(directory: DataDirectory, url: str, key: str, closing: AsyncExitStack) -> None:
    directory.write_private(directory.local_credential, msgspec.json.encode({"url": url, "key": key}))
    closing.callback(directory.local_credential.unlink, missing_ok=True)


def _cannot_listen(settings: Settings, error: OSError) -> str:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use. Stop what listens there, or give another port: --port or PLUGGABLY_PORT."
    if error.errno == errno.EACCES:
        return f"{where} is a port that only root may use. Give another, above 1023: --port or PLUGGABLY_PORT."
    return f"Cannot listen on {where}: {error.strerror or error}. Give another address: --host or PLUGGABLY_HOST."
