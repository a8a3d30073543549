"""A second opinion on the other wires: the same questions to aimock as Anthropic, Google, AWS, Cohere and others.

Where aimock and the vendor's own documentation differ, the documentation is right, and what aimock cannot show stands
in `UNLIKE_THE_VENDOR` with the reason; a new version of aimock that mends one fails the test that says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from needs import Needs

from e2e.aimock import running_aimock
from e2e.harness import BARE, Client, start_gateway
from e2e.protocol import Json
from e2e.test_aimock import FIXTURES, GREETING, WEATHER, without_ids
from pluggably.testing.fake_bedrock import running_fake_bedrock

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
THOUGHT = "Let me see."
CALLS: list[Json] = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Rome", "Paris")]
MORE: list[Json] = [
    {"match": {"systemMessage": "pirate", "userMessage": "who"}, "response": {"content": "Arr."}},
    # Every wire has its own word for a format; aimock only understands OpenAI's.
    {"match": {"userMessage": "json"}, "response": {"content": '{"age": 42}'}},
    {"match": {"userMessage": "ponder"}, "response": {"reasoning": THOUGHT, "toolCalls": CALLS}},
    {"match": {"userMessage": "down"}, "response": {"error": {"message": "Down", "type": "api_error"}, "status": 503}},
]


@dataclass(frozen=True)
class Wire:
    """How a provider is set up on aimock, below its address, and the model that is asked."""

    base: str
    model: str
    embeds: str | None = None
    settings: Json = field(default_factory=dict)


AWS: Json = {"variables": {"region": "us-east-1"}, "aws": [{"access_key_id": "AKIDEXAMPLE", "secret_access_key": "s"}]}
KEY: Json = {"api_key": "k"}
WIRES = {
    "anthropic": Wire("/v1", "claude-sonnet-4-5", settings=KEY),
    "azure-deployments": Wire(
        "/openai/deployments/{model}",
        "gpt-5",
        "text-embedding-3-small",
        {**KEY, "variables": {"version": "2024-10-21", "resource": "acme"}},
    ),
    "bedrock": Wire("", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", settings=AWS),
    "cohere": Wire("", "command-a-03-2025", "embed-v4.0", KEY),
    "google": Wire("/v1beta", "gemini-2.5-flash", "gemini-embedding-001", KEY),
    "huggingface": Wire("/v1", "qwen3-32b", settings=KEY),
    "mistral": Wire("/v1", "mistral-large-latest", "mistral-embed", KEY),
    "ollama": Wire("", "qwen3"),
    "openrouter": Wire("/api/v1", "openai/gpt-5", settings=KEY),
    "responses": Wire("/v1", "gpt-5", settings={**KEY, "codec": "openai_responses"}),
    "vertex": Wire(
        "/v1/projects/acme/locations/global", "gemini-2.5-flash", settings={"variables": {"project": "acme"}}
    ),
}
# What aimock 1.43 says, and what the vendor documents (2026-11).
UNLIKE_THE_VENDOR = {
    ("reasoning", "cohere"): "as a block `text`; docs.cohere.com/docs/reasoning has a block `thinking`",
    ("reasoning", "ollama"): "not at all; docs.ollama.com/capabilities/thinking has `message.thinking`",
    ("reasoning", "mistral"): "as `reasoning_content`; docs.mistral.ai/capabilities/reasoning has chunks `thinking`",
    ("length", "ollama"): "`done_reason` is always `stop`; Ollama's own is `length`",
    ("calls", "google"): "`finishReason` is FUNCTION_CALL, which is none of Gemini's; with calls it is STOP",
    ("calls", "vertex"): "the same",
    ("plan", "cohere"): "a `tool_plan` of its own, in streams alone",
    ("messages", "bedrock"): "errors are Anthropic's; Bedrock has `message` and the header `x-amzn-errortype`",
}


@pytest.fixture(scope="module")
def mock(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = Path(tmp_path_factory.mktemp("aimock"))
    given = [each for each in FIXTURES if each["match"].get("userMessage") != "json"]
    with running_aimock(needs, folder, [*given, *MORE]) as running:
        yield running


@pytest.fixture(scope="module")
def client(mock: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A gateway with all of these providers, which are aimock."""
    providers = {name: {"base_url": mock.url + wire.base, **wire.settings} for name, wire in WIRES.items()}
    with running_fake_bedrock() as tokens:
        variables = {
            "GCE_METADATA_HOST": tokens.base_url.removeprefix("http://"),
            "GOOGLE_APPLICATION_CREDENTIALS": "",
            "CLOUDSDK_CONFIG": "",
        }
        config: Json = {"providers": providers, "demo": False, "retry": BARE}
        with start_gateway(tmp_path_factory.mktemp("gateway"), config, **variables) as gateway:
            yield gateway.client


