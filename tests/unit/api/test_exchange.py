"""How an answer becomes bytes on its connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from pluggably.api.exchange import Event, Exchange

Header = tuple[bytes, bytes]


class Written:
    """A connection that keeps what is written, a write an entry."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Flow:
    write_paused = False


def answered(
    status: int, headers: Sequence[Header], *bodies: bytes, method: str = "GET", keep_alive: bool = True
) -> tuple[Written, Exchange]:
    """What an answer of these pieces writes."""
    written = Written()
    unused: Any = logging.getLogger("unused")
    exchange = Exchange(
        scope={"type": "http", "http_version": "1.1", "method": method},  # type: ignore[typeddict-item]
        transport=written,  # type: ignore[arg-type]
        flow=Flow(),  # type: ignore[arg-type]
        logger=unused,
        access_logger=unused,
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )

    async def answer() -> None:
        await exchange.send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for position, body in enumerate(bodies, 1):
            await exchange.send({"type": "http.response.body", "body": body, "more_body": position < len(bodies)})

    asyncio.run(answer())
    return written, exchange


def test_a_whole_answer_is_one_write() -> None:
    """Head and body leave together, and the connection stays."""
    written, exchange = answered(200, [(b"content-length", b"2")], b"ok")
    assert written.writes == [b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\nok"]
    assert exchange.response_complete and not written.closed


def test_a_stream_is_one_write_a_piece() -> None:
    """The head leaves with the first piece, also where that is empty; each piece is a chunk, and the last one ends."""
    written, _ = answered(200, [], b"", b"a" * 17, b"", b"end")
    assert written.writes == [
        b"HTTP/1.1 200 OK\r\ndate: today\r\ntransfer-encoding: chunked\r\n\r\n",
        b"11\r\n" + b"a" * 17 + b"\r\n",
        b"",
        b"3\r\nend\r\n0\r\n\r\n",
    ]


def test_a_head_request_has_no_body() -> None:
    """It gets the head that a GET would get."""
    written, exchange = answered(200, [(b"content-length", b"5")], b"hello", method="HEAD")
    assert written.writes == [b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 5\r\n\r\n"]
    assert exchange.response_complete


def test_without_content_there_is_no_framing() -> None:
    """A 204 has neither a length nor chunks."""
    written, _ = answered(204, [], b"")
    assert written.writes == [b"HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n"]


@pytest.mark.parametrize(("headers", "keep_alive"), [([(b"connection", b"Close")], True), ([], False)])
def test_a_last_answer_says_so_once(headers: list[Header], keep_alive: bool) -> None:
    """Where the connection ends with the answer, whoever decided it, the head says so and the connection is closed."""
    written, _ = answered(200, [*headers, (b"content-length", b"0")], b"", keep_alive=keep_alive)
    assert written.writes[0].lower().count(b"connection: close\r\n") == 1
    assert written.closed


@pytest.mark.parametrize("body", [b"", b"o", b"too long"])
def test_a_body_of_another_length_is_a_fault_of_ours(body: bytes) -> None:
    """It would be read as the next answer, so nothing of it is written."""
    with pytest.raises(RuntimeError, match="length"):
        answered(200, [(b"content-length", b"2")], body)


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
def test_a_header_stays_in_its_line(value: bytes) -> None:
    """A value with a line end would be a header of somebody else's making."""
    with pytest.raises(RuntimeError, match="more than one line"):
        answered(200, [(b"x-request-id", value)], b"")


def test_the_order_is_head_then_body_then_nothing() -> None:
    """A body without a head, and anything after the end, are faults of ours."""
    _, exchange = answered(200, [(b"content-length", b"0")], b"")
    with pytest.raises(RuntimeError, match="complete"):
        asyncio.run(exchange.send({"type": "http.response.body", "body": b"more"}))
    exchange.response_started = False
    with pytest.raises(RuntimeError, match="begins with its head"):
        asyncio.run(exchange.send({"type": "http.response.body", "body": b"more"}))


def test_nothing_is_written_to_a_client_who_left() -> None:
    """What comes after that is dropped without an error."""
    _, exchange = answered(200, [], b"a", b"b")
    exchange.disconnected = True
    asyncio.run(exchange.send({"type": "http.response.body", "body": b"more"}))
    assert len(exchange.transport.writes) == 2  # type: ignore[attr-defined]
