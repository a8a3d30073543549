"""Which providers a gateway has, and with what: those of the file, and every preset whose usual variable is set.

Here the environment is added to the file: the key of a preset, and what fills the gaps in its address. What surprises:
an entry with a `codec` of its own takes nothing from a preset, whatever its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from pluggably.config.schema import VARIABLE_VALUE, Config, Provider
from pluggably.config.secret import Secret
from pluggably.config.vocabulary import Preset

P = TypeVar("P", bound=Preset)

# The model's own place in an address, which each request fills.
_MODEL = "model"


class Accounts(Struct, frozen=True):
    """The providers that are switched on, complete; the variables that counted; and what the operator should hear."""

    providers: dict[str, Provider]
    variables: frozenset[str]
    warnings: tuple[str, ...] = ()


def accounts(config: Config, presets: Mapping[str, Preset], environment: Mapping[str, str]) -> Accounts:
    """The providers of a config that has been checked, and those of the environment alone."""
    providers: dict[str, Provider] = {}
    used: set[str] = set()
    warnings: list[str] = []
    offered = {
        name: Provider()
        for name, preset in presets.items()
        if name not in config.providers and is_offered(preset, environment)
    }
    # Keys that an entry of the file takes: what they are for is known then.
    taken = {
        preset.key_env
        for name, entry in config.providers.items()
        if entry.enabled and not has_key(entry) and (preset := preset_of(name, entry, presets)) is not None
    }
    for name, entry in {**offered, **config.providers}.items():
        if not entry.enabled:
            continue
        preset = preset_of(name, entry, presets)
        if preset is None:
            providers[name] = entry
            continue
        key = environment_key(preset, environment)
        filling = Filling(preset, entry, environment)
        if name in offered and filling.missing:
            if preset.key_env not in taken:
                warnings.append(
                    f"{preset.key_env} is set, but not all that its provider needs: {name}: {filling.missing[0]}"
                )
            continue
        used |= filling.used
        if key is not None and not has_key(entry):
            used.add(preset.key_env or "")
            entry = msgspec.structs.replace(entry, api_key=key)
        providers[name] = msgspec.structs.replace(entry, variables=filling.values)
    return Accounts(providers, frozenset(used), tuple(warnings))


def preset_of(name: str, entry: Provider, presets: Mapping[str, P]) -> P | None:
    """The preset that an entry starts from."""
    return presets.get(entry.preset or name) if entry.codec is None else None


def is_offered(preset: Preset, environment: Mapping[str, str]) -> bool:
    """Whether a preset is switched on without an entry: its variable is set, and set for it alone."""
    return not preset.needs_entry and environment_key(preset, environment) is not None


def has_key(entry: Provider) -> bool:
    return entry.api_key is not None or bool(entry.api_keys)


def environment_key(preset: Preset, environment: Mapping[str, str]) -> Secret | None:
    """The key in a preset's usual variable. An empty one is not set."""
    value = environment.get(preset.key_env, "").strip() if preset.key_env else ""
    return Secret(value) if value else None


def gaps(text: str) -> list[str]:
    """The names of the gaps in an address or a part of one, that of the model aside."""
    return [name for name in re.findall(r"\{([^{}]*)\}", text) if name != _MODEL]


class Filling:
    """What fills the gaps of a preset's address: the entry, else the environment, else the preset's default."""

    def __init__(self, preset: Preset, entry: Provider, environment: Mapping[str, str]) -> None:
        self.values = dict(entry.variables)
        self.used: set[str] = set()
        self.missing: list[str] = []
        needed = set(preset.variables)
        if entry.base_url is not None:
            # Whatever else of the preset stays as it is keeps its gaps.
            lists = preset.models.all() if preset.models is not None else ()
            rest = [*preset.query.values(), *(models.path for models in lists)]
            needed = {gap for text in [entry.base_url, *rest] for gap in gaps(text)}
        for name, variable in preset.variables.items():
            if name in self.values:
                continue
            found = environment.get(variable.env, "").strip() if variable.env else ""
            if found and re.fullmatch(VARIABLE_VALUE, found):
                self.values[name] = found
                self.used.add(variable.env or "")
            elif found and name in needed:
                self.missing.append(f"{variable.env} must be a part of an address: letters, digits, and . _ -.")
            elif variable.default is not None:
                self.values[name] = variable.default
            elif name in needed:
                other = f", or set {variable.env}" if variable.env else ""
                self.missing.append(f"its address needs `{name}` ({variable.means}); give it under `variables`{other}.")
