"""Outgoing HTTP/1.1: one client a backend, and answers that are read whole or as they come.

Our own, on httptools (docs/decisions/0005-own-http-client.md). What surprises: there is no timer per read. A read that
waits too long is ended by one lazy timer an answer (`Patience`), because a timer, a task or a `wait_for` for each event
of a stream costs more than the event itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from pluggably.errors import BackendInvalidResponse, BackendTimeout, BackendUnreachable
from pluggably.net.addresses import Addresses, Resolver, connect
from pluggably.net.coding import Inflater
from pluggably.net.connection import Connection, reason_of
from pluggably.net.request import Destination

# llama.cpp's server and uvicorn close a connection that was idle for 5 s. A pooled connection must go sooner, or a
# request may be written into one that is just being closed.
IDLE_CONNECTION_S = 4.0
CONNECT_TIMEOUT_S = 10.0
# After a stream's end mark, how long to wait for the end of its HTTP body before the connection is given up.
DRAIN_S = 0.25
MOST_URLS = 256
# Turns of the loop in which it reads what waits: in the first it only sees that something does.
READING_TURNS = 4


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
    """An answer whose head has come. It must be closed: `close` frees the connection, and cuts it where the body has
    not come to its end, which is how a backend learns that nobody listens any more."""

    __slots__ = (
        "_client",
        "_connection",
        "_inflater",
        "_loop",
        "_patience",
        "_reading_since",
        "_seen_event",
        "_started",
        "_timer",
        "headers",
        "status",
    )

    headers: Mapping[str, str]  # their names are found in any case
    status: int

    def __init__(self, client: HttpClient, connection: Connection, patience: Patience, started: float) -> None:
        """For `HttpClient.send` alone, which made the connection's request."""
        self._client = client
        self._connection: Connection | None = connection
        self._patience = patience
        self._loop = connection.loop
        self._started = started
        self._reading_since: float | None = started
        self._seen_event = False
        self._inflater: Inflater | None = None
        first_end = started + min(patience.first_event_s, patience.total_s)
        self._timer = self._loop.call_at(first_end, self._check)

    async def head(self) -> None:
        """Waits for the head. Raises: BackendUnreachable, BackendTimeout, BackendInvalidResponse."""
        connection = self._connection
        assert connection is not None
        while not connection.head_came and connection.failure is None:
            await connection.changed()
        if not connection.head_came:
            raise connection.failed()
        self._reading_since = None
        self.status = connection.status
        self.headers = headers = connection.headers
        if "content-encoding" in headers:
            self._decode(headers["content-encoding"].strip().lower())

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def saw_event(self) -> None:
        """From now on the wait is between events, no longer for the first one."""
        if not self._seen_event:
            self._seen_event = True
            self._timer.cancel()
            self._check()

    def next_chunk(self) -> Coroutine[Any, Any, bytes]:
        """What has come of the body since the last read, at least a byte; nothing at its end.

        Raises: BackendTimeout, BackendInvalidResponse (the connection broke before the body's end)."""
        return self._next_raw() if self._inflater is None else self._next_inflated(self._inflater)

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
        connection = self._connection
        if connection is None or connection.complete:
            return
        so_far_s = self._loop.time() - self._started
        self._patience = Patience(DRAIN_S, DRAIN_S, min(self._patience.total_s, so_far_s + DRAIN_S))
        self._timer.cancel()
        self._timer = self._loop.call_later(DRAIN_S, self._check)
        with suppress(BackendTimeout, BackendInvalidResponse):
            while await self._next_raw():
                pass

    def close(self) -> None:
        """May be called again."""
        self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.give_back(connection)

    async def _next_raw(self) -> bytes:
        connection = self._connection
        if connection is None:
            raise RuntimeError("the answer is closed")
        if not connection.pieces and not connection.complete and connection.failure is None:
            self._reading_since = self._loop.time()
            try:
                while not connection.pieces and not connection.complete and connection.failure is None:
                    await connection.changed()
            finally:
                self._reading_since = None
        return connection.take()

    async def _next_inflated(self, inflater: Inflater) -> bytes:
        while True:
            piece = inflater.step()
            if piece:
                if inflater.has_more:
                    await asyncio.sleep(0)  # others have their turn, however much is in there
                    self._fail_if_late()
                return piece
            chunk = await self._next_raw()
            if not chunk:
                if not inflater.is_whole:
                    raise BackendInvalidResponse("The backend's answer broke off before its end.")
                return b""
            inflater.feed(chunk)

    def _decode(self, coding: str) -> None:
        if coding in ("gzip", "x-gzip", "deflate"):
            self._inflater = Inflater(gzip=coding != "deflate")
        elif coding not in ("", "identity"):
            raise BackendInvalidResponse("The backend's answer is compressed in a way that it was not asked for.")

    def _fail_if_late(self) -> None:
        connection = self._connection
        if connection is not None and connection.failure is not None and connection.failure[0] is BackendTimeout:
            raise connection.failed()

    def _check(self) -> None:
        """Runs when some wait may be over; else comes back when the nearest one can be."""
        connection = self._connection
        if connection is None:
            return
        now = self._loop.time()
        limit_s = self._patience.idle_s if self._seen_event else self._patience.first_event_s
        waits_from = self._reading_since if self._reading_since is not None else now
        if not self._seen_event:
            waits_from = self._started
        idle_end = waits_from + limit_s
        total_end = self._started + self._patience.total_s
        if not connection.head_came and now >= min(idle_end, total_end):
            reason = f"The backend did not answer within {min(limit_s, self._patience.total_s):g} s."
        elif now >= total_end:
            reason = f"The backend did not finish within {self._patience.total_s:g} s."
        elif now >= idle_end and self._reading_since is not None:
            what = "sent nothing for" if self._seen_event else "sent no first event within"
            reason = f"The backend {what} {limit_s:g} s."
        else:
            self._timer = self._loop.call_at(max(min(idle_end, total_end), now + 0.01), self._check)
            return
        connection.fail(BackendTimeout, reason)


