"""Text and embeddings through a provider, plain and streamed: every answer that the fake vendor knows."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest

from e2e.harness import Client, Gateway, eventually
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI, embed

WORDS = "w0 w1 w2"
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK: Json = {"type": "function", "name": "get_time", "input_schema": {"type": "object", "properties": {}}}
COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "images", "cost_usd", "estimated")


def text(words: str) -> Json:
    return {"type": "text", "text": words, "annotations": [], "logprobs": None}


def both_ways(client: Client, model: str, given: Any = "Hello there", **fields: Any) -> Json:
    """Asks plain and streamed; the two answers must be the same but for ids and times. Returns the plain one."""
    plain = client.answer(model, given, **fields)
    streamed = client.stream(model, given, **fields).end()
    for field in (
        "status",
        "modality",
        "model",
        "served_by",
        "output",
        "finish_reason",
        "warnings",
        "error",
        "metadata",
    ):
        assert streamed[field] == plain[field], field
    assert {name: streamed["usage"][name] for name in COUNTS} == {name: plain["usage"][name] for name in COUNTS}
    return plain


@pytest.mark.parametrize(
    ("model", "output", "finish_reason"),
    [
        ("echo", [text("Hello there")], "stop"),
        ("say-3", [text(WORDS)], "stop"),
        ("slow-5-3", [text(WORDS)], "stop"),
        ("slow-headers-50", [text(WORDS)], "stop"),
        ("json", [text('{"answer": 42}')], "stop"),
        ("length", [text(WORDS)], "length"),
        ("content-filter", [text("w0 w1")], "content_filter"),
        ("cached", [text(WORDS)], "stop"),
        ("n-usage-none", [text(WORDS)], "stop"),
        ("utf8", [text("Grüße aus Köln, 你好 世界, привет, 🌍🚀 fin.")], "stop"),
        ("refusal", [{"type": "refusal", "text": "I cannot help with that."}], "stop"),
        (
            "reasoning",
            [
                {"type": "reasoning", "text": "The user asks. I think. I know.", "provider_state": None},
                text("The answer is 42."),
            ],
            "stop",
        ),
        ("drip", [text(WORDS)], "stop"),
        ("many-in-one", [text(" ".join(f"w{number}" for number in range(20)))], "stop"),
        ("crlf", [text(WORDS)], "stop"),
        ("gzip", [text(WORDS)], "stop"),
    ],
)
def test_answers(client: Client, model: str, output: list[Json], finish_reason: str) -> None:
    """Each form of answer comes out whole and the same, plain and streamed."""
    answer = both_ways(client, f"fake/{model}")
    assert answer["output"] == output
    assert answer["finish_reason"] == finish_reason
    assert answer["served_by"] == {"backend": "fake", "model": model, "location": "remote"}
    assert answer["warnings"] == []


def test_the_whole_of_an_answer(client: Client) -> None:
    """A plain answer has every field of the API's table, with sane ids, times and counts."""
    reply = client.generate("fake/say-3", "Hello there", metadata={"project": "x", "empty": ""})
    answer = reply.json()
    assert reply.headers["content-type"] == "application/json"
    assert re.fullmatch(r"gen_[0-9A-Za-z]{26,40}", answer["id"])
    assert re.fullmatch(r"req_[0-9A-Za-z]{26,40}", reply.headers["x-request-id"])
    created, started, completed = (
        datetime.fromisoformat(answer[name]) for name in ("created_at", "started_at", "completed_at")
    )
    assert created.tzinfo is not None and created <= started <= completed
    usage = answer.pop("usage")
    assert {name: usage[name] for name in COUNTS} == {
        "input_tokens": 2,
        "cached_input_tokens": 0,
        "output_tokens": 3,
        "reasoning_tokens": 0,
        "images": 0,
        "cost_usd": None,
        "estimated": False,
    }
    assert 0 <= usage["time_to_first_event_s"] <= usage["duration_s"] < 10
    assert usage["queued_s"] == 0
    for name in ("id", "created_at", "started_at", "completed_at"):
        del answer[name]
    assert answer == {
        "object": "generation",
        "status": "completed",
        "modality": "text",
        "model": "fake/say-3",
        "served_by": {"backend": "fake", "model": "say-3", "location": "remote"},
        "attempts": [],
        "expires_at": None,
        "output": [text(WORDS)],
        "finish_reason": "stop",
        "warnings": [],
        "error": None,
        "metadata": {"project": "x", "empty": ""},
    }


