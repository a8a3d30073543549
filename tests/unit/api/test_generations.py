"""A body becomes a request: every rule beyond its types, each violation with its pointer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from snapshots import dispatch_over, snapshot

from pluggably.api.bodies import decode
from pluggably.api.generations import MOST_PARTS, GenerationBody, Generations, resolved
from pluggably.api.http import ClientConnection, HttpRequest, JsonAnswer, Limits
from pluggably.api.sse import EventStream
from pluggably.domain.access import Principal
from pluggably.domain.catalog import Description, Target
from pluggably.domain.generation import (
    Completed,
    EmbeddingParameters,
    Event,
    GenerationRequest,
    ItemCompleted,
    ItemStarted,
    Message,
    Modality,
    NamedTool,
    Text,
    TextParameters,
    Timeouts,
)
from pluggably.errors import (
    InvalidRequest,
    ModelNotFound,
    NotAcceptable,
    PluggablyError,
    UnsupportedMediaType,
    UnsupportedModality,
    UnsupportedParameter,
)
from pluggably.gateway.registry import Registry
from pluggably.gateway.snapshot import Live
from pluggably.net.http import Patience
from tests.work import lines_run

TEXT: tuple[Modality, ...] = ("text",)
EMBEDDING: tuple[Modality, ...] = ("embedding",)
BOTH: tuple[Modality, ...] = ("text", "embedding")
WORD = {"type": "text", "text": "x"}
TOOL = {"type": "function", "name": "look", "input_schema": {}}


def request(made: Sequence[Modality] | None = TEXT, **fields: Any) -> GenerationRequest:
    body = {"model": "m", "input": "hi", **fields}
    return resolved(decode(json.dumps(body).encode(), GenerationBody), made)


def refusal(error: type[PluggablyError] = InvalidRequest, made: Sequence[Modality] | None = TEXT, **fields: Any) -> Any:
    with pytest.raises(error) as caught:
        request(made, **fields)
    return caught.value


def pointers(**fields: Any) -> list[str]:
    return [violation.pointer for violation in refusal(**fields).violations]


def message(role: str, *parts: Any) -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


# ── modality and parameters ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("made", "asked", "modality"),
    [
        (None, None, "text"),
        (TEXT, None, "text"),
        (BOTH, None, "text"),
        (EMBEDDING, None, "embedding"),
        (None, "text", "text"),
        (None, "embedding", "embedding"),
        (BOTH, "embedding", "embedding"),
        (TEXT, "text", "text"),
    ],
)
def test_the_modality_is_settled(made: Sequence[Modality] | None, asked: str | None, modality: str) -> None:
    """What was asked, else text where the model makes it, else what it makes."""
    settled = request(made, modality=asked)
    assert settled.modality == modality
    assert isinstance(settled.parameters, TextParameters if modality == "text" else EmbeddingParameters)


@pytest.mark.parametrize(
    ("made", "asked"),
    [(TEXT, "embedding"), (EMBEDDING, "text"), (None, "image"), (BOTH, "3d"), (TEXT, "image"), (None, "3d")],
)
def test_a_modality_that_the_model_does_not_make(made: Sequence[Modality] | None, asked: str) -> None:
    """It is refused, and the refusal says what the model makes."""
    error = refusal(UnsupportedModality, made, modality=asked)
    assert error.pointer == "/modality"
    assert all(one in error.detail for one in made or BOTH)


def test_parameters_are_those_of_the_modality() -> None:
    """Each modality has its own; those of another are unknown fields there."""
    assert request(parameters={"temperature": 0.5, "stop": "x"}).text.stops() == ["x"]
    embedding = request(EMBEDDING, parameters={"dimensions": 8})
    assert embedding.parameters == EmbeddingParameters(8)
    assert pointers(parameters={"dimensions": 8}) == ["/parameters/dimensions"]
    assert pointers(made=EMBEDDING, parameters={"temperature": 1}) == ["/parameters/temperature"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_output_tokens", 0),
        ("max_output_tokens", 2**31),
        ("top_k", 2**31),
        ("max_output_tokens", 1.5),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("top_p", 1.1),
        ("top_k", 0),
        ("min_p", -1),
        ("presence_penalty", 3),
        ("frequency_penalty", -3),
        ("logprobs", 21),
        ("stop", ""),
        ("seed", "7"),
        ("reasoning", {"effort": "huge"}),
    ],
)
def test_a_parameter_has_its_bounds(name: str, value: Any) -> None:
    """A value out of bounds is refused at its own place."""
    assert refusal(parameters={name: value}).pointer.startswith(f"/parameters/{name}")


@pytest.mark.parametrize("edge", [{"temperature": 0}, {"temperature": 2}, {"top_p": 1}, {"logprobs": 0}, {"top_k": 1}])
def test_bounds_are_inclusive(edge: dict[str, Any]) -> None:
    """The bounds themselves are taken."""
    request(parameters=edge)


def test_background_is_not_here_yet() -> None:
    """A background generation is refused by its own name, not run in the foreground."""
    assert refusal(UnsupportedParameter, background=True).pointer == "/background"


# ── input ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_string_is_a_users_message() -> None:
    """A string stands for one message of a user, or for one text to embed."""
    assert request(input="hi").messages == [Message("user", "hi")]
    assert request(EMBEDDING, input="hi").texts == ["hi"]
    assert request(EMBEDDING, input=["a", "b"]).texts == ["a", "b"]


@pytest.mark.parametrize(
    ("made", "given", "pointer"),
    [
        (TEXT, "", "/input"),
        (TEXT, [], "/input"),
        (EMBEDDING, "", "/input"),
        (EMBEDDING, [], "/input"),
        (TEXT, ["a"], "/input/0"),
        (TEXT, [{"role": "user", "content": "x"}, "a"], "/input/1"),
        (EMBEDDING, ["a", ""], "/input/1"),
        (EMBEDDING, ["a", {"role": "user", "content": "x"}], "/input/1"),
    ],
)
def test_an_input_of_the_wrong_kind(made: Sequence[Modality], given: Any, pointer: str) -> None:
    """Nothing is nothing to answer; messages are for text, lists of strings for embeddings."""
    assert refusal(made=made, input=given).pointer == pointer


PART: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": "x"},
    "image": {"type": "image", "url": "https://example.org/x.png"},
    "file": {"type": "file", "data": "eA==", "media_type": "application/pdf", "name": "x.pdf"},
    "audio": {"type": "audio", "data": "eA==", "media_type": "audio/wav"},
    "tool_call": {"type": "tool_call", "id": "c", "name": "look", "arguments": "{}"},
    "tool_result": {"type": "tool_result", "tool_call_id": "c", "content": "x"},
    "reasoning": {"type": "reasoning", "text": "x"},
    "refusal": {"type": "refusal", "text": "x"},
    "provider_item": {"type": "provider_item", "provider": "p", "data": {"a": [1]}},
}
ALLOWED = {
    "system": {"text"},
    "user": {"text", "image", "file", "audio"},
    "assistant": {"text", "tool_call", "reasoning", "refusal", "provider_item"},
    "tool": {"tool_result"},
}


@pytest.mark.parametrize("role", sorted(ALLOWED))
@pytest.mark.parametrize("kind", sorted(PART))
def test_each_role_has_its_parts(role: str, kind: str) -> None:
    """A part stands in a message of a fitting role, and is refused in any other."""
    given = [message("user", PART["text"]), message(role, PART[kind])]
    if kind in ALLOWED[role]:
        assert len(request(input=given).messages) == 2
    else:
        assert pointers(input=given) == ["/input/1/content/0"]


def test_a_tools_message_has_parts() -> None:
    """A bare string says not which call it answers."""
    assert pointers(input=[{"role": "tool", "content": "x"}]) == ["/input/0/content"]


@pytest.mark.parametrize("kind", ["image", "file", "audio"])
@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, ""),
        ({"url": "https://x/", "data": "eA=="}, ""),
        ({"media_type": "image/png"}, ""),
        ({"url": "ftp://x/"}, "/url"),
        ({"url": "data:image/png;base64,eA=="}, "/url"),
        ({"url": "file:///etc/passwd"}, "/url"),
        ({"url": ""}, "/url"),
        ({"url": "x.png"}, "/url"),
        ({"data": "eA=="}, "/media_type"),
        ({"data": "eA==", "media_type": ""}, "/media_type"),
        ({"data": "eA==", "media_type": "png"}, "/media_type"),
        ({"data": "eA==", "media_type": "image/png\r\nX: y"}, "/media_type"),
    ],
)
def test_media_come_by_address_or_as_bytes(kind: str, fields: dict[str, str], pointer: str) -> None:
    """One of the two, bytes with their type, and addresses of the web only; within a tool's result, too."""
    part = {"type": kind, **fields}
    assert pointers(input=[message("user", part)]) == [f"/input/0/content/0{pointer}"]
    result = {"type": "tool_result", "tool_call_id": "c", "content": [PART["text"], part]}
    assert pointers(input=[message("tool", result)]) == [f"/input/0/content/0/content/1{pointer}"]


