"""Outgoing HTTP against a server that is a few raw bytes: time limits in every phase, broken answers, connections."""

from __future__ import annotations

import asyncio
import socket

import pytest
from scripted_backend import OK, PATIENT, Conversation, Request, Scripted, calling, read_all, run, send, serving, until

from pluggably.errors import BackendInvalidResponse, BackendTimeout, BackendUnreachable
from pluggably.net.http import HttpClient, Patience

# ── good answers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_sent_as_it_is() -> None:
    """Method, path, headers and body arrive, with nothing of ours beside what HTTP needs."""

    async def main() -> None:
        seen: list[Request] = []

        async def script(peer: Conversation) -> None:
            while request := await peer.request():
                seen.append(request)
                await peer.send(OK + b"X-Some: Thing\r\nContent-Length: 5\r\n\r\nhello")

        async with serving(script) as server, calling() as client:
            answer = await send(client, server, body=b'{"a":1}')
            assert (answer.status, answer.content_type) == (200, "text/plain")
            assert answer.headers["x-some"] == "Thing"
            assert await answer.read(100) == b"hello"
            answer.close()
        assert seen[0].line == "POST /v1/call HTTP/1.1"
        assert seen[0].body == b'{"a":1}'
        assert seen[0].headers["x-key"] == "secret"
        assert "user-agent" not in seen[0].headers

    run(main)


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_requests_of_any_size_go_with_their_length(size: int) -> None:
    """A request's body goes whole and with a Content-Length, however large: not every server takes chunks."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while request := await peer.request():
                assert "transfer-encoding" not in request.headers
                said = b"%d" % len(request.body)
                await peer.send(OK + b"Content-Length: %d\r\n\r\n%s" % (len(said), said))

        async with serving(script) as server, calling() as client:
            answer = await send(client, server, body=b"a" * size)
            assert await answer.read(100) == b"%d" % size
            answer.close()
            assert not server.broken

    run(main)


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_come_whole(size: int, chunked: bool) -> None:
    """Bodies of every size come whole, by length and by chunks."""
    body = bytes(range(256)) * (size // 256) + b"a" * (size % 256)

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            if chunked:
                await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
                for start in range(0, size, 70_000):
                    await peer.chunk(body[start : start + 70_000])
                await peer.send(b"0\r\n\r\n")
            else:
                await peer.send(OK + b"Content-Length: %d\r\n\r\n%s" % (size, body))

        async with serving(script) as server, calling() as client:
            answer = await send(client, server)
            assert await answer.read(size) == body
            answer.close()

    run(main)


def test_a_body_over_the_limit_is_refused() -> None:
    """Reading stops at the limit, whatever the answer says of its length."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            while True:
                await peer.chunk(b"a" * 10_000)

        async with serving(script) as server, calling() as client:
            answer = await send(client, server)
            with pytest.raises(BackendInvalidResponse, match="longer than 50000 bytes"):
                await answer.read(50_000)
            answer.close()
            await until(lambda: server.open == 0)

    run(main)


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 500])
def test_any_status_is_an_answer(status: int) -> None:
    """Errors and redirects are the caller's to judge; nothing is followed, so no credential is either."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while await peer.request():
                head = b"HTTP/1.1 %d Whatever\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status
                await peer.send(head)

        async with serving(script) as server, calling() as client:
            answer = await send(client, server)
            assert answer.status == status
            assert await answer.read(10) == b""
            answer.close()
            assert server.connections == 1

    run(main)


def test_the_pieces_of_a_stream_come_as_they_are_sent() -> None:
    """A piece is there as soon as it was sent, not only when the body has ended."""

    async def main() -> None:
        go = asyncio.Event()

        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            await peer.chunk(b"one")
            await go.wait()
            await peer.chunk(b"two")
            await peer.send(b"0\r\n\r\n")

        async with serving(script) as server, calling() as client:
            answer = await send(client, server)
            assert await answer.next_chunk() == b"one"
            go.set()
            assert await answer.next_chunk() == b"two"
            assert await answer.next_chunk() == b""
            answer.close()

    run(main)


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("patience", "words"),
    [
        (Patience(0.1, 10, 10), "within 0.1 s"),
        (Patience(10, 10, 0.1), "within 0.1 s"),
    ],
)
def test_a_head_that_does_not_come(patience: Patience, words: str) -> None:
    """No head within the first event's time, or the whole's, is a timeout that names the limit that ran out."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            assert await peer.request() is None

        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendTimeout, match=words):
                await send(client, server, patience)
            await until(lambda: server.open == 0)
            assert not server.broken

    run(main)


