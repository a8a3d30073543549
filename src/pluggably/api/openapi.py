"""The OpenAPI document: the route table and the types of its bodies and answers, told in OpenAPI 3.1.

Schemas come from the structs themselves, by msgspec; prose, meanings of fields and examples from `reference.py`. What
surprises: msgspec's schema of a struct says what a client may leave out of a request, so the fields of what only
answers hold are marked as required here (the encoder never leaves one out); and it sorts the values of a Literal,
which are put back into the order that was written.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import msgspec

from pluggably import errors
from pluggably.api import queries, reference
from pluggably.api.gate import ANY_KEY, Route
from pluggably.domain.generation import EmbeddingParameters, Generation, Modality, TextParameters, VisibleEvent
from pluggably.errors import (
    ClientError,
    GatewayError,
    HeadersTooLarge,
    InternalError,
    InvalidRequest,
    PayloadTooLarge,
    PermissionDenied,
    PluggablyError,
    Problem,
    RequestTimeout,
    StartupError,
    Unauthenticated,
    UnsupportedMediaType,
)

Schema = dict[str, Any]

_REF = "#/components/schemas/"
PROBLEM = "application/problem+json"
EVENT_STREAM = "text/event-stream"

# What any operation can answer, whatever it does; told once, as shared responses.
_ANYWHERE = (RequestTimeout, HeadersTooLarge, InternalError)
# Branches of the tree of errors that are never told to a client themselves.
_BRANCHES = (PluggablyError, ClientError, GatewayError, StartupError)

# Answers that are not JSON of a struct.
_PLAIN_ANSWERS: Mapping[str, tuple[str, Schema]] = {
    "GET /metrics": ("text/plain", {"type": "string", "description": "Prometheus' text format."}),
    "GET /openapi.json": ("application/json", {"type": "object", "description": "An OpenAPI 3.1 document."}),
    "GET /docs": ("text/html", {"type": "string"}),
}
_REVALIDATED = ("GET /openapi.json", "GET /docs")


def openapi_document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document of one route table. `version` is the gateway's."""
    schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        item = paths.setdefault(_path(route), {})
        item[route.method.lower()] = _operation(route)
    _link(paths, routes)
    tags = dict.fromkeys(route.tag for route in routes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pluggably",
            "version": version,
            "summary": "A self-hosted, pluggable gateway to generative models.",
            "description": reference.INTRODUCTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that this document comes from."}],
        "tags": [{"name": tag, "description": reference.TAGS.get(tag, "")} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {error.__name__: _problem_response([error]) for error in _ANYWHERE},
            "headers": _HEADERS,
            "securitySchemes": _security_schemes(),
        },
        "x-errors": error_table(),
    }


def error_table() -> list[dict[str, Any]]:
    """Every error that a client can meet: status, code, title, whether and where a retry helps, and what to do."""
    return [
        {
            "status": error.status,
            "code": error.code,
            "title": error.title,
            # Its first paragraph: what follows is for who works on the code.
            "description": _prose(vars(error).get("__doc__") or "").partition("\n\n")[0],
            "again": error.again,
            "elsewhere": error.elsewhere,
            "advice": reference.ADVICE.get(error.code, ""),
        }
        for error in sorted(told_errors(), key=lambda error: (error.status, error.code))
    ]


def told_errors() -> list[type[PluggablyError]]:
    """The classes of `errors` that stand for a code of their own."""
    return [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind)
        and issubclass(kind, PluggablyError)
        and kind not in _BRANCHES
        and (kind.__base__ in _BRANCHES or "code" in vars(kind))
    ]


# ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _path(route: Route) -> str:
    return route.path.replace(":path", "")


def _operation(route: Route) -> dict[str, Any]:
    key = route.template
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": _description(route),
        "security": _security(route),
    }
    parameters = [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"schema": {"$ref": _REF + _name(route.body)}, "examples": _examples(reference.REQUESTS.get(key))}
        operation["requestBody"] = {"required": True, "content": {"application/json": _filled(content)}}
    operation["responses"] = dict(sorted({**_answers(route), **_problems(route)}.items()))
    return operation


def _operation_id(route: Route) -> str:
    """The handler's name, `models_list`: it is unique, and code generators make a good method name of it."""
    owner = getattr(route.handler, "__self__", None)
    name = getattr(route.handler, "__name__", "")
    if owner is None:
        return re.sub(r"\W+", "_", route.template).strip("_").lower()
    return f"{type(owner).__name__.lower()}_{name}"


