"""Logs: one line an event, JSON for machines or text for a terminal, to standard error.

No prompt, answer or secret is ever a field. The fields that lines share are named in `FIELDS`, and by nothing else.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog

# field → meaning; the reference page of the logs is made from it.
FIELDS = {
    "timestamp": "when, UTC (RFC 3339)",
    "level": "debug, info, warning, error",
    "event": "what happened: request, generation, worker_started, …",
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

Format = Literal["auto", "json", "text"]


def configure(level: str = "info", form: Format = "auto", stream: TextIO | None = None) -> None:
    """Sets up logging for the process: structlog's own loggers, and the standard library's warnings through them."""
    out = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not out.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    bridge = _Bridge()
    root = logging.getLogger()
    root.handlers[:] = [bridge]
    root.setLevel(max(number, logging.WARNING))


class _Bridge(logging.Handler):
    """Hands what libraries log to the same stream and form."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger("library")
        log.log(
            record.levelno,
            "library",
            library=record.name,
            detail=record.getMessage(),
            exc_info=record.exc_info,
        )