@pytest.fixture(params=WIRES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def differs(what: str, name: str) -> bool:
    return (what, name) in UNLIKE_THE_VENDOR


def both_ways(client: Client, name: str, given: object, **fields: object) -> Json:
    """The plain answer, which must be that of a stream."""
    model = f"{name}/{WIRES[name].model}"
    plain = client.answer(model, given, **fields)
    streamed = client.stream(model, given, **fields).end()
    assert streamed["error"] is None
    if not differs("plan", name):
        assert comparable(streamed) == comparable(plain)
    assert streamed["finish_reason"] == plain["finish_reason"]
    return plain


def comparable(generation: Json) -> list[Json]:
    """The output without what aimock makes up anew each time: ids, and the state of OpenAI's reasoning."""
    return [{**item, "provider_state": None} for item in without_ids(generation["output"])]


def calls_of(generation: Json) -> list[Json]:
    return [item for item in generation["output"] if item["type"] == "tool_call"]


def test_a_text(client: Client, name: str) -> None:
    """Whole, in its characters, and in as many pieces as it was sent."""
    answer = both_ways(client, name, "hello")
    assert [item["text"] for item in answer["output"] if item["type"] == "text"] == [GREETING]
    assert answer["finish_reason"] == "stop"
    assert answer["warnings"] == []
    stream = client.stream(f"{name}/{WIRES[name].model}", "hello")
    stream.end()
    assert len([event for event in stream.seen if event.name == "output.delta"]) > 5


def test_a_system_prompt_is_read_as_one(client: Client, name: str) -> None:
    """Whatever place the wire has for it."""
    given = [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "who are you"}]
    assert both_ways(client, name, given)["output"][-1]["text"] == "Arr."


def test_an_answer_that_was_cut(client: Client, name: str) -> None:
    """Each vendor's own word for it."""
    reason = both_ways(client, name, "cut")["finish_reason"]
    assert reason == ("stop" if differs("length", name) else "length")


def test_reasoning(client: Client, name: str) -> None:
    """It is an item of its own, before the text."""
    items = both_ways(client, name, "think")["output"]
    thoughts = [item["text"] for item in items if item["type"] == "reasoning"]
    assert thoughts == ([] if differs("reasoning", name) else [THOUGHT])
    assert items[-1]["text"] == "42."


def test_structured_output(client: Client, name: str) -> None:
    """It is asked for in the vendor's form, which nobody refuses, and comes as the text."""
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer"}},
        "required": ["age"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "name": "person", "schema": schema}
    assert json.loads(both_ways(client, name, "json", response_format=wanted)["output"][-1]["text"]) == {"age": 42}


@pytest.mark.parametrize(("asked", "cities"), [("weather", ["Rome"]), ("both", ["Rome", "Paris"])])
def test_calls_of_tools(client: Client, name: str, asked: str, cities: list[str]) -> None:
    """One, and two at once, with an id each."""
    answer = both_ways(client, name, asked, tools=[WEATHER])
    calls = calls_of(answer)
    assert [json.loads(call["arguments"]) for call in calls] == [{"city": city} for city in cities]
    assert len({call["id"] for call in calls}) == len(cities)
    assert answer["finish_reason"] == ("length" if differs("calls", name) else "tool_calls")


def test_a_conversation_goes_on_with_results(client: Client, mock: Client, name: str) -> None:
    """Thoughts and calls go back as they came; aimock finds both results, and to which call each belongs."""
    asked = {"role": "user", "content": "ponder"}
    answer = client.stream(f"{name}/{WIRES[name].model}", [asked], tools=[WEATHER]).end()
    rome, paris = calls_of(answer)
    results = [
        {"type": "tool_result", "tool_call_id": rome["id"], "content": "no such city", "is_error": True},
        {"type": "tool_result", "tool_call_id": paris["id"], "content": "sunny in Paris"},
    ]
    given = [asked, {"role": "assistant", "content": answer["output"]}, {"role": "tool", "content": results}]
    assert both_ways(client, name, given, tools=[WEATHER])["output"][-1]["text"] == "It is sunny in Rome."
    seen = mock.get("/__aimock/journal").json()[-1]["body"]["messages"]
    called = [call for message in seen for call in message.get("tool_calls") or []]
    told = [message for message in seen if message["role"] == "tool"]
    assert [json.loads(call["function"]["arguments"])["city"] for call in called] == ["Rome", "Paris"]
    assert "no such city" in told[0]["content"] and "sunny in Paris" in told[1]["content"]
    if all("tool_call_id" in message for message in told):
        assert [message["tool_call_id"] for message in told] == [call["id"] for call in called]


