"""The config's JSON Schema for editors, and its reference page. Both are made from the types of `schema`.

Not imported by a running gateway; `scripts/reference.py` writes what this makes to `docs/reference/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from pluggably.config.schema import ROUTE_KEYS, Config, ModelEntry
from pluggably.config.secret import Secret
from pluggably.config.settings import VARIABLES

# Any value may be, or hold, a reference to the environment.
_REFERENCE = r"\$\{"

_INTRODUCTION = """\
# The config file

<!-- Made by scripts/reference.py from src/pluggably/config; change it there. -->

One YAML file, `pluggably.yaml`. Every key may be left out: the defaults suit one person on one machine, and without
a file the gateway starts too. [pluggably.example.yaml](../../pluggably.example.yaml) shows every key;
[pluggably.schema.json](pluggably.schema.json) lets an editor complete and check the file as you type, with this as
its first line:

```yaml
# yaml-language-server: $schema=docs/reference/pluggably.schema.json
```

The file is looked for in this order: `--config`, `PLUGGABLY_CONFIG`, `pluggably.yaml` in the working directory,
`$XDG_CONFIG_HOME/pluggably/pluggably.yaml` (`~/.config/pluggably/pluggably.yaml`). A wrong file stops the start, and
every error in it is told at once, each with its line and column. `pluggably config check` tells them without starting
anything, and `pluggably config show` prints what counts once file and environment are put together.

A value may refer to something else:

- `${NAME}`, anywhere in a value, is the environment variable `NAME`. A variable that is not set is an error. `$${`
  is a plain `${`.
- `file:/run/secrets/key`, where a secret is wanted, is the content of that file, less its final line break.

A relative path starts at the config file's folder, `~` is the home folder. Sizes are bytes, or text such as `20MiB`;
durations are seconds. Anchors, aliases and merge keys (`<<`) of YAML work.

The names under `targets`, `on_context_length` and `on_content_filter`, and what an alias means, must be there: a model
or a route of this file, `demo`, or `provider/model` of a provider that is switched on and has its key. Whether the
provider has such a model is not checked. Models that are registered through the API cannot be named: they may go while
the gateway runs. A route that leads back to itself is refused, and so is a target that breaks the promise
`location: local`.
"""

_ENVIRONMENT = """\
## Environment

A flag on the command line comes before the environment, the environment before the file, the file before the
default. A preset whose usual variable is set, such as `OPENAI_API_KEY`, needs no config at all.
"""


def config_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `pluggably.yaml`."""
    made = msgspec.json.schema(Config, schema_hook=lambda _: {"type": "string"})
    relaxed = {name: _relaxed(schema) for name, schema in made["$defs"].items()}
    relaxed["ModelEntry"] |= _model_or_route()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pluggably.yaml",
        "$ref": made["$ref"],
        "$defs": relaxed,
    }


