"""From a config to a snapshot: the providers, what is known of their models, and the local models.

Done once at the start, and again whenever the config has changed; then what is as it was is taken over: a provider's
connections, a local model's worker. What surprises: nothing that serves is touched before all of the new config has
turned out right, so a wrong one changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from pluggably.config import Config, Secret
from pluggably.config import Provider as ProviderEntry
from pluggably.config.settings import environment_keys
from pluggably.demo import DEMO_WEIGHTS
from pluggably.domain.catalog import LocalModel, RouteSpec
from pluggably.errors import PluggablyError, StartupError
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.health import Health
from pluggably.gateway.prices import Prices
from pluggably.gateway.routing import RetryRules
from pluggably.gateway.snapshot import Backend, Snapshot
from pluggably.net.http import HttpClient, Patience
from pluggably.providers.presets import PRESETS
from pluggably.providers.provider import Provider
from pluggably.runners.pool import Pool
from pluggably.storage.models import ModelStore
from pluggably.wire.transport import FixedBackend

log = structlog.get_logger()

DEMO_MODEL = "demo"


class _Account:
    """A provider with its connections, shared by the snapshots in which its entry is the same. It is closed when the
    last of these is."""

    def __init__(self, entry: ProviderEntry, provider: Provider, price_list: str | None) -> None:
        self.entry = entry
        self.provider = provider
        self.price_list = price_list
        self.client = HttpClient()
        self.backend = FixedBackend(provider, self.client)
        self.users = 0

    async def leave(self) -> None:
        self.users -= 1
        if self.users == 0:
            await self.client.close()


class Assembly:
    """Builds the snapshots of one gateway. `local` serves the models of this machine."""

    def __init__(
        self,
        codecs: Mapping[str, Any],
        pool: Pool,
        local: Backend,
        registrations: ModelStore,
        health: Health,
        prices: Prices,
    ) -> None:
        self._codecs = codecs
        self._pool = pool
        self._local = local
        self._registrations = registrations
        self._health = health
        self._prices = prices
        self._accounts: dict[str, _Account] = {}

    async def snapshot(self, config: Config) -> Snapshot:
        """What a config comes to. The pool's models and the health's rules are those of the config from then on.

        Raises: StartupError, before anything has changed."""
        entries, keys = _entries(config)
        kept = {name: one for name, one in self._accounts.items() if one.entry == entries.get(name)}
        providers = {
            name: kept[name].provider if name in kept else _provider(name, entry, keys, self._codecs)
            for name, entry in entries.items()
        }
        registered = await self._registrations.list()
        models = _local_models(config, registered)
        catalog = Catalog(
            {name: one.location for name, one in providers.items()}, config.aliases(), models, _routes(config)
        )
        for name in config.routes():
            if not catalog.resolve(name).targets:
                raise StartupError(f"Route {name}: none of its targets is there.")
        try:
            gone = self._pool.replace(models, config.timeouts.total_s)
        except PluggablyError as error:
            raise StartupError(f"A local model is wrong: {error.detail}") from error
        # Nothing below can fail.
        accounts = {
            name: kept.get(name) or _Account(entries[name], provider, _price_list(name, entries[name]))
            for name, provider in providers.items()
        }
        changed = {name for name, one in self._accounts.items() if accounts.get(name) is not one}
        self._accounts = accounts
        self._health.configure(config.retry.breaker_failures, config.retry.breaker_rest_s)
        self._health.forget({*changed, *gone})
        return self._new(config, catalog, accounts)

    def _new(self, config: Config, catalog: Catalog, accounts: Mapping[str, _Account]) -> Snapshot:
        for account in accounts.values():
            account.users += 1

        async def close() -> None:
            for account in accounts.values():
                await account.leave()

        timeouts, retry = config.timeouts, config.retry
        return Snapshot(
            catalog=catalog,
            local=self._local,
            backends={name: account.backend for name, account in accounts.items()},
            remote={},
            price_lists={name: one.price_list for name, one in accounts.items() if one.price_list is not None},
            limits=Patience(timeouts.first_event_s, timeouts.idle_s, timeouts.total_s),
            rules=RetryRules(attempts=retry.attempts, max_wait_s=retry.max_wait_s),
            most_running=config.server.max_concurrent_generations,
            folders=config.model_folders,
            close=close,
        )


def _entries(config: Config) -> tuple[dict[str, ProviderEntry], dict[str, Secret]]:
    """The enabled providers of the config and every preset whose well-known variable is set; and those keys."""
    keys = environment_keys((name, preset.key_env) for name, preset in PRESETS.items() if preset.key_env)
    entries = {**{name: ProviderEntry() for name in keys}, **config.providers}
    return {name: entry for name, entry in entries.items() if entry.enabled}, keys


def _provider(name: str, entry: ProviderEntry, keys: Mapping[str, Secret], codecs: Mapping[str, Any]) -> Provider:
    preset = PRESETS.get(entry.preset or name) if entry.codec is None else None
    codec = codecs.get(entry.codec or (preset.codec if preset else ""))
    base_url = entry.base_url or (preset.base_url if preset else None)
    if codec is None or base_url is None:
        raise StartupError(f"Provider {name}: it needs a known `preset`, or a known `codec` and a `base_url`.")
    given = entry.api_keys or ([entry.api_key] if entry.api_key else [])
    known = keys.get(entry.preset or name) if preset else None
    if not given and known is not None:
        given = [known]
    if not given and preset is not None and preset.needs_key:
        raise StartupError(f"Provider {name}: it has no key. Set {preset.key_env}, or give `api_key` in the config.")
    try:
        return Provider(
            name=name,
            base_url=base_url,
            api_keys=[key.reveal() for key in given],
            codec=codec,
            options={**(preset.options if preset else {}), **entry.options},
            location=entry.location or "remote",
            always_streams=(
                entry.always_streams if entry.always_streams is not None else bool(preset and preset.always_streams)
            ),
            headers={header: secret.reveal() for header, secret in entry.headers.items()},
        )
    except msgspec.ValidationError as error:
        raise StartupError(f"Provider {name}: its options are wrong: {error}") from error


def _price_list(name: str, entry: ProviderEntry) -> str | None:
    """A provider's list of published prices. A preset's own address is what makes its prices right."""
    preset = PRESETS.get(entry.preset or name)
    return preset.price_list if preset is not None and entry.base_url in (None, preset.base_url) else None


def _routes(config: Config) -> dict[str, RouteSpec]:
    specs = {}
    for name, entry in config.routes().items():
        targets = entry.targets or []
        specs[name] = RouteSpec(
            targets=tuple(one if isinstance(one, str) else one.model for one in targets),
            weights=tuple(1.0 if isinstance(one, str) else one.weight for one in targets),
            choose=entry.choose,
            location=entry.location,
            on_context_length=tuple(entry.on_context_length),
            on_content_filter=tuple(entry.on_content_filter),
        )
    return specs


def _local_models(config: Config, registered: Sequence[LocalModel]) -> list[LocalModel]:
    """The models of the config file, those that the API registered, and the demo; the file's win."""
    models = {model.id: model for model in config.local_models()}
    taken = {*models, *config.aliases(), *config.routes()}
    for model in registered:
        if model.id in taken:
            log.warning("registration_hidden", model=model.id, detail="the config file defines this id too")
        else:
            models[model.id] = model
    if config.demo and DEMO_MODEL not in taken:
        models.setdefault(DEMO_MODEL, _demo_model())
    return list(models.values())


def _demo_model() -> LocalModel:
    """So small a model needs a steady hand: at llama.cpp's own temperature it sometimes forgets what it knows."""
    options = {"extra_body": {"temperature": 0.1}}
    return LocalModel(id=DEMO_MODEL, runner="llama.cpp", weights=str(DEMO_WEIGHTS), slots=4, options=options)