@pytest.mark.parametrize(
    ("a", "b"), [("anthropic", "google"), ("google", "mistral"), ("responses", "bedrock"), ("cohere", "ollama")]
)
def test_another_provider_goes_on(client: Client, mock: Client, a: str, b: str) -> None:
    """What A said goes to B as it came, with results, and what both said to A; a warning tells of A's own state."""
    asked: Json = {"role": "user", "content": "ponder"}
    first = client.answer(f"{a}/{WIRES[a].model}", [asked], tools=[WEATHER])
    results = [
        {"type": "tool_result", "tool_call_id": call["id"], "content": f"sunny ({number})"}
        for number, call in enumerate(calls_of(first))
    ]
    said: list[Json] = [{"role": "assistant", "content": first["output"]}, {"role": "tool", "content": results}]
    second = both_ways(client, b, [asked, *said], tools=[WEATHER])
    assert second["output"][-1]["text"] == "It is sunny in Rome."
    foreign = [item for item in first["output"] if item.get("provider_state")]
    assert [one["code"] for one in second["warnings"]] == ["provider_state_dropped"] * len(foreign)
    seen = mock.get("/__aimock/journal").json()[-1]["body"]["messages"]
    told = [message["content"] for message in seen if message["role"] == "tool"]
    assert ["sunny (0)" in told[0], "sunny (1)" in told[1]] == [True, True]
    more: list[Json] = [{"role": "assistant", "content": second["output"]}, {"role": "user", "content": "hello"}]
    third = both_ways(client, a, [asked, *said, *more], tools=[WEATHER])
    assert third["output"][-1]["text"] == GREETING
    assert third["warnings"] == []


@pytest.mark.parametrize(
    ("fields", "status", "code", "place"),
    [
        ({"data": "JVBERi0xLjc=", "media_type": "image/png"}, 415, "unsupported_media_type", "data"),
        ({"data": "no base64", "media_type": "image/png"}, 400, "invalid_request", "data"),
        ({"data": "", "media_type": "image/png"}, 400, "invalid_request", "data"),
        ({"data": PIXEL, "media_type": "png"}, 400, "invalid_request", "media_type"),
        ({"url": f"data:image/png;base64,{PIXEL}"}, 400, "invalid_request", "url"),
        ({"url": "file:///etc/passwd"}, 400, "invalid_request", "url"),
    ],
)
def test_a_wrong_image_is_the_clients_to_mend_everywhere(
    client: Client, mock: Client, name: str, fields: Json, status: int, code: str, place: str
) -> None:
    """The same words from every provider, none of which is asked."""
    asked = len(mock.get("/__aimock/journal").json())
    reply = client.generate(f"{name}/{WIRES[name].model}", [{"role": "user", "content": [{"type": "image", **fields}]}])
    pointer = reply.error["pointer"] or reply.error["errors"][0]["pointer"]
    assert (reply.status, reply.error["code"], pointer) == (status, code, f"/input/0/content/0/{place}")
    assert len(mock.get("/__aimock/journal").json()) == asked


def test_a_hundred_images_go_to_every_provider(client: Client, name: str) -> None:
    """By data, under a type that is written as nobody writes it."""
    image = {"type": "image", "data": PIXEL, "media_type": "IMAGE/PNG; charset=binary"}
    given = [{"role": "user", "content": [{"type": "text", "text": "hello"}, *[image] * 100]}]
    answer = client.answer(f"{name}/{WIRES[name].model}", given)
    assert answer["output"][-1]["text"] == GREETING
    assert answer["warnings"] == []


def test_embeddings(client: Client, name: str) -> None:
    """A vector comes as it was sent."""
    wire = WIRES[name]
    if wire.embeds is None:
        pytest.skip("aimock has no embeddings in this vendor's form, or the vendor has none")
    answer = client.answer(f"{name}/{wire.embeds}", ["vector"], modality="embedding")
    assert answer["output"] == [{"type": "embedding", "vector": [0.25, -0.5, 0.125], "input_index": 0}]


@pytest.mark.parametrize(
    ("asked", "status", "code", "message"),
    [("busy", 429, "backend_rate_limited", "Slow down"), ("down", 502, "backend_error", "Down")],
)
def test_errors(client: Client, name: str, asked: str, status: int, code: str, message: str) -> None:
    """They mean the same from everybody, and bring the vendor's words."""
    reply = client.generate(f"{name}/{WIRES[name].model}", asked)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert (message in reply.error["detail"]) == (not differs("messages", name))
    end = client.stream(f"{name}/{WIRES[name].model}", asked)
    assert (end.refusal.error if end.refusal else end.end()["error"])["code"] == code


def test_a_stream_that_breaks_off(client: Client, name: str) -> None:
    """It is never an answer, and what was said so far is kept."""
    stream = client.stream(f"{name}/{WIRES[name].model}", "break")
    if stream.refusal is not None:  # nothing was said yet
        assert stream.refusal.error["code"] == "backend_invalid_response"
        return
    generation = stream.end()
    assert (generation["status"], generation["error"]["code"]) == ("failed", "backend_invalid_response")
    assert GREETING.startswith(generation["output"][0]["text"])
