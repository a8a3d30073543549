"""What types alone cannot say of a config: whether its names lead somewhere, and whether its parts fit together.

Everything that is wrong is noted in the walk, at the node where it stands. What follows from another mistake is not
told as well: an entry that could not be read is there, but nothing is said of it.

What surprises: models that are registered through the API cannot be meant here. They may go while the gateway runs, and
a config that was right would be wrong.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, inspect

from pluggably.config.accounts import Filling, environment_key, gaps, has_key, preset_of
from pluggably.config.schema import DEMO_MODEL, ROUTE_KEYS, Config, ModelEntry, Provider, RouteTarget
from pluggably.config.secret import Secret
from pluggably.config.vocabulary import Preset, Vocabulary
from pluggably.config.walk import Path_, Walk, is_null, printable, suggestion

# The keys of a model that are short for options of its runner.
SHORT_OPTIONS = ("command", "ready", "codec")
# What of an AWS account goes into the head of a call.
AWS_SECRETS = ("access_key_id", "secret_access_key", "session_token")
# What no header may hold (RFC 9110, 5.5); a tab it may.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# The lists of a route that name models.
TARGET_KEYS = ("targets", "on_context_length", "on_content_filter")


def check(walk: Walk, config: Config, vocabulary: Vocabulary | None) -> Config:
    """The config with the options of providers and runners read by their own types. Without a vocabulary they stay as
    they are, and of providers nothing is said.

    What is wrong is noted in `walk`."""
    for model_id, entry in config.models.items():
        if isinstance(entry, ModelEntry):
            _check_kind(walk, ("models", model_id), entry)
    if vocabulary is not None:
        config = _with_options(walk, config, vocabulary)
        for name, provider in config.providers.items():
            _check_keys(walk, ("providers", name), provider)
            _check_sendable(walk, ("providers", name), provider)
            _check_account(walk, name, provider, vocabulary)
    _check_hosts(walk, config.inputs.allow_hosts)
    names = _Names(walk, config, vocabulary)
    for model_id, model in config.models.items():
        names.check(model_id, model)
    names.check_circles()
    return config


def _check_hosts(walk: Walk, hosts: Sequence[str]) -> None:
    """Whether what is no name is an address or a network."""
    for index, host in enumerate(hosts):
        place = ("inputs", "allow_hosts", str(index))
        is_number = re.search(r"(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)$", host) is not None
        if "/" in host or ":" in host or is_number:
            try:
                ipaddress.ip_network(host)
            except ValueError:
                message = (
                    "is no address and no network. A network has zeros where its hosts differ: `10.1.0.0/16`. A port "
                    "goes into `allow_ports`."
                )
                walk.wrong(walk.nodes[place], place, message)
        elif not all(re.fullmatch(r"\w([\w-]{0,61}\w)?", label, re.ASCII) for label in host.split(".")):
            walk.wrong(walk.nodes[place], place, "is not a host's name.")


# ── models and routes ───────────────────────────────────────────────────────────────────────────────────────────────


def _check_kind(walk: Walk, path: Path_, entry: ModelEntry) -> None:
    """Whether an entry is a model or a route, and not a little of both."""
    is_route = entry.targets is not None
    given = {name: key for name, (key, value) in walk.given.get(path, {}).items() if not is_null(value)}
    for name, key in given.items():
        if is_route and name in ModelEntry.__struct_fields__ and name not in ROUTE_KEYS:
            message = "is for a model on this machine, and this is a route (it has `targets`). Keep one of the two."
            walk.wrong(key, (*path, name), message)
        elif not is_route and name in ROUTE_KEYS and "targets" not in given:
            walk.wrong(key, (*path, name), "is for a route, and this is none; give `targets`.")
    if not walk.is_good(path):
        return
    if not is_route and not (entry.weights or entry.command or entry.options):
        message = "there is nothing to run; give `weights`, such as `file:/models/x.gguf`, or `targets`, for a route."
        walk.wrong(walk.nodes[path], path, message)
    for index, target in enumerate(entry.targets or []):
        place = (*path, "targets", str(index), "weight")
        if isinstance(target, RouteTarget) and place in walk.nodes and entry.choose != "weight":
            walk.warn(walk.nodes[place], place, "counts only with `choose: weight`.")


class _Names:
    """What the names of the file mean: a model, an alias, a route, or a model at a provider. A name that cannot be
    taken is an error where it stands."""

    def __init__(self, walk: Walk, config: Config, vocabulary: Vocabulary | None) -> None:
        self._walk = walk
        self._config = config
        self._presets: Mapping[str, Preset] | None = vocabulary.presets if vocabulary is not None else None
        # As they stand in the file: an entry that is wrong is there all the same.
        self._providers = set(walk.given.get(("providers",), ()))
        self._models = {*walk.given.get(("models",), ()), *([DEMO_MODEL] if config.demo else [])}

    def check(self, model_id: str, entry: ModelEntry | str) -> None:
        path = ("models", model_id)
        provider, slash, _ = model_id.partition("/")
        if slash and (provider in self._providers or provider in (self._presets or ())):
            message = f"the models of the provider `{provider}` have names of this form; choose another id."
            self._walk.wrong(self._walk.nodes[path], path, message)
        if isinstance(entry, str):
            self._check_alias(path, entry)
        elif entry.targets is not None:
            self._check_route(path, entry)

    def check_circles(self) -> None:
        """Notes each target that leads back to where it stands."""
        for path, circle in _circles({name: self._edges(name) for name in self._config.models}):
            shown = " → ".join(f"`{name}`" for name in circle)
            self._walk.wrong(self._walk.nodes[path], path, f"goes in a circle: {shown}.")

    def _check_alias(self, path: Path_, meant: str) -> None:
        node = self._walk.nodes[path]
        if meant == path[-1]:
            self._walk.wrong(node, path, "an alias cannot mean itself.")
        elif isinstance(self._config.models.get(meant), str):
            self._walk.wrong(node, path, "an alias cannot mean another alias; name the model itself.")
        elif complaint := self._complaint(meant):
            self._walk.wrong(node, path, complaint)

    def _check_route(self, path: Path_, entry: ModelEntry) -> None:
        for key in TARGET_KEYS:
            known: dict[str, str] = {}
            for name, place in _targets(self._walk, path, entry, key):
                node = self._walk.nodes[place]
                meant = self._meant(name)
                if meant in known:
                    also = "" if known[meant] == name else f", as `{printable(known[meant])}`"
                    self._walk.wrong(node, place, f"stands here twice{also}.")
                elif complaint := self._complaint(name):
                    self._walk.wrong(node, place, complaint)
                elif entry.location == "local" and (leaf := self._remote(name)):
                    self._walk.wrong(node, place, self._broken_promise(name, leaf))
                known.setdefault(meant, name)

    def _meant(self, name: str) -> str:
        meant = self._config.models.get(name)
        return meant if isinstance(meant, str) else name

    def _complaint(self, name: str) -> str | None:
        """Why a name cannot be taken, or None."""
        provider, slash, rest = name.partition("/")
        if name in self._models:
            return None
        if not slash:
            hint = suggestion(name, self._models)
            return f"there is no model `{printable(name)}` in this file{hint}"
        if not rest:
            return f"names no model; write `{printable(provider)}/` and the provider's own id."
        entry = self._config.providers.get(provider)
        if entry is not None and not entry.enabled:
            return f"the provider `{provider}` is switched off (`enabled: false`)."
        if provider in self._providers or self._presets is None:
            return None
        preset = self._presets.get(provider)
        if preset is None:
            return f"there is no provider `{printable(provider)}`{suggestion(provider, self._providers)}"
        if preset.needs_entry:
            return f"the provider `{provider}` is not set up; name it under `providers`: `{provider}: {{}}`."
        if environment_key(preset, self._walk.references.environment) is None:
            ways = [f"set {preset.key_env}"] if preset.key_env else []
            ways.append(f"give it {'`api_key` ' if preset.needs_key else ''}under `providers.{provider}`")
            return f"the provider `{provider}` is not set up; {', or '.join(ways)}."
        missing = Filling(preset, Provider(), self._walk.references.environment).missing
        return f"the provider `{provider}` is not set up: {missing[0]}" if missing else None

    def _remote(self, name: str) -> str | None:
        """The first model at a remote provider that a name may lead to."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self._models:
                waiting += [target for target, _ in reversed(self._edges(name))]
                continue
            provider = name.partition("/")[0]
            entry = self._config.providers.get(provider)
            if (entry.location if entry else None) != "local" and (entry or provider not in self._providers):
                return name
        return None

    def _broken_promise(self, name: str, leaf: str) -> str:
        provider = leaf.partition("/")[0]
        through = "" if name == leaf else f" may lead to `{printable(leaf)}`, which"
        return (
            f"{through} is at a remote provider, so it could never be taken: this route promises `location: local`. "
            f"A server on your own network has `location: local` under `providers.{provider}`."
        ).strip()

    def _edges(self, name: str) -> list[tuple[str, Path_]]:
        """The names that an alias or a route leads to, and where they stand."""
        entry = self._config.models.get(name)
        path = ("models", name)
        if isinstance(entry, str):
            is_told = entry == name or isinstance(self._config.models.get(entry), str)
            return [] if is_told else [(entry, path)]
        if entry is None:
            return []
        return [found for key in TARGET_KEYS for found in _targets(self._walk, path, entry, key)]


