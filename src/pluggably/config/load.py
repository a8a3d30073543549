"""From `pluggably.yaml` to a checked `Config`, or to every error in the file at once, each with its line and
column.

The node tree of the file is walked side by side with the types of `schema`, so that a value is read as what
is wanted at its place: `model: no` is the text "no" where text is wanted, and `port: "8080"` a number. What a
type alone cannot say (a model's id under a provider's name, an option that a runner does not know) is checked
after the walk, at the same positions.

What surprises: nothing is guessed about plug-ins here. What they bring (presets, codecs, runners and the
types of their options) is handed in as a `Vocabulary`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec
import yaml
from msgspec import Struct, inspect

from pluggably.config.document import ConfigError, Issue, Node, compose, position
from pluggably.config.references import BadReferenceError, References
from pluggably.config.schema import Config, ModelEntry, Provider
from pluggably.config.secret import Secret
from pluggably.errors import StartupError

MAX_STEPS = 20_000  # nodes read, each use of an alias counted: far more than a config has, far less than a bomb
MAX_DEPTH = 24
# The keys of a model that are short for options of its runner.
SHORT_OPTIONS = ("command", "ready", "codec")

Path_ = tuple[str, ...]
Pairs = dict[str, tuple[Node, Node]]

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "merge"))
_COLLECTION_TAGS = frozenset((_TAG + "map", _TAG + "seq"))
_INTEGER = re.compile(r"[+-]?[0-9][0-9_]*")
_SIZE = re.compile(r"([0-9]+) ?(?:([KMG])(i?)B|B)?")
_POWERS = {"K": 1, "M": 2, "G": 3}


class Plugin(Protocol):
    """A codec or a runner, as far as the config knows it."""

    Options: ClassVar[type[Struct]]


class Vocabulary(Struct, frozen=True, kw_only=True):
    """What the plug-ins bring. The mappings may be lazy: only what a config names is looked up, and their keys are
    listed only to name them in an error."""

    presets: Mapping[str, str]
    """Preset to the codec that it speaks."""
    codecs: Mapping[str, Plugin]
    runners: Mapping[str, Plugin]


class LoadedConfig(Struct, frozen=True):
    """A good config, and what its operator should still hear."""

    config: Config
    warnings: tuple[str, ...] = ()


def load_config(path: Path, environment: Mapping[str, str], vocabulary: Vocabulary | None = None) -> LoadedConfig:
    """Reads the file. Without a vocabulary the names and options of plug-ins are not checked.

    Raises: StartupError where it cannot be read, ConfigError for all that is wrong in it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartupError(f"The config file {path} cannot be read: {reason}.") from None
    return parse_config(content, str(path), References(environment, path.absolute().parent), vocabulary)


def parse_config(
    content: bytes, file: str, references: References, vocabulary: Vocabulary | None = None
) -> LoadedConfig:
    """Reads a file's content; `file` is its name in messages.

    Raises: ConfigError."""
    root = compose(content, file)
    if root is None:
        return LoadedConfig(Config())
    walk = _Walk(references)
    try:
        config = walk.root(root)
        if vocabulary is not None:
            config = _check_plugins(walk, config, vocabulary)
        _check_names(walk, config, vocabulary)
    except _TooMuchError as error:
        walk.issues.append(((), Issue(*position(root), str(error))))
    if walk.issues:
        raise ConfigError(file, [issue for _, issue in walk.issues])
    return LoadedConfig(config, tuple(references.warnings))


# ── the walk ────────────────────────────────────────────────────────────────────────────────────────────────


class _Wrong:
    """Stands for a value that could not be read; its issue is noted."""


_WRONG = _Wrong()


class _TooMuchError(Exception):
    """The tree is too large or too deep to be a config."""