class HttpClient:
    """One backend's connections. Without `reuses` every call has a connection of its own: right for local servers, of
    which some close a connection without a word, and to which a new one costs little. `tls` says whom to trust, where
    it is not whom the system trusts; `addresses`, where names lead, if not every address will do."""

    def __init__(
        self, *, reuses: bool = True, tls: ssl.SSLContext | None = None, addresses: Resolver | None = None
    ) -> None:
        self._reuses = reuses
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._destinations: dict[str, Destination] = {}
        self._addresses: Resolver = addresses or Addresses(self._loop)
        self._connections: set[Connection] = set()
        # Those that rest, by where they lead; the one used last is used next, so that the others can go.
        self._resting: dict[tuple[bool, str, int], list[Connection]] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, patience: Patience) -> Answer:
        """Sends a request and waits for the head of the answer. Redirects are not followed: an answer of 300 and
        more is the caller's to judge, and a credential never follows to another host.

        A request never goes twice: it is written only into a connection that was just seen to be alive, and once it is
        written, it may have been done.

        Raises: BackendUnreachable (nothing of an answer came), BackendTimeout, BackendInvalidResponse. `sent` is false
        on those where nothing has left."""
        if self._closed is not None:
            raise RuntimeError("the client is closed")
        destination = self._destinations.get(url) or self._destination(url)
        head = destination.head(method, headers, len(body), keep=self._reuses)
        started = self._loop.time()
        connection = await self._rested(destination) or await self._connect(destination, patience)
        connection.send(head, body, is_head=method == "HEAD")
        answer = Answer(self, connection, patience, started)
        try:
            await answer.head()
        except BaseException:
            answer.close()
            raise
        return answer

    def give_back(self, connection: Connection) -> None:
        """A connection whose call is over: it rests, if it can serve another, else it is cut."""
        if not self._reuses or self._closed is not None or not connection.rest():
            connection.give_up()
            return
        idle_s = _allowed_s(connection.headers)
        if idle_s <= 0:
            connection.give_up()
            return
        connection.idle_until = self._loop.time() + idle_s
        self._resting.setdefault(connection.origin, []).append(connection)
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_at(connection.idle_until, self._sweep)

    async def close(self) -> None:
        """Cuts all connections, and returns once they are gone."""
        if self._closed is None:
            self._closed = self._loop.create_future()
            self._resting.clear()
            if self._sweep_timer is not None:
                self._sweep_timer.cancel()
            if not self._connections:
                self._closed.set_result(None)
            for connection in self._connections:
                connection.transport.abort()
        await asyncio.shield(self._closed)

    def _destination(self, url: str) -> Destination:
        if len(self._destinations) >= MOST_URLS:
            self._destinations.clear()
        destination = self._destinations[url] = Destination(url)
        return destination

    async def _rested(self, destination: Destination) -> Connection | None:
        resting = self._resting.get(destination.origin)
        while resting:
            connection = resting.pop()
            is_alive = connection.idle_until > self._loop.time() and connection.is_alive()
            try:
                for _ in range(READING_TURNS):
                    if is_alive is not None:
                        break
                    await asyncio.sleep(0)
                    is_alive = connection.is_alive()
            except asyncio.CancelledError:
                connection.give_up()
                raise
            if is_alive:
                return connection
            connection.give_up()
        return None

    async def _connect(self, destination: Destination, patience: Patience) -> Connection:
        """Raises: BackendUnreachable, BackendTimeout."""
        patience_s = min(patience.first_event_s, patience.total_s)
        tls = (self._tls or _trusted_by_the_system()) if destination.tls else None
        deadline = asyncio.timeout(min(CONNECT_TIMEOUT_S, patience_s))
        try:
            async with deadline:
                addresses = await self._addresses.resolve(destination.host)
                connection, address = await connect(
                    lambda: Connection(self._loop, destination.origin, self._lost),
                    addresses,
                    destination.port,
                    tls=tls,
                    name=destination.host,
                )
        except (OSError, UnicodeError) as error:
            if deadline.expired() and patience_s < CONNECT_TIMEOUT_S:
                problem = f"The backend did not answer within {patience_s:g} s."
                raise BackendTimeout(problem, sent=False) from error
            late = f" within {CONNECT_TIMEOUT_S:g} s" if deadline.expired() else _why(error)
            raise BackendUnreachable(f"No connection to the backend{late}.", sent=False) from error
        self._addresses.worked(destination.host, address)
        if connection.transport.is_closing() or self._closed is not None:
            connection.give_up()
            raise BackendUnreachable("The connection broke before an answer came.", sent=False)
        self._connections.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        resting = self._resting.get(connection.origin)
        if resting is not None and connection in resting:
            resting.remove(connection)
        if self._closed is not None and not self._connections and not self._closed.done():
            self._closed.set_result(None)

    def _sweep(self) -> None:
        """Closes what has rested for its time."""
        self._sweep_timer = None
        now = self._loop.time()
        next_end = None
        for origin, resting in list(self._resting.items()):
            for connection in resting:
                if connection.idle_until <= now:
                    connection.give_up()
                elif next_end is None or connection.idle_until < next_end:
                    next_end = connection.idle_until
            left = [connection for connection in resting if connection.idle_until > now]
            if left:
                self._resting[origin] = left
            else:
                del self._resting[origin]
        if next_end is not None:
            # A moment later than the next one's end: many that end one by one are then closed together.
            self._sweep_timer = self._loop.call_at(next_end + 0.1, self._sweep)


@cache
def _trusted_by_the_system() -> ssl.SSLContext:
    """Certificates are checked against the system's store, and for the host's name. Read once: it takes 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _allowed_s(headers: Mapping[str, str]) -> float:
    """How long a connection may rest: our own limit, or a second less than the server says it keeps it."""
    said = headers.get("keep-alive", "")
    if said:
        for word in said.split(","):
            name, _, value = word.strip().partition("=")
            if name.lower() == "timeout" and value.isdigit() and len(value) < 6:
                return min(IDLE_CONNECTION_S, int(value) - 1)
    return IDLE_CONNECTION_S


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ": its certificate is not valid for it, or from nobody whom this system trusts"
    if isinstance(error, ssl.SSLError):
        return ": it does not speak TLS as this system does"
    if isinstance(error, socket.gaierror | UnicodeError):
        return ": its name has no address"
    return reason_of(error)
