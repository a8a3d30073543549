"""The fake OpenAI proved right: OpenAI's own SDK runs against it; raw sockets look at what the SDK hides."""

from __future__ import annotations

import gzip
import http.client
import json
import math
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from pluggably.testing.fake_openai import FakeOpenAI, example_of, parse_model, running_fake_openai

KEY = "sk-fake"
ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there, fake."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 5},
            },
            "required": ["city", "days"],
        },
    },
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
    return client.chat.completions.create(model=model, messages=more.pop("messages", ASK), **more)


def chunks(client: OpenAI, model: str, **more: Any) -> list[ChatCompletionChunk]:
    more.setdefault("stream_options", {"include_usage": True})
    return list(plain(client, model, stream=True, **more))


def text_of(stream: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def finish_of(stream: list[ChatCompletionChunk]) -> str | None:
    return [chunk.choices[0].finish_reason for chunk in stream if chunk.choices][-1]


def raw(fake: FakeOpenAI, model: str, *, stream: bool = True, path: str = "chat/completions", **more: Any) -> bytes:
    """Every byte that the server sends to one request, status line included. Raises: ConnectionError."""
    url = urlsplit(fake.base_url)
    body = {"model": model, "messages": ASK, "stream": stream} if path == "chat/completions" else {"model": model}
    data = json.dumps({**body, **more}).encode()
    head = f"POST /v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=5) as connection:
        connection.sendall(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize(
    ("model", "text", "finish"),
    [
        ("echo", "Hello there, fake.", "stop"),
        ("say-4", "w0 w1 w2 w3", "stop"),
        ("slow-1-3", "w0 w1 w2", "stop"),
        ("length", "w0 w1 w2", "length"),
        ("content-filter", "w0 w1", "content_filter"),
        ("utf8", "Grüße aus Köln, 你好 世界, привет, 🌍🚀 fin.", "stop"),
        ("gzip", "w0 w1 w2", "stop"),
        ("crlf", "w0 w1 w2", "stop"),
        ("drip", "w0 w1 w2", "stop"),
        ("no-done", "w0 w1 w2", "stop"),
        ("many-in-one", " ".join(f"w{n}" for n in range(20)), "stop"),
        ("slow-headers-5", "w0 w1 w2", "stop"),
        ("giant", "x" * (4 << 20), "stop"),
    ],
)
def test_text_is_the_same_plain_and_streamed(client: OpenAI, model: str, text: str, finish: str) -> None:
    """Both forms of an answer carry the same text."""
    answer = plain(client, model)
    assert answer.object == "chat.completion"
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (text, finish)
    assert answer.choices[0].message.tool_calls is None
    stream = chunks(client, model)
    assert (text_of(stream), finish_of(stream)) == (text, finish)
    assert {chunk.id for chunk in stream} == {stream[0].id}
    assert stream[0].choices[0].delta.role == "assistant"
    # The usage stands in one last chunk without choices and is the plain answer's; the others have null.
    assert [chunk.usage for chunk in stream[:-1]] == [None] * (len(stream) - 1)
    assert stream[-1].choices == []
    assert stream[-1].usage == answer.usage
    assert stream[-1].usage is not None
    assert stream[-1].usage.prompt_tokens == 5
    assert stream[-1].usage.completion_tokens == len(stream) - 3


def test_usage_is_sent_only_when_asked_for(client: OpenAI) -> None:
    """A stream tells its usage only with `include_usage`."""
    assert all(chunk.choices and chunk.usage is None for chunk in chunks(client, "say", stream_options=None))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks(client, "n-usage-none"))
    assert plain(client, "n-usage-none").usage is None
    usage = plain(client, "cached").usage
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (1200, 1024)


def test_limits_stops_and_choices_are_honoured(client: OpenAI) -> None:
    """Token limits, stop sequences and `n` do what the documentation says."""
    cut = plain(client, "say-9", max_completion_tokens=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("w0 w1", "length")
    assert plain(client, "say-9", stop=["w3"]).choices[0].message.content == "w0 w1 w2 "
    assert [choice.index for choice in plain(client, "say-2", n=3).choices] == [0, 1, 2]
    stream = chunks(client, "say-2", n=2)
    for index in (0, 1):
        mine = [choice.delta.content or "" for chunk in stream for choice in chunk.choices if choice.index == index]
        assert "".join(mine) == "w0 w1"


@pytest.mark.parametrize(("model", "count"), [("tools", 1), ("tools-parallel", 2)])
def test_tool_calls(client: OpenAI, model: str, count: int) -> None:
    """Tool calls come whole and in pieces, one and in parallel."""
    answer = plain(client, model, tools=[WEATHER])
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert len({call.id for call in calls}) == count
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "text", "days": 5}] * count
    with client.chat.completions.stream(model=model, messages=ASK, tools=[WEATHER]) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed is not None
    assert [call.id for call in streamed] == [call.id for call in calls]
    assert [call.function.arguments for call in streamed] == [call.function.arguments for call in calls]
    arguments = [chunk.choices[0].delta.tool_calls for chunk in chunks(client, model, tools=[WEATHER])[:-1]]
    assert sum(part is not None for part in arguments) > 2 * count, "arguments come in pieces"


