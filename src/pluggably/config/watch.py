"""Tells when the config's files hold something else than what was loaded.

The files are read once a second and compared by content (docs/decisions/0006-config-reload.md says why). That sees what
an editor renames into place, what Kubernetes swaps behind a link, and what changes on a network mount, and it does not
see a `touch`. What surprises: a file that is gone, or cannot be read, is no change. It may be about to be replaced, and
the gateway keeps what it has.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from pluggably.config.files import Fingerprint, read_file

LOOK_EVERY_S = 1.0
# A file that is written in two halves is waited for: it must look the same twice, so far apart.
SETTLE_S = 0.25

Look = Callable[[Iterable[Path]], Awaitable[Mapping[Path, Fingerprint]]]


async def changes(
    loaded: Callable[[], Mapping[Path, Fingerprint]],
    *,
    look_every_s: float = LOOK_EVERY_S,
    settle_s: float = SETTLE_S,
    look: Look | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Yields whenever a file holds something else than `loaded()` says.

    `loaded` is asked at each look: `Settings.files` of what runs now, or `ConfigError.files` of what was tried last. If
    it says the same after a change was told of, that change came to nothing; it is not told again, but the next one is,
    also if it is the way back. Never ends by itself."""
    look = look or _look
    told: Mapping[Path, Fingerprint] = {}
    while True:
        await sleep(look_every_s)
        seen = await look(loaded())
        if not _differs(seen, {**loaded(), **told}):
            continue
        seen = await _settled(seen, lambda: look(loaded()), lambda: sleep(settle_s))
        if _differs(seen, {**loaded(), **told}):
            before = loaded()
            yield
            told = seen if loaded() == before else {}


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


def _differs(seen: Mapping[Path, Fingerprint], known: Mapping[Path, Fingerprint]) -> bool:
    return any(found is not None and found != known.get(path) for path, found in seen.items())


async def _look(paths: Iterable[Path]) -> Mapping[Path, Fingerprint]:
    # A mount that hangs holds up a thread, not the gateway.
    return await asyncio.to_thread(fingerprints, list(paths))


def fingerprints(paths: Iterable[Path]) -> dict[Path, Fingerprint]:
    """What stands in each file now; None for one that is not there, cannot be read, or is no plain file."""
    found: dict[Path, Fingerprint] = {}
    for path in paths:
        try:
            # A pipe was read when it was loaded, and would hang now.
            found[path] = read_file(path)[1] if stat.S_ISREG(path.stat().st_mode) else None
        except OSError:
            found[path] = None
    return found
