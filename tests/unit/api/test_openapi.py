"""The OpenAPI document is whole, valid, and says what the routes and the types say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from route_table import VERSION, described_documents, document, request, table
from starlette.responses import Response

from pluggably.api import queries, reference
from pluggably.api.gate import ANY_KEY
from pluggably.api.generations import GenerationBody, resolved
from pluggably.api.openapi import error_table, openapi_document, stream_example, told_errors
from pluggably.domain.access import SCOPES
from pluggably.domain.generation import VisibleEvent
from pluggably.errors import InvalidRequest

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
OPERATION_NAMES = [name for name, _ in OPERATIONS]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def resolve(ref: str) -> Any:
    place: Any = DOCUMENT
    for step in ref.removeprefix("#/").split("/"):
        place = place[step]
    return place


def check(value: Any, schema: dict[str, Any]) -> None:
    """Validates against a schema of the document, formats included."""
    jsonschema.Draft202012Validator(
        {"components": DOCUMENT["components"], **schema},
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    ).validate(value)


def examples() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every JSON example of a body or an answer: where it stands, its value and its schema."""
    for name, operation in OPERATIONS:
        media = [operation.get("requestBody", {}).get("content", {})]
        media += [response.get("content", {}) for response in operation["responses"].values()]
        for content in media:
            for key, example in content.get("application/json", {}).get("examples", {}).items():
                yield f"{name} {key}", example["value"], content["application/json"]["schema"]


EXAMPLES = list(examples())