def _targets(walk: Walk, path: Path_, entry: ModelEntry, key: str) -> Iterator[tuple[str, Path_]]:
    """The names in one of a route's lists, and where each stands."""
    names = entry.target_names() if key == "targets" else getattr(entry, key)
    for index, name in enumerate(names):
        place = (*path, key, str(index))
        yield name, (*place, "model") if (*place, "model") in walk.nodes else place


def _circles(edges: Mapping[str, list[tuple[str, Path_]]]) -> Iterator[tuple[Path_, list[str]]]:
    """The edges that close a circle, each with the circle. Without recursion: a chain may be as long as the file."""
    done: set[str] = set()
    for start in edges:
        way: dict[str, Iterator[tuple[str, Path_]]] = {}
        if start not in done:
            way[start] = iter(edges[start])
        while way:
            name, onward = next(reversed(way.items()))
            step = next(onward, None)
            if step is None:
                done.add(name)
                del way[name]
                continue
            to, path = step
            if to in way:
                names = list(way)
                yield path, [*names[names.index(to) :], to]
            elif to in edges and to not in done:
                way[to] = iter(edges[to])


# ── providers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_keys(walk: Walk, path: Path_, entry: Provider) -> None:
    """Whether the keys are one list, each once."""
    if entry.api_key is not None and entry.api_keys:
        walk.wrong(
            walk.nodes[(*path, "api_keys")], (*path, "api_keys"), "stands beside `api_key`; keep one of the two."
        )
    for index, key in enumerate(entry.api_keys):
        if key in entry.api_keys[:index]:
            place = (*path, "api_keys", str(index))
            walk.warn(walk.nodes[place], place, "is the same key as one before it.")


