"""The gate: which row answers, who may ask, how errors are told, and what is counted of each request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from pluggably.api.gate import ANY_KEY, Answer, Gate, Route, RouteTable
from pluggably.api.http import ClientConnection, HttpRequest, JsonAnswer, Limits
from pluggably.domain.access import Principal
from pluggably.errors import (
    BackendRateLimited,
    BackendTimeout,
    Conflict,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    PluggablyError,
    RequestTimeout,
    Unauthenticated,
    Violation,
)
from pluggably.telemetry.metrics import Metrics

PRINCIPALS = {
    "reader": Principal("key_1", "reader", frozenset({"models:read"})),
    "admin": Principal("key_2", "admin", frozenset({"admin"})),
    "nobody": Principal("key_3", "nobody", frozenset()),
}


async def here(http: HttpRequest) -> Answer:
    caller = http.principal.id if http.principal is not None else None
    return JsonAnswer({"path": http.path, "parameters": http.parameters, "caller": caller})


class Exchange:
    """One request through a gate of the given routes, and what came of it."""

    def __init__(self, routes: list[Route], limits: Limits | None = None) -> None:
        self.metrics = Metrics()
        self.gate = Gate(RouteTable(routes), PRINCIPALS.get, limits or Limits(1000, 16), self.metrics)
        self.connection = ClientConnection()
        self.sent: list[dict[str, Any]] = []

    async def ask(
        self,
        method: str = "GET",
        path: str = "/here",
        *,
        headers: dict[str, str] | None = None,
        query: str = "",
        messages: list[dict[str, Any]] | None = None,
    ) -> None:
        self.sent = []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
            "client_connection": self.connection,
        }
        waiting = list(messages or [{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            self.sent.append(message)

        await self.gate(scope, receive, send)

    def asked(self, *args: Any, **more: Any) -> Exchange:
        asyncio.run(self.ask(*args, **more))
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def json(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent))

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def row(path: str = "/here", method: str = "GET", scope: Any = None, handler: Any = here, **more: Any) -> Route:
    return Route(method, path, scope, handler, "", tag="t", **more)


def raising(error: Exception) -> Callable[[HttpRequest], Any]:
    async def handler(http: HttpRequest) -> Answer:
        raise error

    return handler


# ── routes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

ROUTES = [
    row("/v1/models"),
    row("/v1/models", "POST"),
    row("/v1/models/load", "POST"),
    row("/v1/models/{id:path}"),
    row("/v1/models/{id:path}", "DELETE"),
    row("/v1/keys/{id}", "DELETE"),
]


@pytest.mark.parametrize(
    ("method", "path", "template", "parameters"),
    [
        ("GET", "/v1/models", "GET /v1/models", {}),
        ("HEAD", "/v1/models", "GET /v1/models", {}),
        ("POST", "/v1/models/load", "POST /v1/models/load", {}),
        ("GET", "/v1/models/a", "GET /v1/models/{id}", {"id": "a"}),
        ("DELETE", "/v1/models/a/b:c", "DELETE /v1/models/{id}", {"id": "a/b:c"}),
        ("GET", "/v1/models/load/x", "GET /v1/models/{id}", {"id": "load/x"}),
        ("DELETE", "/v1/keys/key_1", "DELETE /v1/keys/{id}", {"id": "key_1"}),
    ],
)
def test_a_path_finds_its_row(method: str, path: str, template: str, parameters: dict[str, str]) -> None:
    """Exact paths come first, then patterns; a model's id is the rest of the path."""
    request = _request(method, path)
    assert RouteTable(ROUTES).match(request).template == template
    assert request.parameters == parameters


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/keys/", "/v1/keys/a/b", "/V1/models", "//v1/models"])
def test_a_path_that_is_not_there(path: str) -> None:
    """What fits no row is not found."""
    with pytest.raises(NotFound):
        RouteTable(ROUTES).match(_request("GET", path))


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/models", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/models/x", "DELETE, GET, HEAD"),
        ("GET", "/v1/models/load", "POST"),
        ("HEAD", "/v1/keys/x", "DELETE"),
        ("get", "/v1/models", "GET, HEAD, POST"),
    ],
)
def test_a_method_that_is_not_there(method: str, path: str, allow: str) -> None:
    """A known path with another method says which it takes."""
    with pytest.raises(MethodNotAllowed) as caught:
        RouteTable(ROUTES).match(_request(method, path))
    assert caught.value.headers == {"Allow": allow}


def test_a_row_is_there_once() -> None:
    """Two rows for one method and path are a mistake of ours, told at start."""
    with pytest.raises(ValueError, match="GET /here"):
        RouteTable([row(), row()])


