"""A connection fed with bytes: the same answer however they are cut, and the state it leaves the connection in."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pluggably.errors import BackendInvalidResponse, BackendUnreachable
from pluggably.net.connection import READ_BUFFER_BYTES, WRITE_PIECE_BYTES, Connection


class Pipe:
    """A transport that keeps what is written and remembers what was asked of it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.reading = True
        self.waiting_bytes = 0

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Call:
    """A call that was just sent on a connection of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, method: str = "POST", body: bytes = b"") -> None:
        self.lost: list[Connection] = []
        self.pipe = Pipe()
        transport: Any = self.pipe
        self.connection = Connection(loop, (False, "example.test", 80), self.lost.append)
        self.connection.connection_made(transport)
        self.connection.send(b"head", body, is_head=method == "HEAD")

    def receives(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.pipe.closed:
                self.connection.data_received(piece)

    def ends(self, error: Exception | None = None) -> None:
        if error is None:
            self.connection.eof_received()
        self.connection.connection_lost(error)


HEAD = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nX-One: 2\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Hint: a\r\n\r\n"
# name → method, bytes, body, and whether the connection can serve again
ANSWERS: dict[str, tuple[str, bytes, bytes, bool]] = {
    "length": ("POST", HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "empty": ("POST", HEAD + b"Content-Length: 0\r\n\r\n", b"", True),
    "chunked": (
        "POST",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
        b"hello",
        True,
    ),
    "trailers": ("POST", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: a\r\n\r\n", b"hello", True),
    "interim": ("POST", INTERIM + HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "close": ("POST", HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "line feeds": ("POST", b"HTTP/1.1 200 OK\nX-One: 1, 2\nContent-Length: 5\n\nhello", b"hello", True),
    "head": ("HEAD", HEAD + b"Content-Length: 5\r\n\r\n", b"", False),
    "no content": ("POST", HEAD.replace(b"200", b"204") + b"\r\n", b"", True),
    "second answer": ("POST", HEAD + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n", b"hello", False),
    "garbage behind": ("POST", HEAD + b"Content-Length: 5\r\n\r\nhello\0", b"hello", False),
}
TO_THE_END = {
    "1.1": HEAD + b"\r\nhello",
    "1.0": HEAD.replace(b"1.1", b"1.0") + b"\r\nhello",
}


def cuts(data: bytes) -> Iterator[Sequence[bytes]]:
    """Whole, in two at every boundary, and byte by byte."""
    yield [data]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_however_it_is_cut(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Status, headers, body and what becomes of the connection do not depend on where reads end."""
    method, data, body, again = ANSWERS[name]
    for pieces in cuts(data):
        call = Call(loop, method)
        call.receives(*pieces)
        connection = call.connection
        assert (connection.head_came, connection.complete, connection.failure) == (True, True, None), pieces
        assert connection.status in (200, 204)
        assert connection.headers["x-one"] == "1, 2"
        assert "x-hint" not in connection.headers
        assert "x-t" not in connection.headers
        assert connection.take() == body
        assert connection.rest() is again, pieces