def _check_sendable(walk: Walk, path: Path_, entry: Provider) -> None:
    """Whether what goes into the head of each call can stand there. Accounts of Google are files of many lines."""
    values: list[tuple[Path_, Secret | None]] = [((*path, "api_key"), entry.api_key)]
    values += [((*path, "api_keys", str(index)), key) for index, key in enumerate(entry.api_keys)]
    values += [((*path, "headers", name), value) for name, value in entry.headers.items()]
    for index, one in enumerate(entry.aws):
        values += [((*path, "aws", str(index), key), getattr(one, key)) for key in AWS_SECRETS]
    for place, value in values:
        if value is not None and _CONTROL.search(value.reveal()):
            message = (
                "has a line break or another control character in it, perhaps a blank line at the end of its file."
            )
            walk.wrong(walk.nodes[place], place, message)


def _check_account(walk: Walk, name: str, entry: Provider, vocabulary: Vocabulary) -> None:
    """Whether a provider can be asked: its key, and an address without gaps."""
    path = ("providers", name)
    if not walk.is_good(path):
        return
    node = walk.nodes[path]
    environment = walk.references.environment
    preset = preset_of(name, entry, vocabulary.presets)
    variables = preset.variables if preset else {}
    for variable in set(entry.variables) - set(variables):
        hint = suggestion(variable, variables) if variables else "; the address has no gap to fill."
        walk.wrong(walk.nodes[(*path, "variables", variable)], (*path, "variables", variable), f"is not known{hint}")
    for gap in set(gaps(entry.base_url or "")) - set(variables):
        message = f"nothing fills the gap `{{{printable(gap)}}}`{suggestion(gap, variables)}"
        walk.wrong(walk.nodes[(*path, "base_url")], (*path, "base_url"), message)
    for kind, given in (("aws", entry.aws), ("google", entry.google)):
        if given and (preset is None or preset.signing != kind):
            place = (*path, kind)
            walk.wrong(walk.nodes[place], place, "means nothing here: this provider's calls are not signed so.")
    for index, one in enumerate(entry.aws):
        half = (one.access_key_id is None) != (one.secret_access_key is None)
        if half or (one.access_key_id is None) == (one.profile is None):
            where = (*path, "aws", str(index))
            walk.wrong(walk.nodes[where], where, "must be `access_key_id` and `secret_access_key`, or a `profile`.")
    if preset is None or not entry.enabled:
        return
    for missing in Filling(preset, entry, environment).missing:
        walk.wrong(node, path, missing)
    if preset.needs_key and not has_key(entry) and environment_key(preset, environment) is None:
        ways = [f"set {preset.key_env}"] if preset.key_env else []
        walk.wrong(node, path, f"it has no key; {', or '.join([*ways, 'give `api_key`'])}.")


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_options(walk: Walk, config: Config, vocabulary: Vocabulary) -> Config:
    """The config with the options of providers and runners read by their own types."""
    providers = {name: _provider_options(walk, name, entry, vocabulary) for name, entry in config.providers.items()}
    models = {
        model_id: _model_options(walk, model_id, entry, vocabulary) if isinstance(entry, ModelEntry) else entry
        for model_id, entry in config.models.items()
    }
    return msgspec.structs.replace(config, providers=providers, models=models)