def _request(method: str, path: str) -> HttpRequest:
    scope = {"method": method, "path": path, "headers": [], "client_connection": ClientConnection()}

    async def receive() -> dict[str, Any]:
        return {}

    return HttpRequest(scope, receive, Limits(1, 1))


# ── who may ask ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scope", "key", "status"),
    [
        (None, None, 200),
        (None, "wrong", 200),
        ("models:read", None, 401),
        ("models:read", "wrong", 401),
        ("models:read", "nobody", 403),
        ("models:read", "reader", 200),
        ("models:read", "admin", 200),
        ("admin", "reader", 403),
        ("admin", "admin", 200),
        (ANY_KEY, None, 401),
        (ANY_KEY, "wrong", 401),
        (ANY_KEY, "nobody", 200),
    ],
)
def test_a_row_says_who_may_ask(scope: Any, key: str | None, status: int) -> None:
    """No credential where the row is open, any where it says so, else one with the row's scope or `admin`."""
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    exchange = Exchange([row(scope=scope)]).asked(headers=headers)
    assert exchange.status == status
    assert (exchange.headers.get("www-authenticate") == "Bearer") == (status == 401)


def test_the_credential_comes_before_the_body() -> None:
    """Without one, the handler is not called, and nothing is read."""
    exchange = Exchange([row("/here", "POST", "admin", raising(AssertionError()))])
    exchange.asked("POST", messages=[{"type": "never"}])
    assert exchange.status == 401


def test_the_handler_knows_who_asks() -> None:
    """The principal of the credential is the caller."""
    exchange = Exchange([row(scope="admin")]).asked(headers={"X-API-Key": "admin"})
    assert exchange.json["caller"] == "key_2"


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("wrong", pointer="/a", violations=[Violation("/a", "is wrong")]),
        Unauthenticated("who?"),
        Conflict("there is one"),
        Overloaded("full", retry_after_s=1.4),
        BackendRateLimited("slow down", retry_after_s=0.2, backend_status=429),
        PayloadTooLarge("too much", headers={"Connection": "close"}),
    ],
)
def test_an_error_is_told_as_a_problem(error: PluggablyError) -> None:
    """Its own status, code and headers, with the request's id, counted by code."""
    exchange = Exchange([row(handler=raising(error))]).asked(headers={"X-Request-Id": "mine"})
    assert exchange.status == error.status
    assert exchange.headers["content-type"] == "application/problem+json"
    assert exchange.headers["x-request-id"] == "mine"
    problem = exchange.json
    assert (problem["code"], problem["detail"], problem["request_id"]) == (error.code, error.detail, "mine")
    if error.retry_after_s is not None:
        assert exchange.headers["retry-after"] == "1"
        assert problem["retry_after_s"] == error.retry_after_s
    for name, value in error.headers.items():
        assert exchange.headers[name.lower()] == value
    assert exchange.sample("pluggably_errors_total", code=error.code) == 1


def test_a_bug_is_told_as_nothing() -> None:
    """An exception that is no error of the house answers 500, without a word of it."""
    exchange = Exchange([row(handler=raising(KeyError("inside")))]).asked()
    assert (exchange.status, exchange.json["code"]) == (500, "internal_error")
    assert "inside" not in json.dumps(exchange.json)
    assert exchange.sample("pluggably_http_requests_total", route="GET /here", status="500") == 1


# ── the body ────────────────────────────────────────────────────────────────────────────────────────────────────────


def echoing() -> Route:
    async def echo(http: HttpRequest) -> Answer:
        return JsonAnswer({"bytes": len(await http.json())})

    return row("/here", "POST", None, echo)


def body(*pieces: bytes) -> list[dict[str, Any]]:
    last = len(pieces) - 1
    return [{"type": "http.request", "body": piece, "more_body": i < last} for i, piece in enumerate(pieces)]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("pieces", [(b"",), (b"x" * 1000,), (b"x" * 400, b"", b"x" * 600), (b"x" * 999, b"x")])
def test_a_body_comes_whole(pieces: tuple[bytes, ...]) -> None:
    """In one piece or many, up to the limit."""
    exchange = Exchange([echoing()]).asked("POST", headers=JSON, messages=body(*pieces))
    assert exchange.json["bytes"] == sum(map(len, pieces))


@pytest.mark.parametrize(
    ("length", "pieces"), [("1001", ()), (None, (b"x" * 1001,)), (None, (b"x" * 600, b"x" * 600, b"never"))]
)
def test_a_body_over_the_limit(length: str | None, pieces: tuple[bytes, ...]) -> None:
    """It is refused by its length before it is read, or once it has grown too large; the connection is given up."""
    headers = {**JSON, **({"Content-Length": length} if length else {})}
    exchange = Exchange([echoing()]).asked("POST", headers=headers, messages=body(*pieces))
    assert (exchange.status, exchange.headers["connection"]) == (413, "close")


