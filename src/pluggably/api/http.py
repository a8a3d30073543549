"""One HTTP request as the handlers see it: its head, its body within limits, and whether its client is still there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import Response

from pluggably.domain.access import Principal
from pluggably.domain.ids import new_id
from pluggably.errors import (
    InvalidRequest,
    PayloadTooLarge,
    PluggablyError,
    RequestTimeout,
    UnsupportedMediaType,
)
from pluggably.telemetry.logs import RequestLine

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# What a client may choose as its request's id: safe in a header, a log line and a URL.
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

encode = msgspec.json.Encoder().encode


class ClientConnection:
    """Whether the client of one request is still there, and sends its body in time. The server sets it; a task can
    ask to be cancelled."""

    __slots__ = ("_task", "gone", "is_late")

    def __init__(self) -> None:
        self.gone = False
        self.is_late = False
        self._task: asyncio.Task[Any] | None = None

    def cancel_when_gone(self, task: asyncio.Task[Any] | None) -> None:
        self._task = task
        if self.gone and task is not None:
            task.cancel()

    def lost(self) -> None:
        self.gone = True
        if self._task is not None:
            self._task.cancel()


class Limits(msgspec.Struct, frozen=True):
    body_bytes: int
    nesting: int


class HttpRequest:
    """The request of one call. `principal` and `parameters` are set before a handler sees it."""

    __slots__ = (
        "_receive",
        "connection",
        "headers",
        "id",
        "limits",
        "line",
        "method",
        "parameters",
        "path",
        "principal",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self.scope = scope
        self._receive = receive
        self.connection: ClientConnection = scope["client_connection"]
        self.limits = limits
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        sent = self.headers.get(b"x-request-id")
        self.id = sent.decode() if sent is not None and _SANE_ID.fullmatch(sent) else new_id("req_")
        self.principal: Principal | None = None
        self.parameters: dict[str, str] = {}
        # The request's line in the log; a handler may add to it.
        self.line = RequestLine()

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """Raises: InvalidRequest where a parameter is given twice: one of the two would be ignored."""
        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        query = dict(pairs)
        if len(query) < len(pairs):
            raise InvalidRequest("A query parameter is given twice; where several names are wanted, use commas.")
        return query

    @property
    def caller(self) -> Principal:
        """Who asks; only for routes that demand a credential."""
        assert self.principal is not None
        return self.principal

    async def json(self) -> bytes:
        """The body, which must say that it is JSON.

        Raises: UnsupportedMediaType, PayloadTooLarge, RequestTimeout."""
        given = self.headers.get(b"content-type", b"")
        if given != b"application/json" and given.partition(b";")[0].strip().lower() != b"application/json":
            raise UnsupportedMediaType("Send the body as JSON, with the header `Content-Type: application/json`.")
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType("Send the body without a Content-Encoding.")
        return await self.body()

    async def body(self) -> bytes:
        """Raises: PayloadTooLarge, RequestTimeout, InvalidRequest where it breaks off."""
        length = self.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self.limits.body_bytes:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequest("The client left before it had sent its body.")
            more = message.get("more_body", False)
            if more and self.connection.is_late:
                # The rest is not awaited, so the connection cannot be used again.
                raise RequestTimeout("The body did not arrive in time.", headers={"Connection": "close"})
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self.limits.body_bytes:
                raise self._too_large()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> PayloadTooLarge:
        # The rest of the body is not read: the connection cannot be used again.
        return PayloadTooLarge(
            f"The body may have at most {self.limits.body_bytes} bytes.", headers={"Connection": "close"}
        )


class JsonAnswer(Response):
    media_type = "application/json"

    def __init__(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        # As the framework's own, without what it does for bodies of unknown type: a third of the time.
        self.status_code = status
        self.background = None
        self.body = encode(content)
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]


def problem_answer(error: PluggablyError, request_id: str, *, for_operators: bool = False) -> Response:
    """An error as an answer of its own."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    problem = error.problem(request_id)
    if for_operators and error.for_operators is not None:
        problem = msgspec.structs.replace(problem, detail=f"{problem.detail} {error.for_operators}")
    return Response(encode(problem), error.status, headers, "application/problem+json")
