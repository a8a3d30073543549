"""Tells when the config's files hold something else than what was loaded.

The files are read again and again, once a second unless told otherwise, and compared by content
(docs/decisions/0006-config-reload.md says why). That sees what an editor renames into place, what Kubernetes swaps
behind a link, and what changes on a network mount, and it does not see a `touch`. What surprises: a file that is gone,
is empty or cannot be read, is no change. It may be about to be replaced or written, and the gateway keeps what it has;
only that it stays so is told. And files are read in threads of their own, which do not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from pluggably.config.files import Fingerprint, read_file

T = TypeVar("T")

# A file that is written in two halves is waited for: it must look the same twice, so far apart.
SETTLE_S = 0.25

Look = Callable[[Iterable[Path]], Awaitable[Mapping[Path, Fingerprint]]]


async def changes(
    loaded: Callable[[], Mapping[Path, Fingerprint]],
    look_every_s: Callable[[], float],
    *,
    settle_s: float = SETTLE_S,
    look: Look | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    is_asked: Callable[[], bool] = lambda: False,
    missing: Callable[[frozenset[Path]], None] = lambda _: None,
) -> AsyncIterator[Mapping[Path, Fingerprint]]:
    """Yields what the files hold, whenever that is something else than `loaded()` says.

    `loaded` is asked at each look: what stood in the files that were loaded last, or tried. Whoever tries what is told
    here, and fails, must count it among these, or is told again. Where it `is_asked` for after a pause, what is there
    is told in any case. `missing` is told the files that were loaded and are not there at two looks in a row; again
    when others are. Never ends by itself."""
    look = look or look_at
    gone = told_gone = frozenset[Path]()
    while True:
        await sleep(look_every_s())
        asked = is_asked()
        seen = await look(loaded())
        gone_before, gone = gone, _gone(seen, loaded())
        if gone == gone_before != told_gone:
            told_gone = gone
            missing(gone)
        if not asked and not _differs(seen, loaded()):
            continue
        seen = await _settled(seen, lambda: look(loaded()), lambda: sleep(settle_s))
        if asked or _differs(seen, loaded()):
            yield seen


async def _settled(
    seen: Mapping[Path, Fingerprint],
    look: Callable[[], Awaitable[Mapping[Path, Fingerprint]]],
    pause: Callable[[], Awaitable[object]],
) -> Mapping[Path, Fingerprint]:
    """What the files hold once they hold the same twice."""
    while True:
        await pause()
        again = await look()
        if again == seen:
            return seen
        seen = again


def _differs(seen: Mapping[Path, Fingerprint], loaded: Mapping[Path, Fingerprint]) -> bool:
    return any(found is not None and found != loaded.get(path) for path, found in seen.items())


def _gone(seen: Mapping[Path, Fingerprint], loaded: Mapping[Path, Fingerprint]) -> frozenset[Path]:
    return frozenset(path for path, found in seen.items() if found is None and loaded.get(path) is not None)


async def look_at(paths: Iterable[Path]) -> Mapping[Path, Fingerprint]:
    """As `fingerprints`, off the loop."""
    paths = list(paths)
    return await aside(lambda: fingerprints(paths))


async def aside(work: Callable[[], T]) -> T:
    """Has work done in a thread that is not waited for at the end of the process, as those of `asyncio.to_thread` are:
    a file on a mount that hangs would keep the gateway from ending. Raises: what the work raises."""
    done: Future[T] = Future()

    def run() -> None:
        done.set_running_or_notify_cancel()
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001  it belongs to whoever waits
            done.set_exception(error)

    threading.Thread(target=run, name="config files", daemon=True).start()
    return await asyncio.wrap_future(done)


def fingerprints(paths: Iterable[Path]) -> dict[Path, Fingerprint]:
    """What stands in each file now; None for one that is not there, is empty, cannot be read, or is no plain file."""
    found: dict[Path, Fingerprint] = {}
    for path in paths:
        try:
            # A pipe was read when it was loaded, and would hang now.
            content, fingerprint = read_file(path) if stat.S_ISREG(path.stat().st_mode) else (b"", None)
            # Whoever writes a file in place empties it first.
            found[path] = fingerprint if content else None
        except (OSError, ValueError):  # ValueError: no file can have such a name
            found[path] = None
    return found
