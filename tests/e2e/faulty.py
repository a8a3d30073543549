"""A server that speaks just enough of OpenAI's wire to break it: the first part of a path says how.

`http://…/<fault>/v1` is the base URL of a provider with that fault. What surprises: nothing of an HTTP library stands
between a fault and the socket, so each is as raw as it says.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate

TEXT = "Hello from the faulty"
ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
WORD = {"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": None}]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}]}
SERVER_ERROR = {"error": {"message": "It broke.", "type": "server_error", "code": "server_error"}}
FILTERED = {"error": {"message": "Refused.", "type": "invalid_request_error", "code": "content_filter"}}
PAGE = b"<html><body><h1>Bad gateway</h1></body></html>"
# Longer than any event may be.
ENDLESS_BYTES = 20 * 1024 * 1024


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def head(status: int, content_type: str, length: int | None = None, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {content_type}", "Connection: close"]
    # Without a length the body ends with the connection.
    lines += [f"Content-Length: {length}"] if length is not None else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> bytes:
    return head(status, content_type, len(body), **headers) + body


class Call:
    """One request that came, and the connection to answer on."""

    def __init__(self, writer: asyncio.StreamWriter, number: int, streams: bool) -> None:
        self.writer = writer
        # From 1, among those for this fault.
        self.number = number
        self.streams = streams

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def good(self) -> bytes:
        if not self.streams:
            return whole(200, json.dumps(WHOLE).encode())
        return whole(200, sse(ROLE, WORD, STOP) + b"data: [DONE]\n\n", "text/event-stream")

    async def begin(self) -> None:
        """The head and the opening of an answer: the first output of a stream, half of one that comes whole."""
        if self.streams:
            await self.send(head(200, "text/event-stream") + sse(ROLE, WORD))
        else:
            body = json.dumps(WHOLE).encode()
            await self.send(head(200, "application/json", len(body)) + body[: len(body) // 2])

    def reset(self) -> None:
        """Ends the connection with a TCP RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Fault = Callable[["Faulty", Call], Awaitable[None]]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    def register(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return register


def says(name: str, answer: Callable[[Call], bytes]) -> None:
    async def said(_: Faulty, call: Call) -> None:
        await call.send(answer(call))

    FAULTS[name] = said


async def forever() -> None:
    await asyncio.Event().wait()


@fault("reset-early")
async def _reset_early(_: Faulty, call: Call) -> None:
    call.reset()


@fault("reset-late")
async def _reset_late(_: Faulty, call: Call) -> None:
    await call.begin()
    await asyncio.sleep(0.1)  # so that what was sent is read before the reset throws it away
    call.reset()


@fault("stall-early")
async def _stall_early(_: Faulty, call: Call) -> None:
    await forever()


@fault("stall-late")
async def _stall_late(_: Faulty, call: Call) -> None:
    await call.begin()
    await forever()


@fault("truncated-late")
async def _truncated_late(_: Faulty, call: Call) -> None:
    await call.begin()


@fault("error-late")
async def _error_late(_: Faulty, call: Call) -> None:
    """A plain answer has no middle in which an error could stand, so there it is the whole of it."""
    if call.streams:
        await call.begin()
        await call.send(sse(SERVER_ERROR))
    else:
        await call.send(whole(200, json.dumps(SERVER_ERROR).encode()))


@fault("error-bare-late")
async def _error_bare_late(_: Faulty, call: Call) -> None:
    """As the last but without `data:`, over several lines, and without a line end."""
    await call.begin()
    await call.send(json.dumps(SERVER_ERROR, indent=2).encode())


@fault("comments-only")
async def _comments_only(_: Faulty, call: Call) -> None:
    await call.send(head(200, "text/event-stream"))
    while True:
        await call.send(b": still here\n\n")
        await asyncio.sleep(0.05)


@fault("endless-event")
async def _endless_event(_: Faulty, call: Call) -> None:
    await call.send(head(200, "text/event-stream") + b"data: ")
    for _i in range(ENDLESS_BYTES // 65536):
        await call.send(b"x" * 65536)
    await forever()


@fault("drip")
async def _drip(_: Faulty, call: Call) -> None:
    for byte in call.good():
        await call.send(bytes([byte]))
        await asyncio.sleep(0.001)


@fault("storm")
async def _storm(server: Faulty, call: Call) -> None:
    """Broken while the test says so; else it answers after `server.pause_s`."""
    if server.is_broken:
        await call.send(whole(503, json.dumps(SERVER_ERROR).encode()))
    else:
        await asyncio.sleep(server.pause_s)
        await call.send(call.good())


def limited(call: Call, **headers: str) -> bytes:
    """Every other request is one too many."""
    error = {"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded"}}
    return whole(429, json.dumps(error).encode(), **headers) if call.number % 2 else call.good()


says("html-200", lambda call: whole(200, PAGE, "text/html"))
says("html-502", lambda call: whole(502, PAGE, "text/html"))
says("text-200", lambda call: whole(200, b"hello", "text/plain"))
says("empty-200", lambda call: whole(200, b"", "text/event-stream" if call.streams else "application/json"))
says("error-in-200", lambda call: whole(200, json.dumps(SERVER_ERROR).encode()))
says("error-bare", lambda call: whole(200, json.dumps([SERVER_ERROR], indent=1).encode(), "text/event-stream"))
says("no-stream", lambda call: whole(200, json.dumps(WHOLE).encode()))
says("status-500", lambda call: whole(500, json.dumps(SERVER_ERROR).encode()))
says("no-http", lambda call: b"220 mail.example ESMTP\r\n")
says("truncated-early", lambda call: head(200, "text/event-stream") if call.streams else head(200, "x/y", 100) + b"{")
says("false-gzip", lambda call: whole(200, b"no gzip at all", "application/json", Content_Encoding="gzip"))
says("gzip", lambda call: whole(200, gzip.compress(json.dumps(WHOLE).encode()), Content_Encoding="gzip"))
says("content-filter", lambda call: whole(400, json.dumps(FILTERED).encode()))
says("limited-seconds", lambda call: limited(call, Retry_After="1"))
says("limited-date", lambda call: limited(call, Retry_After=formatdate(time.time() + 2, usegmt=True)))
says("limited-ms", lambda call: limited(call, Retry_After_Ms="300"))
says("limited-zero", lambda call: limited(call, Retry_After="0"))
says("limited-negative", lambda call: limited(call, Retry_After="-5"))
says("limited-nan", lambda call: limited(call, Retry_After="nan"))
says("limited-nonsense", lambda call: limited(call, Retry_After="soon"))
says("limited-20", lambda call: limited(call, Retry_After="20"))
says("limited-for-ever", lambda call: whole(429, json.dumps(SERVER_ERROR).encode(), Retry_After="86400"))


class Faulty:
    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.is_broken = True
        self.pause_s = 0.0

    def base_url(self, fault: str) -> str:
        assert fault in FAULTS
        return f"http://127.0.0.1:{self.port}/{fault}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection; whoever it came from may leave at any time."""
        tasks: list[asyncio.Future[None]] = []
        with suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].split(b":")[1]))
            name = request.split(b"/")[1].decode()
            self.asked[name] += 1
            call = Call(writer, self.asked[name], bool(json.loads(body).get("stream")))
            tasks = [asyncio.ensure_future(FAULTS[name](self, call)), asyncio.ensure_future(_until_gone(reader))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()


async def _until_gone(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        await reader.read(1)


@contextmanager
def running_faulty() -> Iterator[Faulty]:
    faulty, ready = Faulty(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(faulty.serve, "127.0.0.1", 0)
        faulty.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield faulty
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