def test_all_violations_come_at_once() -> None:
    """Messages and tools are looked through to the end."""
    found = pointers(
        input=[message("user", {"type": "image"}), message("system", PART["image"]), message("tool", PART["text"])],
        tools=[TOOL, TOOL],
        tool_choice={"name": "other"},
    )
    assert found == [
        "/input/0/content/0",
        "/input/1/content/0",
        "/input/2/content/0",
        "/tools/1/name",
        "/tool_choice/name",
    ]


def test_no_more_than_twenty_are_told() -> None:
    """A long list of violations is cut."""
    assert len(pointers(input=[message("user", *[{"type": "image"}] * 50)])) == 20


# ── tools and the rest ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ([{"role": "user", "content": "x"}] * (MOST_PARTS + 1), "/input"),
        ([message("user", *[WORD] * MOST_PARTS)], "/input/0/content"),
        (
            [
                {"role": "user", "content": "x"},
                message("user", *[WORD] * 3),
                message("tool", {"type": "tool_result", "tool_call_id": "1", "content": [WORD] * MOST_PARTS}),
            ],
            "/input/2/content",
        ),
    ],
    ids=["messages", "parts", "parts of a result"],
)
def test_messages_and_parts_have_a_limit_together(given: Any, pointer: str) -> None:
    """It is told before any of them is looked at, at the place where it is reached."""
    error = refusal(input=given)
    assert (error.code, error.pointer) == ("invalid_request", pointer)


