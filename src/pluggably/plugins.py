"""Finds codecs and runners by entry point: the house's own register through the same groups as a stranger's package.

A name is imported when it is first used, so a plugin that nobody asks for costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pluggably.errors import StartupError

CODECS = "pluggably.codecs"
RUNNERS = "pluggably.runners"


class Plugins(Mapping[str, Any]):
    """The plugins of one group: name → what its entry point names."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._loaded: dict[str, Any] = {}

    @cached_property
    def _found(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self._group):
            known = found.setdefault(point.name, point)
            if known.value != point.value:
                raise StartupError(
                    f"Two packages register {point.name!r} in {self._group}: {known.value} and {point.value}. "
                    "Uninstall one of them."
                )
        return found

    def __getitem__(self, name: str) -> Any:
        """Raises: KeyError; StartupError where the plugin's own code cannot be imported."""
        if name not in self._loaded:
            point = self._found[name]
            try:
                self._loaded[name] = point.load()
            except (ImportError, AttributeError) as error:
                raise StartupError(f"The plugin {name!r} ({point.value}) cannot be loaded: {error}") from error
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
