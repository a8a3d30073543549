"""Many streams at once: each is whole and in order, and none waits for another. The large numbers are in bench/."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from pathlib import Path

import aiohttp

from e2e.harness import ADMIN_KEY, Gateway, start_gateway
from e2e.protocol import Json, StreamEvent, check_stream

STREAMS = 200
TOKENS = 20
PAUSE_MS = 100


async def one_stream(session: aiohttp.ClientSession, url: str, number: int) -> Json:
    """Reads one stream to its end, and holds it against the rules."""
    body = {
        "model": f"fake/slow-{PAUSE_MS}-{TOKENS}",
        "input": f"stream {number}",
        "stream": True,
        "metadata": {"number": str(number)},
    }
    events = []
    async with session.post(f"{url}/v1/generations", json=body) as answer:
        assert answer.status == 200
        name = ""
        async for line in answer.content:
            if line.startswith(b"event: "):
                name = line[7:-1].decode()
            elif line.startswith(b"data: "):
                events.append(StreamEvent(name, json.loads(line[6:])))
    generation = check_stream(events)
    deltas = [event.data["text"].strip() for event in events if event.name == "output.delta"]
    assert deltas == [f"w{index}" for index in range(TOKENS)]
    return generation


async def all_streams(url: str) -> list[Json]:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        return await asyncio.gather(*(one_stream(session, url, number) for number in range(STREAMS)))


def memory_bytes(pid: int) -> int:
    """The resident memory of a process, where the system has /proc."""
    path = Path(f"/proc/{pid}/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0


class EndlessVendor:
    """A vendor on a free port whose streams never end; it tells how much it could send."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            chunk = {"choices": [{"index": 0, "delta": {"content": "x" * 1000}, "finish_reason": None}]}
            events = b"data: %s\n\n" % json.dumps(chunk).encode() * 16
            try:
                while True:
                    connection.sendall(events)
                    self.sent_bytes += len(events)
            except OSError:
                self.cut.set()


def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    """A client that lets its stream lie does not fill the gateway's memory: the vendor is made to wait. When it goes at
    last, the vendor's work ends."""
    vendor = EndlessVendor()
    with start_gateway(
        tmp_path, {"providers": {"endless": {"codec": "openai", "base_url": vendor.base_url}}, "demo": False}
    ) as gateway:
        before = memory_bytes(gateway.pid)
        stream = gateway.client.stream("endless/any")
        stream.next("output.delta")
        sent = -1
        while sent != vendor.sent_bytes:  # until no more goes through
            sent = vendor.sent_bytes
            time.sleep(0.3)
        assert sent < 64 << 20
        assert memory_bytes(gateway.pid) - before < 32 << 20
        stream.leave()
        assert vendor.cut.wait(1)
    vendor.close()


def test_many_streams(gateway: Gateway) -> None:
    """Two hundred streams at once come out whole and in order, each with its own content, and side by side."""
    began = time.monotonic()
    generations = asyncio.run(all_streams(gateway.url))
    took_s = time.monotonic() - began
    assert [generation["metadata"]["number"] for generation in generations] == [str(n) for n in range(STREAMS)]
    assert len({generation["id"] for generation in generations}) == STREAMS
    assert all(generation["status"] == "completed" for generation in generations)
    alone_s = PAUSE_MS * TOKENS / 1000
    assert took_s < STREAMS * alone_s / 10, "they waited for each other"
    metrics = gateway.client.get("/metrics").body.decode()
    assert "\npluggably_generations_running 0.0\n" in metrics
