"""Fetching for others, over real sockets: redirects, names that change, answers without an end."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_backend import Conversation, Request, Script, Scripted, run, serving, until

from pluggably.errors import (
    InputUrlRefused,
    InputUrlUnreachable,
    Overloaded,
    PayloadTooLarge,
    PluggablyError,
)
from pluggably.net.fetch import Fetched, Fetcher
from pluggably.net.guard import Guard, LookUp

PNG = b"\x89PNG\r\n\x1a\n and so on"


def nothing(_: int) -> None:
    pass


async def fetch(
    fetcher: Fetcher,
    url: str,
    limit_bytes: int = 1000,
    timeout_s: float = 10,
    took: Callable[[int], None] = nothing,
) -> Fetched:
    return await fetcher.fetch(url, limit_bytes=limit_bytes, timeout_s=timeout_s, took=took)


def port_of(server: Scripted) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


@asynccontextmanager
async def fetching(
    *servers: Scripted,
    allow: Sequence[str] = ("127.0.0.1",),
    look_up: LookUp | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Fetcher]:
    """A fetcher that may go to these servers."""
    fetcher = Fetcher(Guard(allow, [port_of(server) for server in servers]), look_up=look_up, tls=tls)
    try:
        yield fetcher
    finally:
        await fetcher.close()


def answering(head: bytes, body: bytes = b"", seen: list[Request] | None = None) -> Script:
    async def script(peer: Conversation) -> None:
        request = await peer.request()
        if request is not None and seen is not None:
            seen.append(request)
        await peer.send(b"HTTP/1.1 " + head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return script


def redirecting(*locations: str, body: bytes = PNG) -> Script:
    """Each connection is sent on to the next place, the last one to the content."""
    waiting = list(locations)

    async def script(peer: Conversation) -> None:
        await peer.request()
        if waiting:
            location = waiting.pop(0).encode()
            await peer.send(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return script


# ── what comes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_content_comes_with_its_type_and_name() -> None:
    """The bytes come as they are, with what the server calls them, and nothing of ours goes there but HTTP's own."""

    async def main() -> None:
        seen: list[Request] = []
        script = answering(b"200 OK\r\nContent-Type: Image/PNG; x=y\r\nSet-Cookie: a=b", PNG, seen)
        async with serving(script) as server, fetching(server) as fetcher:
            url = server.url.replace("/v1/call", "/a/my%20cat.png?size=1#top")
            assert await fetch(fetcher, url) == Fetched(PNG, "image/png", "my cat.png")
            assert (await fetch(fetcher, server.url)).name == "call"
        assert seen[0].line == "GET /a/my%20cat.png?size=1 HTTP/1.1"
        for request in seen:
            assert set(request.headers) - {""} == {"host", "accept", "accept-encoding", "connection", "user-agent"}

    run(main)


def test_a_body_is_counted_once_it_is_unpacked() -> None:
    """A few bytes that stand for many are as many as they stand for."""

    async def main() -> None:
        packed = gzip.compress(bytes(5_000_000))
        assert len(packed) < 10_000
        taken: list[int] = []
        async with (
            serving(answering(b"200 OK\r\nContent-Encoding: gzip", packed)) as server,
            fetching(server) as fetcher,
        ):
            assert len((await fetch(fetcher, server.url, 5_000_000, took=taken.append)).content) == 5_000_000
            assert sum(taken) == 5_000_000
            with pytest.raises(PayloadTooLarge):
                await fetch(fetcher, server.url, 4_999_999)

    run(main)


