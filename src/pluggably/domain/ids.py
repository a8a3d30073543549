"""Ids: a prefix, then 32 hexadecimal digits that sort by time."""

from __future__ import annotations

import random
import time

# Ids are names, not secrets: seeded from the system once, not asked of it each time.
_random = random.Random()  # noqa: S311


def new_id(prefix: str) -> str:
    """A new id such as `gen_019a…`: 48 bits of milliseconds, then 80 random bits. Hexadecimal, because Python writes
    it in a tenth of the time of base 32, and a request makes two."""
    return f"{prefix}{int(time.time() * 1000):012x}{_random.getrandbits(80):020x}"
