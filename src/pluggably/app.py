"""The composition root: builds every object of the gateway, runs the server, and closes everything in reverse.

The only place that knows all rooms. Nothing receives the whole: each constructor lists what it needs.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

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
from pluggably.config import Config, Secret, Settings
from pluggably.config import Provider as ProviderEntry
from pluggably.config.settings import environment_keys, process_environment
from pluggably.demo import DEMO_WEIGHTS
from pluggably.domain.access import Principal
from pluggably.domain.catalog import LocalModel, Target
from pluggably.errors import StartupError
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.dispatch import Backend, Dispatch
from pluggably.gateway.ledger import Ledger
from pluggably.gateway.prices import Prices
from pluggably.gateway.registry import Registry
from pluggably.net.http import HttpClient, Patience
from pluggably.plugins import CODECS, RUNNERS, Plugins
from pluggably.providers.build import build_provider, missing_variables
from pluggably.providers.presets import PRESETS, Preset
from pluggably.providers.provider import Provider
from pluggably.runners.pool import Pool
from pluggably.storage.database import Database, open_database
from pluggably.storage.datadir import DataDirectory, open_data_directory
from pluggably.storage.keys import KeyRing, KeyStore
from pluggably.storage.models import ModelStore
from pluggably.telemetry import logs
from pluggably.telemetry.metrics import Metrics
from pluggably.wire.transport import FixedBackend, LeasedBackend

log = structlog.get_logger()

# Told once the gateway listens: its address, and the admin key where one was just made.
Announce = Callable[[str, str | None], None]

# A request allocates about a hundred objects; the default of 700 collects several times a second under load.
GC_THRESHOLD = 20_000
DEMO_MODEL = "demo"
# The key that `pluggably run` and `pluggably models` on the same machine use; it lives as long as the process.
LOCAL_PRINCIPAL = Principal("key_local", "command line", frozenset({"admin"}))


def serve(settings: Settings, announce: Announce) -> int:
    """Runs the gateway until it is told to stop; returns the exit code. Raises: StartupError."""
    logs.configure(settings.config.log.level, settings.config.log.format)
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

        gateway = await _Gateway.build(settings.config, database, store, ring, closing)
        # Only now, when nothing but the announcement is left to fail: a key that was made and never told is lost.
        first = await store.create_first()
        if first is not None:
            await ring.refresh()
        url = _url(listener)
        _write_local_credential(directory, url, ring.grant(LOCAL_PRINCIPAL), closing)

        def started() -> None:
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            for warning in settings.warnings:
                log.warning("config", detail=warning)
            log.info("started", url=url, version=__version__, data_dir=str(settings.data_dir))
            announce(url, first.token if first is not None else None)

        grace_s = settings.config.server.shutdown_grace_s
        server = Server(
            gateway.gate,
            max_header_bytes=settings.config.server.max_header_bytes,
            body_timeout_s=settings.config.server.body_timeout_s,
            started=started,
            drain=lambda at_once: gateway.dispatch.drain(grace_s, at_once),
        )
        await server.serve(sockets=[listener])
        log.info("stopping")
    return 0


class _Gateway:
    """The objects that `serve` still talks to once all are built."""

    def __init__(self, gate: Gate, dispatch: Dispatch) -> None:
        self.gate = gate
        self.dispatch = dispatch

    @classmethod
    async def build(
        cls, config: Config, database: Database, store: KeyStore, ring: KeyRing, closing: AsyncExitStack
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
        local = await _local_models(config, registrations, pool)

        providers = _providers(config, codecs)
        backends: dict[str, Backend] = {}
        for name, provider in providers.items():
            client = HttpClient()
            closing.push_async_callback(client.close)
            backends[name] = FixedBackend(provider, client)
        on_this_machine = LeasedBackend(pool, http)

        def backend(target: Target) -> Backend:
            return on_this_machine if catalog.local(target.backend) is not None else backends[target.backend]

        catalog = Catalog({name: one.location for name, one in providers.items()}, config.aliases(), local)
        registry = Registry(catalog, pool, registrations, config.model_folders, list(runners))
        ledger = Ledger(metrics, Prices(), _price_lists(config, providers))
        timeouts = config.timeouts
        patience = Patience(timeouts.first_event_s, timeouts.idle_s, timeouts.total_s)
        dispatch = Dispatch(catalog, backend, ledger, patience, config.server.max_concurrent_generations)

        documents = Documents(__version__)
        operations = Operations(
            metrics,
            ring.authenticate,
            config.server.open_metrics,
            closing=lambda: dispatch.is_closing,
            check=database.check,
            refresh=lambda: _refresh(metrics, dispatch, pool),
        )
        table = routes(
            Generations(catalog, registry, dispatch),
            Models(registry),
            Keys(store, ring.refresh),
            operations,
            documents,
        )
        documents.describe(table)
        server = config.server
        limits = Limits(server.max_body_bytes, server.max_nesting)
        return cls(Gate(RouteTable(table), ring.authenticate, limits, metrics), dispatch)


def _providers(config: Config, codecs: Mapping[str, Any]) -> dict[str, Provider]:
    """The providers of the config, and every preset whose well-known variables are set.

    Raises: StartupError."""
    keys = environment_keys((name, preset.key_env) for name, preset in PRESETS.items() if preset.key_env)
    entries = {**{name: ProviderEntry() for name in keys if _is_complete(name)}, **config.providers}
    return {name: _provider(name, entry, keys, codecs) for name, entry in entries.items() if entry.enabled}


def _is_complete(name: str) -> bool:
    """Whether a preset needs no more than its key. One that does may not be meant at all, so it is no error."""
    missing = missing_variables(PRESETS[name], _address_variables(PRESETS[name]))
    if missing:
        log.info("provider_incomplete", backend=name, detail=f"its key is set, but not {', '.join(missing)}")
    return not missing


def _provider(name: str, entry: ProviderEntry, keys: Mapping[str, Secret], codecs: Mapping[str, Any]) -> Provider:
    preset = PRESETS.get(entry.preset or name) if entry.codec is None else None
    given = entry.api_keys or ([entry.api_key] if entry.api_key else [])
    known = keys.get(entry.preset or name) if preset else None
    if not given and known is not None:
        given = [known]
    return build_provider(
        name,
        preset,
        codecs,
        codec=entry.codec,
        base_url=entry.base_url,
        api_keys=[key.reveal() for key in given],
        variables={**(_address_variables(preset) if preset else {}), **entry.variables},
        headers={header: secret.reveal() for header, secret in entry.headers.items()},
        options=entry.options,
        location=entry.location,
        always_streams=entry.always_streams,
    )


def _address_variables(preset: Preset) -> dict[str, str]:
    """What the environment says of the gaps in a preset's address."""
    found = environment_keys((gap, one.env) for gap, one in preset.variables.items() if one.env)
    return {gap: value.reveal() for gap, value in found.items()}


