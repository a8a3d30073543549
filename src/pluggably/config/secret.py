"""A value that must not be seen: it prints as `***` wherever it lands, in a log line, a traceback or an
f-string.

What surprises: it refuses to be pickled or encoded, so it cannot leave the process by accident.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A string that only `reveal` gives."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not to be pickled.")
