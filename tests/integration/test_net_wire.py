"""Every way in which HTTP/1.1 may begin, carry and end an answer, and every way to get it wrong, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from scripted_backend import OK, PATIENT, Conversation, Request, Scripted, calling, read_all, run, send, serving, until

from pluggably.errors import BackendInvalidResponse, BackendTimeout, BackendUnreachable
from pluggably.net.addresses import connect
from pluggably.net.http import HttpClient, Patience

KEPT = OK + b"Content-Length: 2\r\n\r\nok"


def says(*pieces: bytes, requests: list[Request] | None = None):
    """Says the same to each request, and closes once there are no more."""

    async def script(peer: Conversation) -> None:
        while request := await peer.request():
            if requests is not None:
                requests.append(request)
            for piece in pieces:
                await peer.send(piece)

    return script


def says_and_closes(*pieces: bytes, reset: bool = False):
    async def script(peer: Conversation) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)
        if reset:
            peer.reset()

    return script


async def call(client: HttpClient, server: Scripted, method: str = "POST") -> tuple[int, bytes]:
    answer = await client.send(method, server.url, {}, b"", PATIENT)
    try:
        return answer.status, await answer.read(10_000_000)
    finally:
        answer.close()


# ── where an answer ends ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("head", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n", 3),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n", 3),
        (b"HTTP/1.1 200 OK\r\nkeep-alive: max=9, Timeout=60\r\nContent-Length: 2\r\n", 1),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n", 3),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n", 1),
    ],
)
def test_a_connection_is_kept_where_both_sides_want_it(head: bytes, connections: int) -> None:
    """A connection serves again unless the answer's version or headers say that it will not."""

    async def main() -> None:
        async with serving(says(head + b"\r\nok")) as server, calling() as client:
            for _ in range(3):
                assert await call(client, server) == (200, b"ok")
            assert server.connections == connections

    run(main)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_may_end_with_its_connection(version: bytes) -> None:
    """A body of no stated length ends where its connection does."""

    async def main() -> None:
        script = says_and_closes(b"HTTP/%s 200 OK\r\n\r\none" % version, b"two")
        async with serving(script) as server, calling() as client:
            assert await call(client, server) == (200, b"onetwo")

    run(main)


def test_a_body_that_ends_with_its_connection_must_not_end_with_a_reset() -> None:
    """A reset is no end, even of a body of no stated length."""

    async def main() -> None:
        async with serving(says_and_closes(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset=True)) as server, calling() as client:
            with pytest.raises((BackendInvalidResponse, BackendUnreachable), match="broke"):
                await call(client, server)

    run(main)


def test_an_answer_without_a_head_of_its_own() -> None:
    """What comes before the answer (1xx) is not the answer, in one read with it or not, and leaves no header in it."""

    async def main() -> None:
        first = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Hint: a\r\n\r\n"
        async with serving(says(first + KEPT)) as together, serving(says(first, KEPT)) as apart, calling() as client:
            for server in (together, apart):
                for _ in range(2):
                    answer = await client.send("GET", server.url, {}, b"", PATIENT)
                    assert answer.status == 200
                    assert "x-hint" not in answer.headers
                    assert await answer.read(10) == b"ok"
                    answer.close()
                assert server.connections == 1

    run(main)


def test_an_answer_that_leaves_http_is_invalid() -> None:
    """Nobody offered another protocol, so a 101 is no answer."""

    async def main() -> None:
        script = says_and_closes(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbytes")
        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse, match="not valid HTTP"):
                await call(client, server)

    run(main)


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body_whatever_they_say(status: int) -> None:
    """A 204 or 304 ends with its head, and its connection serves again."""

    async def main() -> None:
        script = says(b"HTTP/1.1 %d X\r\nContent-Length: 100\r\n\r\n" % status)
        async with serving(script) as server, calling() as client:
            assert await call(client, server) == (status, b"")
            assert await call(client, server) == (status, b"")
            assert server.connections == 1

    run(main)


def test_the_answer_to_head_has_no_body() -> None:
    """The length in an answer to HEAD is that of the body that GET would have."""

    async def main() -> None:
        async with serving(says(OK + b"Content-Length: 100\r\n\r\n")) as server, calling() as client:
            answer = await client.send("HEAD", server.url, {}, b"", PATIENT)
            assert answer.headers["content-length"] == "100"
            assert await answer.read(10) == b""
            answer.close()

    run(main)