def test_so_many_messages_and_parts_are_taken() -> None:
    """As many as the limit says, of both kinds together."""
    taken = request(input=[message("user", *[WORD] * (MOST_PARTS - 1))])
    assert len(taken.messages[0].content) == MOST_PARTS - 1


def test_many_tools_are_compared_in_little_time() -> None:
    """Each with those before it at once, and the second of a name is told."""
    tools = [{**TOOL, "name": f"f{n}"} for n in range(500)]
    body = decode(json.dumps({"model": "m", "input": "x", "tools": tools}).encode(), GenerationBody)
    assert lines_run(lambda: resolved(body, TEXT)) < 5000
    assert pointers(tools=[TOOL, TOOL]) == ["/tools/1/name"]


def test_a_tool_choice_needs_its_tools() -> None:
    """A choice names one of the tools, and `required` needs any."""
    assert request(tools=[TOOL], tool_choice={"name": "look"}).tool_choice == NamedTool("look")
    assert request(tools=[TOOL], tool_choice="required").tool_choice == "required"
    assert pointers(tool_choice={"name": "look"}) == ["/tool_choice/name"]
    assert pointers(tool_choice="required") == ["/tool_choice"]
    assert pointers(tools=[TOOL], tool_choice="some") != []


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 65, "caf\xe9", "a.b", "a/b"])
def test_a_functions_name_is_plain(name: str) -> None:
    """Names of tools and schemas are letters, digits, `_` and `-`, as every provider takes them."""
    assert refusal(tools=[{**TOOL, "name": name}]).pointer == "/tools/0/name"
    schema = {"type": "json_schema", "name": name, "schema": {}}
    assert refusal(response_format=schema).pointer == "/response_format/name"


def test_everything_else_is_carried_over() -> None:
    """What needs no judgement arrives as it was sent."""
    made = request(
        tools=[TOOL],
        parallel_tool_calls=False,
        response_format={"type": "json"},
        timeouts={"idle_s": 1.5},
        provider_options={"p": {"a": 1}},
        on_unsupported="error",
        stream=True,
        keep_alive_s=0,
        metadata={"a": "b"},
    )
    assert made.tools[0].name == "look"
    assert made.parallel_tool_calls is False
    assert made.timeouts == Timeouts(idle_s=1.5)
    assert made.provider_options == {"p": {"a": 1}}
    assert (made.on_unsupported, made.stream, made.keep_alive_s, made.metadata) == ("error", True, 0, {"a": "b"})
    assert not request().stream


# ── the whole call ──────────────────────────────────────────────────────────────────────────────────────────────────


class Talker:
    credentials = 1

    def takes_urls(self, target: Target) -> tuple[str, ...]:
        return ("image", "file", "audio")

    async def generate(
        self, request: GenerationRequest, target: Target, patience: Patience, credential: int = 0
    ) -> Any:
        batch: tuple[Event, ...] = (ItemStarted(0, Text("")), ItemCompleted(0, Text("hello")), Completed("stop"))
        yield batch


class Pool:
    async def describe(self, model_id: str) -> Description:
        return Description(output_modalities=("text",))


