"""Ids: a prefix, then 26 characters that sort by time (ULID, https://github.com/ulid/spec)."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def new_id(prefix: str) -> str:
    """A new id such as `gen_01J…`: 48 bits of milliseconds, then 80 random bits."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10))
    pairs = []
    for _ in range(13):
        number, low = number >> 10, number & 1023
        pairs.append(_PAIRS[low])
    return prefix + "".join(reversed(pairs))