def test_the_events_of_a_stream(client: Client) -> None:
    """A stream has exactly the documented events in the documented order, under the documented headers."""
    stream = client.stream("fake/say-3", metadata={"a": "b"})
    events = stream.all()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-request-id"].startswith("req_")
    assert [event.name for event in events] == [
        "generation.created",
        "generation.started",
        "output.started",
        "output.delta",
        "output.delta",
        "output.delta",
        "output.completed",
        "generation.completed",
    ]
    created = events[0].data["generation"]
    assert (created["status"], created["model"], created["metadata"]) == ("running", "fake/say-3", {"a": "b"})
    assert created["output"] == [] and created["finish_reason"] is None and created["error"] is None
    assert events[1].data["served_by"] == {"backend": "fake", "model": "say-3", "location": "remote"}
    assert events[2].data["item"] == text("")
    assert [event.data["text"] for event in events[3:6]] == ["w0", " w1", " w2"]
    assert events[6].data["item"] == text(WORDS)


def test_events_come_as_they_happen(client: Client, fake: FakeOpenAI) -> None:
    """A delta reaches the client while the vendor still speaks."""
    stream = client.stream("fake/slow-150-4")
    stream.next("output.delta")
    assert not fake.requests[-1].finished.is_set()
    assert stream.end()["status"] == "completed"


def test_the_head_goes_out_after_a_second_of_waiting(client: Client, fake: FakeOpenAI) -> None:
    """Where the vendor lets wait, the status line and `created` come after about a second, not with the answer."""
    stream = client.stream("fake/slow-headers-2500")
    assert stream.next().name == "generation.created"
    assert fake.requests[-1].events_sent == 0
    assert stream.end()["output"] == [text(WORDS)]


def test_a_silent_stream_is_kept_alive(client: Client) -> None:
    """While the vendor is silent a comment comes every 15 seconds, so that no proxy gives the stream up."""
    fields: Json = {"model": "fake/stall-3", "input": "Hello", "stream": True, "timeouts": {"idle_s": 60}}
    connection, answer = client.send("POST", "/v1/generations", fields, timeout_s=25)
    lines: list[bytes] = []
    while not lines or not lines[-1].startswith(b":"):
        lines.append(answer.readline())
        assert lines[-1], "the stream ended"
    assert answer.readline() == b"\n"
    assert lines[-3:-1] == [lines[-3], b"\n"] and lines[-3].startswith(b"data: ")
    answer.close()
    connection.close()


def test_usage_that_nobody_tells_is_null(client: Client) -> None:
    """Where the vendor tells no usage, the counts are null and not zero."""
    usage = both_ways(client, "fake/n-usage-none")["usage"]
    assert [usage[name] for name in COUNTS[:4]] == [None] * 4
    assert usage["cost_usd"] is None


def test_cached_and_reasoning_tokens(client: Client) -> None:
    """Tokens from the cache and tokens of reasoning are told apart."""
    cached = both_ways(client, "fake/cached")["usage"]
    assert (cached["input_tokens"], cached["cached_input_tokens"]) == (1200, 1024)
    reasoned = both_ways(client, "fake/reasoning")["usage"]
    assert (reasoned["reasoning_tokens"], reasoned["output_tokens"]) == (7, 11)


def test_cost(client: Client) -> None:
    """What runs on the operator's own network costs nothing; a price that is not known is null."""
    assert client.answer("box/say-3")["usage"]["cost_usd"] == "0"
    assert client.answer("fake/say-3")["usage"]["cost_usd"] is None
    # A preset's prices are those of its own address, and this one was pointed elsewhere.
    assert client.answer("openai/text-embedding-3-small", modality="embedding")["usage"]["cost_usd"] is None


def test_an_alias(client: Client) -> None:
    """An alias is answered under its own name, and tells what served it."""
    answer = both_ways(client, "chat", "Hi")
    assert (answer["model"], answer["served_by"]["model"], answer["output"]) == ("chat", "echo", [text("Hi")])


