"""The real HTTP server with a real gate on a loopback port, and clients that are plain sockets.

The server runs in a thread with an event loop of its own, as it does in production; its routes are toys that show what
reached them. A client writes bytes as they are, so it can say what no HTTP library would.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from pluggably.api.gate import Answer, Gate, Handler, Route, RouteTable
from pluggably.api.http import HttpRequest, JsonAnswer, Limits
from pluggably.api.server import LimitedProtocol, Server, listen
from pluggably.domain.access import Principal
from pluggably.telemetry.metrics import Metrics

T = TypeVar("T")

KEY = "a-key-that-is-known"
# Far more than a step takes; how long a test waits for what must happen, before it fails.
PATIENCE_S = 15.0


def eventually(condition: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
    """Waits until `condition` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def settled(value: Callable[[], int], still_s: float = 0.5, within_s: float = PATIENCE_S) -> int:
    """Waits until `value` has stood still for a while, and returns it."""
    deadline = time.monotonic() + within_s
    last, since = value(), time.monotonic()
    while time.monotonic() - since < still_s:
        assert time.monotonic() < deadline, "it never stood still"
        time.sleep(0.01)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return last


@dataclass
class Received:
    """One answer, as its bytes say it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Closed(Exception):
    """The server closed the connection where an answer was awaited."""


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._held = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends all, or as much as the server takes before it closes."""
        with suppress(ConnectionError):
            self.socket.sendall(data)

    def receive(self) -> bytes:
        """What comes next; b"" is the end. Raises: TimeoutError."""
        if self._held:
            held, self._held = self._held, b""
            return held
        try:
            return self.socket.recv(65536)
        except ConnectionError:
            return b""

    def rest(self) -> bytes:
        """Everything until the server closes."""
        pieces = []
        while piece := self.receive():
            pieces.append(piece)
        return b"".join(pieces)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            held, self._held = self._held, b""
            more = self.receive()
            if not more:
                raise Closed(held)
            self._held = held + more
        found, _, self._held = self._held.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            held, self._held = self._held, b""
            more = self.receive()
            if not more:
                raise Closed(held)
            self._held = held + more
        found, self._held = self._held[:size], self._held[size:]
        return found

    def head(self) -> Received:
        """The next head; its body is still to come."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Received(int(status), headers, b"")

    def answer(self, method: str = "GET") -> Received:
        """The next answer, whole. Raises: Closed."""
        answer = self.head()
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(self._until(b"\r\n"), 16):
                pieces.append(self._exactly(size))
                assert self._exactly(2) == b"\r\n"
            assert self._exactly(2) == b"\r\n"
            answer.body = b"".join(pieces)
        else:
            answer.body = self._exactly(int(answer.headers["content-length"]))
        return answer

    def is_closed(self) -> bool:
        """Whether the server closes without another byte."""
        return self.rest() == b""


@dataclass
class Seen:
    """What reached the toy routes."""

    paths: list[str] = field(default_factory=list)
    waiting: int = 0
    cancelled: int = 0
    sent_bytes: int = 0


class Waiting:
    """An answer that says its head and a first piece, and then nothing more until it is cancelled."""

    status_code = 200

    def __init__(self, seen: Seen) -> None:
        self.raw_headers = [(b"content-type", b"text/plain")]
        self._seen = seen

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await wait_for_cancel(self._seen)


class Flood(Waiting):
    """An answer without an end."""

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        piece = b"x" * 16384
        self._seen.waiting += 1
        try:
            while True:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self._seen.sent_bytes += len(piece)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._seen.cancelled += 1
            raise
        finally:
            self._seen.waiting -= 1


async def wait_for_cancel(seen: Seen) -> None:
    seen.waiting += 1
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.cancelled += 1
        raise
    finally:
        seen.waiting -= 1


def toy_routes(seen: Seen) -> list[Route]:
    async def hello(http: HttpRequest) -> Answer:
        seen.paths.append(http.path)
        return JsonAnswer({"path": http.path, "parameters": http.parameters, "query": http.query})

    async def echo(http: HttpRequest) -> Answer:
        seen.paths.append(http.path)
        body = await http.json()
        return JsonAnswer({"bytes": len(body), "hash": hash(body)})

    async def wait(http: HttpRequest) -> Answer:
        seen.paths.append(http.path)
        await wait_for_cancel(seen)
        raise AssertionError

    async def stream(http: HttpRequest) -> Answer:
        seen.paths.append(http.path)
        return Waiting(seen)

    async def flood(http: HttpRequest) -> Answer:
        seen.paths.append(http.path)
        return Flood(seen)

    async def broken(http: HttpRequest) -> Answer:
        raise ZeroDivisionError

    def route(method: str, path: str, handler: Handler, guarded: bool = False) -> Route:
        return Route(method, path, "generate" if guarded else None, handler, "", tag="")

    return [
        route("GET", "/hello", hello),
        route("GET", "/smuggled", hello),
        route("GET", "/items/{id:path}", hello),
        route("POST", "/echo", echo),
        route("DELETE", "/echo", hello),
        route("POST", "/guarded", echo, guarded=True),
        route("GET", "/wait", wait),
        route("GET", "/stream", stream),
        route("GET", "/flood", flood),
        route("GET", "/broken", broken),
    ]


@dataclass
class Times:
    """The server's own patience with a client, in seconds."""

    head_s: float = 20.0
    body_s: float = 20.0
    write_s: float = 60.0
    keep_alive_s: float = 75.0


