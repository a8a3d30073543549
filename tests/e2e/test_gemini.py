"""A provider that speaks Gemini's wire, through the installed command: answers, streams, tools, errors and cancels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.conftest import PROVIDER_KEY
from e2e.harness import Client, Gateway, eventually, start_gateway, told
from e2e.protocol import Json
from pluggably.testing.fake_gemini import SIGNATURE, FakeGemini, running_fake_gemini

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def gemini() -> Iterator[FakeGemini]:
    with running_fake_gemini(PROVIDER_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(gemini: FakeGemini, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that knows the fake as Google, but for its address; its models are unknown to the preset's rules."""
    rules = [{"models": "", "levels": ["low", "high"], "signs_calls": True}]
    google = {"base_url": gemini.base_url, "api_key": "${FAKE_KEY}", "options": {"model_rules": rules}}
    config = {"providers": {"google": google}, "demo": False}
    with start_gateway(tmp_path_factory.mktemp("gateway"), config, FAKE_KEY=PROVIDER_KEY) as running:
        yield running


@pytest.mark.parametrize("model", ["echo", "say-4", "reasoning", "tools-parallel", "length", "filtered", "json"])
def test_an_answer_is_the_same_plain_and_streamed(client: Client, model: str) -> None:
    """The same items, reason and counts."""
    plain = client.answer(f"google/{model}", "Hello there", tools=[WEATHER])
    assert told(client.stream(f"google/{model}", "Hello there", tools=[WEATHER]).end()) == told(plain)
    reasons = {"tools-parallel": "tool_calls", "length": "length", "filtered": "content_filter"}
    assert plain["finish_reason"] == reasons.get(model, "stop")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_goes_on_with_what_was_answered(client: Client, gemini: FakeGemini, streamed: bool) -> None:
    """Thoughts, signatures and calls are handed back where they came, by the model that wants them so."""

    def ask(model: str, given: list[Json]) -> Json:
        if streamed:
            return client.stream(model, given, tools=[WEATHER]).end()
        return client.answer(model, given, tools=[WEATHER])

    conversation: list[Json] = [{"role": "user", "content": "Think."}]
    thought = ask("google/reasoning", conversation)
    assert [item["type"] for item in thought["output"]] == ["reasoning", "text"]
    conversation += [{"role": "assistant", "content": thought["output"]}, {"role": "user", "content": "Rome?"}]
    called = ask("google/tools-parallel", conversation)
    first, second = called["output"]
    results = [
        {"type": "tool_result", "tool_call_id": second["id"], "content": "rainy"},
        {"type": "tool_result", "tool_call_id": first["id"], "content": "sunny"},
    ]
    conversation += [{"role": "assistant", "content": called["output"]}, {"role": "tool", "content": results}]
    assert ask("google/tools", conversation)["output"][0]["text"] == "The tool said: sunny, rainy"
    seen = gemini.requests[-1]
    parts = [part for content in seen.body["contents"] for part in content["parts"]]
    assert [part["thoughtSignature"] for part in parts if "thoughtSignature" in part] == [SIGNATURE, SIGNATURE]
    assert parts[1] == {"text": "I think. I know.", "thought": True}
    results_sent = [part["functionResponse"]["id"] for part in parts if "functionResponse" in part]
    assert results_sent == [first["id"], second["id"]]
    assert seen.headers["x-goog-api-key"] == PROVIDER_KEY
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("status-400", 502, "backend_authentication_failed"),
        ("status-403", 502, "backend_authentication_failed"),
        ("status-404", 404, "model_not_found"),
        ("status-429", 429, "backend_rate_limited"),
        ("status-500", 502, "backend_error"),
        ("status-504", 504, "backend_timeout"),
        ("error-in-200", 502, "backend_error"),
        ("blocked", 400, "content_filtered"),
        ("..", 404, "model_not_found"),
        ("x/../../y", 404, "model_not_found"),
    ],
)
def test_an_error_blames_the_right_side(client: Client, model: str, status: int, code: str) -> None:
    """By its code, its status, and without the operator's key."""
    reply = client.generate(f"google/{model}")
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert PROVIDER_KEY not in reply.body.decode()


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("ends-2", "backend_invalid_response"),
        ("error-in-200-2", "backend_error"),
        ("error-bare-200-2", "backend_error"),
        ("error-list-200-2", "backend_error"),
    ],
)
def test_a_stream_that_breaks_off_keeps_what_came(client: Client, model: str, code: str) -> None:
    """It fails with the vendor's own error where there is one, in whatever form, and never as an answer."""
    generation = client.stream(f"google/{model}").end()
    assert (generation["status"], generation["finish_reason"]) == ("failed", "error")
    assert generation["error"]["code"] == code
    assert ("overloaded" in generation["error"]["detail"]) == (code == "backend_error")
    assert generation["output"][0]["text"] == "w0 w1"


@pytest.mark.parametrize("model", ["error-bare-200-0", "error-list-200-0", "error-whole"])
def test_an_error_in_place_of_a_stream_is_an_ordinary_one(client: Client, model: str) -> None:
    """Although the vendor's status is 200."""
    refusal = client.stream(f"google/{model}").refusal
    assert refusal is not None
    assert (refusal.status, refusal.error["code"]) == (502, "backend_error")
    assert "overloaded" in refusal.error["detail"]


def test_a_service_that_does_not_stream_answers_at_once(client: Client) -> None:
    """All the pieces in one list are the same answer."""
    assert client.stream("google/no-stream").end()["output"][0]["text"] == "w0 w1 w2"


def test_a_client_that_leaves_ends_the_work(client: Client, gemini: FakeGemini) -> None:
    """The call to the vendor is cut within a second, in the middle of a stream."""
    stream = client.stream("google/slow-20-2000", "a client that leaves")
    stream.next("output.delta")
    stream.leave()
    seen = eventually(
        lambda: next((one for one in gemini.requests if "a client that leaves" in str(one.body)), None), 5, "asked"
    )
    assert seen.finished.wait(2)
    assert seen.disconnected


def test_embeddings_come_for_one_text_and_for_many(client: Client) -> None:
    """Of the size that is asked for."""
    one = client.answer("google/embed-4", "Hello", modality="embedding")
    many = client.answer("google/embed-4", ["Hello", "You"], modality="embedding", parameters={"dimensions": 2})
    assert [len(item["vector"]) for item in one["output"] + many["output"]] == [4, 2, 2]