def test_a_request_that_is_not_taken() -> None:
    """A server that does not read a large request is bounded by the first event's time."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.over.wait()

        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendTimeout):
                await send(client, server, Patience(0.2, 10, 10), body=b"a" * 1_000_000)

    run(main)


async def _stalling(peer: Conversation) -> None:
    await peer.request()
    await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    await peer.chunk(b"one")
    assert await peer.request() is None


@pytest.mark.parametrize(
    ("patience", "sees", "words"),
    [
        (Patience(0.1, 10, 10), False, "sent no first event within 0.1 s"),
        (Patience(10, 0.1, 10), True, "sent nothing for 0.1 s"),
        (Patience(0.05, 0.1, 10), True, "sent nothing for 0.1 s"),
        (Patience(10, 10, 0.1), False, "did not finish within 0.1 s"),
        (Patience(10, 10, 0.1), True, "did not finish within 0.1 s"),
    ],
)
def test_a_body_that_stops(patience: Patience, sees: bool, words: str) -> None:
    """Before the first event its limit counts, after it the one between events, and always that of the whole; the
    connection is cut."""

    async def main() -> None:
        async with serving(_stalling) as server, calling() as client:
            answer = await send(client, server, patience)
            assert await answer.next_chunk() == b"one"
            if sees:
                answer.saw_event()
            with pytest.raises(BackendTimeout, match=words):
                await answer.next_chunk()
            answer.close()
            await until(lambda: server.open == 0)
            assert not server.broken

    run(main)


async def _dripping(peer: Conversation) -> None:
    await peer.request()
    await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.chunk(b": nothing\n")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("patience", "sees", "words"),
    [(Patience(0.3, 10, 10), False, "no first event"), (Patience(10, 10, 0.3), True, "did not finish")],
)
def test_a_drip_buys_no_time(patience: Patience, sees: bool, words: str) -> None:
    """Bytes that are no events do not put off the first event's limit, and nothing puts off that of the whole."""

    async def main() -> None:
        async with serving(_dripping) as server, calling() as client:
            answer = await send(client, server, patience)

            async def read() -> None:
                while await answer.next_chunk():
                    if sees:
                        answer.saw_event()

            with pytest.raises(BackendTimeout, match=words):
                await read()
            answer.close()

    run(main)


def test_a_steady_stream_may_take_longer_than_its_idle_limit() -> None:
    """The limit between events begins anew with each read."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(20):
                await peer.chunk(b"a")
                await asyncio.sleep(0.02)
            await peer.send(b"0\r\n\r\n")

        async with serving(script) as server, calling() as client:
            answer = await send(client, server, Patience(0.3, 0.3, 10))
            received = b""
            while chunk := await answer.next_chunk():
                answer.saw_event()
                received += chunk
            answer.close()
            assert received == b"a" * 20

    run(main)


def test_a_slow_reader_is_not_the_backends_fault() -> None:
    """While nobody reads, the limit between events does not count."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Content-Length: 6\r\n\r\nonetwo")

        async with serving(script) as server, calling() as client:
            answer = await send(client, server, Patience(10, 0.05, 10))
            answer.saw_event()
            loop = asyncio.get_running_loop()
            later = loop.time() + 0.3
            await until(lambda: loop.time() > later)
            assert await answer.read(100) == b"onetwo"
            answer.close()

    run(main)


# ── what breaks ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_listens() -> None:
    """A refused connection says so in the system's word, and names no address."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        async with calling() as client:
            with pytest.raises(BackendUnreachable) as caught:
                await client.send("POST", f"http://127.0.0.1:{port}/", {}, b"{}", PATIENT)
        assert "Connection refused" in caught.value.detail
        assert str(port) not in caught.value.detail
        assert "127.0.0.1" not in caught.value.detail

    run(main)


@pytest.mark.parametrize("url", ["http://", "nowhere", "http://host.invalid/", "http://127.0.0.1:1/ a"])
def test_an_address_that_is_none(url: str) -> None:
    """A URL that leads nowhere is an unreachable backend, whatever is wrong with it."""

    async def main() -> None:
        async with calling() as client:
            with pytest.raises(BackendUnreachable):
                await client.send("POST", url, {}, b"{}", PATIENT)

    run(main)


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_goes_before_the_answer(reset: bool) -> None:
    """Closed or reset without a byte of an answer: unreachable, and asked once only, since it may have been done."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            if reset:
                peer.reset()

        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendUnreachable):
                await send(client, server)
            assert server.connections == 1

    run(main)


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x16\x03\x01\x00", b"HTTP/1.1 200 OK\r\nA"]
)
def test_a_head_that_is_none(answer: bytes) -> None:
    """What is no HTTP, or no whole head, is an invalid answer, and nothing of it is told."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(answer)

        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse) as caught:
                await send(client, server)
            assert "garbage" not in caught.value.detail

    run(main)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 100\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
    ],
)
def test_a_body_that_breaks_off(start: bytes, reset: bool) -> None:
    """An answer that ends before its own end is not taken for a whole one."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + start)
            if reset:
                peer.reset()

        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse, match="broke off"):
                await read_all(client, server)

    run(main)


