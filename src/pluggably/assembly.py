"""From a config to a snapshot: the providers, what is known of their models, and the local models.

Done once at the start, and again whenever the config has changed; then what is as it was is taken over: a provider's
connections, a local model's worker. What surprises: nothing that serves is touched before all of the new config has
turned out right, so a wrong one changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from pluggably.config import Config, Settings
from pluggably.config import Provider as ProviderEntry
from pluggably.config.accounts import preset_of
from pluggably.config.schema import DEMO_MODEL, AwsCredential, ModelFacts
from pluggably.demo import DEMO_WEIGHTS
from pluggably.domain.catalog import LocalModel, RemoteModel, RouteSpec
from pluggably.errors import PluggablyError, StartupError
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.health import Health
from pluggably.gateway.inputs import InputLimits, Inputs
from pluggably.gateway.prices import Prices
from pluggably.gateway.routing import RetryRules
from pluggably.gateway.snapshot import Backend, Snapshot
from pluggably.net.fetch import Fetcher
from pluggably.net.guard import Guard
from pluggably.net.http import HttpClient, Patience
from pluggably.providers.aws_signature import AwsAccess, AwsKeys
from pluggably.providers.build import build_provider, filled
from pluggably.providers.listing import Listing, ListSource, list_url
from pluggably.providers.presets import PRESETS, ModelList, Preset
from pluggably.providers.provider import Provider
from pluggably.runners.pool import Pool
from pluggably.storage.models import ModelStore
from pluggably.telemetry.metrics import Metrics
from pluggably.wire.transport import FixedBackend

log = structlog.get_logger()

T = TypeVar("T")


class _Account:
    """A provider with its connections and its list of models, shared by the snapshots in which its entry is the same.
    It is closed when the last of these is."""

    def __init__(self, entry: ProviderEntry, provider: Provider, prices: Prices, cache: Path) -> None:
        preset = starting_row(provider.name, entry)
        self.entry = entry
        self.provider = provider
        self.price_list = preset.price_list if preset is not None else None
        self.client = HttpClient()
        self.backend = FixedBackend(provider, self.client)
        self.listing = Listing(
            provider=provider.name,
            sources=list_sources(provider, preset, entry),
            headers=provider.headers,
            signers=provider.signers,
            http=self.client,
            facts={model: _facts(model, facts) for model, facts in entry.models.items()},
            # What runs on the operator's own machines costs nothing, unless the operator says otherwise.
            free=True if entry.free is None and provider.location == "local" else entry.free,
            free_models=preset.free_models if preset is not None else None,
            published=prices.published(self.price_list) if self.price_list is not None else None,
            vendor=(entry.preset or provider.name) if preset is not None else None,
            kept=cache / f"{provider.name}.json",
        )
        self.users = 0

    async def close(self) -> None:
        await self.listing.close()
        await self.client.close()


class Assembly:
    """Builds the snapshots of one gateway. `local` serves the models of this machine; `cache` is a folder for what the
    providers list; in `environment` accounts of AWS and Google are looked for."""

    def __init__(
        self,
        codecs: Mapping[str, Any],
        pool: Pool,
        local: Backend,
        registrations: ModelStore,
        health: Health,
        prices: Prices,
        metrics: Metrics,
        cache: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = environment or {}
        self._codecs = codecs
        self._pool = pool
        self._local = local
        self._registrations = registrations
        self._health = health
        self._prices = prices
        self._metrics = metrics
        self._cache = cache
        self._accounts: dict[str, _Account] = {}

    async def snapshot(self, settings: Settings) -> Snapshot:
        """What the settings come to. The pool's models and the health's rules are theirs from then on.

        Raises: StartupError, before anything has changed."""
        config, entries = settings.config, settings.providers
        kept = {name: one for name, one in self._accounts.items() if one.entry == entries.get(name)}
        providers = {
            name: kept[name].provider if name in kept else _provider(name, entry, self._codecs, self._environment)
            for name, entry in entries.items()
        }
        models = _local_models(config, await self._registrations.list())
        locations = {name: provider.location for name, provider in providers.items()}
        catalog = Catalog(locations, config.aliases(), models, _routes(config))
        guard = _guard(config)
        accounts = dict(kept)
        try:
            for name, provider in providers.items():
                if name not in kept:
                    accounts[name] = _Account(entries[name], provider, self._prices, self._cache)
            gone = self._replace_models(models, config.timeouts.total_s)
        except BaseException:
            for name, account in accounts.items():
                if name not in kept:
                    await account.close()
            raise
        # Nothing below can fail.
        changed = {name for name, one in self._accounts.items() if accounts.get(name) is not one}
        self._accounts = accounts
        self._health.configure(config.retry.breaker_failures, config.retry.breaker_rest_s)
        self._health.forget({*changed, *gone})
        return self._new(config, catalog, accounts, guard)

    def _replace_models(self, models: Sequence[LocalModel], grace_s: float) -> list[str]:
        """Raises: StartupError, before anything has changed."""
        try:
            return self._pool.replace(models, grace_s)
        except PluggablyError as error:
            raise StartupError(f"A local model is wrong: {error.detail}") from error

    def _new(self, config: Config, catalog: Catalog, accounts: Mapping[str, _Account], guard: Guard) -> Snapshot:
        fetcher, inputs = Fetcher(guard), config.inputs
        for account in accounts.values():
            account.users += 1

        async def close() -> None:
            # All are counted down before the first wait, so that none is missed where that is cut short.
            for account in accounts.values():
                account.users -= 1
            await fetcher.close()
            for account in [one for one in accounts.values() if one.users == 0]:
                await account.close()

        limits = InputLimits(
            part_bytes=inputs.max_part_bytes, total_bytes=inputs.max_total_bytes, fetch_s=inputs.fetch_timeout_s
        )
        timeouts, retry = config.timeouts, config.retry
        return Snapshot(
            catalog=catalog,
            local=self._local,
            backends={name: account.backend for name, account in accounts.items()},
            remote={name: account.listing for name, account in accounts.items()},
            price_lists={name: one.price_list for name, one in accounts.items() if one.price_list is not None},
            inputs=Inputs(fetcher.fetch, limits, self._metrics),
            limits=Patience(timeouts.first_event_s, timeouts.idle_s, timeouts.total_s),
            rules=RetryRules(attempts=retry.attempts, max_wait_s=retry.max_wait_s),
            most_running=config.server.max_concurrent_generations,
            folders=config.model_folders,
            close=close,
        )


def _guard(config: Config) -> Guard:
    """Raises: StartupError."""
    try:
        return Guard(config.inputs.allow_hosts, config.inputs.allow_ports)
    except ValueError as error:
        raise StartupError(f"The config's `inputs.allow_hosts` is wrong: {error}") from error


def starting_row(name: str, entry: ProviderEntry) -> Preset | None:
    """The preset that an entry starts from. At another address than the preset's own its prices may be wrong, and the
    key that is meant for that address must not go to the vendor's list of models."""
    preset = preset_of(name, entry, PRESETS)
    if preset is None or entry.base_url in (None, preset.base_url):
        return preset
    return msgspec.structs.replace(preset, price_list=None, free_models=None, models=moved(preset.models))


