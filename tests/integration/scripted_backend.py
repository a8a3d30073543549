"""A backend that is a few raw bytes: a script for each connection, and what a test needs to call it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from pluggably.net.http import Answer, HttpClient, Patience

WAIT_S = 15.0
PATIENT = Patience(10.0, 10.0, 10.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@dataclass
class Request:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Conversation:
    """One connection of the server's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    over: asyncio.Event

    async def request(self) -> Request | None:
        """The next request; None where the client has closed."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Request(head[0], headers, body)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        """Closes with a reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Conversation], Awaitable[None]]


@dataclass
class Scripted:
    """A server that follows a script on each connection."""

    url: str = ""
    connections: int = 0
    open: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    broken: list[BaseException] = field(default_factory=list)


@asynccontextmanager
async def serving(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", name: str | None = None
) -> AsyncIterator[Scripted]:
    """A server on `host`, whose URL says `name`."""
    scripted = Scripted()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scripted.connections += 1
        scripted.open += 1
        try:
            await script(Conversation(reader, writer, scripted.over))
        except ConnectionError:
            pass
        except BaseException as error:
            scripted.broken.append(error)
            raise
        finally:
            scripted.open -= 1
            writer.close()

    server = await asyncio.start_server(converse, host, 0, ssl=tls)
    shown = name or (f"[{host}]" if ":" in host else host)
    scheme = "http" if tls is None else "https"
    scripted.url = f"{scheme}://{shown}:{server.sockets[0].getsockname()[1]}/v1/call"
    try:
        yield scripted
    finally:
        scripted.over.set()
        server.close()


@asynccontextmanager
async def calling(reuses: bool = True, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpClient]:
    client = HttpClient(reuses=reuses, tls=tls)
    try:
        yield client
    finally:
        await client.close()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a test on each of the event loops that the gateway may run on."""

    async def bounded() -> None:
        async with asyncio.timeout(WAIT_S):
            await main()

    for make_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def send(client: HttpClient, server: Scripted, patience: Patience = PATIENT, body: bytes = b"{}") -> Answer:
    return await client.send("POST", server.url, {"X-Key": "secret"}, body, patience)


async def read_all(client: HttpClient, server: Scripted) -> bytes:
    answer = await send(client, server)
    try:
        return await answer.read(1000)
    finally:
        answer.close()