def test_a_body_that_is_late() -> None:
    """When the server says that it is late, the client is told so."""
    exchange = Exchange([echoing()])
    exchange.connection.is_late = True
    exchange.asked("POST", headers=JSON, messages=body(b"x", b"y"))
    assert (exchange.status, exchange.json["code"]) == (RequestTimeout.status, RequestTimeout.code)
    assert exchange.headers["connection"] == "close"


def test_a_body_that_breaks_off() -> None:
    """A client that leaves in the middle of its body is no bug."""
    messages = [*body(b"x", b"y")[:1], {"type": "http.disconnect"}]
    exchange = Exchange([echoing()]).asked("POST", headers=JSON, messages=messages)
    assert exchange.status == 400


# ── what is counted, and who leaves ─────────────────────────────────────────────────────────────────────────────────


def test_requests_are_counted_by_row_and_status() -> None:
    """Templates, never paths; what fits no row is counted under one label."""
    exchange = Exchange([row("/items/{id:path}")])

    async def main() -> None:
        for path in ("/items/a", "/items/b", "/none", "/nowhere"):
            await exchange.ask(path=path)

    asyncio.run(main())
    assert exchange.sample("pluggably_http_requests_total", route="GET /items/{id}", status="200") == 2
    assert exchange.sample("pluggably_http_requests_total", route="none", status="404") == 2
    assert exchange.sample("pluggably_http_request_duration_seconds_count", route="GET /items/{id}") == 2
    assert "/items/a" not in exchange.metrics.render().decode()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_client_that_leaves_ends_its_request(when: str) -> None:
    """The handler is cancelled, nobody is answered, and the task goes on as if nothing had been."""
    ended: list[str] = []

    async def wait(http: HttpRequest) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        raise AssertionError

    async def main() -> None:
        exchange = Exchange([row(handler=wait)])
        if when == "before":
            exchange.connection.lost()
        else:
            asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(exchange.connection.lost))
        task = asyncio.create_task(exchange.ask())
        await task
        assert not task.cancelled()
        assert task.cancelling() == 0
        assert exchange.sent == []
        assert exchange.sample("pluggably_http_requests_total", route="GET /here", status="499") == 1

    asyncio.run(main())
    assert ended == ["cancelled"]


def test_a_client_that_leaves_afterwards_disturbs_nobody() -> None:
    """Once a request is answered, its connection's end is nobody's business."""

    async def main() -> None:
        exchange = Exchange([row()])
        await exchange.ask()
        exchange.connection.lost()
        await asyncio.sleep(0)
        assert exchange.status == 200

    asyncio.run(main())


def test_a_task_that_is_cancelled_by_others_stays_cancelled() -> None:
    """A cancellation that is not the client's leaving goes up."""

    async def wait(http: HttpRequest) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        task = asyncio.create_task(Exchange([row(handler=wait)]).ask())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_what_is_no_http_is_left_alone() -> None:
    """Other kinds of connection get no answer here."""

    async def main() -> None:
        never: Any = None
        await Exchange([row()]).gate({"type": "lifespan"}, never, never)

    asyncio.run(main())


def test_a_query_is_checked_against_its_row() -> None:
    """A row says which query parameters it takes; any other is refused, without a word of it."""
    exchange = Exchange([row(scope="admin", query=("limit",))])
    key = {"X-API-Key": "admin"}
    assert exchange.asked(headers=key, query="limit=5").status == 200
    assert exchange.asked(headers=key, query="limit=zero").status == 400
    assert exchange.asked(headers=key, query="canary=1").status == 400
    assert "canary" not in json.dumps(exchange.json)


def test_an_idempotency_key_is_refused() -> None:
    """The header promises what no route keeps yet, so it does not pass in silence."""
    exchange = Exchange([row()]).asked(headers={"Idempotency-Key": "x"})
    assert (exchange.status, exchange.json["code"]) == (400, "invalid_request")


def test_an_error_that_a_stream_told_is_counted_once() -> None:
    """Its head was a 200, so only the run's line knows of the error; an error answer counts once as well."""

    async def failed_late(http: HttpRequest) -> Answer:
        http.line.code = "backend_timeout"
        return JsonAnswer({})

    exchange = Exchange([row(handler=failed_late)]).asked()
    assert exchange.sample("pluggably_errors_total", code="backend_timeout") == 1

    async def failed_early(http: HttpRequest) -> Answer:
        http.line.code = "backend_timeout"
        raise BackendTimeout("late")

    exchange = Exchange([row(handler=failed_early)]).asked()
    assert exchange.sample("pluggably_errors_total", code="backend_timeout") == 1
