"""A run as server-sent events.

The head of the answer goes out with the first event from the backend, or after a second of waiting; an error before
that is an ordinary error answer with its own status, and an error after it is the last event. What surprises: one
lazy timer a stream does both the second of waiting and the keep-alive, so an event costs no timer and no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import structlog

from pluggably.api.http import Receive, Scope, Send
from pluggably.domain.generation import Event, Generation, Progress, VisibleEvent
from pluggably.errors import PluggablyError
from pluggably.gateway.dispatch import Run

log = structlog.get_logger()

HEAD_AFTER_S = 1.0
KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # Without it nginx holds the whole stream back (https://nginx.org/en/docs/http/ngx_http_proxy_module.html).
    (b"x-accel-buffering", b"no"),
]

_encode = msgspec.json.Encoder().encode


class GenerationEvent(msgspec.Struct):
    """The first event of a stream and its last: the generation as it stands."""

    type: str
    generation: Generation


def _frame(name: str, data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encode(data))


# event class → the bytes before its JSON; what is not here is not for clients
_HEADS: dict[type, bytes] = {
    kind: b"event: %s\ndata: " % str(kind.__struct_config__.tag).encode() for kind in VisibleEvent.__args__
}


def framed(events: Sequence[Event]) -> bytes:
    """The events that clients see, as bytes of one write."""
    pieces: list[bytes] = []
    for event in events:
        head = _HEADS.get(type(event))
        if head is not None:
            pieces += (head, _encode(event), b"\n\n")
    return b"".join(pieces)


class EventStream:
    """The streamed answer of one run."""

    def __init__(self, run: Run, *, head_after_s: float = HEAD_AFTER_S, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self.raw_headers = list(HEADERS)
        self.status_code = 200
        self._run = run
        self._head_after_s = head_after_s
        self._keep_alive_s = keep_alive_s
        self._held = _frame("generation.created", GenerationEvent("generation.created", run.created()))
        self._opened = False
        self._sending = False
        self._last_sent = 0.0
        self._send: Send
        self._timer: asyncio.TimerHandle
        self._loop: asyncio.AbstractEventLoop
        self._ticking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises: PluggablyError where it happens before the head went out."""
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._head_after_s, self._tick)
        try:
            last = await self._events()
        finally:
            self._timer.cancel()
            if self._ticking is not None:
                self._ticking.cancel()
        await self._write(_frame(last, GenerationEvent(last, self._run.generation())), more=False)

    async def _events(self) -> str:
        """Sends the events as they come; returns the name of the last one, which is still to be sent."""
        try:
            async with aclosing(self._run.events()) as batches:
                async for batch in batches:
                    if not self._opened and _is_waiting(batch):
                        self._held += framed(batch)
                    elif frames := framed(batch):
                        await self._write(frames)
        except PluggablyError:
            if not self._opened:
                raise
            return "generation.failed"
        except Exception:
            if not self._opened:
                raise
            # The head is out, so this is the one place that can still tell the client.
            log.exception("internal_error", generation_id=self._run.id)
            return "generation.failed"
        return "generation.completed"

    async def _write(self, data: bytes, more: bool = True) -> None:
        self._sending = True
        try:
            if not self._opened:
                self._opened = True
                await self._send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                data, self._held = self._held + data, b""
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
        finally:
            self._sending = False
        self._last_sent = self._loop.time()

    def _tick(self) -> None:
        now = self._loop.time()
        due = self._last_sent + self._keep_alive_s if self._opened else now
        if now >= due:
            if not self._sending:
                self._ticking = self._loop.create_task(self._write(KEEP_ALIVE if self._opened else b""))
            due = now + self._keep_alive_s
        self._timer = self._loop.call_at(due, self._tick)


def _is_waiting(batch: Sequence[Event]) -> bool:
    """Progress of a queue or a loading model is not yet the backend's first event."""
    return all(type(event) is Progress for event in batch)
