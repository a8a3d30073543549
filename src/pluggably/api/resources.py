"""The handlers of what is not a generation: models, workers, keys, the caller itself, health and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from pluggably.api.auth import Authenticate, demand, principal_of
from pluggably.api.bodies import decode
from pluggably.api.gate import Answer
from pluggably.api.http import HttpRequest, JsonAnswer
from pluggably.api.queries import MAX_PAGE
from pluggably.domain.access import DEFAULT_SCOPES, MAX_KEY_NAME, ApiKey, Scope
from pluggably.domain.catalog import MODEL_ID, Model
from pluggably.domain.generation import EmbeddingParameters, GenerationRequest, Location, Routing, TextParameters
from pluggably.errors import Conflict, InvalidRequest, PluggablyError, ShuttingDown
from pluggably.gateway.dispatch import Dispatch
from pluggably.gateway.registry import Registry
from pluggably.gateway.snapshot import Live
from pluggably.telemetry.metrics import CONTENT_TYPE, Metrics

T = TypeVar("T")


class Page(Struct, Generic[T]):
    """A list; `next_cursor` asks for the next page, and is null on the last one."""

    data: list[T]
    next_cursor: str | None = None


class ListWarning(Struct):
    """A provider whose models are missing from a list, or may be old in it, and why."""

    backend: str
    detail: str
    code: Literal["model_list_failed"] = "model_list_failed"


class ModelPage(Struct):
    """A list of models. A provider that cannot be asked spoils nothing, but it does not pass in silence."""

    data: list[Model]
    next_cursor: str | None = None
    warnings: list[ListWarning] = []


class NewModel(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model to register. `source` is `file:/path`, in a folder that the operator allows."""

    id: Annotated[str, Meta(pattern=MODEL_ID, max_length=200)]
    source: Annotated[str, Meta(pattern="^file:/", max_length=4096)]
    runner: str = "llama.cpp"
    context_tokens: Annotated[int, Meta(ge=1)] | None = None
    slots: Annotated[int, Meta(ge=1, le=64)] = 2
    queue: Annotated[int, Meta(ge=0, le=10_000)] = 64
    keep_alive_s: Annotated[float, Meta(ge=0)] | None = None
    options: dict[str, Any] = {}


class ModelName(Struct, forbid_unknown_fields=True):
    model: Annotated[str, Meta(min_length=1, max_length=512)]


class Me(Struct):
    """What the presented credential may do."""

    id: str
    name: str
    scopes: list[str]
    location: Location | None = None


class NewKey(Struct, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_NAME)]
    scopes: Annotated[list[Scope], Meta(min_length=1)] = msgspec.field(default_factory=lambda: list(DEFAULT_SCOPES))
    location: Location | None = None
    expires_at: datetime | None = None


class CreatedKey(Struct, kw_only=True):
    """A new key with its secret, which is shown here and never again."""

    id: str
    name: str
    scopes: list[Scope]
    location: Location | None
    created_at: datetime
    expires_at: datetime | None
    secret: str


class Health(Struct):
    status: str
    detail: str | None = None


class Models:
    def __init__(self, live: Live, registry: Registry, dispatch: Dispatch) -> None:
        self._live = live
        self._registry = registry
        self._dispatch = dispatch

    async def list(self, http: HttpRequest) -> Answer:
        query, promise = http.query, http.caller.location
        found = await self._registry.models(promise, for_operators=http.caller.has("admin"))
        models = [model for model in found if _passes(model, query)]
        page = _page(models, lambda model: model.id, query)
        problems = self._registry.list_problems(promise)
        warnings = [ListWarning(backend, detail) for backend, detail in sorted(problems.items())]
        return JsonAnswer(ModelPage(page.data, page.next_cursor, warnings))

    async def get(self, http: HttpRequest) -> Answer:
        """A model, with what would become of each of its targets if it were asked for now."""
        name = _model_id(http)
        model = await self._registry.get(name, http.caller.location, for_operators=http.caller.has("admin"))
        route = self._live.current.catalog.resolve(name)
        modality = self._registry.usual_modality(route)
        asked = GenerationRequest(
            model=name,
            modality=modality,
            parameters=TextParameters() if modality == "text" else EmbeddingParameters(),
            routing=_routing(http.query),
            stream=True,
        )
        prospects = self._dispatch.explain(route, asked, http.caller.location)
        model.targets = await self._registry.with_troubles(route, prospects)
        return JsonAnswer(model)

    async def register(self, http: HttpRequest) -> Answer:
        new: NewModel = decode(await http.json(), NewModel)
        model = await self._registry.register(
            new.id,
            new.source,
            new.runner,
            slots=new.slots,
            queue=new.queue,
            context_tokens=new.context_tokens,
            keep_alive_s=new.keep_alive_s,
            options=new.options,
        )
        return JsonAnswer(model, 201, {"Location": f"/v1/models/{model.id}"})

    async def delete(self, http: HttpRequest) -> Answer:
        await self._registry.remove(_model_id(http), force=http.query.get("force") == "true")
        return Response(status_code=204)

    async def load(self, http: HttpRequest) -> Answer:
        named: ModelName = decode(await http.json(), ModelName)
        await self._registry.load(named.model)
        return JsonAnswer(await self._registry.get(named.model))

    async def unload(self, http: HttpRequest) -> Answer:
        named: ModelName = decode(await http.json(), ModelName)
        await self._registry.unload(named.model)
        return JsonAnswer(await self._registry.get(named.model))

    async def workers(self, http: HttpRequest) -> Answer:
        return JsonAnswer(_page(self._registry.workers(), lambda worker: worker.model, http.query))


