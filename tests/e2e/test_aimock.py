"""A second opinion on OpenAI's wire: the independent npm package @copilotkit/aimock as the vendor.

Our own fake vendor and our codec were written by the same people, who may have misread the same page twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import Needs

from e2e.aimock import running_aimock
from e2e.harness import Client, start_gateway
from e2e.protocol import Json

KEY = "sk-aimock-of-the-test"
GREETING = "Hello! This is a mock with a longer text, so that it comes in many pieces. Grüße, 你好, 🌍."
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
FIXTURES: list[Json] = [
    {"match": {"userMessage": "hello"}, "response": {"content": GREETING}},
    {"match": {"userMessage": "think"}, "response": {"content": "42.", "reasoning": "Let me see."}},
    {"match": {"userMessage": "cut"}, "response": {"content": "Cut sh", "finishReason": "length"}},
    {"match": {"toolResultContains": "sunny"}, "response": {"content": "It is sunny in Rome."}},
    {
        "match": {"userMessage": "both"},
        "response": {
            "toolCalls": [
                {"name": "get_weather", "arguments": {"city": "Rome"}},
                {"name": "get_weather", "arguments": {"city": "Paris"}},
            ]
        },
    },
    {
        "match": {"userMessage": "weather"},
        "response": {"toolCalls": [{"name": "get_weather", "arguments": {"city": "Rome"}}]},
    },
    {"match": {"userMessage": "json", "responseFormat": "json_schema"}, "response": {"content": '{"age": 42}'}},
    {
        "match": {"userMessage": "busy"},
        "response": {"error": {"message": "Slow down", "type": "rate_limit_error"}, "status": 429},
    },
    {"match": {"userMessage": "break"}, "response": {"content": GREETING}, "latency": 50, "truncateAfterChunks": 4},
    {"match": {"inputText": "vector"}, "response": {"embedding": [0.25, -0.5, 0.125]}},
]


@pytest.fixture(scope="module")
def client(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A gateway in front of aimock."""
    folder = Path(tmp_path_factory.mktemp("aimock"))
    with running_aimock(needs, folder, FIXTURES, AIMOCK_API_KEYS=KEY) as mock:
        config: Json = {
            "providers": {
                "mock": {"codec": "openai", "base_url": f"{mock.url}/v1", "api_key": KEY},
                "openai": {"base_url": f"{mock.url}/v1", "api_key": KEY},
                "stranger": {"codec": "openai", "base_url": f"{mock.url}/v1", "api_key": "sk-another"},
            },
            "demo": False,
        }
        with start_gateway(folder, config) as gateway:
            yield gateway.client


def both_ways(client: Client, given: object, **fields: object) -> Json:
    """Asks plain and streamed, under the plain codec and the preset; all must agree."""
    plain = client.answer("mock/gpt-4o", given, **fields)
    streams = [client.stream(f"{provider}/gpt-4o", given, **fields).end() for provider in ("mock", "openai")]
    for other in [*streams, client.answer("openai/gpt-4o", given, **fields)]:
        assert other["finish_reason"] == plain["finish_reason"]
        assert without_ids(other["output"]) == without_ids(plain["output"])
    return plain


def without_ids(items: list[Json]) -> list[Json]:
    """aimock makes up a new id for each tool call."""
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


def test_a_text(client: Client) -> None:
    """A text goes through whole, with usage, plain and streamed."""
    answer = both_ways(client, "hello")
    assert answer["output"] == [{"type": "text", "text": GREETING, "annotations": [], "logprobs": None}]
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["output_tokens"] > 0
    streamed = client.stream("mock/gpt-4o", "hello")
    assert streamed.end()["usage"]["output_tokens"] == answer["usage"]["output_tokens"]
    assert len([event for event in streamed.seen if event.name == "output.delta"]) > 5


def test_reasoning(client: Client) -> None:
    """Reasoning is an item of its own, before the text."""
    answer = client.stream("mock/deepseek-reasoner", "think").end()
    assert [item["type"] for item in answer["output"]] == ["reasoning", "text"]
    assert answer["output"][0]["text"] == "Let me see."


def test_a_finish_reason(client: Client) -> None:
    """An answer that was cut says so."""
    assert both_ways(client, "cut")["finish_reason"] == "length"


def test_a_tool_and_its_result(client: Client) -> None:
    """A tool is called, its result goes back, and the answer follows."""
    asked: list[Json] = [{"role": "user", "content": "weather"}]
    answer = both_ways(client, asked, tools=[WEATHER])
    [call] = answer["output"]
    assert (call["name"], json.loads(call["arguments"]), answer["finish_reason"]) == (
        "get_weather",
        {"city": "Rome"},
        "tool_calls",
    )
    result = {"type": "tool_result", "tool_call_id": call["id"], "content": "sunny"}
    conversation = [*asked, {"role": "assistant", "content": answer["output"]}, {"role": "tool", "content": [result]}]
    assert both_ways(client, conversation, tools=[WEATHER])["output"][0]["text"] == "It is sunny in Rome."


def test_parallel_tools(client: Client) -> None:
    """Two calls at once are told apart."""
    calls = both_ways(client, "both", tools=[WEATHER])["output"]
    assert [json.loads(call["arguments"])["city"] for call in calls] == ["Rome", "Paris"]
    assert len({call["id"] for call in calls}) == 2


def test_a_json_schema(client: Client) -> None:
    """aimock knows a response format when it sees one."""
    wanted = {"type": "json_schema", "name": "person", "schema": {"type": "object"}}
    assert json.loads(both_ways(client, "json", response_format=wanted)["output"][0]["text"]) == {"age": 42}


def test_embeddings(client: Client) -> None:
    """Vectors come as numbers, and as base64 for the preset."""
    for provider in ("mock", "openai"):
        answer = client.answer(f"{provider}/text-embedding-3-small", ["vector"], modality="embedding")
        assert answer["output"] == [{"type": "embedding", "vector": [0.25, -0.5, 0.125], "input_index": 0}]


def test_errors(client: Client) -> None:
    """Its errors mean what ours mean."""
    busy = client.generate("mock/gpt-4o", "busy")
    assert (busy.status, busy.error["code"]) == (429, "backend_rate_limited")
    assert client.generate("stranger/gpt-4o", "hello").error["code"] == "backend_authentication_failed"


def test_a_stream_that_breaks_off(client: Client) -> None:
    """A stream that it cuts fails with what was said so far."""
    generation = client.stream("mock/gpt-4o", "break").end()
    assert (generation["status"], generation["error"]["code"]) == ("failed", "backend_invalid_response")
    assert GREETING.startswith(generation["output"][0]["text"])
