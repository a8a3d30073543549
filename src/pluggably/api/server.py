"""The HTTP server: uvicorn, with the limits and the shutdown that a gateway needs.

What surprises: uvicorn's fast parser bounds neither the size of a request's head nor the time that it may take, and
its way of telling that a client has left wants a task a request. All three are a few lines in its protocol class. So is
what a connection need not hold while it waits: of a thousand streams at once, each kilobyte is a megabyte.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pluggably.api.exchange import Event, Exchange
from pluggably.api.http import ClientConnection, problem_answer
from pluggably.domain.ids import new_id
from pluggably.errors import HeadersTooLarge, InvalidRequest, PluggablyError, RequestTimeout
from pluggably.memory import Tide

log = structlog.get_logger()

# Seconds that a connection may take to send a whole request head. A slower one is cut.
HEAD_TIMEOUT_S = 20.0
# Seconds that a client may take nothing of what is written for it. Longer, and it would hold its generation for good.
WRITE_TIMEOUT_S = 60.0
# A client that is still sending when its answer is out gets this long to read it, and this much is taken of what it
# sends; if the connection were closed at once, the answer could be lost (RFC 9112, 9.6).
LINGER_S = 5.0
LINGER_BYTES = 64 * 1024 * 1024
# Requests that may wait behind the one that is answered before no more is read.
MAX_PIPELINED = 16
# One read may bring more of them, and it is read by now. Those beyond this are not answered: the connection is closed
# behind the others, and a client may ask again for what it has no answer to (RFC 9112, 9.3.2).
MOST_PIPELINED = 128
# uvicorn looks around ten times a second.
TICKS_A_LOOK = 10
# How long uvicorn waits for its tasks once every generation has ended or has been ended.
LAST_WORDS_S = 3


class _Lingering:
    """A connection as an answer writes to it: closing it waits for a client that is still sending."""

    __slots__ = ("_protocol", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, protocol: LimitedProtocol) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self._protocol = protocol

    def close(self) -> None:
        self._protocol.close()


class LimitedProtocol(HttpToolsProtocol):
    """Bounds a request's head in bytes and seconds, its body in seconds, and how long a client may take nothing of its
    answer; and tells a request when its client has left."""

    max_header_bytes: ClassVar[int] = 64 * 1024
    head_timeout_s: ClassVar[float] = HEAD_TIMEOUT_S
    body_timeout_s: ClassVar[float] = 30.0
    write_timeout_s: ClassVar[float] = WRITE_TIMEOUT_S

    _unfinished_bytes = 0
    _in_head = False
    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _body_is_whole = True
    _refused = False
    _lingered_bytes = 0
    _linger_timer: asyncio.TimerHandle | None = None
    # The request that is being answered; those behind it wait in uvicorn's pipeline.
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.pipeline = cast(Any, _Pipeline())
        writable = self.flow._is_writable_event = Event()
        writable.set()
        self._client = ClientConnection()
        self._lingering = _Lingering(transport, self)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._body_came()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self.resume_writing()
        super().connection_lost(exc)
        self._client_left()

    def eof_received(self) -> None:
        # Half a connection is none here. It may take long to be lost, where the client does not read what we wrote.
        self._client_left()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self.transport.close()
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(InvalidRequest("This is not a valid HTTP request."))
        if self._refused or self.transport.is_closing():
            return
        if self._in_head:
            if self._head_timer is None:
                self._await_head()
            # One endless header calls back only at its end, so what came of an unfinished head is counted as well.
            self._unfinished_bytes += len(data)
            self._bound(self._unfinished_bytes)
        elif not self._body_is_whole:
            if self._body_timer is None:
                self._body_timer = self.loop.call_later(self.body_timeout_s, self._body_late)
        elif self._head_timer is None and self.timeout_keep_alive_task is None and self._is_idle():
            self._await_head()  # line ends between two requests

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._unfinished_bytes = 0
        self._client.is_late = False
        self._head_came()  # the one for a connection that sends nothing

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_came()
        # A head that came in few reads was not yet counted.
        self._bound(len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers))
        self._body_is_whole = False
        if not self._refused and not self.parser.should_upgrade():
            self._admit()

    def _admit(self) -> None:
        """Starts a request whose head has come, or lets it wait behind the one that is answered."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refuse(InvalidRequest("Too many requests were sent without waiting for an answer."))
            return
        method, version = self.parser.get_method().decode("ascii"), self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        # What is read and nothing else: with the rest of what ASGI names, the dictionary takes a kilobyte more.
        self.scope = cast(
            Any,
            {
                "type": "http",
                "http_version": version,
                "method": method,
                "path": unquote(path) if "%" in path else path,
                "query_string": url.query or b"",
                "headers": self.headers,
                "client_connection": self._client,
            },
        )
        before = self.cycle
        self.cycle = Exchange(
            scope=self.scope,
            transport=cast(Any, self._lingering),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
            return
        self.pipeline.appendleft((self.cycle, self.app))
        if len(self.pipeline) > MAX_PIPELINED:  # up to there it is read on, or a client that leaves would not be seen
            self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused and not self.parser.should_upgrade():
            self._body_is_whole = True
            self._body_came()
            super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def close(self) -> None:
        """Closes the connection; where the client is still sending, our half of it now, and the rest once the client
        has read its answer and gone."""
        if self._body_is_whole or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
        elif self._linger_timer is None:
            self._refused = True
            self._body_came()
            self.transport.write_eof()
            self.flow.resume_reading()
            self._linger_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _client_left(self) -> None:
        """Ends the request that is being answered. uvicorn, which tells only the last one that came, would take it for
        a fault of ours that there is no answer, and log it as an error."""
        if self._answering is not None:
            self._answering.disconnected = True
        self._client.lost()

    def _is_idle(self) -> bool:
        return self._answering is None or self._answering.response_complete

    def _decline_upgrade(self, rest: bytes) -> None:
        """Reads a request that offers an upgrade again, without the offer: the parser drops such a request's body.
        (Java's client and `curl --http2` offer one with each first request.)"""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(InvalidRequest("This is no proxy."))
            return
        kept = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        head = b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, self.parser.get_http_version().encode(), b"".join(kept))
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _bound(self, size: int) -> None:
        if size > self.max_header_bytes:
            self._refuse(HeadersTooLarge(f"A request's head may have at most {self.max_header_bytes} bytes."))

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _body_came(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _body_late(self) -> None:
        """Wakes the handler that waits for more of the body; it tells the client."""
        self._body_timer = None
        if self._is_idle():  # nobody wanted this body, and its answer is out
            self.transport.close()
        else:
            self._client.is_late = True
            self.cycle.message_event.set()

    def _head_late(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(RequestTimeout(f"The request's head did not arrive within {self.head_timeout_s:g} s."))
        else:  # nothing was sent that could be answered
            self.transport.close()

    def _refuse(self, error: PluggablyError) -> None:
        """Answers and closes, without the application. Where an answer is on its way, nothing may come between its
        pieces: then the connection is closed behind it."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._head_came()
        self._body_came()
        if not self._is_idle():
            its_own_body = self.cycle is self._answering and not self._body_is_whole and not self._in_head
            if not its_own_body or self.cycle.response_started:
                self.cycle.keep_alive = False
                return
            self._answering.disconnected = True  # type: ignore[union-attr]
        request_id = new_id("req_")
        answer = problem_answer(error, request_id)
        answer.raw_headers.append((b"x-request-id", request_id.encode()))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        phrase = error.title.encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n%sconnection: close\r\n\r\n%s" % (error.status, phrase, head, answer.body)
        )
        self._body_is_whole = False  # nobody knows what else is on its way
        self.close()


class _Pipeline(list[Any]):
    """The requests that wait behind another, in a list: a deque takes 600 bytes, and most connections have none."""

    def appendleft(self, waiting: Any) -> None:
        self.insert(0, waiting)


class Server(uvicorn.Server):
    """Serves until told to stop; then `drain` ends what runs before the connections are closed."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        max_header_bytes: int,
        body_timeout_s: float,
        started: Callable[[], None],
        drain: Callable[[Callable[[], bool]], Awaitable[None]],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=type(
                    "Protocol",
                    (LimitedProtocol,),
                    {"max_header_bytes": max_header_bytes, "body_timeout_s": body_timeout_s},
                ),
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                date_header=True,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=LAST_WORDS_S,
                backlog=2048,
            )
        )
        self._announce_start = started
        self._drain = drain
        self._tide = Tide()
        self._lacks_files = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain(lambda: self.force_exit)
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        self._tide.seen(len(self.server_state.tasks))
        if counter % TICKS_A_LOOK == 0:
            self._look_for_files()
        return await super().on_tick(counter)

    def _look_for_files(self) -> None:
        """Where no file can be opened any more, connections are closed as soon as they come, and nobody else tells:
        libuv does it by itself."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and not self._lacks_files:
                self._lacks_files = True
                connections = len(self.server_state.connections)
                detail = "Connections are refused: this process may open no more files (`ulimit -n`, LimitNOFILE=)."
                log.error("no_more_files", detail=detail, connections=connections)  # noqa: TRY400  no fault of ours
        else:
            self._lacks_files = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A second signal of either kind means now. uvicorn would raise the signal again once it has shut down, and so
        # skip what is still to be closed; a gateway that was told to stop and did has ended well.
        self.force_exit = self.should_exit
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found: list[Any] = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[0][4])
        listener.listen(2048)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
