"""What differs between two configs, in words for the log, and which of it a running gateway cannot take over.

Values are told only of the sections that hold no secrets; of everything else, which keys have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pluggably.config.schema import Config, ModelEntry, Provider

# What the listening socket, the server's protocol and the log are made with, once.
RESTART_KEYS = frozenset(
    {
        "server.host",
        "server.port",
        "server.max_header_bytes",
        "server.body_timeout_s",
        "log.level",
        "log.format",
    }
)

# Sections whose values may stand in a log.
_OPEN_SECTIONS = ("server", "timeouts", "retry", "inputs", "log")


class Differences(Struct, frozen=True, kw_only=True):
    """`taken` is what a running gateway can take over, `needs_restart` what waits for its next start; one sentence
    each."""

    taken: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.taken or self.needs_restart)


def differences(old: Config, new: Config) -> Differences:
    """What would have to be done to come from one config to the other; nothing where they mean the same."""
    taken: list[str] = []
    needs_restart: list[str] = []
    for section in _OPEN_SECTIONS:
        before, after = getattr(old, section), getattr(new, section)
        for key in _changed(before, after):
            place = f"{section}.{key}"
            words = f"{place}: {getattr(before, key)} → {getattr(after, key)}"
            (needs_restart if place in RESTART_KEYS else taken).append(words)
    taken += _entries("provider", old.providers, new.providers)
    taken += _entries("model", old.models, new.models)
    for key in ("model_folders", "demo"):
        if getattr(old, key) != getattr(new, key):
            taken.append(f"{key} changed")
    return Differences(taken=tuple(taken), needs_restart=tuple(needs_restart))


def _entries(
    noun: str, old: Mapping[str, Provider | ModelEntry | str], new: Mapping[str, Provider | ModelEntry | str]
) -> list[str]:
    words = []
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name), new.get(name)
        if before is None:
            words.append(f"{_noun(noun, after)} {name} added")
        elif after is None:
            words.append(f"{_noun(noun, before)} {name} removed")
        elif _noun(noun, before) != _noun(noun, after):
            words.append(f"{_noun(noun, before)} {name} is now: {_noun(noun, after)}")
        elif before != after:
            keys = f" ({', '.join(_changed(before, after))})" if isinstance(before, Struct) else ""
            words.append(f"{_noun(noun, before)} {name} changed{keys}")
    return words


def _noun(noun: str, entry: Any) -> str:
    if isinstance(entry, str):
        return "alias"
    return "route" if isinstance(entry, ModelEntry) and entry.targets is not None else noun


def _changed(before: Any, after: Any) -> list[str]:
    """The keys of two structs of one type that differ."""
    names = (field.encode_name for field in msgspec.structs.fields(before))
    return [name for name in names if getattr(before, name) != getattr(after, name)]