class _Walk:
    """One reading of one file. A value that is wrong is noted and left out, and the walk goes on, so that one
    run tells everything. So the result counts only where no issue was noted."""

    def __init__(self, references: References) -> None:
        self.references = references
        self.issues: list[tuple[Path_, Issue]] = []
        self.nodes: dict[Path_, Node] = {}
        self._steps = 0

    def root(self, node: Node) -> Config:
        config = self.read(node, inspect.type_info(Config), ())
        return config if isinstance(config, Config) else Config()

    def wrong(self, node: Node, path: Path_, message: str) -> _Wrong:
        where = _printable(".".join(path))
        self.issues.append((path, Issue(*position(node), f"{where}: {message}" if where else message)))
        return _WRONG

    def is_good(self, path: Path_) -> bool:
        """Whether nothing is wrong at `path` and below it."""
        return not any(wrong[: len(path)] == path for wrong, _ in self.issues)

    def read(self, node: Node, kind: inspect.Type, path: Path_, hints: Mapping[str, Any] | None = None) -> Any:
        """The value at a node, read as `kind`, or `_WRONG`."""
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
                self.wrong(key, path, f"unknown key `{_printable(name)}`{_suggestion(name, known)}{hint}")
            elif (read := self.read(value, field.type, (*path, name))) is not _WRONG:
                values[name] = read
        for name, field in known.items():
            if field.required and name not in pairs:
                self.wrong(node, path, f"the key `{name}` is missing.")
        return values

    def _struct(self, node: Node, kind: inspect.StructType, path: Path_) -> Any:
        pairs = self.pairs(node, path)
        if pairs is None:
            return _WRONG
        values = self.fields(pairs, kind, path, node)
        names = {field.encode_name: field.name for field in kind.fields}
        if any(field.required and field.encode_name not in values for field in kind.fields):
            return _WRONG
        return kind.cls(**{names[name]: value for name, value in values.items()})

    def _dict(self, node: Node, kind: inspect.DictType, path: Path_) -> Any:
        pairs = self.pairs(node, path)
        if pairs is None:
            return _WRONG
        values = {}
        for name, (key, value) in pairs.items():
            complaint = _key_complaint(name, kind.key_type)
            if complaint:
                self.wrong(key, (*path, name), complaint)
                continue
            read = self.read(value, kind.value_type, (*path, name))
            if read is not _WRONG:
                values[name] = read
        return values

    def _list(self, node: Node, kind: inspect.ListType, path: Path_) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self.wrong(node, path, f"must be a list, not {_form_of(node)}.")
        if len(node.value) < (kind.min_length or 0):
            return self.wrong(node, path, f"must have at least {kind.min_length} entry.")
        items = [self.read(item, kind.item_type, (*path, str(index))) for index, item in enumerate(node.value)]
        return _WRONG if any(item is _WRONG for item in items) else items

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
            return {name: value for name, value in read.items() if value is not _WRONG}
        if isinstance(node, yaml.SequenceNode):
            return [self._anything(item, (*path, str(index))) for index, item in enumerate(node.value)]
        if is_null(node):
            return None
        text = self._text(node, path)
        is_quoted = isinstance(node, yaml.ScalarNode) and node.style
        return text if isinstance(text, _Wrong) or is_quoted else _plain_value(text)

    def _scalar(self, node: Node, kind: inspect.Type, path: Path_, hints: Mapping[str, Any]) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return self.wrong(node, path, f"must be {_noun(kind)}, not {_form_of(node)}.")
        if is_null(node):
            return self.wrong(node, path, f"has no value; {_noun(kind)} is wanted.")
        text = self._text(node, path)
        if isinstance(text, _Wrong):
            return text
        try:
            value = _SCALARS[type(kind)](text, kind, hints, self.references)
        except (ValueError, BadReferenceError) as error:
            return self.wrong(node, path, str(error))
        complaint = _bounds_complaint(value, kind, hints)
        return self.wrong(node, path, complaint) if complaint else value

    def _text(self, node: Node, path: Path_) -> str | _Wrong:
        try:
            return self.references.text(str(node.value))
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
            raise _TooMuchError(f"The file stands for more than {MAX_STEPS} values, once its aliases are filled in.")
        if len(path) > MAX_DEPTH:
            raise _TooMuchError(f"The file nests deeper than {MAX_DEPTH} levels.")


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
        raise ValueError("must be a number.") from None
    if not abs(value) < float("inf"):
        raise ValueError("must be a finite number.")
    return value


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


def _plain_value(text: str) -> Any:
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


def _printable(name: str) -> str:
    """A key as it may stand in a message, which is one line."""
    return "".join(letter if letter.isprintable() else "�" for letter in name[:200])


def _form_of(node: Node) -> str:
    if is_null(node):
        return "nothing"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a complaint: what was perhaps meant, or what there is, where that is not too long."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1, cutoff=0.7)
    if close:
        return f"; did you mean `{close[0]}`?"
    listed = ", ".join(f"`{other}`" for other in names)
    return f" (known: {listed})." if 0 < len(listed) <= 400 else "."


# ── what types alone cannot say ─────────────────────────────────────────────────────────────────────────────


def _check_names(walk: _Walk, config: Config, vocabulary: Vocabulary | None) -> None:
    providers = set(config.providers) | set(vocabulary.presets if vocabulary else ())
    for model_id, entry in config.models.items():
        path = ("models", model_id)
        provider = model_id.partition("/")[0]
        if "/" in model_id and provider in providers:
            message = f"the models of the provider `{provider}` have names of this form; choose another id."
            walk.wrong(walk.nodes[path], path, message)
        if isinstance(entry, str):
            _check_alias(walk, config, path, entry)
        elif walk.is_good(path) and not (entry.targets or entry.weights or entry.command or entry.options):
            walk.wrong(
                walk.nodes[path],
                path,
                "there is nothing to run; give `weights`, such as `file:/models/x.gguf`.",
            )