def moved(models: ModelList | None) -> ModelList | None:
    """The lists as they are found at an address of the operator's own."""
    if models is None or "://" in models.path:
        return None
    also = tuple(one for one in map(moved, models.also) if one is not None)
    return msgspec.structs.replace(models, server="", also=also)


def _provider(name: str, entry: ProviderEntry, codecs: Mapping[str, Any], environment: Mapping[str, str]) -> Provider:
    return build_provider(
        name,
        starting_row(name, entry),
        codecs,
        codec=entry.codec,
        base_url=entry.base_url,
        api_keys=[key.reveal() for key in entry.api_keys or ([entry.api_key] if entry.api_key else [])],
        variables=entry.variables,
        headers={header: secret.reveal() for header, secret in entry.headers.items()},
        options=entry.options,
        location=entry.location,
        always_streams=entry.always_streams,
        aws=[_aws_access(one) for one in entry.aws],
        google=[text.reveal() for text in entry.google],
        environment=environment,
    )


def _aws_access(entry: AwsCredential) -> AwsAccess:
    if entry.access_key_id is None or entry.secret_access_key is None:
        return AwsAccess(profile=entry.profile)
    token = entry.session_token.reveal() if entry.session_token is not None else None
    return AwsAccess(keys=AwsKeys(entry.access_key_id.reveal(), entry.secret_access_key.reveal(), token))


def list_sources(provider: Provider, preset: Preset | None, entry: ProviderEntry) -> list[ListSource]:
    """Where a provider's models are listed; none where that is not known."""
    if preset is None:
        is_openai = (entry.codec or "").startswith("openai")
        return [ListSource(list_url(provider.base_url, "/models"))] if is_openai else []
    sources = []
    for models in preset.models.all() if preset.models is not None else ():
        server, path = (filled(text, preset, entry.variables, provider.name) for text in (models.server, models.path))
        sources.append(ListSource(list_url(server or provider.base_url, path, provider.query), models.form))
    return sources


def _facts(model: str, facts: ModelFacts) -> RemoteModel:
    return RemoteModel(
        id=model,
        name=facts.name,
        price=facts.price,
        free=facts.free,
        context_tokens=facts.context_tokens,
        max_output_tokens=facts.max_output_tokens,
        input_modalities=_tuple(facts.input_modalities),
        output_modalities=_tuple(facts.output_modalities),
        capabilities=facts.capabilities,
    )


def _tuple(values: list[T] | None) -> tuple[T, ...] | None:
    return tuple(values) if values is not None else None


def _routes(config: Config) -> dict[str, RouteSpec]:
    specs = {}
    for name, entry in config.routes().items():
        specs[name] = RouteSpec(
            targets=tuple(entry.target_names()),
            weights=tuple(1.0 if isinstance(one, str) else one.weight for one in entry.targets or []),
            choose=entry.choose,
            location=entry.location,
            first_event_s=entry.first_event_s,
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