def _description(route: Route) -> str:
    notes = [reference.NOTES.get(route.template, "")]
    if route.scope == ANY_KEY:
        notes.append("Any valid key will do.")
    elif route.scope is not None:
        notes.append(f"Scope: `{route.scope}`.")
    return "\n\n".join(note for note in notes if note)


def _security(route: Route) -> list[dict[str, list[str]]]:
    """In OpenAPI 3.1 the list behind a scheme's name may name roles: our scopes."""
    if route.scope == ANY_KEY:
        return [{"bearer": []}, {"apiKey": []}]
    if route.scope is not None:
        return [{"bearer": [route.scope]}, {"apiKey": [route.scope]}]
    if route.template == "GET /metrics":
        return [{"bearer": ["metrics"]}, {"apiKey": ["metrics"]}, {}]
    return []


def _security_schemes() -> dict[str, Any]:
    scopes = "; ".join(f"`{scope}`: {meaning}" for scope, meaning in reference.SCOPES.items())
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": f"A key. Its scopes: {scopes}."},
        "apiKey": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "The same key in a header of its own.",
        },
    }


def _link(paths: Mapping[str, Any], routes: Sequence[Route]) -> None:
    """Tells of each operation that makes something which operations take the id of what it made."""
    by_template = {route.template: route for route in routes}
    for maker, users in reference.LINKS.items():
        if maker not in by_template or not by_template.keys() >= set(users):
            continue
        route = by_template[maker]
        answer = paths[_path(route)][route.method.lower()]["responses"][str(route.status)]
        answer["links"] = {
            _operation_id(by_template[user]): {
                "operationId": _operation_id(by_template[user]),
                "parameters": {"id": "$response.body#/id"},
            }
            for user in users
        }


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    path = _path(route)
    for name in re.findall(r"{(\w+)}", path):
        description, example = reference.PATH_PARAMETERS.get(path, ("", None))
        parameter = {
            "name": name,
            "in": "path",
            "required": True,
            "description": description,
            "schema": {"type": "string", "minLength": 1},
        }
        yield {**parameter, "example": example} if example is not None else parameter


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in route.query:
        schema = dict(queries.PARAMETERS[name])
        yield {"name": name, "in": "query", "description": schema.pop("description"), "schema": schema}