def test_trailers_and_chunk_extensions_are_passed_over() -> None:
    """They are neither body nor headers, and the connection serves again."""

    async def main() -> None:
        body = b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Trail: a\r\n\r\n"
        async with serving(says(OK + body)) as server, calling() as client:
            for _ in range(2):
                answer = await send(client, server)
                assert await answer.read(10) == b"ok"
                assert "x-trail" not in answer.headers
                answer.close()
            assert server.connections == 1

    run(main)


def test_headers_are_found_in_any_case() -> None:
    """A header is found however its name is written here or there, and repeated ones are one list."""

    async def main() -> None:
        async with (
            serving(says(OK + b"x-ONE: 1\r\nX-One: 2\r\nContent-Length: 0\r\n\r\n")) as server,
            calling() as client,
        ):
            answer = await send(client, server)
            assert answer.headers["X-One"] == answer.headers.get("x-one") == "1, 2"
            assert "X-ONE" in answer.headers
            assert "X-Two" not in answer.headers
            assert answer.headers.get("X-Two") is None
            answer.close()

    run(main)


# ── too much, or not what it says ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        OK + b"".join(b"X-%d: a\r\n" % n for n in range(300)) + b"Content-Length: 0\r\n\r\n",
        OK + b"".join(b"X-%d: a\r\n" % n for n in range(300)) + b"Content-Length: 2\r\n\r\nok",
    ],
)
def test_a_head_that_is_too_much(answer: bytes) -> None:
    """A head is bounded in bytes and headers, also where it came whole and with its body."""

    async def main() -> None:
        async with serving(says(answer)) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse, match="too long"):
                await call(client, server)
            await until(lambda: server.open == 0)

    run(main)


