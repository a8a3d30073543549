"""Walks the node tree of the file side by side with the types of `schema`.

A value is read as what is wanted at its place: `model: no` is the text "no" where text is wanted, and `port: "8080"` a
number. What is wrong is noted with its line and column, and the walk goes on, so that one run tells everything.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from msgspec import inspect

from pluggably.config.document import Issue, Node, position
from pluggably.config.references import BadReferenceError, References
from pluggably.config.schema import Config
from pluggably.config.secret import Secret

MAX_STEPS = 20_000  # nodes read, each use of an alias counted: far more than a config has, far less than a bomb
MAX_DEPTH = 24

Path_: TypeAlias = tuple[str, ...]
Pairs: TypeAlias = dict[str, tuple[Node, Node]]

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "merge"))
_COLLECTION_TAGS = frozenset((_TAG + "map", _TAG + "seq"))
_INTEGER = re.compile(r"[+-]?[0-9][0-9_]*")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|sec|m|min|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]+) ?(?:([KMG])(i?)B|B)?")
_POWERS = {"K": 1, "M": 2, "G": 3}


class Wrong:
    """Stands for a value that could not be read; its issue is noted."""


WRONG = Wrong()


class TooMuchError(Exception):
    """The tree is too large or too deep to be a config."""


class Walk:
    """One reading of one file. A value that is wrong is noted and left out, and the walk goes on, so that one
    run tells everything. So the result counts only where no issue was noted."""

    def __init__(self, references: References) -> None:
        self.references = references
        self.issues: list[tuple[Path_, Issue]] = []
        self.warnings: list[Issue] = []
        self.nodes: dict[Path_, Node] = {}
        # The keys that stand in each section, also where their values are wrong.
        self.given: dict[Path_, Pairs] = {}
        # Values that refer to the environment, as they are written.
        self.written: dict[Path_, str] = {}
        self._steps = 0

    def root(self, node: Node) -> Config:
        config = self.read(node, inspect.type_info(Config), ())
        return config if isinstance(config, Config) else Config()

    def wrong(self, node: Node, path: Path_, message: str) -> Wrong:
        self.issues.append((path, _issue(node, path, message)))
        return WRONG

    def warn(self, node: Node, path: Path_, message: str) -> None:
        self.warnings.append(_issue(node, path, message))

    def is_good(self, path: Path_) -> bool:
        """Whether nothing is wrong at `path` and below it."""
        return not any(wrong[: len(path)] == path for wrong, _ in self.issues)

    def read(self, node: Node, kind: inspect.Type, path: Path_, hints: Mapping[str, Any] | None = None) -> Any:
        """The value at a node, read as `kind`, or `WRONG`."""
        hints = hints or {}
        while isinstance(kind, inspect.Metadata):
            hints = {**hints, **(kind.extra or {})}
            kind = kind.type
        self._step(path)
        self.nodes[path] = node
        if node.tag not in (_SCALAR_TAGS if isinstance(node, yaml.ScalarNode) else _COLLECTION_TAGS):
            return self.wrong(node, path, "YAML tags (`!…`) mean nothing here.")
        if isinstance(kind, inspect.UnionType):
            return self._union(node, kind, path, hints)
        if isinstance(kind, inspect.StructType) and kind.tag is None:
            return self._struct(node, kind, path)
        if isinstance(kind, inspect.DictType):
            return self._dict(node, kind, path)
        if isinstance(kind, inspect.ListType):
            return self._list(node, kind, path)
        reader = _SCALARS.get(type(kind))
        if reader is None:
            # A type that only a plug-in's options can have; the whole of them is converted by msgspec
            # afterwards.
            return self._anything(node, path)
        return self._scalar(node, kind, path, hints)

    def pairs(self, node: Node, path: Path_, wanted: str = "a mapping (`key: value` lines)") -> Pairs | None:
        """The keys and values of a mapping, merge keys (`<<`) resolved; None where it is none, which is
        noted."""
        if is_null(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, path, f"must be {wanted}, not {_form_of(node)}.")
            return None
        own: Pairs = {}
        merged: Pairs = {}
        for key, value in node.value:
            self._step(path)
            if key.tag == _TAG + "merge":
                merged = {**self._merged(value, path), **merged}
            elif not isinstance(key, yaml.ScalarNode):
                self.wrong(key, path, "A key must be plain text.")
            elif key.value in own:
                first, _ = position(own[key.value][0])
                self.wrong(key, (*path, key.value), f"stands here twice; the first is in line {first}.")
            else:
                own[key.value] = (key, value)
        return {**merged, **own}

    def fields(self, pairs: Pairs, kind: inspect.StructType, path: Path_, node: Node) -> dict[str, Any]:
        """The fields of a struct that are given and right, by their names in the file."""
        known = {field.encode_name: field for field in kind.fields}
        values = {}
        for name, (key, value) in pairs.items():
            field = known.get(name)
            if field is None:
                hint = " A plug-in's own options stand under `options`." if "options" in known else ""
                self.wrong(key, path, f"unknown key `{printable(name)}`{suggestion(name, known)}{hint}")
            elif (read := self.read(value, field.type, (*path, name))) is not WRONG:
                values[name] = read
        for name, field in known.items():
            if field.required and name not in pairs:
                self.wrong(node, path, f"the key `{name}` is missing.")
        return values

    def _struct(self, node: Node, kind: inspect.StructType, path: Path_) -> Any:
        pairs = self.pairs(node, path)
        if pairs is None:
            return WRONG
        self.given[path] = pairs
        values = self.fields(pairs, kind, path, node)
        names = {field.encode_name: field.name for field in kind.fields}
        if any(field.required and field.encode_name not in values for field in kind.fields):
            return WRONG
        return kind.cls(**{names[name]: value for name, value in values.items()})

    def _dict(self, node: Node, kind: inspect.DictType, path: Path_) -> Any:
        pairs = self.pairs(node, path)
        if pairs is None:
            return WRONG
        self.given[path] = pairs
        values = {}
        for name, (key, value) in pairs.items():
            complaint = _key_complaint(name, kind.key_type)
            if complaint:
                self.wrong(key, (*path, name), complaint)
                continue
            read = self.read(value, kind.value_type, (*path, name))
            if read is not WRONG:
                values[name] = read
        return values

    def _list(self, node: Node, kind: inspect.ListType, path: Path_) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self.wrong(node, path, f"must be a list, not {_form_of(node)}.")
        if len(node.value) < (kind.min_length or 0):
            return self.wrong(node, path, f"must have at least {kind.min_length} entry.")
        items = [self.read(item, kind.item_type, (*path, str(index))) for index, item in enumerate(node.value)]
        return WRONG if any(item is WRONG for item in items) else items

    def _union(self, node: Node, kind: inspect.UnionType, path: Path_, hints: Mapping[str, Any]) -> Any:
        if is_null(node) and any(isinstance(member, inspect.NoneType) for member in kind.types):
            return None
        members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        fitting = [member for member in members if isinstance(node, _node_type(member))]
        if len(members) > 1 and (is_null(node) or not fitting):
            wanted = " or ".join(_noun(member) for member in members)
            return self.wrong(node, path, f"must be {wanted}, not {_form_of(node)}.")
        if len(fitting) > 1:
            return self._anything(node, path)
        return self.read(node, (fitting or members)[0], path, hints)

    def _anything(self, node: Node, path: Path_) -> Any:
        """A value without a type: numbers, true, false and null as JSON has them, and everything else as
        text."""
        self._step(path)
        if isinstance(node, yaml.MappingNode):
            pairs = self.pairs(node, path) or {}
            read = {name: self._anything(value, (*path, name)) for name, (_, value) in pairs.items()}
            return {name: value for name, value in read.items() if value is not WRONG}
        if isinstance(node, yaml.SequenceNode):
            return [self._anything(item, (*path, str(index))) for index, item in enumerate(node.value)]
        if is_null(node):
            return None
        text = self._text(node, path)
        is_quoted = isinstance(node, yaml.ScalarNode) and node.style
        return text if isinstance(text, Wrong) or is_quoted else plain_value(text)

    def _scalar(self, node: Node, kind: inspect.Type, path: Path_, hints: Mapping[str, Any]) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return self.wrong(node, path, f"must be {_noun(kind)}, not {_form_of(node)}.")
        if is_null(node):
            return self.wrong(node, path, f"has no value; {_noun(kind)} is wanted.")
        text = self._text(node, path)
        if isinstance(text, Wrong):
            return text
        try:
            value = _SCALARS[type(kind)](text, kind, hints, self.references)
        except (ValueError, BadReferenceError) as error:
            return self.wrong(node, path, str(error))
        complaint = _bounds_complaint(value, kind, hints)
        return self.wrong(node, path, complaint) if complaint else value

    def _text(self, node: Node, path: Path_) -> str | Wrong:
        raw = str(node.value)
        if "${" in raw:
            self.written[path] = raw
        try:
            return self.references.text(raw)
        except BadReferenceError as error:
            return self.wrong(node, path, str(error))

    def _merged(self, node: Node, path: Path_) -> Pairs:
        """What `<<` brings: a mapping, or a list of them, of which the first has precedence."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: Pairs = {}
        for source in sources:
            self._step(path)
            if not isinstance(source, yaml.MappingNode):
                self.wrong(source, path, "`<<` takes a mapping, or a list of mappings.")
                continue
            merged = {**(self.pairs(source, (*path, "<<")) or {}), **merged}
        return merged

    def _step(self, path: Path_) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TooMuchError(f"The file stands for more than {MAX_STEPS} values, once its aliases are filled in.")
        if len(path) > MAX_DEPTH:
            raise TooMuchError(f"The file nests deeper than {MAX_DEPTH} levels.")