def call(body: Any, headers: dict[bytes, bytes] | None = None, nesting: int = 16) -> Any:
    """What `POST /v1/generations` returns for a body."""
    current = snapshot(Talker())
    dispatch = dispatch_over(current)
    pool: Any = Pool()
    registry = Registry(Live(current), pool, pool, [])
    sent = {b"content-type": b"application/json", **(headers or {})}
    scope = {
        "method": "POST",
        "path": "/v1/generations",
        "headers": list(sent.items()),
        "query_string": b"",
        "client_connection": ClientConnection(),
    }

    async def receive() -> dict[str, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return {"type": "http.request", "body": data, "more_body": False}

    async def main() -> Any:
        http = HttpRequest(scope, receive, Limits(1_000_000, nesting))
        http.principal = Principal("key_1", "test", frozenset({"generate"}))
        answer = await Generations(registry, dispatch).create(http)
        return answer, http

    return asyncio.run(main())


GOOD = {"model": "m", "input": "hi"}


def test_a_plain_answer_is_the_whole_generation() -> None:
    """Without `stream` the answer is JSON, and the log's line is that of the run."""
    answer, http = call(GOOD)
    assert isinstance(answer, JsonAnswer)
    generation = json.loads(bytes(answer.body))
    assert (generation["status"], generation["output"][0]["text"]) == ("completed", "hello")
    assert http.line.generation_id == generation["id"]


def test_a_streamed_answer_is_a_stream() -> None:
    """With `stream` it is one, and nothing has been sent yet."""
    assert isinstance(call({**GOOD, "stream": True})[0], EventStream)


@pytest.mark.parametrize("accept", [b"*/*", b"application/json", b"text/event-stream", b"text/html, */*;q=0.1", b""])
def test_an_accept_that_can_be_met(accept: bytes) -> None:
    """Whatever leaves room for JSON or a stream."""
    call(GOOD, {b"accept": accept})


@pytest.mark.parametrize("accept", [b"text/html", b"image/*"])
def test_an_accept_that_cannot_be_met(accept: bytes) -> None:
    """What leaves none is told before anything runs."""
    with pytest.raises(NotAcceptable):
        call(GOOD, {b"accept": accept})


@pytest.mark.parametrize("headers", [{b"content-type": b"text/plain"}, {b"content-encoding": b"gzip"}])
def test_a_body_that_is_no_json(headers: dict[bytes, bytes]) -> None:
    """The body must say that it is JSON, and not packed."""
    with pytest.raises(UnsupportedMediaType):
        call(GOOD, headers)


@pytest.mark.parametrize("routing", [{}, {"only": ["local"]}, {"only": ["m"]}, {"ignore": ["remote", "far"]}])
def test_a_routing_that_leaves_the_target(routing: dict[str, Any]) -> None:
    """The target's name or its location is among what may serve."""
    call({**GOOD, "routing": routing})


@pytest.mark.parametrize(
    "routing", [{"only": []}, {"only": ["remote"]}, {"only": ["far"]}, {"ignore": ["local"]}, {"ignore": ["m"]}]
)
def test_a_routing_that_leaves_nothing(routing: dict[str, Any]) -> None:
    """A promise about where a request may go is kept, or the request refused."""
    with pytest.raises(InvalidRequest) as caught:
        call({**GOOD, "routing": routing})
    assert str(caught.value.pointer).startswith("/routing/")


def test_an_unknown_model() -> None:
    """A name that means nothing is told as such."""
    with pytest.raises(ModelNotFound):
        call({**GOOD, "model": "none"})


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "place",
    [
        lambda deep: {"provider_options": {"p": deep}},
        lambda deep: {"tools": [{**TOOL, "input_schema": deep}]},
        lambda deep: {"tools": [{**TOOL, "provider_options": {"p": deep}}]},
        lambda deep: {"response_format": {"type": "json_schema", "name": "x", "schema": deep}},
        lambda deep: {"input": [{"role": "user", "content": "x", "provider_options": {"p": deep}}]},
        lambda deep: {"input": [message("user", {**PART["text"], "provider_options": {"p": deep}})]},
        lambda deep: {"input": [message("user", {**PART["image"], "provider_options": {"p": deep}})]},
        lambda deep: {"input": [message("user", {**PART["text"], "annotations": [deep]})]},
        lambda deep: {"input": [message("assistant", {**PART["provider_item"], "data": deep})]},
        lambda deep: {"input": [message("assistant", {**PART["provider_item"], "data": [deep]})]},
        lambda deep: {
            "input": [message("assistant", {**PART["reasoning"], "provider_state": {"provider": "p", "data": deep}})]
        },
        lambda deep: {
            "input": [
                message(
                    "tool",
                    {**PART["tool_result"], "content": [{**PART["text"], "provider_options": {"p": deep}}]},
                )
            ]
        },
        lambda deep: {"input": [message("tool", {**PART["tool_result"], "provider_options": {"p": deep}})]},
    ],
)
def test_free_values_may_only_nest_so_deep(place: Any) -> None:
    """Wherever a client may nest as it likes, the limit counts; up to it, all is taken."""
    call({**GOOD, **place(nested(10))})
    with pytest.raises(InvalidRequest, match="nested"):
        call({**GOOD, **place(nested(40))})