@pytest.mark.parametrize(
    ("start", "forever"),
    [
        (OK + b"X: ", b"a" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trail: a\r\n" * 80),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 1000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 1000),
    ],
    ids=["header", "interim answers", "trailers", "one trailer", "chunk extension"],
)
def test_what_frames_an_answer_does_not_go_on_for_ever(start: bytes, forever: bytes) -> None:
    """Whatever is no body is bounded, wherever in the answer it stands."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(start)
            while True:
                await peer.send(forever)

        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse):
                await call(client, server)
            await until(lambda: server.open == 0)

    run(main)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"Content-Length: -2\r\n\r\nok",
        b"Content-Length: 99999999999999999999\r\n\r\nok",
        b"Bad Name: 2\r\nContent-Length: 2\r\n\r\nok",
        b"X: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_head_that_can_be_read_in_two_ways(head: bytes) -> None:
    """Where a head leaves open where its body ends, it is not guessed."""

    async def main() -> None:
        async with serving(says(b"HTTP/1.1 200 OK\r\n" + head)) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse, match="not valid HTTP"):
                await call(client, server)

    run(main)


def test_a_body_that_nobody_reads_is_not_taken_in() -> None:
    """While nobody reads, the backend has to wait; then the whole body comes."""
    size = 64 * 1024 * 1024
    piece = b"a" * 65536

    async def main() -> None:
        sent = 0

        async def script(peer: Conversation) -> None:
            nonlocal sent
            await peer.request()
            await peer.send(OK + b"Content-Length: %d\r\n\r\n" % size)
            while sent < size:
                await peer.send(piece)
                sent += len(piece)

        async with serving(script) as server, calling() as client:
            answer = await send(client, server)
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.1)
            assert sent < size / 2
            taken = 0
            while chunk := await answer.next_chunk():
                taken += len(chunk)
                assert len(chunk) < 1024 * 1024
            assert taken == size
            answer.close()

    run(main)


# ── compressed answers ──────────────────────────────────────────────────────────────────────────────────────────────

TEXT = b"".join(b"line %d of a body that can be compressed\n" % n for n in range(20_000))


def bare(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b"X-Gzip", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]) + b"\0" * 7),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", bare(TEXT)),
        (b"identity", TEXT),
    ],
)
@pytest.mark.parametrize("step", [1000, 10_000_000])
def test_compressed_bodies_come_as_they_were(coding: bytes, body: bytes, step: int) -> None:
    """gzip in one part or several, deflate with its wrapping and without it, however the body is cut."""

    async def main() -> None:
        requests: list[Request] = []

        async def script(peer: Conversation) -> None:
            while request := await peer.request():
                requests.append(request)
                head = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
                await peer.send(head)
                for start in range(0, len(body), step):
                    await peer.send(body[start : start + step])

        async with serving(script) as server, calling() as client:
            for _ in range(2):
                assert await call(client, server) == (200, TEXT)
            assert server.connections == 1
        assert requests[0].headers["accept-encoding"] == "gzip, deflate"

    run(main)


def test_the_pieces_of_a_compressed_stream_come_as_they_are_sent() -> None:
    """What a backend flushed can be read before it says more."""

    async def main() -> None:
        go = asyncio.Event()

        async def script(peer: Conversation) -> None:
            await peer.request()
            squeeze = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
            await peer.send(OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
            await peer.chunk(squeeze.compress(b"one") + squeeze.flush(zlib.Z_SYNC_FLUSH))
            await go.wait()
            await peer.chunk(squeeze.compress(b"two") + squeeze.flush())
            await peer.send(b"0\r\n\r\n")

        async with serving(script) as server, calling() as client:
            answer = await send(client, server)
            assert await answer.next_chunk() == b"one"
            go.set()
            assert await answer.next_chunk() == b"two"
            assert await answer.next_chunk() == b""
            answer.close()

    run(main)


def test_a_small_body_that_means_a_huge_one() -> None:
    """It comes in small pieces, between which others have their turn, and ends at the reader's limit."""
    bomb = gzip.compress(b"\0" * 100_000_000)

    async def main() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        async with serving(says(head + bomb)) as server, calling() as client:
            answer = await send(client, server)
            counting = asyncio.create_task(others())
            assert len(await answer.next_chunk()) <= 65536
            with pytest.raises(BackendInvalidResponse, match="longer than 10000000 bytes"):
                await answer.read(10_000_000)
            counting.cancel()
            answer.close()
            assert turns > 100

    run(main)


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        (b"gzip", gzip.compress(TEXT)[:-5], "broke off"),
        (b"gzip", gzip.compress(TEXT)[:-8] + b"x" * 8, "compressed"),
        (b"gzip", b"not at all compressed", "compressed"),
        (b"deflate", b"\xff\xffnot at all compressed", "compressed"),
        (b"deflate", zlib.compress(TEXT)[:-5], "broke off"),
        (b"br", b"whatever", "not asked for"),
    ],
)
def test_bodies_that_are_not_compressed_as_they_say(coding: bytes, body: bytes, words: str) -> None:
    """What cannot be undone, or not to its end, is an invalid answer."""

    async def main() -> None:
        head = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
        async with serving(says(head + body)) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse, match=words):
                await call(client, server)

    run(main)


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"X-Key": "a\r\nX-Other: b"}),
        ("POST", {"X-Key": "a\nb"}),
        ("POST", {"X-Key": "a\rb"}),
        ("POST", {"X-Key": "a\0b"}),
        ("POST", {"X-Key: a\r\nX-Other": "b"}),
        ("POST", {"": "b"}),
        ("POST", {"X Key": "b"}),
        ("POST", {"X-Key": "\udc80"}),
        ("POST", {"Content-Length": "5"}),
        ("POST", {"transfer-encoding": "chunked"}),
        ("GET / HTTP/1.1\r\nX-Other: b\r\n", {}),
        ("", {}),
    ],
)
def test_a_header_cannot_smuggle_another(method: str, headers: dict[str, str]) -> None:
    """What would end its line, or say another end of the request, is refused before anything is sent or connected, and
    is not told."""

    async def main() -> None:
        async with serving(says(KEPT)) as server, calling() as client:
            with pytest.raises(BackendUnreachable, match="cannot be sent") as caught:
                await client.send(method, server.url, headers, b"{}", PATIENT)
            assert not caught.value.sent
            assert "X-Other" not in caught.value.detail
            assert server.connections == 0

    run(main)


@pytest.mark.parametrize("path", ["/a\r\nX-Other: b", "/a\nb", "/a\0b", "/a\tb"])
def test_a_url_cannot_smuggle_a_header(path: str) -> None:
    """A URL with a control character is none."""

    async def main() -> None:
        async with serving(says(KEPT)) as server, calling() as client:
            with pytest.raises(BackendUnreachable, match="URL is not valid"):
                await client.send("POST", server.url + path, {}, b"{}", PATIENT)
            assert server.connections == 0

    run(main)


