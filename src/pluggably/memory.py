"""What a flood of requests has left behind is given back to the machine.

Python's own allocator gives memory back in whole MiB only, and after a thousand streams each of these holds some small
object that stays; so it is little. On the C library's allocator it is nearly all (docs/decisions/0007-memory.md). What
surprises: which one it is can only be said before the interpreter starts, so the gateway starts it once more.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable

# How many requests at once are a flood: some 25 kB each.
FLOOD = 100
# Seconds. Connections to backends rest for 4 before they are closed.
QUIET_S = 6.0


def choose_allocator() -> None:
    """Puts the command that runs now on the C library's allocator, where nobody said which (`PYTHONMALLOC`): the same
    process begins again, before it has done anything."""
    if "PYTHONMALLOC" in os.environ or not _has_glibc() or not sys.executable or hasattr(sys, "frozen"):
        return
    os.environ["PYTHONMALLOC"] = "malloc"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  it is this very command


def give_back() -> None:
    """Gives back every page that nothing stands on; some 10 ms where there is much."""
    gc.collect()  # it also empties the lists of spare objects that the interpreter keeps
    if _has_glibc():
        import ctypes  # only now: before it runs on its allocator, the command should load next to nothing

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