# ── the document ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_document_is_valid_openapi() -> None:
    """A validator that others wrote takes it for OpenAPI 3.1."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_reference_leads_somewhere() -> None:
    """No `$ref`, and no mapping of a discriminator, points at what is not there."""
    refs = [node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)]
    refs += [ref for node in nodes(DOCUMENT) for ref in node.get("discriminator", {}).get("mapping", {}).values()]
    assert refs
    for ref in refs:
        assert isinstance(resolve(ref), dict)


def test_every_schema_is_used() -> None:
    """Nothing stands in the components that no operation leads to."""
    found: set[str] = set()
    waiting: list[Any] = [DOCUMENT["paths"], DOCUMENT["components"]["responses"]]
    while waiting:
        for node in nodes(waiting.pop()):
            ref = node.get("$ref")
            if isinstance(ref, str) and ref not in found:
                found.add(ref)
                waiting.append(resolve(ref))
    assert {ref.rsplit("/", 1)[1] for ref in found if "/schemas/" in ref} == set(SCHEMAS)


def test_component_names_are_clean() -> None:
    """Code generators make class names of them."""
    assert [name for name in SCHEMAS if not name.isalnum() or not name[0].isupper()] == []


def test_the_document_is_the_same_each_time() -> None:
    """It is committed as a file, and compared."""
    assert json.dumps(document()) == json.dumps(DOCUMENT)


def test_routes_without_prose_have_a_document_too() -> None:
    """A route that is new needs only its row."""
    new = table()[0]
    new.template, new.path = "POST /v1/new", "/v1/new"
    assert list(OpenAPIV31SpecValidator(openapi_document([new], VERSION)).iter_errors()) == []


# ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_route_is_in_the_document() -> None:
    """The paths of the document are those of the table, and no others."""
    assert sorted(OPERATION_NAMES) == sorted(route.template for route in table())


@pytest.mark.parametrize("route", table(), ids=lambda route: route.template)
def test_security_says_what_the_gate_demands(route: Any) -> None:
    """An operation that needs a scope names it in every scheme, and an open one says that it is open."""
    security = dict(OPERATIONS)[route.template]["security"]
    if route.scope == ANY_KEY:
        assert security == [{"bearer": []}, {"apiKey": []}]
    elif route.scope is not None:
        assert security == [{"bearer": [route.scope]}, {"apiKey": [route.scope]}]
        assert f"`{route.scope}`" in dict(OPERATIONS)[route.template]["description"]
    elif route.template == "GET /metrics":
        assert {} in security and {"bearer": ["metrics"]} in security
    else:
        assert security == []


def test_operation_ids_are_unique_names() -> None:
    """Code generators make methods of them."""
    ids = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert all(name.isidentifier() for name in ids)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=OPERATION_NAMES)
def test_every_operation_is_explained(name: str, operation: dict[str, Any]) -> None:
    """Summary, description, tag; and every parameter has a meaning and a type."""
    assert operation["summary"] and operation["description"]
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], (name, parameter["name"])
        assert parameter["schema"]["type"]


@pytest.mark.parametrize("operation", [operation for _, operation in OPERATIONS], ids=OPERATION_NAMES)
def test_every_answer_carries_the_request_id(operation: dict[str, Any]) -> None:
    """Good or bad, described in place or shared."""
    for response in operation["responses"].values():
        if "$ref" in response:
            response = resolve(response["$ref"])
        assert "X-Request-Id" in response["headers"]


@pytest.mark.parametrize("operation", [operation for _, operation in OPERATIONS], ids=OPERATION_NAMES)
def test_every_failure_is_a_problem_with_its_codes(operation: dict[str, Any]) -> None:
    """Whatever is not a success has the one form of an error, and names codes of that status."""
    status_of = {error.code: error.status for error in told_errors()}
    for status, response in operation["responses"].items():
        if "$ref" in response:
            response = resolve(response["$ref"])
        if int(status) >= 400:
            assert response["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert {status_of[code] for code in response["x-codes"]} == {int(status)}


def test_bodies_are_required_json() -> None:
    """An operation with a body takes nothing else, and answers 400, 413 and 415 to what it does not take."""
    for route in table():
        operation = dict(OPERATIONS)[route.template]
        assert ("requestBody" in operation) == (route.body is not None)
        if route.body is not None:
            assert operation["requestBody"]["required"] is True
            assert list(operation["requestBody"]["content"]) == ["application/json"]
            assert {"400", "413", "415"} <= set(operation["responses"])


def test_path_parameters_are_those_of_the_path() -> None:
    """A `{id:path}` of the table is `{id}` here, and declared."""
    for route in table():
        path = route.path.replace(":path", "")
        declared = [p["name"] for p in dict(OPERATIONS)[route.template].get("parameters", ()) if p["in"] == "path"]
        assert declared == [part.strip("{}") for part in path.split("/") if part.startswith("{")]


def test_what_is_made_is_linked_to_what_takes_its_id() -> None:
    """A tool that follows the document can make a thing, read it and remove it."""
    taken = {operation["operationId"] for _, operation in OPERATIONS}
    for maker, users in reference.LINKS.items():
        links = dict(OPERATIONS)[maker]["responses"]["201"]["links"]
        assert {link["operationId"] for link in links.values()} <= taken
        assert len(links) == len(users)


# ── prose ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prose_is_about_something() -> None:
    """Every key of the prose is a route, a schema or an error that exists: what was renamed does not go silent."""
    templates = {route.template for route in table()}
    for prose in (reference.NOTES, reference.ERRORS, reference.REQUESTS, reference.ANSWERS, reference.LINKS):
        assert set(prose) <= templates
    assert {user for users in reference.LINKS.values() for user in users} <= templates
    assert set(reference.PATH_PARAMETERS) <= set(DOCUMENT["paths"])
    assert set(reference.SCOPES) == SCOPES
    assert set(reference.ADVICE) == {error.code for error in told_errors()}
    for name, fields in reference.FIELDS.items():
        assert set(fields) <= set(SCHEMAS[name]["properties"]), name


def test_every_field_is_explained() -> None:
    """A field of a struct is explained in `reference.FIELDS`; `type` tags explain themselves."""
    silent = [
        f"{name}.{field}"
        for name, schema in SCHEMAS.items()
        for field, value in schema.get("properties", {}).items()
        if not value.get("description") and not (field == "type" and len(value.get("enum", ())) == 1)
    ]
    assert silent == []


def test_every_error_is_told_once() -> None:
    """The table of errors has each code once, with what to do about it."""
    errors = error_table()
    assert len({error["code"] for error in errors}) == len(errors)
    assert [error["code"] for error in errors if not error["advice"] or not error["title"]] == []
    assert "internal_error" in {error["code"] for error in errors}


# ── examples ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("value", "schema"), [case[1:] for case in EXAMPLES], ids=[case[0] for case in EXAMPLES])
def test_examples_fit_their_schemas(value: Any, schema: dict[str, Any]) -> None:
    """What the reference shows is what the reference says."""
    check(value, schema)


@pytest.mark.parametrize("route", [route for route in table() if route.body], ids=lambda route: route.template)
def test_example_bodies_are_taken(route: Any) -> None:
    """Each example of a body decodes into the type that the handler decodes it into."""
    assert reference.REQUESTS[route.template]
    for body in reference.REQUESTS[route.template].values():
        decoded = msgspec.json.decode(msgspec.json.encode(body), type=route.body)
        if isinstance(decoded, GenerationBody):
            resolved(decoded, None)


@pytest.mark.parametrize(
    "route", [route for route in table() if route.template in reference.ANSWERS], ids=lambda route: route.template
)
def test_example_answers_are_answers(route: Any) -> None:
    """Each example of an answer is, field for field, what its type encodes to."""
    for answer in reference.ANSWERS[route.template].values():
        decoded = msgspec.json.decode(msgspec.json.encode(answer), type=route.answer)
        assert set(msgspec.to_builtins(decoded)) == set(answer)


def test_the_example_stream_is_a_stream() -> None:
    """The first event, the last event and all between them are what the schema of events allows."""
    frames = [frame.split("\n") for frame in stream_example().strip().split("\n\n")]
    names = [name.removeprefix("event: ") for name, _ in frames]
    assert (names[0], names[-1]) == ("generation.created", "generation.completed")
    for name, data in frames:
        event = json.loads(data.removeprefix("data: "))
        assert event["type"] == name.removeprefix("event: ")
        check(event, {"$ref": "#/components/schemas/StreamEvent"})


# ── schemas ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_visible_event_is_described() -> None:
    """The choice of events holds those that are framed as they stand, and those that hold a generation."""
    told = set(SCHEMAS["StreamEvent"]["discriminator"]["mapping"])
    framed = {kind.__struct_config__.tag for kind in get_args(VisibleEvent)}
    assert framed | {"generation.created", "generation.completed", "generation.failed"} == told
    assert {moment.name for moment in reference.EVENTS} == told


def test_the_stream_is_told_event_by_event() -> None:
    """The schema is that of one event, whose data is JSON."""
    content = dict(OPERATIONS)["POST /v1/generations"]["responses"]["200"]["content"]["text/event-stream"]
    data = content["schema"]["properties"]["data"]
    assert (data["type"], data["contentSchema"]) == ("string", {"$ref": "#/components/schemas/StreamEvent"})
    assert content["x-example"] == stream_example()


def test_a_type_is_required_where_it_makes_a_choice() -> None:
    """As the decoder has it: a part needs its type, a tool does not."""
    assert "type" in SCHEMAS["Text"]["required"]
    assert "type" not in SCHEMAS["Tool"]["required"]
    assert SCHEMAS["Tool"]["properties"]["type"]["default"] == "function"


def test_only_what_is_served_is_offered() -> None:
    """Modalities to come, and background generations, are refused with words of their own, and not offered."""
    properties = SCHEMAS["GenerationBody"]["properties"]
    assert properties["modality"]["anyOf"][0]["enum"] == ["text", "embedding"]
    assert properties["background"]["enum"] == [False]
    assert (properties["input"]["anyOf"][0]["minLength"], properties["input"]["anyOf"][1]["minItems"]) == (1, 1)


def test_parameters_are_typed() -> None:
    """`parameters` is raw JSON to the decoder, and told as what it is decoded to afterwards."""
    parameters = SCHEMAS["GenerationBody"]["properties"]["parameters"]
    assert [option["$ref"].rsplit("/", 1)[1] for option in parameters["anyOf"]] == [
        "TextParameters",
        "EmbeddingParameters",
    ]


def test_answers_say_that_their_fields_are_there() -> None:
    """What only an answer holds has no optional fields but those that the encoder may leave out."""
    assert set(SCHEMAS["Usage"]["required"]) == set(SCHEMAS["Usage"]["properties"])
    assert "default" not in SCHEMAS["Usage"]["properties"]["images"]
    assert set(SCHEMAS["ItemDelta"]["required"]) == {"type", "index", "item_type"}
    assert "temperature" not in SCHEMAS["TextParameters"].get("required", ())


def test_clients_that_are_made_from_it_can_be_made_and_last() -> None:
    """Makers of clients want to know what a list holds, and take no default for a choice of objects; and answers may
    have more fields one day."""
    for node in nodes(SCHEMAS):
        if node.get("type") == "array":
            assert "items" in node or "prefixItems" in node, node
        if any("$ref" in option for option in node.get("anyOf", ())):
            assert not isinstance(node.get("default"), dict), node
    for name in ("Generation", "Problem", "FailedAttempt", "Text", "ToolCall", "Reasoning", "Model", "StreamEvent"):
        assert "additionalProperties" not in SCHEMAS[name], name
    assert SCHEMAS["GenerationBody"]["additionalProperties"] is False


def test_times_and_choices_keep_their_form() -> None:
    """A time has its format, and the values of a choice stand in the order in which they were written."""
    assert SCHEMAS["Generation"]["properties"]["created_at"]["format"] == "date-time"
    assert SCHEMAS["NewKey"]["properties"]["expires_at"]["anyOf"][0]["format"] == "date-time"
    assert SCHEMAS["Message"]["properties"]["role"]["enum"] == ["system", "user", "assistant", "tool"]


# ── queries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"limit": "1"},
        {"limit": "1000", "cursor": "a/b"},
        {"modality": "text", "location": "local", "capability": "tools", "status": "loaded"},
    ],
)
def test_good_queries_pass(query: dict[str, str]) -> None:
    """What the reference says a query takes, it takes."""
    queries.check(query, ("modality", "location", "capability", "status", "limit", "cursor"))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"limit": "0"}, "`limit` must be a number from 1 to 1000"),
        ({"limit": "1001"}, "`limit` must be"),
        ({"limit": "9" * 5000}, "`limit` must be"),
        ({"limit": "-1"}, "`limit` must be"),
        ({"limit": "²"}, "`limit` must be"),
        ({"limit": ""}, "`limit` must be"),
        ({"modality": "zzz"}, "`modality` must be one of `text`, `embedding`"),
        ({"capability": "__class__"}, "`capability` must be one of"),
        ({"force": "maybe"}, "`force` must be `true` or `false`"),
        ({"zzz": "1"}, "it takes `limit`"),
    ],
)
def test_bad_queries_are_refused(query: dict[str, str], told: str) -> None:
    """A filter that is misspelt or out of range is told, and its value is not repeated."""
    with pytest.raises(InvalidRequest) as refused:
        queries.check(query, ("limit", "modality", "capability", "force"))
    assert told in refused.value.detail
    assert "zzz" not in refused.value.detail and "9999" not in refused.value.detail


# ── serving ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_document_is_served_and_revalidated() -> None:
    """A client that holds a copy is told that it is still the same."""
    documents = described_documents()
    first = asyncio.run(documents.openapi(request()))
    assert isinstance(first, Response)
    assert json.loads(bytes(first.body)) == DOCUMENT
    assert first.headers["content-type"] == "application/json"
    again = asyncio.run(documents.openapi(request(if_none_match=f'W/{first.headers["etag"]}, "x"')))
    assert (again.status_code, bytes(again.body)) == (304, b"")  # type: ignore[attr-defined]
    changed = asyncio.run(documents.openapi(request(if_none_match='"x"')))
    assert changed.status_code == 200
