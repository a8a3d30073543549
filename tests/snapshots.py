"""A snapshot around one backend, for tests of what works by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pluggably.domain.catalog import LocalModel, Price, RemoteModel, Target
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.dispatch import Dispatch
from pluggably.gateway.health import Health
from pluggably.gateway.inputs import Fetch, InputLimits, Inputs
from pluggably.gateway.ledger import Ledger
from pluggably.gateway.prices import Prices
from pluggably.gateway.routing import RetryRules
from pluggably.gateway.snapshot import Live, Snapshot
from pluggably.net.http import Patience
from pluggably.telemetry.metrics import Metrics

NO_RETRY = RetryRules(attempts=1, max_wait_s=0)


def one_local_model() -> Catalog:
    return Catalog({"far": "remote"}, {}, [LocalModel(id="m", runner="toy")])


async def nothing() -> None:
    pass


async def fetch_nothing(url: str, **_: Any) -> Any:
    raise AssertionError(url)


def snapshot(
    backend: Any = None,
    *,
    catalog: Catalog | None = None,
    backends: Mapping[str, Any] | None = None,
    remote: Mapping[str, Any] | None = None,
    limits: Patience | None = None,
    rules: RetryRules = NO_RETRY,
    fetch: Fetch | None = None,
    most_running: int = 10,
    folders: tuple[Path, ...] = (),
    close: Callable[[], Any] = nothing,
) -> Snapshot:
    """`backend` serves the local models, and each provider without one of `backends`."""
    return Snapshot(
        catalog=catalog or one_local_model(),
        local=backend,
        backends=backends if backends is not None else {"far": backend},
        remote=remote or {},
        price_lists={},
        inputs=Inputs(fetch or fetch_nothing, InputLimits(), Metrics()),
        limits=limits or Patience(9, 9, 9),
        rules=rules,
        most_running=most_running,
        folders=folders,
        close=close,
    )


def dispatch_over(current: Snapshot, metrics: Metrics | None = None, health: Health | None = None) -> Dispatch:
    ledger = Ledger(metrics or Metrics(), Prices())
    return Dispatch(Live(current), ledger, health or Health(lambda: 0.0))


class Facts:
    """What is known of one provider's models; all of it is listed."""

    detail: str | None = None

    def __init__(self, *models: RemoteModel) -> None:
        self._models = {model.id: model for model in models}
        self.refreshed = 0

    def known(self, model: str) -> RemoteModel | None:
        return self._models.get(model)

    def told_price(self, model: str) -> Price | None:
        found = self._models.get(model)
        return found.price if found is not None else None

    def doubt(self, model: str) -> str | None:
        return None if model in self._models else f"{model} is not listed"

    def operators_price(self, model: str) -> Price | None:
        return None

    async def models(self) -> list[RemoteModel]:
        return list(self._models.values())

    def refresh(self) -> None:
        self.refreshed += 1


def target(name: str, *, local: bool = False, runner: str | None = None) -> Target:
    backend, _, model = name.partition("/")
    return Target(backend=backend, model=model or backend, location="local" if local else "remote", runner=runner)