def _check_alias(walk: _Walk, config: Config, path: Path_, meant: str) -> None:
    if meant == path[-1]:
        walk.wrong(walk.nodes[path], path, "an alias cannot mean itself.")
    elif isinstance(config.models.get(meant), str):
        walk.wrong(walk.nodes[path], path, "an alias cannot mean another alias; name the model itself.")


def _check_plugins(walk: _Walk, config: Config, vocabulary: Vocabulary) -> Config:
    """The config with the options of providers and runners read by their own types."""
    providers = {name: _check_provider(walk, name, entry, vocabulary) for name, entry in config.providers.items()}
    models = {
        model_id: _check_model(walk, model_id, entry, vocabulary) if isinstance(entry, ModelEntry) else entry
        for model_id, entry in config.models.items()
    }
    return msgspec.structs.replace(config, providers=providers, models=models)


def _check_provider(walk: _Walk, name: str, entry: Provider, vocabulary: Vocabulary) -> Provider:
    path = ("providers", name)
    if not walk.is_good(path):
        return entry
    preset = entry.preset or (name if name in vocabulary.presets else None)
    if preset is not None and preset not in vocabulary.presets:
        node = walk.nodes[(*path, "preset")]
        walk.wrong(
            node,
            (*path, "preset"),
            f"there is no preset `{preset}`{_suggestion(preset, vocabulary.presets)}",
        )
        return entry
    if preset is None and (entry.codec is None or entry.base_url is None):
        message = f"there is no preset `{name}`{_suggestion(name, vocabulary.presets)} "
        message += "Give `preset`, or `codec` and `base_url`."
        walk.wrong(walk.nodes[path], path, message)
        return entry
    codec = entry.codec or vocabulary.presets[preset or ""]
    if codec not in vocabulary.codecs:
        node = walk.nodes.get((*path, "codec"), walk.nodes[path])
        walk.wrong(node, (*path, "codec"), f"there is no codec `{codec}`{_suggestion(codec, vocabulary.codecs)}")
        return entry
    options = _options(walk, path, (), vocabulary.codecs[codec].Options)
    return msgspec.structs.replace(entry, options=options)


def _check_model(walk: _Walk, model_id: str, entry: ModelEntry, vocabulary: Vocabulary) -> ModelEntry:
    path = ("models", model_id)
    if not walk.is_good(path):
        return entry
    if entry.runner not in vocabulary.runners:
        node = walk.nodes.get((*path, "runner"), walk.nodes[path])
        message = f"there is no runner `{entry.runner}`{_suggestion(entry.runner, vocabulary.runners)}"
        walk.wrong(node, (*path, "runner"), message)
        return entry
    options = _options(walk, path, SHORT_OPTIONS, vocabulary.runners[entry.runner].Options)
    own = {name: value for name, value in options.items() if name not in SHORT_OPTIONS}
    return msgspec.structs.replace(entry, options=own)


def _options(walk: _Walk, path: Path_, short: tuple[str, ...], wanted: type[Struct]) -> dict[str, Any]:
    """The options under `path`, and the `short` keys beside them, read as the plug-in's own type wants
    them."""
    node = walk.nodes.get((*path, "options"))
    entry = walk.pairs(walk.nodes[path], path) or {}
    pairs = {name: entry[name] for name in short if name in entry and not is_null(entry[name][1])}
    for name, pair in (walk.pairs(node, (*path, "options")) or {} if node else {}).items():
        if name in pairs:
            walk.wrong(pair[0], (*path, "options", name), "stands beside `options` too; keep one of the two.")
        pairs[name] = pair
    kind = inspect.type_info(wanted)
    if not isinstance(kind, inspect.StructType):
        raise TypeError(f"{wanted!r} is no msgspec struct.")
    place = (*path, "options")
    options = walk.fields(pairs, kind, place, node or walk.nodes[path])
    options = {name: msgspec.to_builtins(value, enc_hook=_keep_plain) for name, value in options.items()}
    if walk.is_good(path):
        try:
            msgspec.convert(options, wanted)
        except msgspec.ValidationError as error:
            walk.wrong(node or walk.nodes[path], place, _shown(error))
    return options


def _keep_plain(value: Any) -> Any:
    """Paths in a plug-in's options become text, which is what the plug-in is handed."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value)!r} may not stand in options.")


def _shown(error: msgspec.ValidationError) -> str:
    """msgspec's words without what it may quote of the value."""
    return re.sub(r"(value) '.*'", r"\1", str(error)).replace("`$.", "`") + "."