def test_a_tool_conversation_comes_to_an_end(client: OpenAI) -> None:
    """After a tool's result the model answers with text."""
    message = plain(client, "tools", tools=[WEATHER]).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    answer = plain(client, "tools", tools=[WEATHER], messages=[*ASK, message, result])
    assert answer.choices[0].message.content == "The tool said: sunny"
    assert plain(client, "tools", tools=[WEATHER], tool_choice="none").choices[0].message.tool_calls is None
    assert len(plain(client, "tools-parallel", parallel_tool_calls=False).choices[0].message.tool_calls) == 1


def test_reasoning(client: OpenAI) -> None:
    """Reasoning comes as deltas of its own, and is counted."""
    answer = plain(client, "reasoning")
    assert answer.choices[0].message.reasoning_content == "The user asks. I think. I know."
    assert answer.choices[0].message.content == "The answer is 42."
    assert answer.usage.completion_tokens_details.reasoning_tokens == 7
    stream = chunks(client, "reasoning")
    thoughts = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in stream[:-1]]
    assert "".join(thoughts) == "The user asks. I think. I know."
    assert text_of(stream) == "The answer is 42."


def test_refusal(client: OpenAI) -> None:
    """A refusal stands in its own field."""
    message = plain(client, "refusal").choices[0].message
    assert (message.content, message.refusal) == (None, "I cannot help with that.")
    stream = chunks(client, "refusal")[:-1]
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in stream) == message.refusal


