"""What the plug-ins and presets bring, as far as the config must know it. It is handed in: the config imports none of
them, so what is declared here is only what the loader reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from msgspec import Struct


class Plugin(Protocol):
    """A codec or a runner."""

    Options: ClassVar[type[Struct]]


class Variable(Protocol):
    """What fills a gap in a preset's address."""

    @property
    def means(self) -> str: ...

    @property
    def env(self) -> str | None: ...

    @property
    def default(self) -> str | None: ...


class ModelList(Protocol):
    """Where a preset's models are listed."""

    @property
    def path(self) -> str: ...

    def all(self) -> Sequence[ModelList]: ...


class Preset(Protocol):
    """A row of `providers.presets`."""

    @property
    def codec(self) -> str: ...

    @property
    def base_url(self) -> str: ...

    @property
    def key_env(self) -> str | None: ...

    @property
    def signing(self) -> str | None:
        """Whose accounts sign its calls: `aws`, `google`."""
        ...

    @property
    def needs_key(self) -> bool: ...

    @property
    def needs_entry(self) -> bool:
        """Whether its variable alone does not switch it on, because that variable is often set for something else."""
        ...

    @property
    def query(self) -> Mapping[str, str]: ...

    @property
    def models(self) -> ModelList | None: ...

    @property
    def variables(self) -> Mapping[str, Variable]: ...


class Vocabulary(Struct, frozen=True, kw_only=True):
    """Everything that a config may name. The mappings of plug-ins may be lazy: only what a config names is looked up,
    and their keys are listed only to name them in an error."""

    presets: Mapping[str, Preset]
    codecs: Mapping[str, Plugin]
    runners: Mapping[str, Plugin]
