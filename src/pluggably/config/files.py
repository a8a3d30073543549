"""Reading the config's files, and knowing later whether they still hold what was read.

A fingerprint is keyed with something that only this process knows: a secret's file is fingerprinted too, and what one
finds in a log or a dump must not help to guess it.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TypeAlias

# More than any file here may be long. Whoever reads a file reads so much of it, or fingerprints would not agree.
MAX_READ_BYTES = 256 * 1024 + 1

# None: the file is not there, or cannot be read.
Fingerprint: TypeAlias = bytes | None

_KEY = secrets.token_bytes(32)


def read_file(path: Path) -> tuple[bytes, Fingerprint]:
    """What stands in a file, and its fingerprint; at most MAX_READ_BYTES. Raises: OSError."""
    with path.open("rb") as file:
        content = file.read(MAX_READ_BYTES)
    return content, fingerprint(content)


def fingerprint(content: bytes) -> bytes:
    return hashlib.blake2b(content, key=_KEY, digest_size=16).digest()