class MadeKey(Protocol):
    @property
    def key(self) -> ApiKey: ...
    @property
    def token(self) -> str: ...


class KeyStore(Protocol):
    """Where keys are kept."""

    async def create(
        self, name: str, scopes: Sequence[Scope], expires_at: datetime | None, location: Location | None
    ) -> MadeKey: ...

    async def list(self) -> list[ApiKey]: ...

    async def revoke(self, key_id: str) -> ApiKey: ...


class Keys:
    """`changed` makes a change count at once."""

    def __init__(self, store: KeyStore, changed: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._changed = changed

    async def me(self, http: HttpRequest) -> Answer:
        caller = http.caller
        return JsonAnswer(Me(caller.id, caller.name, sorted(caller.scopes), caller.location))

    async def create(self, http: HttpRequest) -> Answer:
        new: NewKey = decode(await http.json(), NewKey)
        made = await self._store.create(new.name, new.scopes, _future(new.expires_at), new.location)
        await self._changed()
        key = made.key
        created = CreatedKey(
            id=key.id,
            name=key.name,
            scopes=key.scopes,
            location=key.location,
            created_at=key.created_at,
            expires_at=key.expires_at,
            secret=made.token,
        )
        return JsonAnswer(created, 201)

    async def list(self, http: HttpRequest) -> Answer:
        return JsonAnswer(_page(await self._store.list(), lambda key: key.id, http.query))

    async def revoke(self, http: HttpRequest) -> Answer:
        key_id = http.parameters["id"]
        if key_id == http.caller.id:
            raise Conflict("A key cannot revoke itself; use another key, or `pluggably keys revoke`.")
        await self._store.revoke(key_id)
        await self._changed()
        return Response(status_code=204)


class Operations:
    """`closing` tells whether a shutdown has begun, `problem` what is wrong although the gateway serves; `refresh`
    brings gauges up to date before they are read."""

    def __init__(
        self,
        metrics: Metrics,
        authenticate: Authenticate,
        open_metrics: Callable[[], bool],
        closing: Callable[[], bool],
        problem: Callable[[], str | None],
        check: Callable[[], Awaitable[None]],
        refresh: Callable[[], None],
    ) -> None:
        self._metrics = metrics
        self._authenticate = authenticate
        self._open_metrics = open_metrics
        self._closing = closing
        self._problem = problem
        self._check = check
        self._refresh = refresh

    async def healthz(self, http: HttpRequest) -> Answer:
        return JsonAnswer(Health("ok"))

    async def readyz(self, http: HttpRequest) -> Answer:
        if self._closing():
            raise ShuttingDown("The gateway is shutting down.", retry_after_s=5)
        try:
            await self._check()
        except PluggablyError as error:
            return JsonAnswer(Health("not_ready", error.detail), 503)
        return JsonAnswer(Health("ready", self._problem()))

    async def metrics(self, http: HttpRequest) -> Answer:
        if not self._open_metrics():
            http.principal = principal_of(http, self._authenticate)
            demand(http.principal, "metrics")
        self._refresh()
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)


def _future(time: datetime | None) -> datetime | None:
    """Raises: InvalidRequest."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise InvalidRequest("/expires_at: needs a time zone, such as Z", pointer="/expires_at")
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest("/expires_at: is outside the years 1 to 9999", pointer="/expires_at") from None
    if time <= datetime.now(UTC):
        raise InvalidRequest("/expires_at: must be in the future", pointer="/expires_at")
    return time


def _routing(query: dict[str, str]) -> Routing | None:
    """The `routing` of a request, from a query. Raises: InvalidRequest."""
    asked: dict[str, Any] = {
        name: [one.strip() for one in query[name].split(",")] for name in ("only", "ignore", "order") if name in query
    }
    if "sort" in query:
        asked["sort"] = query["sort"]
    try:
        return msgspec.convert(asked, Routing) if asked else None
    except msgspec.ValidationError:  # `sort` has been checked, so it is the number of names
        raise InvalidRequest("The query parameters `only`, `ignore` and `order` take at most 64 names each.") from None


def _model_id(http: HttpRequest) -> str:
    return http.parameters["id"]


def _passes(model: Model, query: dict[str, str]) -> bool:
    """The filters of the model list. What is not known passes none."""
    modality, location = query.get("modality"), query.get("location")
    capability, status = query.get("capability"), query.get("status")
    return (
        (modality is None or modality in (model.output_modalities or ()))
        and (location is None or location == model.location)
        and (capability is None or getattr(model.capabilities, capability, None) is True)
        and (status is None or status == model.status)
    )


def _page(rows: list[T], key: Callable[[T], str], query: dict[str, str]) -> Page[T]:
    """The part of the list that `limit` and `cursor` ask for; a cursor is the key of the last row before it."""
    limit, cursor = int(query.get("limit", MAX_PAGE)), query.get("cursor")
    rows = sorted(rows, key=key)
    if cursor is not None:
        rows = [row for row in rows if key(row) > cursor]
    return Page(rows[:limit], key(rows[limit - 1]) if len(rows) > limit else None)