def _provider_options(walk: Walk, name: str, entry: Provider, vocabulary: Vocabulary) -> Provider:
    path = ("providers", name)
    if not walk.is_good(path):
        return entry
    preset = entry.preset or (name if name in vocabulary.presets else None)
    if preset is not None and preset not in vocabulary.presets:
        node = walk.nodes[(*path, "preset")]
        walk.wrong(
            node,
            (*path, "preset"),
            f"there is no preset `{preset}`{suggestion(preset, vocabulary.presets)}",
        )
        return entry
    if preset is None and (entry.codec is None or entry.base_url is None):
        message = f"there is no preset `{name}`{suggestion(name, vocabulary.presets)} "
        message += "Give `preset`, or `codec` and `base_url`."
        walk.wrong(walk.nodes[path], path, message)
        return entry
    codec = entry.codec or vocabulary.presets[preset or ""].codec
    if codec not in vocabulary.codecs:
        node = walk.nodes.get((*path, "codec"), walk.nodes[path])
        walk.wrong(node, (*path, "codec"), f"there is no codec `{codec}`{suggestion(codec, vocabulary.codecs)}")
        return entry
    options = _options(walk, path, (), vocabulary.codecs[codec].Options)
    return msgspec.structs.replace(entry, options=options)


def _model_options(walk: Walk, model_id: str, entry: ModelEntry, vocabulary: Vocabulary) -> ModelEntry:
    path = ("models", model_id)
    if entry.targets is not None or not walk.is_good(path):
        return entry
    if entry.runner not in vocabulary.runners:
        node = walk.nodes.get((*path, "runner"), walk.nodes[path])
        message = f"there is no runner `{entry.runner}`{suggestion(entry.runner, vocabulary.runners)}"
        walk.wrong(node, (*path, "runner"), message)
        return entry
    wanted = vocabulary.runners[entry.runner].Options
    takes = {field.encode_name for field in msgspec.structs.fields(wanted)}
    for name, (key, value) in walk.given[path].items():
        if name in SHORT_OPTIONS and name not in takes and not is_null(value):
            message = f"means nothing to the runner `{entry.runner}`; a command line is run by `runner: command`."
            walk.wrong(key, (*path, name), message)
    options = _options(walk, path, tuple(name for name in SHORT_OPTIONS if name in takes), wanted)
    own = {name: value for name, value in options.items() if name not in SHORT_OPTIONS}
    return msgspec.structs.replace(entry, options=own)


def _options(walk: Walk, path: Path_, short: tuple[str, ...], wanted: type[Struct]) -> dict[str, Any]:
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
