"""An OpenAI-shaped backend on loopback, so fast that only the gateway in front of it is measured.

Here lives a hand-written HTTP/1.1 server that renders every answer once and then only copies bytes. It
knows as much HTTP as the benchmark's clients speak: keep-alive, request bodies with a Content-Length, one
answer at a time on a connection. It checks nothing; for a faithful and faulty OpenAI see
`pluggably.testing.fake_openai`.

A plain chat completion has a Content-Length; a streamed one is chunked, with the tokens `w0 w1 w2 …`,
either each in a write of its own at an interval, so that each reaches the other side as a read of its own,
or all in one burst. `POST /profile {"events": 256, "interval_ms": 2.0}` changes the streams that start
after it. What is posted under `/busy/` is refused with 503 at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from typing import cast

import uvloop

CONTENT_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
HEAD = {"id": "chatcmpl-benchbenchbenchbenchbench", "created": 1_760_000_000, "model": "bench"}
FINGERPRINT = {"service_tier": "default", "system_fingerprint": "fp_bench"}


def usage_of(events: int) -> dict[str, int]:
    return {"prompt_tokens": 8, "completion_tokens": events, "total_tokens": 8 + events}


def render(body: object, status: str = "200 OK") -> bytes:
    data = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


BUSY = render({"error": {"message": "Busy.", "type": "server_error", "code": None}}, "503 Service Unavailable")


def render_event(choices: list[object], **more: object) -> bytes:
    chunk = {**HEAD, "object": "chat.completion.chunk", **FINGERPRINT, "choices": choices, **more}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def chunked(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Profile:
    """The bytes of every answer, rendered once."""

    def __init__(self, events: int, interval_s: float) -> None:
        self.interval_s = interval_s
        message = {"role": "assistant", "content": "".join(f"w{n} " for n in range(40)), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        plain = {
            **HEAD,
            "object": "chat.completion",
            **FINGERPRINT,
            "choices": [choice],
            "usage": usage_of(40),
        }
        self.plain = render(plain)
        self.models = render(
            {"object": "list", "data": [{"id": "bench", "object": "model", "created": 1, "owned_by": "x"}]}
        )

        def delta(value: dict[str, object], finish_reason: str | None = None) -> bytes:
            return render_event([{"index": 0, "delta": value, "logprobs": None, "finish_reason": finish_reason}])

        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        role = delta({"role": "assistant", "content": "", "refusal": None})
        tail = delta({}, "stop") + render_event([], usage=usage_of(events)) + b"data: [DONE]\n\n"
        # One write each: headers and role, every token, and the end.
        self.writes = [head + chunked(role), *(chunked(delta({"content": f"w{n} "})) for n in range(events))]
        self.writes.append(chunked(tail) + b"0\r\n\r\n")
        self.burst = b"".join(self.writes)


class Backend(asyncio.Protocol):
    """One connection."""

    profile = Profile(events=64, interval_s=0.002)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.loop = asyncio.get_running_loop()
        self.received = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        found = CONTENT_LENGTH.search(self.received, 0, end)
        size = end + 4 + (int(found[1]) if found else 0)
        if len(self.received) < size:
            return
        head, body = self.received[:end], self.received[end + 4 : size]
        self.received = self.received[size:]
        self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET "):
            self.transport.write(self.profile.models)
        elif head.startswith(b"POST /profile"):
            wanted = json.loads(body)
            Backend.profile = Profile(wanted["events"], wanted["interval_ms"] / 1000)
            self.transport.write(render({}))
        elif head.startswith(b"POST /busy/"):
            self.transport.write(BUSY)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            self.transport.write(self.profile.plain)
        elif self.profile.interval_s == 0:
            self.transport.write(self.profile.burst)
        else:
            self.write_next(self.profile, 0)

    def write_next(self, profile: Profile, position: int) -> None:
        self.transport.write(profile.writes[position])
        if position + 1 < len(profile.writes):
            self.timer = self.loop.call_later(profile.interval_s, self.write_next, profile, position + 1)


async def serve(host: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Backend, host, port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An OpenAI-shaped backend for benchmarks.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.host, options.port))