def _price_lists(config: Config, names: Iterable[str]) -> dict[str, str]:
    """Provider → its list of prices, where it has one. A preset's own address is what makes its prices right."""
    found = {}
    for name in names:
        entry = config.providers.get(name, ProviderEntry())
        preset = PRESETS.get(entry.preset or name)
        if preset is not None and preset.price_list is not None and entry.base_url in (None, preset.base_url):
            found[name] = preset.price_list
    return found


async def _local_models(config: Config, registrations: ModelStore, pool: Pool) -> list[LocalModel]:
    """The models of the config file, those that the API registered, and the demo; the file's win.

    Raises: StartupError."""
    models = {model.id: model for model in config.local_models()}
    taken = {*models, *config.aliases()}
    for model in await registrations.list():
        if model.id in taken:
            log.warning("registration_hidden", model=model.id, detail="the config file defines this id too")
        else:
            models[model.id] = model
    if config.demo and DEMO_MODEL not in taken:
        models.setdefault(DEMO_MODEL, _demo_model())
    for model in models.values():
        try:
            pool.add(model)
        except Exception as error:
            raise StartupError(f"Model {model.id}: {error}") from error
    return list(models.values())


def _demo_model() -> LocalModel:
    """So small a model needs a steady hand: at llama.cpp's own temperature it sometimes forgets what it knows."""
    options = {"extra_body": {"temperature": 0.1}}
    return LocalModel(id=DEMO_MODEL, runner="llama.cpp", weights=str(DEMO_WEIGHTS), slots=4, options=options)


def _refresh(metrics: Metrics, dispatch: Dispatch, pool: Pool) -> None:
    """Brings the gauges up to date."""
    metrics.running.set(len(dispatch.running))
    metrics.workers.clear()
    metrics.worker_memory.clear()
    metrics.queued.clear()
    for worker in pool.workers():
        metrics.workers.labels(worker.state).inc()
        metrics.queued.labels(worker.model).set(worker.queue_length)
        if worker.memory_bytes is not None:
            metrics.worker_memory.labels(worker.model).set(worker.memory_bytes)


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
    if error.errno in (98, 48):  # EADDRINUSE on Linux, on macOS
        return f"{where} is in use. Stop what listens there, or give another port: --port or PLUGGABLY_PORT."
    return f"Cannot listen on {where}: {error.strerror or error}. Give another address: --host or PLUGGABLY_HOST."