class QuickServer(Server):
    """The server with its times shortened."""

    def __init__(self, gate: Gate, times: Times, started: Callable[[], None]) -> None:
        super().__init__(
            gate, max_header_bytes=HEADER_BYTES, body_timeout_s=times.body_s, started=started, drain=_no_drain
        )
        limits = {
            "max_header_bytes": HEADER_BYTES,
            "head_timeout_s": times.head_s,
            "body_timeout_s": times.body_s,
            "write_timeout_s": times.write_s,
        }
        self.config.http = type("QuickProtocol", (LimitedProtocol,), limits)
        self.config.timeout_keep_alive = times.keep_alive_s  # type: ignore[assignment]


async def _no_drain(_: Callable[[], bool]) -> None:
    return


HEADER_BYTES = 16 * 1024
BODY_BYTES = 256 * 1024


@dataclass
class Loopback:
    """A server that runs in its thread."""

    port: int
    seen: Seen
    metrics: Metrics
    loop: asyncio.AbstractEventLoop

    def connect(self) -> Client:
        return Client(self.port)

    def ask(self, data: bytes, method: str = "GET") -> Received:
        """Sends bytes on a connection of their own, and returns the first answer to them."""
        with self.connect() as client:
            client.send(data)
            return client.answer(method)

    def tasks(self) -> int:
        """How many tasks run in the server, its own included."""

        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(PATIENCE_S)


@contextmanager
def running_server(times: Times) -> Iterator[Loopback]:
    """Serves the toy routes until the block ends."""
    ready: Future[tuple[Loopback, QuickServer]] = Future()

    async def main() -> None:
        seen, metrics = Seen(), Metrics()
        principals = {KEY: Principal("key_1", "test", frozenset({"generate"}))}
        limits = Limits(BODY_BYTES, 64)
        gate = Gate(RouteTable(toy_routes(seen)), principals.get, limits, metrics)
        with listen("127.0.0.1", 0) as listener:
            loopback = Loopback(listener.getsockname()[1], seen, metrics, asyncio.get_running_loop())
            server = QuickServer(gate, times, lambda: ready.set_result((loopback, server)))
            await server.serve(sockets=[listener])

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    thread = threading.Thread(target=run, name="loopback-server", daemon=True)
    thread.start()
    loopback, server = ready.result(PATIENCE_S)
    try:
        yield loopback
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
