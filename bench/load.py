"""A load generator light enough not to be what is measured: raw asyncio protocols on uvloop.

Here live: the fixed number of connections, each sending the same request again as soon as the last answer
is complete (a closed loop), and the reading of answers just deep enough to know that they are complete. A
run stops sending at its deadline and waits for what is under way, so every counted request is a whole one.
Latency is from the first byte sent to the last received; `first_s` is the time until the first *token* of a
stream, not its headers.

`python bench/load.py --url http://127.0.0.1:9000 --api openai --connections 16 --seconds 5 [--stream]` on
its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import urlsplit

import uvloop

CONTENT_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
PROMPT = "Why is the sky blue? Answer in one sentence that a child understands."
FIRST_TOKEN = b'"w0 '  # stands so in OpenAI's `content` and in the gateway's `text`
GRACE_S = 60.0

Api = Literal["native", "openai"]


def request_bytes(
    url: str, api: Api, stream: bool, key: str | None = None, model: str = "mock/bench", **fields: object
) -> bytes:
    """One whole HTTP request in the form that the target speaks; `model` and further fields are the gateway's."""
    if api == "native":
        path = "/v1/generations"
        body: dict[str, object] = {"model": model, "input": PROMPT, "stream": stream, **fields}
    else:
        path = "/v1/chat/completions"
        body = {"model": "bench", "messages": [{"role": "user", "content": PROMPT}], "stream": stream}
    data = json.dumps(body).replace(": true", ":true").encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", "Content-Type: application/json"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


@dataclass
class Result:
    requests: int = 0
    errors: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)  # only where the caller asked to keep them


class Connection(asyncio.Protocol):
    """Sends the request again and again; `done` is set when it stops."""

    def __init__(self, request: bytes, deadline: float, result: Result, keep: bool) -> None:
        self.request = request
        self.deadline = deadline
        self.result = result
        self.keep = keep
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.send()

    def send(self) -> None:
        self.received = bytearray()
        self.body_at = 0  # where the body starts; 0 while the headers are not complete
        self.size: int | None = None  # of the whole answer; None when it is chunked
        self.has_token = False
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.body_at and not self.read_head():
            return
        if self.size is not None:
            if len(self.received) >= self.size:
                self.complete()
            return
        if not self.has_token and FIRST_TOKEN in self.received:
            self.has_token = True
            self.result.first_s.append(time.perf_counter() - self.sent_at)
        if self.received.endswith(b"\r\n0\r\n\r\n"):
            self.complete()

    def read_head(self) -> bool:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.body_at = end + 4
        found = CONTENT_LENGTH.search(self.received, 0, end)
        self.size = self.body_at + int(found[1]) if found else None
        return True

    def complete(self) -> None:
        now = time.perf_counter()
        if not self.received.startswith(b"HTTP/1.1 200"):
            self.stop(bytes(self.received[:400]).decode(errors="replace"))
            return
        self.result.requests += 1
        self.result.latencies_s.append(now - self.sent_at)
        if self.keep:
            self.result.answers.append(bytes(self.received[self.body_at :]))
        if now < self.deadline:
            self.send()
        else:
            self.stop()

    def stop(self, error: str | None = None) -> None:
        if not self.done.done():
            self.done.set_result(None)
            if error:
                self.result.errors.append(error)
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.stop(f"connection lost: {error}")


async def run_load(url: str, request: bytes, connections: int, seconds: float, *, keep: bool = False) -> Result:
    """`seconds` of 0 sends one request on each connection. What goes wrong is told in `errors`."""
    loop = asyncio.get_running_loop()
    target = urlsplit(url)
    host, port = target.hostname or "127.0.0.1", target.port or 80
    result = Result()
    started = time.perf_counter()
    running: list[Connection] = []
    for _ in range(connections):
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(request, started + seconds, result, keep), host, port
            )
        except OSError as error:
            result.errors.append(f"no connection: {error}")
        else:
            running.append(connection)
    if running:
        await asyncio.wait([connection.done for connection in running], timeout=seconds + GRACE_S)
    for connection in running:
        connection.stop(f"no end after {GRACE_S:g} s more")
    result.wall_s = time.perf_counter() - started
    return result


def body_of_chunks(data: bytes) -> bytes:
    """An HTTP body out of its chunked form."""
    body, position = b"", 0
    while True:
        line_end = data.index(b"\r\n", position)
        size = int(data[position:line_end], 16)
        if size == 0:
            return body
        body += data[line_end + 2 : line_end + 2 + size]
        position = line_end + 2 + size + 2


def tokens_of(answer: bytes) -> list[str]:
    """The text deltas of one streamed answer, of either API, in their order."""
    tokens = []
    for line in body_of_chunks(answer).split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if event.get("type") == "output.delta":
            tokens += event.get("text", "").split()
        for choice in event.get("choices", []):
            tokens += (choice["delta"].get("content") or "").split()
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description="A load generator for OpenAI's API and the gateway's own.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--api", choices=["native", "openai"], default="native")
    parser.add_argument("--key")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args()
    request = request_bytes(options.url, options.api, options.stream, options.key)
    result = uvloop.run(run_load(options.url, request, options.connections, options.seconds))
    report = {
        "requests": result.requests,
        "per_second": round(result.requests / result.wall_s, 1),
        "latency_p50_ms": round(quantile(result.latencies_s, 0.5) * 1000, 3),
        "latency_p99_ms": round(quantile(result.latencies_s, 0.99) * 1000, 3),
        "first_token_p50_ms": round(quantile(result.first_s, 0.5) * 1000, 3) if options.stream else None,
        "errors": result.errors[:3],
    }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
