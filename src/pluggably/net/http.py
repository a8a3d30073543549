"""Outgoing HTTP: one long-lived session a backend, and answers that are read whole or as they come.

The only importer of aiohttp. What surprises: there is no timer per read. A read that waits too long is ended by one
lazy timer an answer (`Patience`), because a timer, a task or a `wait_for` for each event of a stream costs more than
the event itself.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from pluggably.errors import BackendInvalidResponse, BackendTimeout, BackendUnreachable

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientResponse

# llama.cpp's server and uvicorn close a connection that was idle for 5 s. A pooled connection must go sooner, or a
# request may be written into one that is just being closed.
IDLE_CONNECTION_S = 4.0
CONNECT_TIMEOUT_S = 10.0
READ_BUFFER_BYTES = 256 * 1024
LARGE_BODY_BYTES = 1024 * 1024
# After a stream's end mark, how long to wait for the end of its HTTP body before the connection is given up.
DRAIN_S = 0.25


class Patience:
    """How long to wait for a backend: for its first event, between events, and in all. Seconds. An answer that comes
    whole has one event, its end: `for_whole` is the patience with that."""

    __slots__ = ("first_event_s", "idle_s", "total_s")

    def __init__(self, first_event_s: float, idle_s: float, total_s: float) -> None:
        self.first_event_s = first_event_s
        self.idle_s = idle_s
        self.total_s = total_s

    def for_whole(self) -> Patience:
        return Patience(self.total_s, self.total_s, self.total_s)


class Answer:
    """An answer whose head has come. It must be closed: `close` frees the connection, and cuts it where the body was
    not read to its end, which is how a backend learns that nobody listens any more.

    Its one timer runs from before the request was sent, so it is made first and gets its `response` then."""

    __slots__ = (
        "_expired",
        "_loop",
        "_patience",
        "_reading_since",
        "_seen_event",
        "_sender",
        "_started",
        "_timer",
        "response",
    )

    response: ClientResponse

    def __init__(self, patience: Patience, loop: asyncio.AbstractEventLoop) -> None:
        self._patience = patience
        self._loop = loop
        self._started = self._loop.time()
        self._sender = asyncio.current_task()
        self._reading_since: float | None = self._started
        self._seen_event = False
        self._expired: str | None = None
        self._timer = self._loop.call_later(min(patience.first_event_s, patience.total_s), self._check)

    def opened(self, response: ClientResponse) -> None:
        """The head has come."""
        self.response = response
        self._sender = None
        self._reading_since = None

    def not_opened(self) -> BackendTimeout | None:
        """No head will come any more; the error, where that is because time ran out."""
        self._timer.cancel()
        if self._expired is None or self._sender is None or self._sender.uncancel() > 0:
            return None
        return BackendTimeout(self._expired)

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def content_type(self) -> str:
        return self.response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def headers(self) -> Mapping[str, str]:
        """All headers; their names are found in any case."""
        return self.response.headers

    def saw_event(self) -> None:
        """From now on the wait is between events, no longer for the first one."""
        if not self._seen_event:
            self._seen_event = True
            self._timer.cancel()
            self._check()

    async def next_chunk(self) -> bytes:
        """What has come of the body since the last read, at least a byte; nothing at its end.

        Raises: BackendTimeout, BackendInvalidResponse (the connection broke before the body's end)."""
        self._reading_since = self._loop.time()
        try:
            chunk: bytes = await self.response.content.readany()
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise self._broken(error) from error
        finally:
            self._reading_since = None
        if self._expired:
            raise BackendTimeout(self._expired)
        return chunk

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises: BackendInvalidResponse also where it is longer than `limit_bytes`."""
        pieces = []
        size = 0
        while chunk := await self.next_chunk():
            size += len(chunk)
            if size > limit_bytes:
                raise BackendInvalidResponse(f"The backend's answer is longer than {limit_bytes} bytes.")
            pieces.append(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Waits a little for the end of a body that has nothing more to say."""
        so_far_s = self._loop.time() - self._started
        self._patience = Patience(DRAIN_S, DRAIN_S, min(self._patience.total_s, so_far_s + DRAIN_S))
        self._timer.cancel()
        self._timer = self._loop.call_later(DRAIN_S, self._check)
        with suppress(BackendTimeout, BackendInvalidResponse):
            while await self.next_chunk():
                pass

    def close(self) -> None:
        self._timer.cancel()
        self.response.close() if not self.response.content.at_eof() else self.response.release()

    def _broken(self, error: BaseException) -> BackendTimeout | BackendInvalidResponse:
        if self._expired:
            return BackendTimeout(self._expired)
        return BackendInvalidResponse(f"The backend's answer broke off before its end{_reason(error)}.")

    def _check(self) -> None:
        """Runs when some wait may be over; else comes back when the nearest one can be."""
        now = self._loop.time()
        limit_s = self._patience.idle_s if self._seen_event else self._patience.first_event_s
        waits_from = self._reading_since if self._reading_since is not None else now
        if not self._seen_event:
            waits_from = self._started
        idle_end = waits_from + limit_s
        total_end = self._started + self._patience.total_s
        if self._sender is not None and now >= min(idle_end, total_end):
            self._expire(f"The backend did not answer within {min(limit_s, self._patience.total_s):g} s.")
        elif now >= total_end:
            self._expire(f"The backend did not finish within {self._patience.total_s:g} s.")
        elif now >= idle_end and self._reading_since is not None:
            what = "sent nothing for" if self._seen_event else "sent no first event within"
            self._expire(f"The backend {what} {limit_s:g} s.")
        else:
            self._timer = self._loop.call_at(max(min(idle_end, total_end), now + 0.01), self._check)

    def _expire(self, reason: str) -> None:
        self._expired = reason
        if self._sender is not None:
            self._sender.cancel()
            return
        # Fails the pending read at once, in the task that reads, without cancelling that task.
        self.response.content.set_exception(BackendTimeout(reason))
        self.response.close()


class HttpClient:
    """One backend's connections. Without `reuses` every call has a connection of its own: right for local servers, of
    which some close a connection without a word, and to which a new one costs little."""

    def __init__(self, *, reuses: bool = True) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ttl_dns_cache=30,
                **({"keepalive_timeout": IDLE_CONNECTION_S} if reuses else {"force_close": True}),
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
            read_bufsize=READ_BUFFER_BYTES,
        )
        self._urls: dict[str, URL] = {}
        self._loop = asyncio.get_running_loop()

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, patience: Patience) -> Answer:
        """Sends a request and waits for the head of the answer. Redirects are not followed: an answer of 300 and
        more is the caller's to judge, and a credential never follows to another host.

        Raises: BackendUnreachable, BackendTimeout."""
        parsed = self._urls.get(url)
        if parsed is None:
            if len(self._urls) > 256:
                self._urls.clear()
            parsed = self._urls[url] = URL(url)
        answer = Answer(patience, self._loop)
        try:
            answer.opened(await self._exchange(method, parsed, headers, body))
        except BaseException as error:
            meant = answer.not_opened() or _unopened(error)
            if meant is error:
                raise
            raise meant from error
        return answer

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str], body: bytes) -> ClientResponse:
        """Some servers close a connection that they promised to keep. A request that could not be written into such
        a one has not left, and goes again, once; one that was written and not answered may have been done."""
        try:
            return await self._request(method, url, headers, body)
        except aiohttp.ClientOSError as error:
            # The library's own words are the one thing that tells this case (aiohttp 3.14, client_reqrep.py).
            if "Can not write request body" not in str(error):
                raise
        return await self._request(method, url, headers, body)

    def _request(self, method: str, url: URL, headers: Mapping[str, str], body: bytes) -> Awaitable[ClientResponse]:
        # A large body goes in pieces: written at once it would hold the loop.
        data = body if len(body) < LARGE_BODY_BYTES else io.BytesIO(body)
        return self._session.request(method, url, data=data or None, headers=headers, allow_redirects=False)

    async def close(self) -> None:
        await self._session.close()


def _unopened(error: BaseException) -> BaseException:
    """What it means that no head of an answer came; the error itself where it is none of the network."""
    if isinstance(error, aiohttp.ServerTimeoutError):
        return BackendUnreachable(f"No connection to the backend within {CONNECT_TIMEOUT_S:g} s.")
    if isinstance(error, aiohttp.InvalidURL):
        return BackendUnreachable("The backend's URL is not valid; see `base_url` in the config.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return BackendUnreachable(f"No connection to the backend{_reason(error)}.")
    if isinstance(error, aiohttp.ClientError | ConnectionError):
        return BackendUnreachable(f"The connection broke before an answer came{_reason(error)}.")
    return error


def _reason(error: BaseException) -> str:
    """The system's word for what went wrong. The library's own words name addresses, and the client's detail is no
    place for those."""
    number = error.errno if isinstance(error, OSError) else None
    return f" ({os.strerror(number)})" if number is not None and number > 0 else ""
