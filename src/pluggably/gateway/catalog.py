"""What a model's name means: which backend serves it, and under which id there.

A name is, in this order: a local model (from the config file, or registered through the API), an alias that the
operator defined, or `<provider>/<the provider's own id>`. What is known of a model beyond its name is `registry`'s.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from pluggably.domain.catalog import LocalModel, Target
from pluggably.domain.generation import Location
from pluggably.errors import Conflict, ModelNotFound


class Catalog:
    """The names of one gateway. `providers` gives each provider's location, `aliases` the name that is meant."""

    def __init__(
        self, providers: Mapping[str, Location], aliases: Mapping[str, str], local: Iterable[LocalModel] = ()
    ) -> None:
        self._providers = providers
        self._aliases = aliases
        self._local = {model.id: model for model in local}

    def resolve(self, name: str) -> Target:
        """The target that serves `name`. Raises: ModelNotFound, naming what comes close."""
        meant = name if name in self._local else self._aliases.get(name, name)
        if meant in self._local:
            return Target(backend=meant, model=meant, location="local")
        provider, slash, rest = meant.partition("/")
        location = self._providers.get(provider)
        if slash and rest and location is not None:
            return Target(backend=provider, model=rest, location=location)
        raise ModelNotFound(self._not_found(name))

    def names(self) -> list[str]:
        """Every local model and alias. Models at a provider are asked for by `<provider>/<id>`."""
        return sorted({*self._local, *self._aliases})

    def local(self, name: str) -> LocalModel | None:
        """The local model of this id."""
        return self._local.get(name)

    def is_alias(self, name: str) -> bool:
        return name in self._aliases and name not in self._local

    def add(self, model: LocalModel) -> None:
        """Raises: Conflict."""
        self.check_free(model.id)
        self._local[model.id] = model

    def remove(self, name: str) -> None:
        """Raises: ModelNotFound, Conflict."""
        self.check_removable(name)
        del self._local[name]

    def check_free(self, name: str) -> None:
        """Raises: Conflict where a new model may not take this id."""
        if name in self._local or name in self._aliases:
            raise Conflict(f"There is a model {name!r} already.", pointer="/id")
        provider, slash, _ = name.partition("/")
        if slash and provider in self._providers:
            raise Conflict("A model's id may not begin with a provider's name and a slash.", pointer="/id")

    def check_removable(self, name: str) -> None:
        """Raises: ModelNotFound; Conflict where the config file defines the model."""
        model = self._local.get(name)
        if self.is_alias(name) or (model is not None and model.source == "file"):
            raise Conflict(f"The config file defines {name!r}; remove it there.")
        if model is None:
            raise ModelNotFound(self._not_found(name))

    def _not_found(self, name: str) -> str:
        provider, slash, _ = name.partition("/")
        if slash and provider not in self._providers:
            known = ", ".join(sorted(self._providers)) or "none"
            return f"No model has this name, and there is no such provider (providers: {known})."
        close = difflib.get_close_matches(name[:128], self.names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " GET /v1/models lists what there is."
        return "No model has this name." + hint