def _issue(node: Node, path: Path_, message: str) -> Issue:
    where = printable(".".join(path))
    return Issue(*position(node), f"{where}: {message}" if where else message)


def is_null(node: Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


# ── scalars ─────────────────────────────────────────────────────────────────────────────────────────────────


def _read_bool(text: str, *_: Any) -> bool:
    # YAML 1.1's other words are taken too, but only where a boolean is wanted.
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    value = words.get(text.lower())
    if value is None:
        raise ValueError("must be true or false.")
    return value


def _read_int(text: str, _kind: Any, hints: Mapping[str, Any], _references: References) -> int:
    if hints.get("reads") == "bytes":
        return parse_size(text)
    if not _INTEGER.fullmatch(text) or len(text) > 20:
        raise ValueError("must be a whole number.")
    return int(text.replace("_", ""))


def _read_float(text: str, *_: Any) -> float:
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        raise ValueError(f"must be a number{_seconds_meant(text)}.") from None
    if not abs(value) < float("inf"):
        raise ValueError("must be a finite number.")
    return value


def _seconds_meant(text: str) -> str:
    """What a duration with a unit is as a number: all times here are in seconds."""
    match = _DURATION.fullmatch(text.strip().lower())
    return f" of seconds, so `{float(match[1]) * _UNIT_SECONDS[match[2]]:g}` for `{text}`" if match else ""


def _read_str(text: str, *_: Any) -> str:
    return text


def _read_literal(text: str, kind: inspect.LiteralType, *_: Any) -> Any:
    choices = {str(value): value for value in kind.values}
    if text not in choices:
        listed = ", ".join(f"`{choice}`" for choice in choices)
        raise ValueError(f"must be {listed}." if len(choices) == 1 else f"must be one of {listed}.")
    return choices[text]


def _read_custom(
    text: str, kind: inspect.CustomType, hints: Mapping[str, Any], references: References
) -> Secret | Path:
    if kind.cls is Secret:
        return Secret(references.secret(text))
    if hints.get("reads") == "file_source":
        if not text.startswith("file:"):
            raise ValueError("must be `file:` and a path, such as `file:/models/qwen.gguf`.")
        text = text.removeprefix("file:")
    if not text:
        raise ValueError("must be a path.")
    return references.path(text)


def parse_size(text: str) -> int:
    """Bytes, from `20971520`, `20MiB` or `20MB`. Raises: ValueError."""
    match = _SIZE.fullmatch(text.replace("_", ""))
    if not match or len(text) > 20:
        raise ValueError("must be a size: bytes, or such as `20MiB`.")
    number, unit, binary = match.groups()
    factor: int = (1024 if binary else 1000) ** _POWERS.get(unit, 0)
    return int(number) * factor


_SCALARS: dict[type, Callable[..., Any]] = {
    inspect.BoolType: _read_bool,
    inspect.IntType: _read_int,
    inspect.FloatType: _read_float,
    inspect.StrType: _read_str,
    inspect.LiteralType: _read_literal,
    inspect.CustomType: _read_custom,
}


def plain_value(text: str) -> Any:
    """An unquoted scalar without a type. `no` and `1:30` stay text, unlike in YAML 1.1."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]{0,18})", text):
        return int(text)
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+([eE][+-]?[0-9]{1,2})?|[eE][+-]?[0-9]{1,2})", text):
        return float(text)
    return text


def _bounds_complaint(value: Any, kind: inspect.Type, hints: Mapping[str, Any]) -> str | None:
    """Why a value is outside the limits of its type, or None."""
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        limits = [
            (kind.ge, value.__ge__, "at least"),
            (kind.gt, value.__gt__, "more than"),
            (kind.le, value.__le__, "at most"),
            (kind.lt, value.__lt__, "less than"),
        ]
        broken = [
            f"{words} {limit:g}" if isinstance(limit, float) else f"{words} {limit}"
            for limit, holds, words in limits
            if limit is not None and holds(type(value)(limit)) is not True
        ]
        return f"must be {' and '.join(broken)}." if broken else None
    if isinstance(kind, inspect.StrType):
        # A final `$` would let a line break pass.
        if kind.pattern and not re.search(re.sub(r"\$$", r"\\Z", kind.pattern), value):
            return f"must be {hints.get('form', 'of the form ' + kind.pattern)}."
        if len(value) < (kind.min_length or 0):
            return "must not be empty."
        if kind.max_length is not None and len(value) > kind.max_length:
            return f"must be at most {kind.max_length} characters long."
    return None


def _key_complaint(name: str, kind: inspect.Type) -> str | None:
    hints: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata):
        hints.update(kind.extra or {})
        kind = kind.type
    return _bounds_complaint(name, kind, hints)


# ── words for messages ──────────────────────────────────────────────────────────────────────────────────────

_NOUNS: dict[type, str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "text",
    inspect.LiteralType: "one of its words",
    inspect.ListType: "a list",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
}


def _noun(kind: inspect.Type) -> str:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.CustomType):
        return "a path" if kind.cls is Path else "text"
    return _NOUNS.get(type(kind), "something else")


def _node_type(kind: inspect.Type) -> type[Node]:
    """The kind of node that a type is written as."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.StructType | inspect.DictType):
        return yaml.MappingNode
    return yaml.SequenceNode if isinstance(kind, inspect.ListType) else yaml.ScalarNode


def printable(name: str) -> str:
    """A key as it may stand in a message, which is one line."""
    return "".join(letter if letter.isprintable() else "�" for letter in name[:200])


def _form_of(node: Node) -> str:
    if is_null(node):
        return "nothing"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a complaint: what was perhaps meant, or what there is, where that is not too long."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1, cutoff=0.7)
    if close:
        return f"; did you mean `{close[0]}`?"
    listed = ", ".join(f"`{other}`" for other in names)
    return f" (known: {listed})." if 0 < len(listed) <= 400 else "."