def test_bad_chunks() -> None:
    """A body that is not cut as it says is an invalid answer."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            await peer.send(b"zz\r\nno\r\n")
            assert await peer.request() is None

        async with serving(script) as server, calling() as client:
            with pytest.raises(BackendInvalidResponse):
                await read_all(client, server)

    run(main)


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _answering(peer: Conversation) -> None:
    while await peer.request():
        await peer.send(OK + b"Content-Length: 2\r\n\r\nok")


@pytest.mark.parametrize(("reuses", "connections"), [(True, 1), (False, 5)])
def test_connections_are_kept_or_not(reuses: bool, connections: int) -> None:
    """An answer that was read to its end leaves its connection to the next call, unless each is to have its own."""

    async def main() -> None:
        async with serving(_answering) as server, calling(reuses) as client:
            for _ in range(5):
                answer = await send(client, server)
                assert await answer.read(10) == b"ok"
                answer.close()
            assert server.connections == connections

    run(main)


def test_a_kept_connection_that_was_closed_is_not_used() -> None:
    """A server that closes what it had promised to keep costs a new connection, not a failure."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Content-Length: 2\r\n\r\nok")

        async with serving(script) as server, calling() as client:
            for count in range(1, 6):
                answer = await send(client, server)
                assert await answer.read(10) == b"ok"
                answer.close()
                await until(lambda: server.open == 0)
                assert server.connections == count

    run(main)


def test_closing_early_cuts_the_connection() -> None:
    """An answer that is closed before its end cuts its connection at once: the backend learns that nobody listens."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            await peer.chunk(b"one")
            assert await peer.reader.read(1) == b""

        async with serving(script) as server, calling() as client:
            answer = await send(client, server)
            assert await answer.next_chunk() == b"one"
            answer.close()
            await until(lambda: server.open == 0)
            assert not server.broken

    run(main)


@pytest.mark.parametrize("phase", ["head", "body"])
def test_cancelling_cuts_the_connection(phase: str) -> None:
    """A task that is cancelled while it waits cuts its connection at once."""

    async def main() -> None:
        waiting = asyncio.Event()

        async def script(peer: Conversation) -> None:
            await peer.request()
            if phase == "body":
                await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
                await peer.chunk(b"one")
            waiting.set()
            assert await peer.reader.read(1) == b""

        async def ask(client: HttpClient, server: Scripted) -> None:
            answer = await send(client, server)
            try:
                await answer.read(100)
            finally:
                answer.close()

        async with serving(script) as server, calling() as client:
            task = asyncio.create_task(ask(client, server))
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.open == 0)
            assert not server.broken

    run(main)


@pytest.mark.parametrize(("ends", "connections"), [(True, 1), (False, 2)])
def test_a_stream_is_drained_before_its_connection_is_used_again(ends: bool, connections: int) -> None:
    """After the last event there is a moment for the body's end; where it does not come, the connection is given
    up, and nothing waits for long."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while await peer.request():
                await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
                await peer.chunk(b"data: [DONE]\n\n")
                if ends:
                    await peer.send(b"0\r\n\r\n")

        async with serving(script) as server, calling() as client:
            for _ in range(2):
                answer = await send(client, server)
                assert (await answer.next_chunk()).startswith(b"data")
                began = asyncio.get_running_loop().time()
                await answer.drain()
                assert asyncio.get_running_loop().time() - began < 2
                answer.close()
            assert server.connections == connections

    run(main)


def test_draining_an_endless_body_gives_up() -> None:
    """A backend that goes on after its last event is cut."""

    async def main() -> None:
        async with serving(_dripping) as server, calling() as client:
            answer = await send(client, server, Patience(10, 10, 5))
            await answer.next_chunk()
            answer.saw_event()
            began = asyncio.get_running_loop().time()
            await answer.drain()
            assert asyncio.get_running_loop().time() - began < 2
            answer.close()
            await until(lambda: server.open == 0)

    run(main)


def test_many_calls_at_once() -> None:
    """Two hundred calls at once have as many connections, and each its own answer."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while request := await peer.request():
                await peer.send(OK + b"Content-Length: %d\r\n\r\n%s" % (len(request.body), request.body))

        async def ask(client: HttpClient, server: Scripted, number: int) -> bytes:
            answer = await send(client, server, body=b"%d" % number)
            try:
                return await answer.read(100)
            finally:
                answer.close()

        async with serving(script) as server, calling() as client:
            bodies = await asyncio.gather(*(ask(client, server, number) for number in range(200)))
            assert bodies == [b"%d" % number for number in range(200)]

    run(main)