def config_reference() -> str:
    """The reference page, in Markdown."""
    root = inspect.type_info(Config)
    if not isinstance(root, inspect.StructType):
        raise TypeError("The config must be a struct.")
    parts = [_INTRODUCTION, "## Top level\n", _table(root), *_sections(root)]
    rows = [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    parts += [_ENVIRONMENT, "\n".join(["| variable | meaning |", "|---|---|", *rows]) + "\n"]
    return "\n".join(parts)


# ── the schema ───────────────────────────────────────────────────────────────────────────────────────────


def _relaxed(schema: Any) -> Any:
    """What the loader takes beyond the bare type: references to the environment, sizes as text, empty
    sections."""
    if isinstance(schema, list):
        return [_relaxed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: _relaxed(value) for name, value in schema.items() if name != "propertyNames"}
    if "propertyNames" in schema:
        result["propertyNames"] = schema["propertyNames"]
    if isinstance(result.get("description"), str):
        result["description"] = _prose(result["description"])
    if result.get("default") in (None, {}, []) or "$ref" in result:
        result.pop("default", None)
    if "$ref" in result:
        return _either(result, {"$ref": result.pop("$ref")}, {"type": "null"})
    if result.get("type") in ("integer", "number", "boolean"):
        size = result.pop("pattern", None)
        pattern = f"{size}|{_REFERENCE}" if size else _REFERENCE
        return _either(result, _constraints(result), {"type": "string", "pattern": pattern})
    if "enum" in result and all(isinstance(value, str) for value in result["enum"]):
        return _either(result, {"enum": result.pop("enum")}, {"type": "string", "pattern": _REFERENCE})
    if result.get("type") == "string" and "minimum" in result:
        result["type"] = ["string", "number"]  # a number that is kept as it was written
    if "pattern" in result and _REFERENCE not in result["pattern"]:
        result["pattern"] += "|" + _REFERENCE
    return result


def _model_or_route() -> dict[str, Any]:
    """A route has none of a local model's keys, and a local model none of a route's."""
    local = [name for name in ModelEntry.__struct_fields__ if name not in ROUTE_KEYS]
    return {
        "if": {"required": ["targets"], "properties": {"targets": {"type": "array"}}},
        "then": {"properties": {name: {"type": "null"} for name in local}},
        "else": {"properties": {name: {"type": "null"} for name in ROUTE_KEYS}},
    }


def _constraints(schema: dict[str, Any]) -> dict[str, Any]:
    """Takes out of `schema` what bounds a value, and leaves what describes it."""
    return {name: schema.pop(name) for name in list(schema) if name not in ("description", "default", "title")}


def _either(described: dict[str, Any], *choices: dict[str, Any]) -> dict[str, Any]:
    return {**described, "anyOf": list(choices)}


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────


def _sections(struct: inspect.StructType, place: str = "") -> list[str]:
    """A section for each struct within another, however deep."""
    parts = []
    for field in struct.fields:
        inner, suffix = _struct_in(field.type)
        if inner is not None:
            where = f"{place}{field.encode_name}{suffix}"
            parts += [f"## `{where}`\n", _prose(inner.cls.__doc__ or "") + "\n", _table(inner)]
            parts += _sections(inner, f"{where}.")
    return parts


def _table(struct: inspect.StructType) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for field in struct.fields:
        kind = field.type
        description = ""
        if isinstance(kind, inspect.Metadata):
            description = (kind.extra_json_schema or {}).get("description", "")
        cells = [f"`{field.encode_name}`", _words(kind), _default(field), description]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    if field.default is NODEFAULT:
        return "none"
    if field.default is None or isinstance(field.default, msgspec.Struct):
        return ""
    return f"`{msgspec.json.encode(field.default).decode()}`" if field.default != "" else ""


_SIMPLE = {inspect.StrType: "text", inspect.BoolType: "`true` or `false`", inspect.StructType: "section"}


def _words(kind: inspect.Type, hints: dict[str, Any] | None = None) -> str:
    """A type in words."""
    hints = hints or {}
    if isinstance(kind, inspect.Metadata):
        hints = {**hints, **(kind.extra or {})}
        return str(hints.get("noun") or _words(kind.type, hints))
    if isinstance(kind, inspect.UnionType):
        members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        return " or ".join(_words(member, hints) for member in members)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _number_words(kind, hints)
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, inspect.ListType):
        return f"list of {_words(kind.item_type)}"
    if isinstance(kind, inspect.DictType):
        return f"mapping of names to {_words(kind.value_type)}"
    if isinstance(kind, inspect.CustomType):
        if kind.cls is Secret:
            return "secret"
        return "`file:` and a path" if kind.cls is Path and hints.get("reads") == "file_source" else "path"
    return _SIMPLE.get(type(kind), "anything")


def _number_words(kind: inspect.IntType | inspect.FloatType, hints: dict[str, Any]) -> str:
    noun = "whole number" if isinstance(kind, inspect.IntType) else "number"
    if hints.get("reads") == "bytes":
        noun = "size"
    limits = []
    if kind.gt is not None:
        limits.append(f"more than {kind.gt}")
    if kind.ge is not None:
        limits.append(f"from {kind.ge}")
    if kind.le is not None:
        limits.append(f"to {kind.le}")
    return " ".join([noun, *limits])


def _struct_in(kind: inspect.Type) -> tuple[inspect.StructType | None, str]:
    """The struct that a field is or holds, and what stands behind the field's name to reach it."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.DictType):
        struct, suffix = _struct_in(kind.value_type)
        return struct, ".<name>" + suffix
    if isinstance(kind, inspect.ListType):
        struct, suffix = _struct_in(kind.item_type)
        return struct, "[]" + suffix
    if isinstance(kind, inspect.UnionType):
        return next((found for member in kind.types if (found := _struct_in(member))[0]), (None, ""))
    return (kind if isinstance(kind, inspect.StructType) else None), ""


def _prose(text: str) -> str:
    return " ".join(text.split())
