"""One request and its answer on a connection, as uvicorn runs it: how the answer becomes bytes.

What surprises: the head of an answer waits for the first piece of its body and leaves with it, since a write of its own
costs the gateway and the client as much again. Names of headers come in lower case: all answers here are our own.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class Exchange(RequestResponseCycle):
    """What an application reads from and writes to."""

    # The head, until the first piece of the body comes; None before it is known.
    _head: bytes | None = None
    # Whether only the end of the connection ends the body: HTTP/1.0 knows no chunks (RFC 9112, section 6.1).
    _ends_by_closing = False

    async def send(self, message: Any) -> None:
        """Raises: RuntimeError for what is no answer: a body without a head, or of another length than the head says, a
        header that is more than one line."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError("An answer begins with its head.")
            self._head = self._begin(message["status"], message["headers"])
            self.response_started = True
            self.waiting_for_100_continue = False
            return
        if self.response_complete:
            raise RuntimeError("The answer is complete already.")
        self._go_on(message.get("body", b""), message.get("more_body", False))

    def _begin(self, status: int, own: list[tuple[bytes, bytes]]) -> bytes:
        lines = [STATUS_LINE[status]]
        closes = False
        for name, value in (*self.default_headers, *own):
            lines.append(b"%s: %s\r\n" % (name, value))
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and b"close" in value.lower():
                closes = True
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in (204, 304):
            if self.scope["http_version"] == "1.0":
                self._ends_by_closing = True
            else:
                self.chunked_encoding = True
                lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise RuntimeError("A header of an answer is more than one line.")
        return head + b"\r\n"

    def _go_on(self, body: bytes, more: bool) -> None:
        head, self._head = self._head, None
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            end = b"" if more else b"0\r\n\r\n"
            body = b"%x\r\n%s\r\n%s" % (len(body), body, end) if body else end
        elif not self._ends_by_closing:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("The body of an answer has another length than its head says.")
        self.transport.write(head + body if head else body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


class Event(asyncio.Event):
    """An event whose waiters are a list: the deque that they are else takes 600 bytes, even with nobody in it."""

    def __init__(self) -> None:
        super().__init__()
        self._waiters = cast(Any, [])
