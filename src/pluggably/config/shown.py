"""The settled config as a file that can be loaded again, for the operator to read: `pluggably config show`.

What is in no config file may still count, so flags, the environment and the providers that only the environment names
are in it. A secret is `***`. What surprises: text in `options` and `command` that refers to the environment is shown as
it is written (`${TOKEN}`), since nothing says whether it is a secret, and `***` would not be a right value everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import NODEFAULT, Struct

from pluggably.config.schema import ROUTE_KEYS, Config, ModelEntry
from pluggably.config.secret import Secret
from pluggably.config.settings import Settings
from pluggably.config.walk import Path_, plain_value

MASK = "***"


def shown(settings: Settings, *, everything: bool = False) -> str:
    """The settled config as YAML. Defaults are left out unless `everything` is wanted."""
    config = _settled(settings)
    content = {"version": config.version, **_Plain(settings, everything).section(config, ())}
    return _head(settings) + yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1_000_000
    )


def _head(settings: Settings) -> str:
    counted = ", ".join(settings.variables) or "nothing"
    lines = [
        f"# Config file: {settings.config_path or 'none; the defaults count'}",
        f"# Data directory: {settings.data_dir}",
        f"# From the environment: {counted}",
    ]
    # A path may hold whatever the file system takes; a comment is one line.
    return "".join("".join(letter if letter.isprintable() else "�" for letter in line) + "\n" for line in lines)


def _settled(settings: Settings) -> Config:
    """The config with what flags and the environment have added to it."""
    config = settings.config
    server = msgspec.structs.replace(config.server, host=settings.host, port=settings.port)
    return msgspec.structs.replace(config, server=server, providers={**config.providers, **settings.providers})


class _Plain:
    """Makes plain values of a config, such as YAML has."""

    def __init__(self, settings: Settings, everything: bool) -> None:
        self._written = settings.written
        self._everything = everything

    def section(self, section: Struct, path: Path_) -> dict[str, Any]:
        plain = {}
        for field in msgspec.structs.fields(section):
            name, value = field.name, getattr(section, field.name)
            if not self._is_shown(section, field, value):
                continue
            if isinstance(section, ModelEntry) and name == "weights" and value is not None:
                value = f"file:{value}"
            elif isinstance(value, float) and value.is_integer():
                value = int(value)  # 30, as everybody writes it; its type is known
            plain[name] = self.value(value, (*path, name))
        return plain

    def value(self, value: Any, path: Path_) -> Any:
        if path in self._written:
            # Without quotes, what is no text is read as what it was.
            return _Quoted(self._written[path]) if isinstance(value, str) else _Bare(self._written[path])
        if isinstance(value, Secret):
            return MASK
        if isinstance(value, Struct):
            return self.section(value, path)
        if isinstance(value, dict):
            return {name: self.value(inner, (*path, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, (*path, str(index))) for index, inner in enumerate(value)]
        if isinstance(value, str | Path):
            return str(value).replace("${", "$${")
        return value

    def _is_shown(self, section: Struct, field: msgspec.structs.FieldInfo, value: Any) -> bool:
        if isinstance(section, ModelEntry) and (section.targets is None) == (field.name in ROUTE_KEYS):
            return False  # the keys of the other kind are refused
        if field.required or self._everything:
            return True
        default = field.default_factory() if field.default_factory is not NODEFAULT else field.default
        return bool(value != default)


class _Quoted(str):
    """Text that is shown with quotes."""


class _Bare(str):
    """Text that is shown without quotes."""


class _Dumper(yaml.SafeDumper):
    """Puts quotes around what the loader, other than YAML 1.1, would not read as text."""

    def ignore_aliases(self, *_: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "'" if isinstance(text, _Quoted) or not isinstance(plain_value(text), str) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


for _kind in (str, _Quoted, _Bare):
    _Dumper.add_representer(_kind, _text)