def _header_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if route.template in _REVALIDATED:
        yield {
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` of a copy; if it is still the same, the answer is 304.",
            "schema": {"type": "string"},
        }


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The request's id: the client's own `X-Request-Id` if it is sane, else one that was made.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
    },
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "Always `Bearer`.", "schema": {"type": "string"}},
    "Location": {"description": "The path of what was made.", "schema": {"type": "string"}},
    "ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string"}},
}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _answers(route: Route) -> dict[str, Any]:
    """What the operation answers when it goes well."""
    key = route.template
    answer: dict[str, Any] = {"description": _answer_description(route), "headers": _headers()}
    if route.answer is not None:
        content = {"schema": {"$ref": _REF + _name(route.answer)}, "examples": _examples(reference.ANSWERS.get(key))}
        answer["content"] = {"application/json": _filled(content)}
    elif key in _PLAIN_ANSWERS:
        media_type, schema = _PLAIN_ANSWERS[key]
        answer["content"] = {media_type: {"schema": schema}}
    if route.answer is Generation and route.method == "POST":
        answer["content"][EVENT_STREAM] = _stream_content()
    if key == "POST /v1/models":
        answer["headers"] = _headers("Location")
    answers = {str(route.status): answer}
    if key in _REVALIDATED:
        answer["headers"] = _headers("ETag")
        answers["304"] = {"description": "The copy is still the same.", "headers": _headers("ETag")}
    return answers


def _answer_description(route: Route) -> str:
    if route.status == 204:
        return "Done; there is nothing to say."
    if route.status == 201:
        return "Made."
    return "The answer."


def _stream_content() -> dict[str, Any]:
    names = ", ".join(f"`{moment.name}`" for moment in reference.EVENTS)
    return {
        # OpenAPI 3.1 has no word for a stream. The schema is that of one event, as 3.2 has it in `itemSchema` and as
        # tools for 3.1 read it (https://spec.openapis.org/oas/v3.2.0, "Server-Sent Event Streams").
        "schema": {
            "type": "object",
            "description": f"With `stream: true`. Events: {names}.\n\n{reference.STREAM_NOTES}",
            "properties": {
                "event": {"type": "string", "description": "The event's name."},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"$ref": _REF + "StreamEvent"},
                },
            },
            "required": ["event", "data"],
        },
        "x-events": {moment.name: moment.when for moment in reference.EVENTS},
        "x-example": stream_example(),
    }


def stream_example() -> str:
    """The example of a stream, as its bytes would read."""
    frames = []
    for name, data in reference.STREAM:
        frames.append(f"event: {name}\ndata: {msgspec.json.encode({'type': name, **data}).decode()}\n\n")
    return "".join(frames)


def _problems(route: Route) -> dict[str, Any]:
    """What the operation answers when it does not go well, by status."""
    kinds: list[type[PluggablyError]] = []
    if route.scope is not None:
        kinds.append(Unauthenticated)
        if route.scope != ANY_KEY:
            kinds.append(PermissionDenied)
    if route.query:
        kinds.append(InvalidRequest)
    if route.body is not None:
        kinds += [InvalidRequest, PayloadTooLarge, UnsupportedMediaType]
    kinds += reference.ERRORS.get(route.template, ())
    by_status: dict[str, list[type[PluggablyError]]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(str(kind.status), []).append(kind)
    problems = {status: _problem_response(group) for status, group in by_status.items()}
    if route.template == "GET /readyz":
        problems["503"]["content"]["application/json"] = {"schema": {"$ref": _REF + "Health"}}
    shared = {str(kind.status): {"$ref": f"#/components/responses/{kind.__name__}"} for kind in _ANYWHERE}
    return {**shared, **problems}


def _problem_response(kinds: Sequence[type[PluggablyError]]) -> dict[str, Any]:
    headers = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(kinds[0].status, ())
    return {
        "description": "\n".join(f"- `{kind.code}`: {kind.title}." for kind in kinds),
        "headers": _headers(*headers),
        "content": {PROBLEM: {"schema": {"$ref": _REF + "Problem"}}},
        "x-codes": [kind.code for kind in kinds],
    }


def _examples(examples: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        re.sub(r"\W+", "_", summary).lower(): {"summary": summary, "value": value}
        for summary, value in (examples or {}).items()
    }


def _filled(mapping: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value}


# ── schemas ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _schemas(routes: Sequence[Route]) -> dict[str, Schema]:
    asked = [route.body for route in routes if route.body is not None] + [TextParameters, EmbeddingParameters]
    told = [route.answer for route in routes if route.answer is not None] + [Generation, Problem]
    _, found = msgspec.json.schema_components([*asked, *told, VisibleEvent], ref_template=_REF + "{name}")
    names = {old: _clean(old) for old in found}
    schemas: dict[str, Schema] = {
        names[old]: {**_renamed(schema, names), "title": names[old]} for old, schema in found.items()
    }
    _retyped(schemas, [*asked, *told, VisibleEvent])
    if "GenerationBody" in schemas:
        _mend_generation_body(schemas["GenerationBody"])
    _add_stream_events(schemas)
    _free_lone_tags(schemas)
    _mark_answers(schemas, _reachable(schemas, [_name(kind) for kind in asked]))
    _open_answers(schemas, _reachable(schemas, ["StreamEvent", *map(_name, told)]))
    _explain(schemas)
    return dict(sorted(schemas.items()))


def _name(kind: Any) -> str:
    """The component that stands for a type."""
    arguments = get_args(kind)
    return f"{arguments[0].__name__}{get_origin(kind).__name__}" if arguments else str(kind.__name__)


def _clean(name: str) -> str:
    """`Page_Model_`, as msgspec writes Page[Model], becomes `ModelPage`."""
    generic = re.fullmatch(r"([A-Za-z]+)_(\w+)_", name)
    return generic[2] + generic[1] if generic else name


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    if isinstance(value, str) and value.startswith(_REF):
        return _REF + names[value.removeprefix(_REF)]
    return value


def _retyped(schemas: dict[str, Schema], kinds: Sequence[Any]) -> None:
    """Puts back what msgspec's schema does not say: that a string is a time, and the order of a Literal's values."""
    literals: dict[frozenset[Any], list[Any]] = {}
    for kind in _structs(kinds):
        schema = schemas.get(_name(kind))
        if schema is None:
            continue
        for field in msgspec.structs.fields(kind):
            parts = list(_parts(field.type))
            literals |= {
                frozenset(get_args(part)): list(get_args(part)) for part in parts if get_origin(part) is Literal
            }
            if datetime in parts:
                for option in _options(schema["properties"][field.encode_name]):
                    if option.get("type") == "string":
                        option["format"] = "date-time"
    for node in _nodes(schemas):
        if isinstance(node.get("enum"), list):
            node["enum"] = literals.get(frozenset(node["enum"]), node["enum"])


def _structs(kinds: Sequence[Any]) -> list[Any]:
    """Every struct that these types are made of."""
    found: dict[Any, None] = {}
    waiting = list(kinds)
    while waiting:
        for part in _parts(waiting.pop()):
            origin = get_origin(part) or part
            if inspect.isclass(origin) and issubclass(origin, msgspec.Struct) and part not in found:
                found[part] = None
                waiting += [field.type for field in msgspec.structs.fields(part)]
    return list(found)


def _parts(kind: Any) -> Iterator[Any]:
    """A type and all that stands in its brackets."""
    yield kind
    if get_origin(kind) is not Literal:
        for argument in get_args(kind):
            yield from _parts(argument)


def _options(schema: Schema) -> list[Schema]:
    options: list[Schema] = schema.get("anyOf", [schema])
    return options


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _free_lone_tags(schemas: Mapping[str, Schema]) -> None:
    """The decoder asks for a `type` only where it has to choose by it: a tool may leave out its own."""
    mappings = (node["mapping"] for node in _nodes(schemas) if isinstance(node.get("mapping"), dict))
    chosen = {ref for mapping in mappings for ref in mapping.values()}
    for name, schema in schemas.items():
        tag = schema.get("properties", {}).get("type", {}).get("enum", ())
        if len(tag) == 1 and _REF + name not in chosen:
            schema["properties"]["type"]["default"] = tag[0]
            schema["required"].remove("type")


def _mend_generation_body(schema: Schema) -> None:
    """What the decoder takes, and the handler refuses with words of its own, is not offered here; and `parameters` is
    raw JSON to the decoder, since its type hangs on the modality."""
    properties = schema["properties"]
    properties["modality"]["anyOf"][0]["enum"] = list(get_args(Modality))
    properties["background"]["enum"] = [False]
    properties["parameters"] = {
        "anyOf": [{"$ref": _REF + "TextParameters"}, {"$ref": _REF + "EmbeddingParameters"}],
    }
    for option in _options(properties["input"]):
        option["minItems" if option["type"] == "array" else "minLength"] = 1


def _add_stream_events(schemas: dict[str, Schema]) -> None:
    """The events that hold a whole generation, and the choice of all events."""
    whole = {
        "generation.created": ("GenerationCreated", "The first event: the generation as it begins."),
        "generation.completed": ("GenerationCompleted", "The last event of a generation that went well."),
        "generation.failed": ("GenerationFailed", "The last event of a generation that did not go well."),
    }
    for event, (name, description) in whole.items():
        schemas[name] = {
            "title": name,
            "description": description,
            "type": "object",
            "properties": {"type": {"enum": [event]}, "generation": {"$ref": _REF + "Generation"}},
            "required": ["type", "generation"],
        }
    kinds = {kind.__struct_config__.tag: kind.__name__ for kind in get_args(VisibleEvent)}
    names = {
        moment.name: whole[moment.name][0] if moment.name in whole else kinds[moment.name]
        for moment in reference.EVENTS
    }
    schemas["StreamEvent"] = {
        "title": "StreamEvent",
        "description": "One event of a stream: the JSON of its `data:` line.",
        "anyOf": [{"$ref": _REF + name} for name in names.values()],
        "discriminator": {
            "propertyName": "type",
            "mapping": {event: _REF + name for event, name in names.items()},
        },
    }


def _reachable(schemas: Mapping[str, Schema], names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            refs = (node["$ref"] for node in _nodes(schemas[name]) if isinstance(node.get("$ref"), str))
            waiting += [ref.removeprefix(_REF) for ref in refs]
    return found


def _mark_answers(schemas: dict[str, Schema], asked: set[str]) -> None:
    """In what only answers hold, a field with a default is always there, and its default says nothing."""
    for name, schema in schemas.items():
        if name in asked or "properties" not in schema:
            continue
        required = set(schema["required"])
        for field, value in schema["properties"].items():
            if "default" in value:
                required.add(field)
                del value["default"]
        schema["required"] = [field for field in schema["properties"] if field in required]


def _open_answers(schemas: dict[str, Schema], told: set[str]) -> None:
    """What answers hold may have more fields one day, and a client that is made from this document must not break then.
    So of what goes both ways it is not said here that more fields are refused, although in a request they are."""
    for name in told:
        schemas[name].pop("additionalProperties", None)


def _explain(schemas: dict[str, Schema]) -> None:
    for name, schema in schemas.items():
        if "description" in schema:
            schema["description"] = _prose(schema["description"])
        if not schema.get("required", True):
            del schema["required"]
        for field, meaning in reference.FIELDS.get(name, {}).items():
            if field in schema.get("properties", {}):
                schema["properties"][field] = {"description": meaning, **schema["properties"][field]}


def _prose(docstring: str) -> str:
    """A docstring for readers who do not write Python: unwrapped, and with null for None."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).replace("None", "null")
