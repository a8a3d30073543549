"""From the bytes of a YAML file to a tree of nodes that know their line and column.

Nothing here knows what a config means. What surprises: an alias (`*name`) is the very node that its anchor
(`&name`) names, so a small file can stand for a huge tree; whoever walks the tree must count its steps
(`walk` does)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import yaml
from msgspec import Struct

from pluggably.config.files import Fingerprint
from pluggably.errors import StartupError

MAX_FILE_BYTES = 256 * 1024
# Far deeper than a config is, and far from where PyYAML's recursion would end the process.
MAX_YAML_DEPTH = 64

Node: TypeAlias = yaml.Node


class Issue(Struct, frozen=True, order=True):
    """One thing that is wrong, and where: line and column count from 1. Never quotes a value, which may be
    secret."""

    line: int
    column: int
    message: str


class ConfigError(StartupError):
    """The config file is wrong: every issue in it at once, each as `file:line:column: message`.

    `files` are those that were read, and those that are missing: a change in one of them may put it right."""

    title = "The config file is not valid"

    def __init__(self, file: str, issues: list[Issue], files: Mapping[Path, Fingerprint] | None = None) -> None:
        self.file = file
        self.files = dict(files or {})
        self.issues = sorted(set(issues))
        lines = [f"{file}:{issue.line}:{issue.column}: {issue.message}" for issue in self.issues]
        super().__init__("\n".join(lines))


def compose(content: bytes, file: str) -> Node | None:
    """The root node of a file, or None where it holds nothing but comments. `file` is its name for messages.

    Raises: ConfigError."""
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(file, [Issue(1, 1, f"The file is larger than {MAX_FILE_BYTES} bytes.")])
    text = _decode(content, file)
    try:
        # The loader's constructor reads the text already, and refuses characters that no YAML file may hold.
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line, column = _position(text, error.position)
        raise ConfigError(
            file,
            [Issue(line, column, f"The character U+{ord(text[error.position]):04X} may not stand in YAML.")],
        ) from None
    try:
        node: Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(file, [_syntax_issue(error, text)]) from None
    finally:
        loader.dispose()
    return node


class _Loader(yaml.SafeLoader):
    """Composes only as deep as a config may be."""

    _depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._depth += 1
        if self._depth > MAX_YAML_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"it nests deeper than {MAX_YAML_DEPTH} levels", mark)
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def position(node: Node) -> tuple[int, int]:
    """The line and column of a node, counted from 1."""
    return node.start_mark.line + 1, node.start_mark.column + 1


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = "The file is not UTF-8 from here on. Save it as UTF-8."
        raise ConfigError(file, [Issue(line, column, message)]) from None


def _position(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1


def _syntax_issue(error: yaml.MarkedYAMLError, text: str) -> Issue:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    row = lines[line] if line < len(lines) else ""
    indent = row[: len(row) - len(row.lstrip())]
    if "\t" in indent or row[column : column + 1] == "\t":
        message = "A tab stands here; YAML is indented with spaces only."
    elif isinstance(error, yaml.composer.ComposerError) and "single document" in (error.context or ""):
        message = "A second document starts here (`---`); the config is one document."
    elif column and row[column - 1 : column + 1] == "${":
        message = 'Within braces or brackets a value with `${` needs quotes: "${NAME}".'
        column -= 1
    else:
        # The problem alone: the snippet that PyYAML would add may show a secret.
        message = f"This is not valid YAML: {error.problem or 'it cannot be read'}."
    return Issue(line + 1, column + 1, message)