def test_parameters_reach_the_vendor(client: Client, fake: FakeOpenAI) -> None:
    """Every parameter that this wire has arrives under the wire's own name."""
    client.answer(
        "fake/say-9",
        parameters={
            "max_output_tokens": 7,
            "temperature": 0.2,
            "top_p": 0.9,
            "stop": ["w5"],
            "seed": 7,
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
            "reasoning": {"effort": "low"},
            "logprobs": 2,
        },
    )
    body = fake.requests[-1].body
    expected = {
        "max_tokens": 7,
        "temperature": 0.2,
        "top_p": 0.9,
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert {name: body[name] for name in expected} == expected
    assert body["stop"] in (["w5"], "w5")


def test_a_limit_and_a_stop_end_an_answer(client: Client) -> None:
    """`max_output_tokens` ends with `length`, a stop sequence with `stop`."""
    limited = both_ways(client, "fake/say-9", parameters={"max_output_tokens": 2})
    assert (limited["output"], limited["finish_reason"]) == ([text("w0 w1")], "length")
    stopped = both_ways(client, "fake/say-9", parameters={"stop": " w3"})
    assert (stopped["output"], stopped["finish_reason"]) == ([text(WORDS)], "stop")


def test_a_hint_that_is_dropped_is_told(client: Client, fake: FakeOpenAI) -> None:
    """`top_k`, which this wire lacks, is dropped with a warning that points at it."""
    answer = both_ways(client, "fake/say-3", parameters={"top_k": 5, "temperature": 1})
    assert [(warning["code"], warning["parameter"]) for warning in answer["warnings"]] == [
        ("parameter_dropped", "/parameters/top_k")
    ]
    assert "top_k" in answer["warnings"][0]["detail"]
    assert "top_k" not in fake.requests[-1].body


@pytest.mark.parametrize("stream", [False, True])
def test_a_hint_is_refused_on_demand(client: Client, fake: FakeOpenAI, stream: bool) -> None:
    """With `on_unsupported: error` nothing is asked, and the error points at the parameter."""
    asked = len(fake.requests)
    reply = client.generate("fake/say-3", parameters={"top_k": 5}, on_unsupported="error", stream=stream)
    assert (reply.status, reply.error["code"], reply.error["pointer"]) == (
        400,
        "unsupported_parameter",
        "/parameters/top_k",
    )
    assert len(fake.requests) == asked


def test_log_probabilities(client: Client) -> None:
    """Asked for, each token has its log probability and the likeliest others; the deltas carry them, too."""
    answer = both_ways(client, "fake/say-3", parameters={"logprobs": 2})
    scores = answer["output"][0]["logprobs"]
    assert [score["token"] for score in scores] == ["w0", " w1", " w2"]
    assert scores[0] == {
        "token": "w0",
        "logprob": -0.25,
        "top": [{"token": "w0", "logprob": -0.25}, {"token": "alt1", "logprob": -3.0}],
    }
    deltas = [event.data for event in client.stream("fake/logprobs").all() if event.name == "output.delta"]
    assert [delta["logprobs"][0]["token"] for delta in deltas] == ["w0", " w1", " w2"]


def test_a_tool_call(client: Client, fake: FakeOpenAI) -> None:
    """A tool is called with arguments that obey its schema; they come in pieces that add up."""
    answer = both_ways(client, "fake/tools", tools=[WEATHER])
    [call] = answer["output"]
    assert (call["type"], call["name"], answer["finish_reason"]) == ("tool_call", "get_weather", "tool_calls")
    assert json.loads(call["arguments"]) == {"city": "text"}
    assert call["id"].startswith("call_")
    deltas = [event for event in client.stream("fake/tools", tools=[WEATHER]).all() if event.name == "output.delta"]
    assert len(deltas) > 1
    sent = fake.requests[-1].body["tools"][0]["function"]
    assert (sent["name"], sent["parameters"]) == ("get_weather", WEATHER["input_schema"])


def test_parallel_tool_calls(client: Client) -> None:
    """Two calls at once are two items, unless the client wants one at a time."""
    answer = both_ways(client, "fake/tools-parallel", tools=[WEATHER, CLOCK])
    assert [call["name"] for call in answer["output"]] == ["get_weather", "get_time"]
    assert len({call["id"] for call in answer["output"]}) == 2
    alone = both_ways(client, "fake/tools-parallel", tools=[WEATHER, CLOCK], parallel_tool_calls=False)
    assert [call["name"] for call in alone["output"]] == ["get_weather"]


def test_tool_choice(client: Client, fake: FakeOpenAI) -> None:
    """A named tool is called, `none` calls nothing, and a demand that was not followed is told."""
    named = both_ways(client, "fake/tools", tools=[WEATHER, CLOCK], tool_choice={"name": "get_time"})
    assert named["output"][0]["name"] == "get_time"
    assert both_ways(client, "fake/tools", tools=[WEATHER], tool_choice="none")["output"] == [
        text("No tool was called.")
    ]
    ignored = both_ways(client, "fake/say-3", tools=[WEATHER], tool_choice="required")
    assert fake.requests[-1].body["tool_choice"] == "required"
    assert [warning["code"] for warning in ignored["warnings"]] == ["tool_choice_ignored"]


def test_a_conversation_with_a_tool(client: Client) -> None:
    """The items of an answer go back word for word as an assistant message, and the tool's result after them."""
    asked: list[Json] = [{"role": "user", "content": "What is the weather in Rome?"}]
    answer = client.answer("fake/tools", asked, tools=[WEATHER])
    call = answer["output"][0]
    result = {"type": "tool_result", "tool_call_id": call["id"], "content": "sunny"}
    conversation = [*asked, {"role": "assistant", "content": answer["output"]}, {"role": "tool", "content": [result]}]
    assert both_ways(client, "fake/tools", conversation, tools=[WEATHER])["output"] == [text("The tool said: sunny")]


@pytest.mark.parametrize("model", ["reasoning", "refusal", "say-3", "logprobs"])
def test_every_answer_goes_back_as_input(client: Client, model: str) -> None:
    """Whatever a model answers, its items are legal parts of the next request."""
    answer = client.answer(f"fake/{model}")
    conversation = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": answer["output"]},
        {"role": "user", "content": "Go on"},
    ]
    assert both_ways(client, "fake/echo", conversation)["output"] == [text("Go on")]


