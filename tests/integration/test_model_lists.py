"""A provider's list of models over real HTTP: slow, huge, packed, broken and redirected answers, and pages."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from child_gateway import running_gateway

from pluggably.net.http import HttpClient
from pluggably.providers.listing import MAX_BYTES, Listing, ListSource

T = TypeVar("T")

TWO = json.dumps({"object": "list", "data": [{"id": "org/b"}, {"id": "a"}]}).encode()


class Call:
    """One request, and the connection to answer it on."""

    def __init__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = head.split("\r\n")
        self.target = lines[0].split(" ")[1]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.reader = reader
        self.writer = writer

    async def answer(self, body: bytes, status: str = "200 OK", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in named.items())]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()


Script = Callable[[Call], Awaitable[None]]


@asynccontextmanager
async def provider(script: Script) -> AsyncIterator[tuple[str, list[Call]]]:
    """A server on loopback that answers as the script says; its address, and the calls that came."""
    calls: list[Call] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                calls.append(Call(head.decode("latin-1").strip(), reader, writer))
                await script(calls[-1])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models", calls
    finally:
        server.close()


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 30))


async def asked(script: Script, **given: Any) -> tuple[list[str], str | None, list[Call]]:
    """The ids after one call of `models`, why there are none, and what the provider was asked."""
    async with provider(script) as (url, calls):
        http = HttpClient()
        one = Listing(provider="p", sources=[ListSource(url, given.pop("form", "openai"))], http=http, **given)
        try:
            return [found.id for found in await one.models()], one.detail, calls
        finally:
            await one.close()
            await http.close()


async def plain(call: Call) -> None:
    await call.answer(TWO)


def test_a_list_with_a_credential() -> None:
    """The list is asked for with GET and the provider's headers, and comes sorted by id."""
    ids, detail, calls = run(asked(plain, headers=[{"Authorization": "Bearer key"}]))
    assert (ids, detail) == (["a", "org/b"], None)
    assert [(call.target, call.headers["authorization"]) for call in calls] == [("/v1/models", "Bearer key")]


def test_a_packed_list() -> None:
    """An answer in gzip is read like any other."""

    async def packed(call: Call) -> None:
        assert "gzip" in call.headers["accept-encoding"]
        await call.answer(gzip.compress(TWO), Content_Encoding="gzip")

    ids, detail, _ = run(asked(packed))
    assert (ids, detail) == (["a", "org/b"], None)


def test_a_refused_credential() -> None:
    """The next credential gets the list; where all are refused, that is told."""

    async def picky(call: Call) -> None:
        await call.answer(*((TWO,) if call.headers["authorization"] == "2" else (b"{}", "401 Unauthorized")))

    ids, detail, calls = run(asked(picky, headers=[{"Authorization": "1"}, {"Authorization": "2"}]))
    assert (ids, detail, len(calls)) == (["a", "org/b"], None, 2)
    ids, detail, calls = run(asked(picky, headers=[{"Authorization": "1"}, {"Authorization": "3"}]))
    assert (ids, detail) == ([], "The provider refused its credential for the list of models (401).")
    assert len(calls) == 2


def test_a_redirect_is_not_followed() -> None:
    """A credential never follows to another address."""

    async def elsewhere(call: Call) -> None:
        await call.answer(b"", "302 Found", Location="/v1/other")

    ids, detail, calls = run(asked(elsewhere, headers=[{"Authorization": "Bearer key"}]))
    assert (ids, detail) == ([], "The provider's list of models answered 302.")
    assert [call.target for call in calls] == ["/v1/models"]


def test_a_list_that_is_too_long() -> None:
    """More bytes than a list may have are not read to their end; packed ones count as they unpack."""
    bomb = gzip.compress(b" " * (MAX_BYTES * 4))

    async def huge(call: Call) -> None:
        await call.answer(b'{"data": [' + b" " * MAX_BYTES)

    async def packed(call: Call) -> None:
        await call.answer(bomb, Content_Encoding="gzip")

    for script in (huge, packed):
        ids, detail, _ = run(asked(script))
        assert ids == []
        assert detail is not None


