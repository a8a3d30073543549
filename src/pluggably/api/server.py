"""The HTTP server: uvicorn, with the limits and the shutdown that a gateway needs.

What surprises: uvicorn's fast parser bounds neither the size of a request's head nor the time that it may take, and
its way of telling that a client has left wants a task a request. All three are a few lines in its protocol class.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, ClassVar, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pluggably.api.http import ClientConnection, problem_answer
from pluggably.domain.ids import new_id
from pluggably.errors import HeadersTooLarge, InvalidRequest, PluggablyError, RequestTimeout

# Seconds that a connection may take to send a whole request head. A slower one is cut.
HEAD_TIMEOUT_S = 20.0
# How long uvicorn waits for its tasks once every generation has ended or has been ended.
LAST_WORDS_S = 3


class LimitedProtocol(HttpToolsProtocol):
    """Bounds the head of a request in bytes and seconds, and tells a request when its client has left."""

    max_header_bytes: ClassVar[int] = 64 * 1024
    head_timeout_s: ClassVar[float] = HEAD_TIMEOUT_S

    _head_bytes = 0
    _unfinished_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)
        for scope in [self.scope, *(cycle.scope for cycle, _ in self.pipeline)]:
            if scope is not None:
                cast(dict[str, Any], scope)["client_connection"].lost()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        # One endless header calls back only at its end, so what came of an unfinished head is counted as well.
        if self._head_timer is not None:
            self._unfinished_bytes += len(data)
            self._bound(self._unfinished_bytes)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)["client_connection"] = ClientConnection()
        self._head_bytes = self._unfinished_bytes = 0
        if self._head_timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_came()
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest("This is not a valid HTTP request."))

    def _count(self, size: int) -> None:
        self._head_bytes += size
        self._bound(self._head_bytes)

    def _bound(self, size: int) -> None:
        if size > self.max_header_bytes:
            self._refuse(HeadersTooLarge(f"A request's head may have at most {self.max_header_bytes} bytes."))

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self._unfinished_bytes == 0:  # nothing was ever sent: nothing to answer
            self.transport.close()
        else:
            self._refuse(RequestTimeout(f"The request's head did not arrive within {self.head_timeout_s:g} s."))

    def _refuse(self, error: PluggablyError) -> None:
        """Answers and closes, without the application."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._head_came()
        answer = problem_answer(error, new_id("req_"))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        phrase = error.title.encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n%sconnection: close\r\n\r\n%s" % (error.status, phrase, head, answer.body)
        )
        self.transport.close()


class Server(uvicorn.Server):
    """Serves until told to stop; then `drain` ends what runs before the connections are closed."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        max_header_bytes: int,
        started: Callable[[], None],
        drain: Callable[[Callable[[], bool]], Awaitable[None]],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=type("Protocol", (LimitedProtocol,), {"max_header_bytes": max_header_bytes}),
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=LAST_WORDS_S,
                backlog=2048,
            )
        )
        self._announce_start = started
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain(lambda: self.force_exit)
        await super().shutdown(sockets)

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
