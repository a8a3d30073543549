"""Why a model's last worker ended or did not start, and how long the next start waits. Pure: the time comes in."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from msgspec import Struct

from pluggably.errors import ModelUnavailable

# `look`: there was no process yet, and another look at a missing file costs nothing.
Kind: TypeAlias = Literal["look", "start", "crash"]

MOST_COUNTED = 60


class Failure(Struct, frozen=True, kw_only=True):
    """`for_operators` is what only they are told; `count` is how many in a row have had to wait, `until` when no other
    start is tried."""

    detail: str
    for_operators: str | None
    count: int
    until: float

    def unavailable(self, now: float) -> ModelUnavailable:
        left_s = max(0.0, self.until - now)
        return ModelUnavailable(
            self.detail, retry_after_s=max(1.0, float(math.ceil(left_s))), for_operators=self.for_operators
        )


def failure(
    last: Failure | None,
    kind: Kind,
    detail: str,
    for_operators: str | None,
    *,
    now: float,
    first_s: float,
    longest_s: float,
) -> Failure:
    """What follows `last`. Each failure doubles the wait; the first crash of a worker that had been ready has none, so
    that whoever asks again at once is served."""
    count = (last.count if last else 0) + (kind != "look")
    doublings = count - (2 if kind == "crash" else 1)
    wait_s = 0.0 if kind == "look" or doublings < 0 else min(first_s * 2**doublings, longest_s)
    return Failure(detail=detail, for_operators=for_operators, count=min(count, MOST_COUNTED), until=now + wait_s)