def test_a_url_may_hold_more_than_a_path() -> None:
    """Query, escapes and other alphabets arrive, a fragment does not, and a name and password become a header."""

    async def main() -> None:
        requests: list[Request] = []
        async with serving(says(KEPT, requests=requests)) as server, calling() as client:
            url = server.url.replace("//", "//some:p%40ss@") + "/a%2Fb/ü c?q=1&r=a b#part"
            answer = await client.send("GET", url, {}, b"", PATIENT)
            answer.close()
            assert requests[0].line == "GET /v1/call/a%2Fb/%C3%BC%20c?q=1&r=a%20b HTTP/1.1"
            assert requests[0].headers["authorization"] == "Basic c29tZTpwQHNz"
            assert requests[0].headers["host"] == server.url.split("/")[2]
            assert "content-length" not in requests[0].headers

    run(main)


@pytest.mark.parametrize("ends", [True, False])
def test_an_answer_may_come_before_the_request_was_sent(ends: bool) -> None:
    """An early answer is taken while the request is still on its way, and its connection does not serve again."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            if not ends:
                await peer.over.wait()

        async with serving(script) as server, calling() as client:
            answer = await send(client, server, body=b"a" * 30_000_000)
            assert answer.status == 413
            assert await answer.read(10) == b"big"
            answer.close()
            if ends:
                await until(lambda: server.open == 0)
            answer = await send(client, server)
            answer.close()
            assert server.connections == 2

    run(main)


def test_a_request_goes_on_behind_an_early_answer() -> None:
    """A backend that answers while it still reads gets the whole request, and its connection serves again."""
    size = 20_000_000

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while True:
                await peer.reader.readuntil(b"\r\n\r\n")
                await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
                await peer.chunk(b"begun ")
                await peer.reader.readexactly(size)
                await peer.chunk(b"done")
                await peer.send(b"0\r\n\r\n")

        async with serving(script) as server, calling() as client:
            for _ in range(2):
                answer = await send(client, server, body=b"a" * size)
                assert await answer.read(100) == b"begun done"
                answer.close()
            assert server.connections == 1

    run(main)


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("apart", [False, True])
def test_an_answer_to_nothing_is_never_taken_for_one(apart: bool) -> None:
    """Bytes behind an answer, or on a resting connection, end the connection; the next call gets its own answer."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while request := await peer.request():
                good = OK + b"Content-Length: 2\r\n\r\n" + request.body
                stray = OK + b"Content-Length: 4\r\n\r\nevil"
                if apart:
                    await peer.send(good)
                    await asyncio.sleep(0.05)
                    await peer.send(stray)
                else:
                    await peer.send(good + stray)

        async with serving(script) as server, calling() as client:
            for number in range(3):
                answer = await send(client, server, body=b"%02d" % number)
                assert await answer.read(10) == b"%02d" % number
                answer.close()
                if apart:
                    await until(lambda: server.open == 0)
            assert server.connections == 3

    run(main)


@contextmanager
def closing_server() -> Iterator[tuple[str, threading.Event, list[int]]]:
    """A server in a thread, beside the client's loop, that closes each connection after its answer."""
    closed = threading.Event()
    requests: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                if peer.recv(65536):
                    requests.append(1)
                    peer.sendall(KEPT)
            closed.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", closed, requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_a_connection_is_looked_at_before_it_is_used() -> None:
    """A call takes a new connection where the kept one was closed, even where the loop had no turn to notice."""

    async def main() -> None:
        with closing_server() as (url, closed, requests):
            async with calling() as client:
                for number in range(1, 6):
                    closed.clear()
                    answer = await client.send("POST", url, {}, b"{}", PATIENT)
                    assert await answer.read(10) == b"ok"
                    answer.close()
                    assert closed.wait(10)  # holds the loop, on purpose
                    assert len(requests) == number

    run(main)


def test_a_request_that_may_have_been_done_never_goes_again() -> None:
    """A kept connection that breaks once the request was written is an error, and the request went once."""

    async def main() -> None:
        requests: list[Request] = []

        async def script(peer: Conversation) -> None:
            if request := await peer.request():
                requests.append(request)
                await peer.send(KEPT)
            if request := await peer.request():
                requests.append(request)

        async with serving(script) as server, calling() as client:
            assert await read_all(client, server) == b"ok"
            with pytest.raises(BackendUnreachable, match="broke before an answer") as caught:
                await read_all(client, server)
            assert caught.value.sent
            assert len(requests) == 2
            assert server.connections == 1

    run(main)


