"""One connection to a backend: a request's bytes out; an answer's bytes in, and out of them its head and the pieces of
its body. It does no waiting of its own: it wakes the one who waits (`changed`).

What surprises: a connection serves one call after the other, so its fields are those of the call that it serves
(`send` resets them). Everything here runs in callbacks of the loop, once a read, and there is no task.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from typing import Any, cast

import httptools

from pluggably.errors import BackendError, BackendInvalidResponse, BackendUnreachable

# Of an answer, everything that is no body: its head, those of the 1xx before it, what frames its chunks, its trailers.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
# What may wait to be read before the connection itself has to wait.
READ_BUFFER_BYTES = 256 * 1024
# A larger body is written in pieces, each once the last has left: written at once it would be copied whole.
WRITE_PIECE_BYTES = 256 * 1024

_NAMES: dict[bytes, str] = {}
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


class Headers(dict[str, str]):
    """An answer's headers; kept in lower case, found in any."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Connection(asyncio.Protocol):
    """A connection, and the call that it serves."""

    __slots__ = (
        "_at_end",
        "_closed_ends_body",
        "_header_bytes",
        "_header_count",
        "_idle",
        "_is_head",
        "_keep",
        "_lost",
        "_parser",
        "_poll",
        "_reading_paused",
        "_received",
        "_silent_bytes",
        "_stray",
        "_unsent",
        "_waiter",
        "_waiting_bytes",
        "_writing_paused",
        "complete",
        "failure",
        "head_came",
        "headers",
        "idle_until",
        "loop",
        "origin",
        "pieces",
        "status",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: tuple[bool, str, int],
        lost: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.origin = origin
        self.idle_until = 0.0
        self._lost = lost
        self._poll: select.poll | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._writing_paused = False
        self._idle = True
        self._keep = False

    # ── for the one who calls ───────────────────────────────────────────────────────────────────────────────────────

    def send(self, head: bytes, body: bytes, *, is_head: bool) -> None:
        """Begins a call."""
        self.status = 0
        self.headers = Headers()
        self.head_came = False
        self.complete = False
        self.pieces: list[bytes] = []
        self.failure: tuple[type[BackendError], str] | None = None
        self._waiting_bytes = 0
        self._is_head = is_head
        self._idle = False
        self._keep = False
        self._stray = False
        self._received = False
        self._silent_bytes = self._header_bytes = self._header_count = 0
        self._unsent: memoryview | None = None
        if len(body) <= WRITE_PIECE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self._unsent = memoryview(body)
            self._send_more()

    def changed(self) -> asyncio.Future[None]:
        """Done once the head has come, or more of the body, its end, or a failure."""
        self._waiter = waiter = self.loop.create_future()
        return waiter

    def take(self) -> bytes:
        """What has come of the body and was not taken; nothing at its end, and where nothing has come.

        Raises: BackendInvalidResponse, BackendUnreachable, BackendTimeout: what `failure` says."""
        pieces = self.pieces
        if not pieces:
            if self.failure is not None:
                raise self.failed()
            return b""
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._waiting_bytes = 0
        if self._reading_paused:
            self._resume_reading()
        return taken

    def failed(self) -> BackendError:
        assert self.failure is not None
        kind, detail = self.failure
        return kind(detail)

    def fail(self, kind: type[BackendError], detail: str) -> None:
        """Ends the call, and the connection with it."""
        if not self.complete and self.failure is None:
            self.failure = (kind, detail)
        self.transport.abort()
        self._wake()

    def give_up(self) -> None:
        """Cuts the connection; nobody wants what is still to come."""
        self._idle = True
        self.transport.abort()

    def rest(self) -> bool:
        """Ends a call whose answer has come; whether the connection can serve another."""
        self._idle = True
        self.pieces.clear()
        if not (self.complete and self._keep) or self._stray or self._unsent is not None or self.transport.is_closing():
            return False
        if self.transport.get_write_buffer_size():  # an answer that did not wait for the whole request
            return False
        if self._reading_paused:
            self._resume_reading()  # or its end would not be seen
        return True

    def is_alive(self) -> bool | None:
        """Whether a resting connection is still fit. The loop may not have seen yet that it was closed; a request that
        is written into such a one may or may not have been done, and could not be sent again. None: bytes wait over
        TLS. They may be a record that says nothing of any call, or an answer to none, which would be taken for the next
        one's; once the loop has read them, that is known."""
        if self.transport.is_closing():
            return False
        if self._poll is None:
            opened = self.transport.get_extra_info("socket")
            self._poll = select.poll()
            self._poll.register(opened.fileno(), _HUNG_UP | select.POLLIN)
        seen = self._poll.poll(0)
        if not seen:
            return True
        return None if self.origin[0] and seen[0][1] == select.POLLIN else False

    # ── what the loop calls ─────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # Slips of servers that are known to happen and change nothing in where a message ends.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)

    def data_received(self, data: bytes) -> None:
        if self._idle or self._parser is None:
            self.transport.abort()  # an answer to nothing
            return
        self._received = True
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._stray = True
            if not self.complete:
                self.fail(BackendInvalidResponse, "The backend's answer is not valid HTTP.")
        if (
            self._silent_bytes > MAX_HEAD_BYTES
            or self._header_bytes > MAX_HEAD_BYTES
            or self._header_count > MAX_HEADERS
        ):
            self._stray = True
            # It may have come whole, in one read.
            self.head_came = self.complete = False
            self.pieces.clear()
            self.fail(BackendInvalidResponse, "The head of the backend's answer is too long.")

    def eof_received(self) -> None:
        if self._idle or self.complete or not self.head_came:
            return
        # The end of the connection is the end of the body, unless the head said another one (RFC 9112, 6.3).
        if "content-length" not in self.headers and "transfer-encoding" not in self.headers:
            self.complete = True
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None  # which holds us
        self._poll = None
        self._unsent = None
        if not self._idle and not self.complete and self.failure is None:
            reason = reason_of(error)
            if self._received:
                self.failure = (BackendInvalidResponse, f"The backend's answer broke off before its end{reason}.")
            else:
                self.failure = (BackendUnreachable, f"The connection broke before an answer came{reason}.")
        self._wake()
        self._lost(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._unsent is not None:
            self._send_more()

    # ── what the parser calls ───────────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        if self.complete:
            self._stray = True  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stray:
            return
        self._header_bytes += len(name) + len(value)
        self._header_count += 1
        if self.head_came:
            return  # trailers, which nobody asked for
        key = _NAMES.get(name) or _remembered(name)
        headers = self.headers
        if key in headers:
            headers[key] = f"{headers[key]}, {value.decode('latin-1')}"
        else:
            headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self._stray or parser is None:
            return
        status: int = parser.get_status_code()
        if status < 200:
            return
        self.status = status
        self.head_came = True
        if self._is_head:  # the parser would wait for the body that the head describes
            self.complete = True
            self._stray = True
        self._wake()

    def on_body(self, data: bytes) -> None:
        if self._stray:
            return
        self._silent_bytes = 0
        self.pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > READ_BUFFER_BYTES and not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._stray or self._parser is None:
            return
        if not self.head_came:  # it was a 1xx, and the answer itself follows
            self.headers.clear()
            return
        self.complete = True
        self._keep = self._parser.should_keep_alive()
        self._wake()

    # ── within ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _send_more(self) -> None:
        while self._unsent is not None and not self._writing_paused and not self.transport.is_closing():
            piece, rest = self._unsent[:WRITE_PIECE_BYTES], self._unsent[WRITE_PIECE_BYTES:]
            self._unsent = rest if len(rest) else None
            self.transport.write(piece)

    def _resume_reading(self) -> None:
        self._reading_paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()


def _remembered(name: bytes) -> str:
    """A header's name in lower case. Servers have few, and send them with each answer."""
    key = name.decode("latin-1").lower()
    if len(_NAMES) < 1024 and len(name) <= 64:
        _NAMES[name] = key
    return key


def reason_of(error: BaseException | None) -> str:
    """The system's word for what went wrong. Libraries' own words name addresses, and the client's detail is no place
    for those."""
    number = error.errno if type(error) is not OSError and isinstance(error, OSError) else None
    return f" ({os.strerror(number)})" if number is not None and number > 0 else ""
