"""The fake's Responses API proved right: OpenAI's own SDK reads it, and it says what its Chat Completions say."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pydantic
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from pluggably.testing.fake_openai import FakeOpenAI, running_fake_openai

KEY = "sk-fake"
ASK: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello there, fake."}]
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOpenAI]:
    with running_fake_openai(key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def client(fake: FakeOpenAI) -> Iterator[OpenAI]:
    with OpenAI(base_url=fake.base_url, api_key=KEY, max_retries=0, timeout=10) as sdk:
        yield sdk


def plain(client: OpenAI, model: str, **more: Any) -> Any:
    return client.responses.create(model=model, input=more.pop("input", ASK), **more)


def events(client: OpenAI, model: str, **more: Any) -> list[Any]:
    return list(plain(client, model, stream=True, **more))


ANSWERS = """
    echo say-4 slow-1-3 slow-headers-5 length content-filter utf8 gzip crlf drip no-done many-in-one refusal reasoning
    json tools tools-parallel cached giant logprobs
"""


@pytest.mark.parametrize("model", ANSWERS.split())
def test_the_answer_is_the_same_in_all_forms(client: OpenAI, model: str) -> None:
    """Plain, as the response that ends a stream, in a stream's pieces, and as Chat Completions tell it."""
    answer = plain(client, model)
    stream = events(client, model)
    assert stream[-1].type == f"response.{answer.status}"
    assert stream[-1].response.output == answer.output
    assert stream[-1].response.usage == answer.usage
    assert [event.sequence_number for event in stream] == list(range(len(stream)))
    assert "".join(event.delta for event in stream if event.type == "response.output_text.delta") == answer.output_text
    chat = client.chat.completions.create(model=model, messages=ASK)
    message = chat.choices[0].message
    assert answer.output_text == (message.content or "")
    calls = [(item.name, item.arguments) for item in answer.output if item.type == "function_call"]
    assert calls == [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    assert answer.usage.input_tokens == chat.usage.prompt_tokens
    assert answer.usage.output_tokens == chat.usage.completion_tokens


@pytest.mark.parametrize("model", ["echo", "refusal", "reasoning", "tools-parallel", "length"])
def test_what_is_said_is_of_openais_types(fake: FakeOpenAI, model: str) -> None:
    """Every event and every response, strictly: the SDK itself would take anything."""
    address = urlsplit(fake.base_url)
    for stream in (False, True):
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
        body = json.dumps({"model": model, "input": ASK, "stream": stream})
        connection.request("POST", "/v1/responses", body, {"Authorization": f"Bearer {KEY}"})
        said = connection.getresponse().read()
        connection.close()
        if not stream:
            pydantic.TypeAdapter(Response).validate_json(said)
            continue
        frames = [frame.split(b"\ndata: ") for frame in said.strip().split(b"\n\n")]
        for name, data in frames:
            pydantic.TypeAdapter(ResponseStreamEvent).validate_json(data)
            assert name == b"event: " + json.loads(data)["type"].encode()


def test_what_ends_an_answer_early_is_told(client: OpenAI) -> None:
    """Limits and filters, of the model or of the request."""
    cut = plain(client, "say-9", max_output_tokens=2)
    assert (cut.output_text, cut.status, cut.incomplete_details.reason) == ("w0 w1", "incomplete", "max_output_tokens")
    assert plain(client, "length").incomplete_details.reason == "max_output_tokens"
    assert plain(client, "content-filter").incomplete_details.reason == "content_filter"


def test_tools_are_called_and_their_results_read(client: OpenAI) -> None:
    """The arguments obey the schema, and the conversation goes on."""
    answer = plain(client, "tools", tools=[WEATHER])
    call = answer.output[0]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "text", "days": 42})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    after = plain(client, "tools", tools=[WEATHER], input=[*ASK, call.to_dict(), result])
    assert after.output_text == "The tool said: sunny"
    named = plain(client, "tools-parallel", tools=[WEATHER], tool_choice={"type": "function", "name": "weather"})
    assert [item.name for item in named.output] == ["weather", "weather"]
    assert len(plain(client, "tools-parallel", tools=[WEATHER], parallel_tool_calls=False).output) == 1
    assert plain(client, "tools", tools=[WEATHER], tool_choice="none").output_text == "No tool was called."


def test_formats_and_log_probabilities_are_obeyed(client: OpenAI) -> None:
    """A schema has its example; tokens have their scores where they are asked for."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    answer = plain(client, "json", text={"format": {"type": "json_schema", "name": "n", "schema": schema}})
    assert json.loads(answer.output_text) == {"n": 42}
    scored = plain(client, "say-2", include=["message.output_text.logprobs"], top_logprobs=2)
    assert [len(score.top_logprobs) for score in scored.output[0].content[0].logprobs] == [2, 2]
    deltas = [
        event for event in events(client, "say-2", include=["message.output_text.logprobs"]) if "delta" in event.type
    ]
    assert [len(event.logprobs) for event in deltas] == [1, 1]
    assert plain(client, "say-2").output[0].content[0].logprobs == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}, "input[0].content"),
        ({"input": [{"type": "function_call_output", "call_id": "a", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "a", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}], "store": False}, "input[0].encrypted_content"),
        ({"input": "x", "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0]"),
        ({"input": "x", "text": {"format": {"type": "json_schema", "json_schema": {}}}}, "text.format"),
        ({"input": "x", "messages": []}, "messages"),
        ({"input": "x", "stop": ["END"]}, "stop"),
        ({}, "input"),
    ],
)
def test_what_openai_does_not_document_is_refused(fake: FakeOpenAI, given: dict[str, Any], param: str) -> None:
    """A codec that invents things is caught."""
    address = urlsplit(fake.base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
    body = json.dumps({"model": "echo", **given})
    connection.request("POST", "/v1/responses", body, {"Authorization": f"Bearer {KEY}"})
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["error"]["param"]) == (400, param)
    connection.close()


def test_it_breaks_as_on_the_other_wire(client: OpenAI) -> None:
    """Errors, an error in a stream, and cut connections."""
    with pytest.raises(openai.RateLimitError):
        plain(client, "status-429")
    with pytest.raises(openai.NotFoundError):
        plain(client, "nothing")
    with pytest.raises(openai.AuthenticationError):
        plain(client.with_options(api_key="wrong"), "echo")
    with pytest.raises(openai.APIError):
        events(client, "error-in-200-2")
    with pytest.raises(openai.APIConnectionError):
        plain(client, "reset")
    assert [event.type for event in events(client, "ends-3")][-1] == "response.output_item.added"
    assert plain(client, "n-usage-none").usage is None