@pytest.mark.parametrize("is_told", [True, False])
def test_content_has_a_limit(is_told: bool) -> None:
    """More than the limit is not read, whether the head says how much it is or not."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            length = b"Content-Length: 1000000000\r\n" if is_told else b"Transfer-Encoding: chunked\r\n"
            await peer.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
            while not is_told:
                await peer.chunk(b"x" * 10_000)

        taken: list[int] = []
        async with serving(script) as server, fetching(server) as fetcher:
            with pytest.raises(PayloadTooLarge, match="1000 bytes"):
                await fetch(fetcher, server.url, took=taken.append)
            await until(lambda: server.open == 0)
        assert sum(taken) <= 1000

    run(main)


def test_whoever_counts_may_end_it() -> None:
    """A limit over several fetches ends the one that exceeds it."""

    async def main() -> None:
        def full(_: int) -> None:
            raise Overloaded("full")

        async with serving(answering(b"200 OK", PNG)) as server, fetching(server) as fetcher:
            with pytest.raises(Overloaded):
                await fetch(fetcher, server.url, took=full)

    run(main)


# ── what does not ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "head",
    [
        b"404 Not Found",
        b"401 Unauthorized\r\nWWW-Authenticate: Basic",
        b"500 Internal Server Error",
        b"204 No Content",
        b"206 Partial Content",
        b"304 Not Modified",
        b"302 Found",
        b"200 OK\r\nContent-Encoding: br",
    ],
)
def test_nothing_of_an_answer_is_told(head: bytes) -> None:
    """What is no content is an error that says neither the status nor a word of the answer."""

    async def main() -> None:
        body = b"" if head[:3] in (b"204", b"304") else b"the inner secret"
        async with serving(answering(head, body)) as server, fetching(server) as fetcher:
            with pytest.raises(InputUrlUnreachable) as failed:
                await fetch(fetcher, server.url)
            assert head[:3].decode() not in failed.value.detail
            assert "secret" not in failed.value.detail

    run(main)


def test_a_server_that_breaks_off_is_unreachable() -> None:
    """Half an answer, nonsense, and a connection that nobody takes are one and the same to a client."""

    async def main() -> None:
        async def half(peer: Conversation) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        async def nonsense(peer: Conversation) -> None:
            await peer.send(b"220 mail.inner ESMTP\r\n")

        details = set()
        for script in (half, nonsense):
            async with serving(script) as server, fetching(server) as fetcher:
                with pytest.raises(InputUrlUnreachable) as failed:
                    await fetch(fetcher, server.url)
                details.add(failed.value.detail)
        with pytest.raises(InputUrlUnreachable) as failed:
            async with fetching(server) as fetcher:
                await fetch(fetcher, server.url)
        assert details == {failed.value.detail}

    run(main)


@pytest.mark.parametrize("phase", ["head", "body", "redirects"])
def test_all_of_it_has_one_time(phase: str) -> None:
    """A server that says little, and never stops saying it, is left after the time for the whole."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            if phase == "redirects":
                await asyncio.sleep(0.06)
                await peer.send(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
                return
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
            if phase == "body":
                await peer.send(b"\r\n")
            while True:
                await (peer.chunk(b"x") if phase == "body" else peer.send(b"X: y\r\n"))
                await asyncio.sleep(0.01)

        async with serving(script) as server, fetching(server) as fetcher:
            with pytest.raises(InputUrlUnreachable, match=r"0\.15 s"):
                await fetch(fetcher, server.url, 1_000_000, timeout_s=0.15)
            server.over.set()

    run(main)


def test_leaving_ends_the_connection() -> None:
    """When nobody waits for the content any more, its connection is cut."""

    async def main() -> None:
        async def script(peer: Conversation) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            await peer.reader.read()

        async with serving(script) as server, fetching(server) as fetcher:
            task = asyncio.create_task(fetch(fetcher, server.url))
            await until(lambda: server.open == 1)
            task.cancel()
            await until(lambda: server.open == 0)
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_looked_up_once_and_what_was_judged_is_connected_to() -> None:
    """A name whose address changes between the judgement and the connection (DNS rebinding) gains nothing."""

    async def main() -> None:
        asked: list[str] = []

        async def look_up(host: str) -> Sequence[str]:
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        async with (
            serving(answering(b"200 OK", PNG), name="rebinding.example") as server,
            serving_at(port_of(server)) as other,
            fetching(server, look_up=look_up) as fetcher,
        ):
            assert (await fetch(fetcher, server.url)).content == PNG
            assert asked == ["rebinding.example"]
            # The next one is judged by its own addresses, and nothing is remembered of the first.
            with pytest.raises(InputUrlRefused):
                await fetch(fetcher, server.url)
            assert asked == ["rebinding.example"] * 2
            assert (server.connections, other.connections) == (1, 0)

    run(main)


@asynccontextmanager
async def serving_at(port: int) -> AsyncIterator[Scripted]:
    """A server on this machine that nobody may reach."""
    scripted = Scripted()

    async def converse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scripted.connections += 1
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.2", port)
    try:
        yield scripted
    finally:
        server.close()


def test_without_the_operators_leave_this_machine_is_not_connected_to() -> None:
    """With the system's own look-ups: neither a name nor an address leads to this machine."""

    async def main() -> None:
        async with serving(answering(b"200 OK", PNG)) as server, fetching(server, allow=()) as fetcher:
            port = port_of(server)
            for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
                with pytest.raises(InputUrlRefused):
                    await fetch(fetcher, f"http://{host}:{port}/")
            assert server.connections == 0

    run(main)


def test_a_name_that_nobody_answers_for_takes_no_longer_than_the_rest() -> None:
    """A name server that never answers costs the time of the fetch, and no more."""

    async def main() -> None:
        async def look_up(_: str) -> Sequence[str]:
            await asyncio.Event().wait()
            raise AssertionError

        fetcher = Fetcher(Guard(), look_up=look_up)
        with pytest.raises(InputUrlUnreachable):
            await fetch(fetcher, "http://slow.example/", timeout_s=0.05)
        await fetcher.close()

    run(main)


# ── redirects ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_redirects_are_followed_a_few_times() -> None:
    """Five steps are followed, each on a connection of its own; a sixth is not."""

    async def main() -> None:
        for steps in (5, 6):
            async with serving(redirecting(*["/next"] * steps)) as server, fetching(server) as fetcher:
                if steps == 5:
                    assert (await fetch(fetcher, server.url)).name == "next"
                else:
                    with pytest.raises(InputUrlRefused, match="more than 5"):
                        await fetch(fetcher, server.url)
                assert server.connections == 6

    run(main)


def test_each_step_is_judged() -> None:
    """A good server cannot send the gateway where its URL could not: by address, name, port or scheme."""

    async def main() -> None:
        async def look_up(_: str) -> Sequence[str]:
            return ["10.0.0.7"]

        for location in (
            "http://169.254.169.254/latest/meta-data/",
            "http://127.0.0.2:{port}/",
            "http://inner.example:{port}/",
            "http://127.0.0.1:9/",
            "file:///etc/passwd",
            "http://user:pw@127.0.0.1:{port}/",
            "http://2130706433:{port}/",
            "//[::ffff:127.0.0.1]:{port}/",
        ):
            targets: list[str] = []
            async with serving(redirecting_to(targets)) as server, fetching(server, look_up=look_up) as fetcher:
                targets.append(location.format(port=port_of(server)))
                with pytest.raises(InputUrlRefused):
                    await fetch(fetcher, server.url)
                assert server.connections == 1

    run(main)


def redirecting_to(targets: list[str]) -> Script:
    async def script(peer: Conversation) -> None:
        await redirecting(*targets)(peer)

    return script


def test_a_name_that_changes_between_two_steps_is_judged_at_the_second() -> None:
    """A redirect to the same name asks for its addresses anew, and judges them anew."""

    async def main() -> None:
        answers = [["127.0.0.1"], ["169.254.169.254"]]

        async def look_up(_: str) -> Sequence[str]:
            return answers.pop(0)

        async with (
            serving(redirecting("/next"), name="rebinding.example") as server,
            fetching(server, look_up=look_up) as fetcher,
        ):
            with pytest.raises(InputUrlRefused):
                await fetch(fetcher, server.url)
            assert (answers, server.connections) == ([], 1)

    run(main)


def test_tls_is_checked_and_never_left() -> None:
    """A certificate must be for the URL's name, and a redirect to http is not followed."""

    async def main() -> None:
        authority = trustme.CA()
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("good.example").configure_cert(theirs)
        ours = ssl.create_default_context()
        authority.configure_trust(ours)

        async def look_up(_: str) -> Sequence[str]:
            return ["127.0.0.1"]

        async with (
            serving(answering(b"200 OK", PNG), tls=theirs, name="good.example") as server,
            serving(redirecting("http://good.example/"), tls=theirs, name="good.example") as downgrading,
            fetching(server, downgrading, look_up=look_up, tls=ours) as fetcher,
        ):
            assert (await fetch(fetcher, server.url)).content == PNG
            with pytest.raises(InputUrlUnreachable):
                await fetch(fetcher, server.url.replace("good.", "other."))
            with pytest.raises(InputUrlRefused, match="https to http"):
                await fetch(fetcher, downgrading.url)

    run(main)


# ── anything at all ─────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=40), st.text(max_size=40).map(lambda text: f"http://127.0.0.1:9/{text}")))
def test_anything_ends_in_an_error_of_the_house(url: str) -> None:
    """Whatever a client writes as a URL, it gets an error that blames the URL."""

    async def main() -> None:
        async def look_up(_: str) -> Sequence[str]:
            return ["127.0.0.1"]

        fetcher = Fetcher(Guard(["127.0.0.1"], [9]), look_up=look_up)
        try:
            await fetch(fetcher, url, timeout_s=5)
        except PluggablyError as error:
            assert error.status == 400
        finally:
            await fetcher.close()

    asyncio.run(main())
