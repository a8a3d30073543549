"""From `pluggably.yaml` to a checked `Config`, or to every error in the file at once, each with its line and column.

Three steps: `document` makes a tree of nodes, `walk` reads it by the types of `schema`, and `checks` looks for what
types alone cannot say. What surprises: nothing is guessed about plug-ins and presets here; what they bring is handed in
as a `Vocabulary`, and without one what they bring is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from pluggably.config.checks import check
from pluggably.config.document import ConfigError, Issue, compose, position
from pluggably.config.files import Fingerprint, read_file
from pluggably.config.references import References
from pluggably.config.schema import Config
from pluggably.config.vocabulary import Vocabulary
from pluggably.config.walk import Path_, TooMuchError, Walk
from pluggably.errors import StartupError


class LoadedConfig(Struct, frozen=True):
    """A good config, and what its operator should still hear.

    `files` are those that it was read from, the secrets' too, with what stood in them. `variables` are those of the
    environment that it refers to; they cannot change while a process runs. `written` are the values that refer to the
    environment, as they are written; only those of `options` and `command`."""

    config: Config
    warnings: tuple[str, ...] = ()
    files: Mapping[Path, Fingerprint] = {}
    variables: frozenset[str] = frozenset()
    written: Mapping[Path_, str] = {}


def load_config(path: Path, environment: Mapping[str, str], vocabulary: Vocabulary | None = None) -> LoadedConfig:
    """Reads the file. Without a vocabulary, whatever depends on plug-ins and presets is not checked.

    Raises: StartupError where it cannot be read, ConfigError for all that is wrong in it."""
    try:
        content, found = read_file(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartupError(f"The config file {path} cannot be read: {reason}.") from None
    references = References(environment, path.absolute().parent)
    references.files[path.absolute()] = found
    return parse_config(content, str(path), references, vocabulary)


def parse_config(
    content: bytes, file: str, references: References, vocabulary: Vocabulary | None = None
) -> LoadedConfig:
    """Reads a file's content; `file` is its name in messages.

    Raises: ConfigError."""
    try:
        root = compose(content, file)
    except ConfigError as error:
        raise ConfigError(file, error.issues, references.files) from None
    if root is None:
        return LoadedConfig(Config(), files=references.files)
    walk = Walk(references)
    try:
        config = check(walk, walk.root(root), vocabulary)
    except TooMuchError as error:
        walk.issues.append(((), Issue(*position(root), str(error))))
    if walk.issues:
        raise ConfigError(file, [issue for _, issue in walk.issues], references.files)
    warnings = [f"{file}:{issue.line}:{issue.column}: {issue.message}" for issue in sorted(set(walk.warnings))]
    return LoadedConfig(
        config,
        (*references.warnings, *warnings),
        references.files,
        frozenset(references.variables),
        {path: raw for path, raw in walk.written.items() if {"options", "command"} & set(path[2:3])},
    )