def test_messages_and_parts(client: Client, fake: FakeOpenAI) -> None:
    """System messages, several turns, images and files arrive in the vendor's form."""
    conversation: list[Json] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "url": "https://example.com/a.png"},
                {"type": "image", "data": "aGVsbG8=", "media_type": "image/png"},
                {"type": "file", "data": "aGVsbG8=", "media_type": "application/pdf", "name": "a.pdf"},
            ],
        },
    ]
    assert both_ways(client, "fake/echo", conversation)["output"] == [text("What is this?")]
    sent = fake.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    parts = sent[-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "image_url", "file"]
    assert parts[1]["image_url"]["url"] == "https://example.com/a.png"
    assert parts[2]["image_url"]["url"] == "data:image/png;base64,aGVsbG8="
    assert parts[3]["file"] == {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGVsbG8="}


def test_a_json_schema(client: Client, fake: FakeOpenAI) -> None:
    """A schema reaches the vendor as it is, strict unless told otherwise, and the answer obeys it."""
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted = {"type": "json_schema", "name": "person", "schema": schema}
    answer = both_ways(client, "fake/json", response_format=wanted)
    assert json.loads(answer["output"][0]["text"]) == {"age": 42}
    sent = fake.requests[-1].body["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    both_ways(client, "fake/json", response_format={"type": "json"})
    assert fake.requests[-1].body["response_format"] == {"type": "json_object"}


def test_provider_options_go_through(client: Client, fake: FakeOpenAI) -> None:
    """Options for this provider go into its body as they are; those for another stay out."""
    client.answer("fake/echo", provider_options={"fake": {"service_tier": "flex"}, "openai": {"user": "u"}})
    body = fake.requests[-1].body
    assert body["service_tier"] == "flex"
    assert "user" not in body


def test_the_preset_openai_keeps_its_quirks(client: Client, fake: FakeOpenAI) -> None:
    """A preset that is pointed at another address still speaks as its vendor documents."""
    client.answer(
        "openai/echo",
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        parameters={"max_output_tokens": 5},
    )
    body = fake.requests[-1].body
    assert body["messages"][0]["role"] == "developer"
    assert body["max_completion_tokens"] == 5 and "max_tokens" not in body


def test_embeddings(client: Client) -> None:
    """Each text gets its own vector, in order, of the length that was asked for."""
    texts = ["one", "two", "three"]
    answer = client.answer("fake/text-embedding-3-small", texts, modality="embedding", parameters={"dimensions": 8})
    assert (answer["modality"], answer["finish_reason"]) == ("embedding", "stop")
    assert [item["input_index"] for item in answer["output"]] == [0, 1, 2]
    for item, words in zip(answer["output"], texts, strict=True):
        assert item["type"] == "embedding"
        assert item["vector"] == pytest.approx(embed(words, 8))
    assert answer["usage"]["input_tokens"] == 3
    # The preset asks for them as base64, which is shorter.
    short = client.answer("openai/embed-4", "one", modality="embedding")
    assert short["output"][0]["vector"] == pytest.approx(embed("one", 4), abs=1e-6)


def test_more_texts_than_openai_takes_at_once(client: Client, fake: FakeOpenAI) -> None:
    """Are two calls by its preset; a server of which no limit is known is asked once, and its refusal is told."""
    texts = [f"word{number}" for number in range(2050)]
    before = len(fake.requests)
    answer = client.answer("openai/embed-4", texts, modality="embedding")
    assert [len(seen.body["input"]) for seen in fake.requests[before:]] == [2048, 2]
    assert [item["input_index"] for item in answer["output"]] == list(range(2050))
    assert answer["output"][2049]["vector"] == pytest.approx(embed("word2049", 4), abs=1e-6)
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (2050, 0)
    refused = client.generate("fake/embed-4", texts, modality="embedding")
    assert (refused.status, refused.error["pointer"]) == (400, "/input")


def test_embeddings_as_a_stream(client: Client) -> None:
    """Embeddings can be streamed as well: each is an item that is started and completed."""
    stream = client.stream("fake/embed-4", ["one", "two"], modality="embedding")
    names = [event.name for event in stream.all()]
    assert names == [
        "generation.created",
        "generation.started",
        *["output.started", "output.completed"] * 2,
        "generation.completed",
    ]


def test_a_giant_event(client: Client) -> None:
    """One event of 4 MiB goes through, plain and streamed."""
    answer = both_ways(client, "fake/giant")
    assert len(answer["output"][0]["text"]) == 4 << 20


def test_request_ids(client: Client, gateway: Gateway) -> None:
    """A client's own sane request id is kept, another one is replaced; the log has it."""
    body = {"model": "fake/say-3", "input": "Hello"}
    kept = client.post("/v1/generations", body, headers={"X-Request-Id": "my-request.1"})
    assert kept.headers["x-request-id"] == "my-request.1"
    replaced = client.post("/v1/generations", body, headers={"X-Request-Id": "no spaces please"})
    assert replaced.headers["x-request-id"].startswith("req_")
    ids = {"my-request.1", replaced.headers["x-request-id"]}
    eventually(lambda: ids <= {line["request_id"] for line in gateway.generations()}, 5, "both are logged")


def test_the_provider_gets_its_own_key(client: Client, fake: FakeOpenAI) -> None:
    """The vendor sees the operator's key, and nothing of the client's."""
    client.answer("fake/echo")
    headers = fake.requests[-1].headers
    assert headers["authorization"] == "Bearer sk-fake-provider-key-of-the-operator"
    assert client.key is not None and client.key not in str(headers)
    assert not {"cookie", "x-request-id", "x-api-key", "x-forwarded-for"} & set(headers)


@pytest.mark.parametrize("model", ["nosuch/model", "nosuch", "fake/nosuch", ""])
def test_a_model_that_is_not_there(client: Client, model: str) -> None:
    """An unknown name is the client's mistake, wherever it is noticed."""
    reply = client.generate(model)
    expected = (404, "model_not_found") if model else (400, "invalid_request")
    assert (reply.status, reply.error["code"]) == expected


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"parameters": {"temperature": "hot"}}, "/parameters/temperature"),
        ({"parameters": {"nosuch": 1}}, "/parameters/nosuch"),
        ({"nosuch": 1}, "/nosuch"),
        ({"input": []}, "/input"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "/input/0/role"),
        ({"input": [{"role": "user", "content": [{"type": "text"}]}]}, "/input/0/content/0/text"),
        ({"tools": [{"type": "function", "name": "no spaces"}]}, "/tools/0/name"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"timeouts": {"idle_s": 0}}, "/timeouts/idle_s"),
    ],
)
def test_a_wrong_request_is_told_where(client: Client, fields: Json, pointer: str) -> None:
    """What is wrong in a request is told by a JSON pointer, and nothing is asked of the vendor."""
    reply = client.post("/v1/generations", {"model": "fake/echo", "input": "Hello", **fields})
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert reply.error["pointer"] == pointer
    assert not reply.error["retryable"]


def test_several_mistakes_are_told_at_once(client: Client) -> None:
    """All that is wrong in a small request is listed, without a word of its values."""
    canary = "canary-value"
    reply = client.post("/v1/generations", {"model": 5, "input": {"a": canary}, "stream": canary, canary: 1})
    pointers = {violation["pointer"] for violation in reply.error["errors"]}
    assert {"/model", "/input", "/stream"} <= pointers
    assert canary not in json.dumps([violation["detail"] for violation in reply.error["errors"]])
