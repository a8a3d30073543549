"""Logs: one line an event, JSON for machines or text for a terminal, to standard error.

No prompt, answer or secret is ever a field. The fields that lines share are named in `FIELDS`. What surprises: lines
below `warning` wait up to `FLUSH_AFTER_S` for company, since a system call a line costs more than the line; and of an
exception only its type and its way through the code are told, because its text may quote a request. At the level
`debug` the text is told too, as is what a model's process said last (docs/decisions/0010-what-workers-say.md).
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import queue
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO, TypeAlias

import msgspec
import structlog
from msgspec import Struct

# field → meaning; the reference page of the logs is made from it.
FIELDS = {
    "timestamp": "when, UTC (RFC 3339)",
    "level": "debug, info, warning, error",
    "event": "what happened: request, generation, model loaded, …",
    "request_id": "the request's id, as in the answer's X-Request-Id",
    "generation_id": "the generation's id",
    "key_id": "the id of the caller's key, never the key",
    "route": "method and path template",
    "status": "HTTP status, or a generation's status",
    "code": "an error's code",
    "model": "the model's name as the client asked for it",
    "backend": "the provider or local model that served",
    "duration_s": "seconds",
}

FLUSH_AFTER_S = 0.05
# Lines that wait for a stream that takes none; some 300 bytes each.
MAX_UNWRITTEN = 20_000
# Seconds, at the end of the process.
CLOSE_WAIT_S = 2.0


class RequestLine(Struct, omit_defaults=True):
    """The line that each request writes, and with it the usage log: what the gate knows, then what the ledger adds
    about a generation. Its fields stand in the line in this order; one without a value is left out."""

    timestamp: datetime | None = None
    level: str = ""
    event: str = ""
    request_id: str | None = None
    key_id: str | None = None
    route: str | None = None
    status: int | None = None
    duration_s: float | None = None
    generation_id: str | None = None
    model: str | None = None
    backend: str | None = None
    backend_model: str | None = None
    modality: str | None = None
    generation_status: str | None = None
    code: str | None = None
    detail: str | None = None
    backend_status: int | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: str | None = None
    time_to_first_event_s: float | None = None
    queued_s: float | None = None
    attempts: int | None = None
    metadata: dict[str, str] | None = None


Format: TypeAlias = Literal["auto", "json", "text"]
Fields: TypeAlias = MutableMapping[str, Any]

_encode = msgspec.json.Encoder(enc_hook=str).encode
_log = structlog.get_logger()
# Where the lines of requests go directly; None where structlog has to write them.
_requests: _Lines | None = None


def configure(level: str = "info", form: Format = "auto", stream: TextIO | None = None) -> None:
    """Sets up logging for the process: structlog's own loggers, and the standard library's warnings through them."""
    out = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not out.isatty())
    number = getattr(logging, level.upper())
    arrange = _Arrangement(with_text=number <= logging.DEBUG)
    text: Any = structlog.dev.ConsoleRenderer(colors=out.isatty())
    lines = _Lines(out)
    atexit.register(lines.close)
    global _requests
    _requests = lines if as_json and number <= logging.INFO else None
    structlog.configure(
        processors=[arrange, *([_as_json] if as_json else [_legible, text])],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(number, logging.WARNING))


def write_request(line: RequestLine, *, is_quiet: bool = False) -> None:
    """Writes a request's line. A quiet one, such as a health check's, is for the level `debug`.

    As JSON it takes the short way, since there is one for each request: what structlog does for any event would be half
    of what the line costs."""
    if _requests is not None and not is_quiet:
        line.timestamp, line.level, line.event = datetime.now(UTC), "info", "request"
        _requests.info(_encode(line).decode())
        return
    fields = {name: getattr(line, name) for name in line.__struct_fields__[3:]}
    (_log.debug if is_quiet else _log.info)("request", **fields)


class _Arrangement:
    """Puts the fields in order, leaves out those without a value, and tells of an exception what may be told."""

    def __init__(self, with_text: bool) -> None:
        self._with_text = with_text

    def __call__(self, _logger: Any, method: str, fields: Fields) -> Fields:
        exception = fields.pop("exc_info", None)
        level = "error" if method == "exception" else method
        arranged = {"timestamp": datetime.now(UTC), "level": level, "event": fields.pop("event")}
        arranged.update((name, value) for name, value in fields.items() if value is not None)
        if exception:
            error = exception if isinstance(exception, BaseException) else sys.exc_info()[1]
            if error is not None:
                arranged["exception"] = self._told(error)
        return arranged

    def _told(self, error: BaseException) -> str:
        """The exception and its causes, each with the calls that led to it, the innermost last."""
        told: list[str] = []
        seen: BaseException | None = error
        while seen is not None and len(told) < 200:
            text = f": {seen}" if self._with_text else ""
            told += [f"{type(seen).__name__}{text}", *_calls(seen.__traceback__)]
            seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        return "\n".join(told)


def _calls(trace: TracebackType | None) -> list[str]:
    calls = []
    while trace is not None:
        code = trace.tb_frame.f_code
        calls.append(f"  {code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return calls


def _as_json(_logger: Any, _method: str, fields: Fields) -> str:
    return _encode(fields).decode()


def _legible(_logger: Any, _method: str, fields: Fields) -> Fields:
    """What a terminal would obey, and what would make two lines of one, is a mark. JSON escapes it all by itself, and
    so does what text makes of other values."""
    for name, value in fields.items():
        if isinstance(value, str) and not value.isprintable():
            kept = "\n" if name == "exception" else ""
            fields[name] = "".join(c if c.isprintable() or c in kept else "\N{REPLACEMENT CHARACTER}" for c in value)
    return fields


class _Lines:
    """Where lines go. A thread writes them, so that a pipe that nobody reads, or a slow disk, holds up the log and
    not the gateway; what no longer fits into the wait is dropped, and counted in the next line that is written."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._descriptor = _descriptor(out)
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._lock = threading.Lock()
        self._batches: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._unwritten = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def info(self, line: str) -> None:
        with self._lock:
            self._waiting.append(line)
        if self._timer is None:
            self._flush_soon()

    debug = info

    def warning(self, line: str) -> None:
        with self._lock:
            self._waiting.append(line)
        self.flush()

    error = critical = exception = warning

    def flush(self) -> None:
        """Hands what waits to the thread."""
        with self._lock:
            self._timer = None
            lines, self._waiting = self._waiting, []
            if self._unwritten + len(lines) > MAX_UNWRITTEN:
                self._dropped += len(lines)
                return
            if self._dropped:
                lines.append(f'{{"level":"warning","event":"log_lines_dropped","count":{self._dropped}}}')
                self._dropped = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="log", daemon=True)
                self._thread.start()
            self._unwritten += len(lines)
            self._batches.put(lines)

    def close(self) -> None:
        """Writes what waits, as far as that goes in a moment."""
        self.flush()
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join(CLOSE_WAIT_S)

    def _write(self) -> None:
        while (lines := self._batches.get()) is not None:
            # A log that cannot be written (a closed pipe, a full disk) must not stop the gateway.
            with suppress(OSError, ValueError):
                self._put("\n".join(lines) + "\n" if lines else "")
            with self._lock:
                self._unwritten -= len(lines)

    def _put(self, text: str) -> None:
        """Past the stream's buffer: a thread that is stuck in a write would hold its lock, and the interpreter, which
        flushes the stream at its end, would wait for that lock for good."""
        if self._descriptor is None:
            self._out.write(text)
            self._out.flush()
            return
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _flush_soon(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self.flush)
        except RuntimeError:  # in a worker thread, or before there is a loop
            self.flush()


def _descriptor(out: TextIO) -> int | None:
    try:
        return out.fileno()
    except (OSError, ValueError, AttributeError):  # a stream that is no file
        return None


class _Bridge(logging.Handler):
    """Hands what libraries log to the same stream and form."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger("library")
        log.log(
            record.levelno,
            "library",
            library=record.name,
            detail=record.getMessage(),
            exc_info=record.exc_info[1] if record.exc_info else None,
        )
