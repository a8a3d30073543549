"""Credentials that run out: what fetches a new one, and keeps the last good one until then.

A key in a header needs nothing of this. A token of Google or a role's keys at AWS live for an hour; they are
fetched when the first call needs them, and renewed while they are still good, so that no call waits for it. What
surprises: each fetch has an HTTP client of its own, closed after it. It is made once an hour, goes to another host than
the provider's, and so nothing here has to be closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeAlias, TypeVar

import structlog
from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed, BackendError, PluggablyError
from pluggably.net.http import HttpClient, Patience
from pluggably.wire.codec import HttpReply

log = structlog.get_logger(__name__)

T = TypeVar("T")

# A new one is fetched when the old one is good for less than this. AWS gives a role's new keys five minutes before the
# old ones run out (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html, 2026-11);
# Google's metadata server keeps its token until four minutes before (cloud.google.com/compute/docs/access, 2026-11).
EARLY_S = 225.0
# After a fetch that failed: until then its error is told again, and nobody is asked.
PAUSE_S = 5.0
FETCH_S = 10.0
MAX_BYTES = 256 * 1024

# How credentials are asked for: method, URL, headers, body, seconds. A test gives its own.
Ask: TypeAlias = Callable[[str, str, Mapping[str, str], bytes, float], Awaitable[HttpReply]]


async def ask(method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
    """One call on a connection of its own. Raises: BackendUnreachable, BackendTimeout, BackendInvalidResponse."""
    client = HttpClient(reuses=False)
    try:
        answer = await client.send(method, url, headers, body, Patience(limit_s, limit_s, limit_s))
        try:
            content = await answer.read(MAX_BYTES)
            return HttpReply(status=answer.status, headers=answer.headers, body=content)
        finally:
            answer.close()
    finally:
        await client.close()


class Fetched(Struct, Generic[T], frozen=True):
    """A credential, and until when it is good, in seconds since 1970; None: for ever."""

    value: T
    expires_at: float | None = None

    def __repr__(self) -> str:
        """Without the credential."""
        return f"Fetched(expires_at={self.expires_at})"


class Renewed(Generic[T]):
    """One credential, fetched when it is first needed and again before it runs out, by one fetch at a time."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Fetched[T]]],
        *,
        early_s: float = EARLY_S,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._early_s = early_s
        self._pause_s = pause_s
        self._clock = clock
        self._kept: Fetched[T] | None = None
        self._task: asyncio.Task[None] | None = None
        self._failure: PluggablyError | None = None
        self._failed_at = 0.0
        self._fetched_at = 0.0

    async def current(self) -> T:
        """The credential. Waits only where there is none that is good.

        Raises: BackendAuthenticationFailed, and BackendError where its source could not be reached."""
        kept = self._kept
        if kept is not None:
            left_s = None if kept.expires_at is None else kept.expires_at - self._clock()
            if left_s is None or left_s > self._early_s:
                return kept.value
            if left_s > 0:
                # A source may go on giving the same one: it is not asked for each call.
                if self._clock() >= self._fetched_at + self._pause_s:
                    self._renew()
                return kept.value
        task = self._renew()
        if task is not None:
            # Many may wait for one fetch, so one that leaves must not take it along.
            await asyncio.shield(task)
        kept = self._kept
        if kept is not None and (kept.expires_at is None or kept.expires_at > self._clock()):
            return kept.value
        raise self._told()

    def _renew(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one; None in the pause after a failure."""
        if self._task is None:
            if self._failure is not None and self._clock() < self._failed_at + self._pause_s:
                return None
            self._task = asyncio.get_running_loop().create_task(self._run(), name="credential")
        return self._task

    async def _run(self) -> None:
        try:
            self._kept = await self._fetch()
            self._failure, self._fetched_at = None, self._clock()
        except PluggablyError as error:
            self._failure, self._failed_at = error, self._clock()
            log.warning("credential_not_renewed", detail=error.detail)
        except Exception as slip:  # noqa: BLE001  whatever it is, everybody who waits must hear of it
            self._failure, self._failed_at = None, self._clock()
            self._failure = BackendAuthenticationFailed("The answer of a credential's source could not be understood.")
            # The exception's text may quote the credential.
            log.warning("credential_not_understood", exception=type(slip).__name__)
        finally:
            self._task = None

    def _told(self) -> PluggablyError:
        """A new error for each who waited: an error gathers what is known of its own call."""
        failure = self._failure
        if failure is None:
            return BackendAuthenticationFailed("The credential that was fetched has already run out. Check the clock.")
        kind = type(failure) if isinstance(failure, BackendError) else BackendAuthenticationFailed
        told = kind(failure.detail)
        told.backend_status = failure.backend_status
        return told
