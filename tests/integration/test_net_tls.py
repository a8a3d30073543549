"""Outgoing HTTP over TLS, against a certificate made for the test."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme
from scripted_backend import OK, PATIENT, Conversation, calling, read_all, run, send, serving, until

from pluggably.errors import BackendInvalidResponse, BackendTimeout, BackendUnreachable
from pluggably.net.http import HttpClient, Patience

KEPT = OK + b"Content-Length: 2\r\n\r\nok"
AUTHORITY = trustme.CA()


def server_side(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


def client_side() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def _answering(peer: Conversation) -> None:
    while await peer.request():
        await peer.send(KEPT)


def test_a_trusted_server_is_talked_to_and_its_connection_kept() -> None:
    """The server's name is told in the handshake, and one connection serves all calls."""

    async def main() -> None:
        names: list[str | None] = []
        context = server_side("localhost")
        context.sni_callback = lambda _tls, name, _context: names.append(name)
        async with (
            serving(_answering, tls=context, name="localhost") as server,
            calling(tls=client_side()) as client,
        ):
            for _ in range(5):
                assert await read_all(client, server) == b"ok"
            assert server.connections == 1
        assert names == ["localhost"]

    run(main)


STRAY = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\nstray"


@pytest.mark.parametrize("many", [1, 2])
def test_an_answer_to_nothing_is_not_the_next_requests(many: int) -> None:
    """It may have come when the loop has not read it yet: the connection is not used again."""

    async def main() -> None:
        peers: list[Conversation] = []

        async def script(peer: Conversation) -> None:
            peers.append(peer)
            await _answering(peer)

        async with (
            serving(script, tls=server_side("localhost"), name="localhost") as server,
            calling(tls=client_side()) as client,
        ):
            answers = [await send(client, server) for _ in range(many)]
            for answer in answers:
                assert await answer.read(100) == b"ok"
                answer.close()
            for peer in peers:
                peer.writer.write(STRAY)  # goes out at once, and the loop has no turn until the next request
            assert await read_all(client, server) == b"ok"
            assert server.connections == many + 1

    run(main)


def test_a_server_may_be_known_by_its_address() -> None:
    """A certificate for an IP address is good for a URL with that address."""

    async def main() -> None:
        async with (
            serving(_answering, tls=server_side("127.0.0.1")) as server,
            calling(tls=client_side()) as client,
        ):
            assert await read_all(client, server) == b"ok"

    run(main)


@pytest.mark.parametrize(("named", "trusted"), [("localhost", False), ("elsewhere.test", True), ("127.0.0.1", True)])
def test_a_server_that_cannot_be_trusted_gets_no_request(named: str, trusted: bool) -> None:
    """A certificate from nobody known, or for another name, is an unreachable backend, and nothing is sent."""

    async def main() -> None:
        requests = 0

        async def script(peer: Conversation) -> None:
            nonlocal requests
            if await peer.request():
                requests += 1

        async with (
            serving(script, tls=server_side(named), name="localhost") as server,
            calling(tls=client_side() if trusted else None) as client,
        ):
            with pytest.raises(BackendUnreachable, match="certificate") as caught:
                await send(client, server)
        assert not caught.value.sent
        assert "localhost" not in caught.value.detail
        assert requests == 0

    run(main)


@pytest.mark.parametrize("size", [1, 100_000, 5_000_000])
def test_bodies_of_any_size_go_both_ways(size: int) -> None:
    """A large request arrives whole, and so does a large answer."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while request := await peer.request():
                await peer.send(OK + b"Content-Length: %d\r\n\r\n" % len(request.body))
                await peer.send(request.body)

        async with (
            serving(script, tls=server_side("localhost"), name="localhost") as server,
            calling(tls=client_side()) as client,
        ):
            for _ in range(2):
                answer = await send(client, server, body=b"a" * size)
                assert await answer.read(size) == b"a" * size
                answer.close()
            assert server.connections == 1

    run(main)


def test_a_body_may_end_with_its_connection() -> None:
    """A body of no stated length ends with the server's good-bye."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")

        async with (
            serving(script, tls=server_side("localhost"), name="localhost") as server,
            calling(tls=client_side()) as client,
        ):
            assert await read_all(client, server) == b"whole"

    run(main)


def test_a_body_that_breaks_off() -> None:
    """A body that ends before its stated length is not taken for a whole one."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(OK + b"Content-Length: 100\r\n\r\nhalf")

        async with (
            serving(script, tls=server_side("localhost"), name="localhost") as server,
            calling(tls=client_side()) as client,
        ):
            with pytest.raises(BackendInvalidResponse, match="broke off"):
                await read_all(client, server)

    run(main)


@pytest.mark.parametrize("cancels", [False, True])
def test_a_handshake_that_does_not_end(cancels: bool) -> None:
    """It is bounded by the call's patience, and ends at once with the call's task; nothing of the call has left."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            while await peer.reader.read(65536):
                pass

        async with serving(script) as server, calling(tls=client_side()) as client:
            url = server.url.replace("http:", "https:")

            async def ask(client: HttpClient, patience: Patience) -> None:
                await client.send("POST", url, {}, b"{}", patience)

            if cancels:
                asking = asyncio.create_task(ask(client, PATIENT))
                await until(lambda: server.open == 1)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            else:
                with pytest.raises(BackendTimeout, match=r"within 0\.1 s") as caught:
                    await ask(client, Patience(0.1, 1, 1))
                assert not caught.value.sent
            await until(lambda: server.open == 0)

    run(main)


def test_the_wrong_scheme() -> None:
    """TLS to a server that speaks none is an unreachable backend; plain HTTP to one that wants TLS, an invalid answer
    or none."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.reader.read(100)
            await peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        async with serving(script) as server, calling(tls=client_side()) as client:
            with pytest.raises(BackendUnreachable, match="TLS") as caught:
                await client.send("POST", server.url.replace("http:", "https:"), {}, b"{}", PATIENT)
            assert not caught.value.sent
        async with serving(_answering, tls=server_side("localhost"), name="localhost") as server, calling() as client:
            with pytest.raises((BackendInvalidResponse, BackendUnreachable)):
                await client.send("POST", server.url.replace("https:", "http:"), {}, b"{}", PATIENT)

    run(main)