def test_resting_connections_go_when_their_time_is_over() -> None:
    """A connection is closed, not only passed over, once it has rested as long as its server lets it."""

    async def main() -> None:
        async with (
            serving(says(OK + b"Keep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nok")) as server,
            calling() as client,
        ):
            await asyncio.gather(*(call(client, server) for _ in range(5)))
            loop = asyncio.get_running_loop()
            rested = loop.time()
            assert server.open == 5
            await until(lambda: server.open == 0)
            assert 0.8 < loop.time() - rested < 2

    run(main)


def test_closing_the_client_ends_what_is_open() -> None:
    """Resting connections and running calls are cut, and a call that waits is told so."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Content-Length: 10\r\n\r\nhalf")
            assert await peer.request() is None

        async with serving(script) as server, serving(says(KEPT)) as other, calling() as client:
            await call(client, other)
            answer = await send(client, server)
            assert await answer.next_chunk() == b"half"
            waiting = asyncio.create_task(answer.next_chunk())
            await asyncio.sleep(0)
            await client.close()
            with pytest.raises(BackendInvalidResponse, match="broke off"):
                await waiting
            answer.close()
            await until(lambda: server.open == other.open == 0)
            with pytest.raises(RuntimeError):
                await send(client, server)

    run(main)


def test_the_second_close_of_an_answer_does_nothing() -> None:
    """A connection is given back once, however often its answer is closed."""

    async def main() -> None:
        async with serving(says(KEPT)) as server, calling() as client:
            answer = await send(client, server)
            await answer.read(10)
            answer.close()
            answer.close()
            first, second = await send(client, server), await send(client, server)
            assert await first.read(10) == await second.read(10) == b"ok"
            first.close()
            second.close()
            assert server.connections == 2

    run(main)


# ── where it leads ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", "localhost"), ("::1", None)])
def test_names_and_both_families(host: str, name: str | None) -> None:
    """A name leads to whichever of its addresses takes the connection, and an IPv6 address may stand in a URL."""
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"{host} is no address of this machine")

    async def main() -> None:
        requests: list[Request] = []
        async with serving(says(KEPT, requests=requests), host=host, name=name) as server, calling() as client:
            assert await call(client, server) == (200, b"ok")
            assert requests[0].headers["host"] == server.url.split("/")[2]

    run(main)


def test_a_name_without_an_address() -> None:
    """A name that does not exist is an unreachable backend; nothing has left, and the name is not told."""

    async def main() -> None:
        async with calling() as client:
            with pytest.raises(BackendUnreachable, match="has no address") as caught:
                await client.send("GET", "http://nowhere.invalid/", {}, b"", PATIENT)
            assert not caught.value.sent
            assert "nowhere" not in caught.value.detail

    run(main)


def test_what_never_left_says_so() -> None:
    """A refused connection and one that took too long are told apart from a call that may have been done."""

    async def main() -> None:
        async with serving(says_and_closes()) as server, calling() as client:
            with pytest.raises(BackendUnreachable) as caught:
                await send(client, server)
            assert caught.value.sent
        async with serving(says()) as server, calling() as client:
            with pytest.raises(BackendTimeout) as late:
                await send(client, server, Patience(0.1, 1, 1))
            assert late.value.sent
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        async with calling() as client:
            with pytest.raises(BackendUnreachable) as caught:
                await client.send("GET", f"http://127.0.0.1:{port}/", {}, b"", PATIENT)
            assert not caught.value.sent

    run(main)


@pytest.mark.parametrize("first", ["::1", "192.0.2.1"])
def test_addresses_are_tried_in_turn(first: str) -> None:
    """An address that refuses, or does not answer, costs at most a moment before the next one is tried."""

    async def main() -> None:
        class Quiet(asyncio.Protocol):
            pass

        async with serving(says(KEPT)) as server:
            port = int(server.url.split("/")[2].partition(":")[2])
            async with asyncio.timeout(5):
                protocol, address = await connect(Quiet, [first, "127.0.0.1"], port, tls=None, name="example.test")
            assert isinstance(protocol, Quiet)
            assert address == "127.0.0.1"
            assert server.connections == 1

    run(main)
