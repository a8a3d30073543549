"""The ASGI application: find the row of the route table, check the credential, call the handler, render what it
returns or raises, and account for the request. Everything that is the same for every route is here, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, Protocol

import structlog
from starlette.routing import compile_path

from pluggably.api import queries
from pluggably.api.auth import Authenticate, demand, principal_of
from pluggably.api.http import HttpRequest, Limits, Receive, Scope, Send, problem_answer
from pluggably.domain import access
from pluggably.errors import InternalError, InvalidRequest, MethodNotAllowed, NotFound, PluggablyError
from pluggably.telemetry.logs import write_request
from pluggably.telemetry.metrics import Metrics
from pluggably.telemetry.tally import Count

log = structlog.get_logger()

# Told to nobody, since the client has left; as nginx logs it.
STATUS_CLIENT_LEFT = 499
# What health checks ask.
PROBES = frozenset({"GET /healthz", "GET /readyz"})


class Answer(Protocol):
    """A web framework's response, or our event stream."""

    status_code: int
    raw_headers: list[tuple[bytes, bytes]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


# Instead of a scope: any valid credential will do.
ANY_KEY: Final = "any"

Handler = Callable[[HttpRequest], Awaitable[Answer]]


class Route:
    """One row of the route table. `scope` None is open to anyone; everything else needs a credential with that scope.
    The types and the prose are what the API reference shows."""

    __slots__ = (
        "answer",
        "body",
        "handler",
        "method",
        "path",
        "query",
        "scope",
        "status",
        "summary",
        "tag",
        "template",
    )

    def __init__(
        self,
        method: str,
        path: str,
        scope: access.Scope | Literal["any"] | None,
        handler: Handler,
        summary: str,
        *,
        tag: str,
        body: Any = None,
        answer: Any = None,
        status: int = 200,
        query: Sequence[str] = (),
    ) -> None:
        self.method = method
        self.path = path
        self.scope = scope
        self.handler = handler
        self.summary = summary
        self.tag = tag
        self.body = body
        self.answer = answer
        self.status = status
        self.query = query
        self.template = f"{method} {path.replace(':path', '')}"


class RouteTable:
    """Finds the row for a path and a method. Exact paths are one look-up; the others are tried in order."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes
        self._exact: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            rows = (patterns if "{" in route.path else self._exact).setdefault(route.path, {})
            if route.method in rows:
                raise ValueError(f"two routes for {route.template}")
            rows[route.method] = route
        self._patterns = [(compile_path(path)[0], rows) for path, rows in patterns.items()]

    def match(self, request: HttpRequest) -> Route:
        """Raises: NotFound, MethodNotAllowed."""
        rows = self._exact.get(request.path)
        if rows is None:
            for pattern, candidates in self._patterns:
                found = pattern.match(request.path)
                if found is not None:
                    rows = candidates
                    request.parameters = found.groupdict()
                    break
            else:
                raise NotFound("There is no such path. GET /openapi.json tells every path there is.")
        route = rows.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = ", ".join(sorted({*rows, "HEAD"} if "GET" in rows else rows))
            raise MethodNotAllowed(f"This path takes {allowed}.", headers={"Allow": allowed})
        return route


class Gate:
    """The ASGI application."""

    def __init__(self, routes: RouteTable, authenticate: Authenticate, limits: Limits, metrics: Metrics) -> None:
        self._routes = routes
        self._authenticate = authenticate
        # What is taken of a client; a new config may bring new ones.
        self.limits = limits
        self._metrics = metrics
        # What a request touches is looked up once, not at each request.
        self._durations = {route.template: metrics.request_duration.labels(route.template) for route in routes.routes}
        self._durations[""] = metrics.request_duration.labels("none")
        self._counts: dict[tuple[str, int], Count] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        request = HttpRequest(scope, receive, self.limits)
        connection = request.connection
        task = asyncio.current_task()
        connection.cancel_when_gone(task)
        route: Route | None = None
        status = STATUS_CLIENT_LEFT
        code: str | None = None
        try:
            try:
                route = self._routes.match(request)
                answer = await self._answer(route, request)
                answer.raw_headers.append((b"x-request-id", request.id.encode()))
                await answer(scope, receive, send)
                status = answer.status_code
            except PluggablyError as error:
                status, code = error.status, error.code
                await self._tell(error, request, receive, send)
            except Exception:
                status, code = 500, InternalError.code
                log.exception("internal_error", request_id=request.id)
                await self._tell(InternalError(), request, receive, send)
        except asyncio.CancelledError:
            if not connection.gone or task is None:
                raise
            task.uncancel()
            status = STATUS_CLIENT_LEFT
        finally:
            connection.cancel_when_gone(None)
            self._account(request, route, status, code, time.perf_counter() - began)

    async def _answer(self, route: Route, request: HttpRequest) -> Answer:
        if route.scope is not None:
            request.principal = principal_of(request, self._authenticate)
            if route.scope != ANY_KEY:
                demand(request.principal, route.scope)
            if request.scope["query_string"]:
                queries.check(request.query, route.query)
        if b"idempotency-key" in request.headers:
            # A header that promises what is not kept must not pass in silence.
            raise InvalidRequest("`Idempotency-Key` is not taken here; leave the header out.")
        return await route.handler(request)

    async def _tell(self, error: PluggablyError, request: HttpRequest, receive: Receive, send: Send) -> None:
        is_operator = request.principal is not None and request.principal.has("admin")
        answer = problem_answer(error, request.id, for_operators=is_operator)
        answer.raw_headers.append((b"x-request-id", request.id.encode()))
        await answer(request.scope, receive, send)

    def _account(
        self, request: HttpRequest, route: Route | None, status: int, code: str | None, duration_s: float
    ) -> None:
        line = request.line
        # A stream whose head was out tells its error in its last event; the run has put it into the line then.
        line.code = code = code or line.code
        if code is not None:
            self._metrics.errors.labels(code).inc()
        template = route.template if route is not None else ""
        count = self._counts.get((template, status))
        if count is None:
            count = self._metrics.requests.labels(template or "none", str(status))
            self._counts[template, status] = count
        count.value += 1
        self._durations[template].observe(duration_s)
        line.request_id = request.id
        line.key_id = request.principal.id if request.principal is not None else None
        line.route = template or None
        line.status = status
        line.duration_s = round(duration_s, 6)
        # A container's health check asks every few seconds; only its failures are worth a line.
        write_request(line, is_quiet=template in PROBES and status < 400)
