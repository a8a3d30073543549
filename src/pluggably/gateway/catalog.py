"""What a model's name means: the targets that may serve it.

A name is, in this order: a local model (from the config file, or registered through the API), a route or an alias that
the operator defined, or `<provider>/<the provider's own id>`. What is known of a model beyond its name is `registry`'s.
What surprises: a route that names another route stands for that route's targets, with its own share of the weight.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from pluggably.domain.catalog import LocalModel, Route, RouteSpec, Target
from pluggably.domain.generation import Location
from pluggably.errors import Conflict, ModelNotFound

# Clients name the models, so there may be any number of names.
MOST_KEPT = 4096
# Of a name, as everywhere in the API and the config. Where it stands in a path, nothing else bounds it.
MOST_CHARACTERS = 512


class Catalog:
    """The names of one gateway. `providers` gives each provider's location, `aliases` the name that is meant."""

    def __init__(
        self,
        providers: Mapping[str, Location],
        aliases: Mapping[str, str],
        local: Iterable[LocalModel] = (),
        routes: Mapping[str, RouteSpec] | None = None,
    ) -> None:
        self._providers = providers
        self._aliases = aliases
        self._specs = routes or {}
        self._local = {model.id: model for model in local}
        self._kept: dict[str, Route] = {}

    def resolve(self, name: str) -> Route:
        """The targets that serve `name`. Raises: ModelNotFound, naming what comes close."""
        route = self._kept.get(name)
        if route is None:
            if len(name) > MOST_CHARACTERS:
                raise ModelNotFound(f"No model has a name of more than {MOST_CHARACTERS} characters.")
            route = self._route(name)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[name] = route
        return route

    def names(self) -> list[str]:
        """Every local model, route and alias. Models at a provider are asked for by `<provider>/<id>`."""
        return sorted({*self._local, *self._specs, *self._aliases})

    def local(self, name: str) -> LocalModel | None:
        """The local model of this id."""
        return self._local.get(name)

    def locals(self) -> list[LocalModel]:
        return list(self._local.values())

    def location(self, provider: str) -> Location:
        return self._providers[provider]

    def is_alias(self, name: str) -> bool:
        return name in self._aliases and name not in self._local

    def is_route(self, name: str) -> bool:
        return name in self._specs and name not in self._local

    def add(self, model: LocalModel) -> None:
        """Raises: Conflict."""
        self.check_free(model.id)
        self._local[model.id] = model
        self._kept.clear()

    def remove(self, name: str) -> None:
        """Raises: ModelNotFound, Conflict."""
        self.check_removable(name)
        del self._local[name]
        self._kept.clear()

    def check_free(self, name: str) -> None:
        """Raises: Conflict where a new model may not take this id."""
        if name in self._local or name in self._aliases or name in self._specs:
            raise Conflict(f"There is a model {name!r} already.", pointer="/id")
        provider, slash, _ = name.partition("/")
        if slash and provider in self._providers:
            raise Conflict("A model's id may not begin with a provider's name and a slash.", pointer="/id")

    def check_removable(self, name: str) -> None:
        """Raises: ModelNotFound; Conflict where the config file defines the model."""
        model = self._local.get(name)
        if self.is_alias(name) or self.is_route(name) or (model is not None and model.source == "file"):
            raise Conflict(f"The config file defines {name!r}; remove it there.")
        if model is None:
            raise ModelNotFound(self._not_found(name))

    def _route(self, name: str) -> Route:
        meant = name if name in self._local else self._aliases.get(name, name)
        spec = self._specs.get(meant) if meant not in self._local else None
        if spec is None:
            target = self._target(meant)
            if target is None:
                raise ModelNotFound(self._not_found(name))
            return Route(id=name, targets=(target,))
        shares = self._shares(meant, ())
        return Route(
            id=name,
            targets=tuple(shares),
            choose=spec.choose,
            weights=tuple(shares.values()) if spec.choose == "weight" else (),
            location=spec.location,
            first_event_s=spec.first_event_s,
            on_context_length=self._flat(spec.on_context_length, (meant,)),
            on_content_filter=self._flat(spec.on_content_filter, (meant,)),
        )

    def _target(self, meant: str) -> Target | None:
        local = self._local.get(meant)
        if local is not None:
            return Target(backend=meant, model=meant, location="local", runner=local.runner)
        provider, slash, rest = meant.partition("/")
        location = self._providers.get(provider)
        if slash and rest and location is not None:
            return Target(backend=provider, model=rest, location=location)
        return None

    def _shares(self, name: str, above: Sequence[str]) -> dict[Target, float]:
        """The targets that a name stands for, with the share of each; they add up to one. A name that means nothing
        any more is left out, and so is a route inside itself: the config does not take either, but a model of the
        API may have gone."""
        meant = name if name in self._local else self._aliases.get(name, name)
        spec = self._specs.get(meant) if meant not in self._local else None
        if spec is None:
            target = self._target(meant)
            return {target: 1.0} if target is not None else {}
        if meant in above:
            return {}
        found: dict[Target, float] = {}
        weights = spec.weights or (1.0,) * len(spec.targets)
        for one, weight in zip(spec.targets, weights, strict=True):
            for target, share in self._shares(one, (*above, meant)).items():
                found[target] = found.get(target, 0.0) + weight * share
        if above and spec.location is not None:
            # The promise of a route holds also where another one names it.
            found = {target: share for target, share in found.items() if target.location == spec.location}
        total = sum(found.values())
        return {target: weight / total for target, weight in found.items()}

    def _flat(self, names: Sequence[str], above: Sequence[str]) -> tuple[Target, ...]:
        return tuple(dict.fromkeys(target for name in names for target in self._shares(name, above)))

    def _not_found(self, name: str) -> str:
        provider, slash, _ = name.partition("/")
        if slash and provider not in self._providers:
            known = ", ".join(sorted(self._providers)) or "none"
            return f"No model has this name, and there is no such provider (providers: {known})."
        close = difflib.get_close_matches(name[:128], self.names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " GET /v1/models lists what there is."
        return "No model has this name." + hint