def test_json_obeys_the_schema(client: OpenAI) -> None:
    """Structured output fits the schema that was asked for."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "kind": {"enum": ["cat", "dog"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "age": {"type": ["integer", "null"]},
        },
        "required": ["name", "kind", "tags", "age"],
        "additionalProperties": False,
        "$defs": {"tag": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "pet", "schema": schema, "strict": True}}
    expected = {"name": "text", "kind": "cat", "tags": [{"on": True}], "age": 42}
    assert json.loads(plain(client, "json", response_format=wanted).choices[0].message.content) == expected
    assert json.loads(text_of(chunks(client, "json", response_format=wanted))) == expected
    assert example_of({"type": "string", "minLength": 9}) == "textxxxxx"
    assert json.loads(plain(client, "json", response_format={"type": "json_object"}).choices[0].message.content)


def test_logprobs(client: OpenAI) -> None:
    """Every token has its log probability and the asked number of alternatives."""
    content = plain(client, "logprobs").choices[0].logprobs.content
    assert [entry.token for entry in content] == ["w0", " w1", " w2"]
    stream = chunks(client, "say-2", logprobs=True, top_logprobs=2)
    entries = [chunk.choices[0].logprobs for chunk in stream if chunk.choices and chunk.choices[0].logprobs]
    assert [len(entry.content[0].top_logprobs) for entry in entries if entry.content] == [2, 2]


@pytest.mark.parametrize(
    ("model", "error", "status", "code"),
    [
        ("status-400", openai.BadRequestError, 400, "unsupported_value"),
        ("status-401", openai.AuthenticationError, 401, "invalid_api_key"),
        ("status-402", openai.APIStatusError, 402, "invalid_request_error"),
        ("status-403", openai.PermissionDeniedError, 403, "unsupported_country_region_territory"),
        ("status-404", openai.NotFoundError, 404, "model_not_found"),
        ("status-408", openai.APIStatusError, 408, "request_timeout"),
        ("status-409", openai.ConflictError, 409, "conflict"),
        ("status-413", openai.APIStatusError, 413, "request_too_large"),
        ("status-422", openai.UnprocessableEntityError, 422, "unprocessable_entity"),
        ("status-429", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("status-429-quota", openai.RateLimitError, 429, "insufficient_quota"),
        ("status-429-credits", openai.RateLimitError, 429, "credit_balance_exhausted"),
        ("status-429-slow-down", openai.RateLimitError, 429, "slow_down"),
        ("status-500", openai.InternalServerError, 500, "server_error"),
        ("status-502", openai.InternalServerError, 502, "bad_gateway"),
        ("status-503", openai.InternalServerError, 503, "server_is_overloaded"),
        ("status-504", openai.InternalServerError, 504, "gateway_timeout"),
        ("context-length", openai.BadRequestError, 400, "context_length_exceeded"),
        ("html-error", openai.InternalServerError, 502, None),
        ("no-such-model", openai.NotFoundError, 404, "model_not_found"),
    ],
)
def test_errors(client: OpenAI, model: str, error: type[openai.APIStatusError], status: int, code: str | None) -> None:
    """Each documented error has its status, type and code."""
    for more in ({}, {"stream": True}):
        with pytest.raises(error) as caught:
            plain(client, model, **more)
        assert (caught.value.status_code, caught.value.code) == (status, code)
    if model in ("status-429", "html-error", "no-such-model"):
        with pytest.raises(error):
            client.embeddings.create(model=model, input="x")


def test_retry_after_in_its_three_forms(client: OpenAI) -> None:
    """Seconds, a date and milliseconds are all sent."""

    def headers_of(model: str) -> Any:
        with pytest.raises(openai.RateLimitError) as caught:
            plain(client, model)
        return caught.value.response.headers

    assert headers_of("status-429-after-7")["retry-after"] == "7"
    assert headers_of("status-429-ms-250")["retry-after-ms"] == "250"
    assert headers_of("status-429-date-9")["retry-after"].endswith(" GMT")


def test_flaky_fails_first_and_then_answers(client: OpenAI) -> None:
    """`flaky-<n>` fails n times and then answers."""
    answer = plain(client.with_options(max_retries=2), "flaky-1-503")
    assert answer.choices[0].message.content == "Hello there, fake."


def test_requests_are_refused_as_openai_refuses_them(fake: FakeOpenAI, client: OpenAI) -> None:
    """Wrong bodies get the error that names the parameter."""
    with OpenAI(base_url=fake.base_url, api_key="sk-wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            plain(stranger, "echo")
        assert caught.value.code == "invalid_api_key"
    refused: list[tuple[dict[str, Any], str]] = [
        ({"extra_body": {"top_k": 5}}, "unknown_parameter"),
        ({"messages": []}, "missing_required_parameter"),
        ({"messages": [{"role": "ai", "content": "x"}]}, "invalid_value"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]}, "invalid_value"),
        ({"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "x"}]}, "invalid_value"),
        ({"tools": [{"type": "function", "name": "f"}]}, "invalid_value"),
        ({"extra_body": {"model": 5}}, "invalid_value"),
    ]
    for more, code in refused:
        with pytest.raises(openai.BadRequestError) as bad:
            plain(client, "echo", **more)
        assert bad.value.code == code
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        plain(client, "echo", stream_options={"include_usage": True})
    with running_fake_openai(strict=False) as lenient:
        assert b"HTTP/1.1 200" in raw(lenient, "say", top_k=5)


@pytest.mark.parametrize("model", ["truncate-2", "reset-2", "reset-0"])
def test_broken_connections(fake: FakeOpenAI, client: OpenAI, model: str) -> None:
    """Truncated and reset answers break the client as real ones do."""
    received: list[ChatCompletionChunk] = []
    with pytest.raises((openai.APIConnectionError, OSError)):
        received.extend(plain(client, model, stream=True))
    assert len(received) == int(model[-1])
    seen = fake.requests[-1]
    assert seen.finished.wait(5)
    assert (seen.events_sent, seen.cut, seen.disconnected) == (int(model[-1]), True, False)
    with pytest.raises(openai.APIConnectionError):
        plain(client, model)


def test_a_reset_is_an_rst_and_not_an_end(fake: FakeOpenAI) -> None:
    """A reset is seen as one on the socket."""
    with pytest.raises(ConnectionResetError):
        raw(fake, "reset-1")
    with pytest.raises(ConnectionResetError):
        raw(fake, "reset-0", stream=False)
    assert not raw(fake, "truncate-1").endswith(b"0\r\n\r\n")


def test_streams_that_end_without_their_marks(fake: FakeOpenAI, client: OpenAI) -> None:
    """A stream may lack its finish reason or its `[DONE]`."""
    ended = chunks(client, "ends-3")
    assert (text_of(ended), finish_of(ended)) == ("w0 w1", None)
    assert raw(fake, "ends-3").endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in raw(fake, "no-done")
    assert raw(fake, "say-1").count(b"data: ") == 4
    assert raw(fake, "say-1").endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_errors_inside_a_200(client: OpenAI) -> None:
    """An error may stand in a good status, plain and streamed."""
    received: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError, match="had an error"):
        received.extend(plain(client, "error-in-200-2", stream=True))
    assert text_of(received) == "w0 w1"
    assert plain(client, "error-in-200").choices is None


def test_garbage(fake: FakeOpenAI, client: OpenAI) -> None:
    """A 200 may hold what is no JSON."""
    with pytest.raises(json.JSONDecodeError):
        chunks(client, "garbage")
    with pytest.raises((openai.APIError, ValueError)):
        plain(client, "garbage")
    assert b"application/json" in raw(fake, "wrong-type")
    assert b"text/event-stream" in raw(fake, "wrong-type", stream=False)


def test_a_client_that_leaves_is_noticed(fake: FakeOpenAI, client: OpenAI) -> None:
    """The record says when a client has left."""
    with plain(client, "stall-2", stream=True) as stream:
        assert len([next(stream), next(stream)]) == 2
        assert not fake.requests[-1].finished.wait(0.1), "the server waits"
    seen = fake.requests[-1]
    assert seen.finished.wait(5)
    assert (seen.events_sent, seen.disconnected) == (2, True)
    for model in ("stall", "slow-headers-5000"):
        with pytest.raises(openai.APITimeoutError):
            plain(client.with_options(timeout=0.2), model)
        assert fake.requests[-1].finished.wait(5)
        assert fake.requests[-1].disconnected


def test_what_is_recorded(fake: FakeOpenAI, client: OpenAI) -> None:
    """Method, path, headers and body of each request are kept."""
    assert text_of(chunks(client, "say-2")) == "w0 w1"
    seen = fake.requests[-1]
    assert seen.finished.wait(5)
    assert (seen.method, seen.path, seen.body["model"]) == ("POST", "/v1/chat/completions", "say-2")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert (seen.events_sent, seen.disconnected) == (6, False), "role, two tokens, finish, usage, [DONE]"


def test_bytes_travel_as_the_name_says(fake: FakeOpenAI) -> None:
    """Drip, many-in-one, CRLF and split characters are so on the socket."""
    assert b"transfer-encoding: chunked" in raw(fake, "drip").lower()
    assert raw(fake, "drip").count(b"1\r\nd\r\n1\r\na\r\n1\r\nt\r\n1\r\na\r\n1\r\n:\r\n") > 3
    joined = raw(fake, "many-in-one").split(b"\r\n\r\n", 1)[1]
    assert int(joined.split(b"\r\n", 1)[0], 16) > 20 * 200, "one HTTP chunk holds all events"
    assert b"\r\nevent: message\r\nid: 1\r\nretry: 3000\r\ndata:{" in raw(fake, "crlf")
    compressed = raw(fake, "gzip", stream=False).split(b"\r\n\r\n", 1)[1]
    assert json.loads(gzip.decompress(compressed))["object"] == "chat.completion"
    pieces = raw(fake, "utf8").split(b"\r\n")
    with pytest.raises(UnicodeDecodeError):
        [piece.decode() for piece in pieces]


def test_slow_events_are_slow(client: OpenAI) -> None:
    """The delay stands between the events."""
    started = time.monotonic()
    plain(client, "slow-20-5")
    assert time.monotonic() - started >= 0.1
    arrivals = [time.monotonic() for _ in plain(client, "slow-20-5", stream=True)]
    assert arrivals[5] - arrivals[0] >= 0.09


def test_embeddings(client: OpenAI) -> None:
    """Vectors are unit vectors, of the asked length and encoding."""
    answer = client.embeddings.create(model="text-embedding-3-small", input=["cat", "dog"])  # the SDK asks for base64
    assert [len(item.embedding) for item in answer.data] == [1536, 1536]
    assert [item.index for item in answer.data] == [0, 1]
    assert math.isclose(math.hypot(*answer.data[0].embedding), 1, abs_tol=1e-5)
    floats = client.embeddings.create(model="text-embedding-3-small", input="cat", encoding_format="float")
    assert all(
        math.isclose(one, two, abs_tol=1e-7)
        for one, two in zip(floats.data[0].embedding, answer.data[0].embedding, strict=True)
    )
    assert answer.data[0].embedding != answer.data[1].embedding
    assert len(client.embeddings.create(model="embed-8", input="x").data[0].embedding) == 8
    small = client.embeddings.create(model="text-embedding-3-large", input=[[1, 2], [3]], dimensions=4)
    assert [len(item.embedding) for item in small.data] == [4, 4]
    with pytest.raises(openai.APIConnectionError):
        client.embeddings.create(model="reset", input="x")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="echo", input="x")


def test_models(fake: FakeOpenAI, client: OpenAI) -> None:
    """The list of models is OpenAI's form."""
    assert {"echo", "say", "reset"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("say-9").id == "say-9"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
    url = urlsplit(fake.base_url)
    connection = http.client.HTTPConnection(str(url.hostname), url.port)
    connection.request("GET", "/v1/nothing", headers={"Authorization": f"Bearer {KEY}"})
    assert connection.getresponse().status == 404
    connection.close()


def test_names() -> None:
    """A name that says nothing is refused with what there is."""
    assert parse_model("status-429-after-2") == ("status-429-after", (2,))
    assert parse_model("status-429") == ("status", (429,))
    assert parse_model("slow-20-5") == ("slow", (20, 5))
    assert parse_model("error-in-200") == ("error-in-200", ())
    assert parse_model("say-x") is None


def test_a_taken_port_is_an_error(fake: FakeOpenAI) -> None:
    """A port in use is told at once."""
    with pytest.raises(OSError), running_fake_openai(port=int(fake.base_url.split(":")[2].split("/")[0])):
        pass


def test_as_a_program() -> None:
    """It runs from the command line and prints its address."""
    command = [sys.executable, "-m", "pluggably.testing.fake_openai", "--key", "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        request = urllib.request.Request(f"{base_url}/models", headers={"Authorization": "Bearer k"})
        with urllib.request.urlopen(request, timeout=5) as response:
            assert json.load(response)["object"] == "list"
        process.terminate()