@pytest.mark.parametrize("name", TO_THE_END)
def test_the_end_of_a_connection_can_end_a_body(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Where the head names no end, that of the connection is the body's; a reset is none."""
    for pieces in cuts(TO_THE_END[name]):
        call = Call(loop)
        call.receives(*pieces)
        assert not call.connection.complete
        call.ends()
        assert call.connection.complete
        assert call.connection.take() == b"hello"
        assert call.connection.take() == b""
        assert not call.connection.rest()
    reset = Call(loop)
    reset.receives(TO_THE_END[name])
    reset.ends(ConnectionResetError(104, "reset"))
    assert reset.connection.take() == b"hello"
    with pytest.raises(BackendInvalidResponse, match="broke off"):
        reset.connection.take()


@pytest.mark.parametrize("name", ["length", "chunked", "trailers", "interim", "line feeds"])
def test_an_answer_that_ends_too_early(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Cut off behind any of its bytes, an answer is an error, and never a shorter answer."""
    data = ANSWERS[name][1]
    for end in range(len(data)):
        call = Call(loop)
        if end:
            call.receives(data[:end])
        call.ends()
        assert not call.connection.complete, data[:end]
        kind = BackendInvalidResponse if end else BackendUnreachable
        while call.connection.pieces:
            call.connection.take()
        with pytest.raises(kind, match="broke"):
            call.connection.take()
        assert call.lost == [call.connection]


def test_bytes_on_a_resting_connection_end_it(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing was asked, so nothing can be an answer."""
    call = Call(loop)
    call.receives(ANSWERS["length"][1])
    assert call.connection.rest()
    call.receives(b"H")
    assert call.pipe.closed


def test_a_connection_serves_many_calls(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing of one answer is left in the next."""
    call = Call(loop)
    for name in ("length", "no content", "chunked", "interim", "empty"):
        _, data, body, _ = ANSWERS[name]
        call.receives(data)
        assert call.connection.take() == body
        assert call.connection.rest()
        call.connection.send(b"head", b"", is_head=False)
        assert not call.connection.head_came
        assert call.connection.headers == {}


def test_reading_waits_while_nobody_takes(loop: asyncio.AbstractEventLoop) -> None:
    """Beyond the buffer the connection is not read, and is again once that was taken or is not wanted."""
    call = Call(loop)
    call.receives(HEAD + b"Content-Length: 1000000\r\n\r\n")
    call.receives(b"a" * READ_BUFFER_BYTES)
    assert call.pipe.reading
    call.receives(b"a")
    assert not call.pipe.reading
    assert len(call.connection.take()) == READ_BUFFER_BYTES + 1
    assert call.pipe.reading
    call.receives(b"a" * (1_000_000 - READ_BUFFER_BYTES - 1))
    assert not call.pipe.reading
    assert call.connection.rest()
    assert call.pipe.reading


def test_a_large_request_goes_as_fast_as_it_is_taken(loop: asyncio.AbstractEventLoop) -> None:
    """Of a large body a piece is written whenever the last has left, and the connection does not serve again before
    all of it has."""
    body = bytes(range(256)) * (5 * WRITE_PIECE_BYTES // 512)
    call = Call(loop)
    call.receives(ANSWERS["empty"][1])
    assert call.connection.rest()

    call.pipe.written.clear()
    write = call.pipe.write

    def write_and_wait(data: bytes) -> None:
        write(data)
        call.connection.pause_writing()

    call.pipe.write = write_and_wait  # type: ignore[method-assign]
    call.connection.send(b"head", body, is_head=False)
    call.receives(ANSWERS["empty"][1])
    written = len(call.pipe.written)
    assert call.connection.rest() is False
    while b"".join(call.pipe.written) != b"head" + body:
        call.connection.resume_writing()
        assert len(call.pipe.written) == written + 1
        written += 1
    assert max(map(len, call.pipe.written)) <= WRITE_PIECE_BYTES
    call.pipe.waiting_bytes = 1
    assert call.connection.rest() is False
    call.pipe.waiting_bytes = 0
    assert call.connection.rest() is True


def test_one_who_waits_is_woken_once_for_each_change(loop: asyncio.AbstractEventLoop) -> None:
    """By the head, by the body, by the end, and by a failure."""
    call = Call(loop)
    waits = call.connection.changed()
    call.receives(b"HTTP/1.1 200 OK\r\n")
    assert not waits.done()
    call.receives(b"Transfer-Encoding: chunked\r\n\r\n")
    assert waits.done()
    waits = call.connection.changed()
    call.receives(b"2\r\n")
    assert not waits.done()
    call.receives(b"ok")
    assert waits.done()
    waits = call.connection.changed()
    call.receives(b"\r\n0\r\n")
    assert not waits.done()
    call.receives(b"\r\n")
    assert waits.done()

    broken = Call(loop)
    waits = broken.connection.changed()
    broken.ends(ConnectionResetError(104, "reset"))
    assert waits.done()
    waits.cancel()
    broken.connection.fail(BackendUnreachable, "again")  # nobody waits any more


def test_nothing_holds_a_connection_that_is_lost(loop: asyncio.AbstractEventLoop) -> None:
    """The parser calls back, so each would keep the other alive until a collection."""
    call = Call(loop)
    call.receives(ANSWERS["length"][1])
    call.ends()
    call.lost.clear()
    gc.disable()
    try:
        pipe = weakref.ref(call.pipe)
        del call
        assert pipe() is None
    finally:
        gc.enable()
