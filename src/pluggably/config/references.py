"""What a value in the file may refer to: `${NAME}` in the environment, and `file:/path` for a secret.

Values are handed in and out as strings; no message here ever holds one.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from pluggably.config.files import Fingerprint, read_file

MAX_SECRET_BYTES = 64 * 1024
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BadReferenceError(Exception):
    """A reference that leads nowhere. The message is for the operator and holds no value."""


class References:
    """Resolves references against one environment, and relative paths against one folder. Collects warnings, and what
    was referred to: the variables that are set, and the files with what stood in them."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self.warnings: list[str] = []
        self.variables: set[str] = set()
        self.files: dict[Path, Fingerprint] = {}

    def text(self, raw: str) -> str:
        """`raw` with each `${NAME}` replaced; `$${` stands for a plain `${`.

        Raises: BadReferenceError."""
        return _REFERENCE.sub(self._variable, raw) if "${" in raw else raw

    def path(self, text: str) -> Path:
        """An absolute path; `~` is the home folder, a relative one starts at the config file's folder.

        Raises: BadReferenceError."""
        if text == "~" or text.startswith("~/"):
            home = self.environment.get("HOME")
            if not home:
                raise BadReferenceError("`~` means nothing here: the environment has no HOME. Write the whole path.")
            text = home + text[1:]
        return Path(self._folder, text)

    def secret(self, text: str) -> str:
        """The secret that `text` is, or that stands in the file which it names, less the final line break.

        Raises: BadReferenceError."""
        if not text.startswith("file:"):
            return _not_empty(text, "The secret is empty.")
        path = self.path(text.removeprefix("file:"))
        self.files[path] = None
        try:
            content, self.files[path] = read_file(path)
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            raise BadReferenceError(f"The secret's file {path} cannot be read: {error.strerror}.") from None
        if len(content) > MAX_SECRET_BYTES:
            raise BadReferenceError(f"The secret's file {path} is larger than {MAX_SECRET_BYTES} bytes.")
        if mode & stat.S_IROTH:
            self.warnings.append(f"Everyone on this machine can read the secret in {path}. Run: chmod 600 {path}")
        try:
            value = content.decode()
        except UnicodeDecodeError:
            raise BadReferenceError(f"The secret's file {path} is not text in UTF-8.") from None
        value = value.removesuffix("\n").removesuffix("\r")
        return _not_empty(value, f"The secret's file {path} is empty.")

    def _variable(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            raise BadReferenceError("`${` is never closed. Write `$${` where you mean the characters themselves.")
        if not _VARIABLE.fullmatch(name):
            raise BadReferenceError("Between `${` and `}` the name of an environment variable is wanted.")
        value = self.environment.get(name)
        if value is None:
            raise BadReferenceError(f"The environment variable {name} is not set.")
        self.variables.add(name)
        return value


def _not_empty(value: str, complaint: str) -> str:
    if not value.strip():
        raise BadReferenceError(complaint)
    return value