@pytest.mark.parametrize(
    "body", [b"", b"\x00\xff\xfe", b"<!doctype html>", b'{"data": [{"id": "a"}', b'{"error": "no"}']
)
def test_garbage(body: bytes) -> None:
    """What is no list is told, and breaks nothing."""

    async def garbage(call: Call) -> None:
        await call.answer(body)

    ids, detail, _ = run(asked(garbage))
    assert ids == []
    assert detail is not None


def test_an_answer_that_breaks_off() -> None:
    """Half a list is none."""

    async def broken(call: Call) -> None:
        call.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + TWO)
        await call.writer.drain()
        call.writer.close()

    ids, detail, _ = run(asked(broken))
    assert ids == []
    assert detail is not None
    assert "broke off" in detail


def test_nobody_there() -> None:
    """A refused connection is told, without the address."""

    async def main() -> None:
        async with provider(plain) as (url, _):
            pass
        http = HttpClient()
        one = Listing(provider="p", sources=[ListSource(url)], http=http)
        assert await one.models() == []
        assert one.detail is not None
        assert "127.0.0.1" not in one.detail
        await one.close()
        await http.close()

    run(main())


def test_a_slow_list_comes_behind() -> None:
    """Who asks is answered at once; when the list has come, the next one who asks has it."""

    async def main() -> None:
        now = asyncio.Event()

        async def slow(call: Call) -> None:
            await now.wait()
            await call.answer(TWO)

        async with provider(slow) as (url, calls):
            http = HttpClient()
            one = Listing(provider="p", sources=[ListSource(url)], http=http, wait_s=0.05)
            assert await one.models() == []
            now.set()
            while not await one.models():
                await asyncio.sleep(0)
            assert len(calls) == 1
            await one.close()
            await http.close()

    run(main())


def test_closing_cuts_the_fetch() -> None:
    """A gateway that stops does not wait for a provider's list: the connection is cut."""

    async def main() -> None:
        gone = asyncio.Event()

        async def never(call: Call) -> None:
            assert await call.reader.read() == b""
            gone.set()

        async with provider(never) as (url, calls):
            http = HttpClient()
            one = Listing(provider="p", sources=[ListSource(url)], http=http)
            one.refresh()
            while not calls:
                await asyncio.sleep(0.001)
            await one.close()
            await http.close()
            await gone.wait()

    run(main())


def test_pages() -> None:
    """Each page is asked for with the cursor of the one before, at the same address."""

    async def paged(call: Call) -> None:
        last = "after_id=b" in call.target
        ids = ["c"] if last else ["a", "b"]
        await call.answer(
            json.dumps({"data": [{"id": one} for one in ids], "has_more": not last, "last_id": ids[-1]}).encode()
        )

    ids, detail, calls = run(asked(paged, form="anthropic"))
    assert (ids, detail) == (["a", "b", "c"], None)
    assert [call.target for call in calls] == ["/v1/models", "/v1/models?after_id=b"]


def test_a_list_that_fails_is_told_with_the_models(tmp_path: Path) -> None:
    """`GET /v1/models` lists what there is, and names the provider that could not be asked, and why."""
    with socket.socket() as taken:  # bound, and never listened at: nothing else can answer there
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        config = f'providers: {{down: {{codec: openai, base_url: "{address}"}}}}\n'
        with running_gateway(tmp_path, config) as gateway:
            listed = json.loads(gateway.ask("GET", "/v1/models").body)
    assert [model["id"] for model in listed["data"]] == ["demo"]
    (warning,) = listed["warnings"]
    assert (warning["backend"], warning["code"]) == ("down", "model_list_failed")
    assert "Connection refused" in warning["detail"]
