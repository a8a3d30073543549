"""What this process holds of the machine's memory, and how it gives back what a flood of requests has left behind.

Python's own allocator gives memory back in whole MiB only, and after a thousand streams each of these holds some small
object that stays. The C library's gives it back by the page once it is told to, and costs no more time
(docs/decisions/0007-memory.md). What surprises: the allocator is chosen by the environment before the interpreter
starts, so `start_over` starts this very process over, under the same id.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any

ALLOCATOR = "PYTHONMALLOC"
# How many requests at once are a flood: some 25 kB each.
FLOOD = 100
# Seconds. Connections to backends rest for 4 before they are closed.
QUIET_S = 6.0


def start_over(environment: MutableMapping[str, str] | None = None, replace: Callable[..., Any] = os.execve) -> None:
    """Starts this process over on the C library's allocator, where that one gives memory back: with glibc. It returns
    where that is done, or the operator has chosen (`PYTHONMALLOC=pymalloc`)."""
    environment = os.environ if environment is None else environment
    chosen = environment.get(ALLOCATOR)
    if chosen is not None:
        if chosen == "malloc":
            del environment[ALLOCATOR]  # not for the processes that this one starts
        return
    if not _has_glibc():
        return
    try:
        replace(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, ALLOCATOR: "malloc"})
    except OSError:
        return  # it works as well without


def give_back() -> None:
    """Gives back every page that nothing stands on; some 10 ms where there is much."""
    gc.collect()  # it also empties the lists of spare objects that the interpreter keeps
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


class Tide:
    """Watches how many requests run, and gives memory back once a flood of them is over."""

    def __init__(self, give_back: Callable[[], None] = give_back, clock: Callable[[], float] = time.monotonic) -> None:
        self._give_back = give_back
        self._clock = clock
        self._highest = 0
        self._low_since: float | None = None

    def seen(self, running: int) -> None:
        """To be called some times a second."""
        self._highest = max(self._highest, running)
        if self._highest < FLOOD or running > self._highest // 4:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = self._clock()
        elif self._clock() - self._low_since >= QUIET_S:
            self._highest = running
            self._low_since = None
            self._give_back()


def _has_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False
