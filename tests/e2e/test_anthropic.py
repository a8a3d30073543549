"""Anthropic's wire, through the gateway, answers and fails as OpenAI's does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.conftest import PROVIDER_KEY
from e2e.harness import Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from e2e.test_cancellation import asked, assert_cancelled
from e2e.test_responses import WEATHER, told
from pluggably.testing.fake_anthropic import FakeAnthropic, running_fake_anthropic
from pluggably.testing.fake_openai import FakeOpenAI

ANSWERS = """
    echo say-3 slow-5-3 slow-headers-50 length content-filter cached utf8 reasoning tools tools-parallel drip
    many-in-one crlf gzip
"""
# The vendors say these with the same meaning, and the gateway with the same code.
ERRORS = """
    status-401 status-429-after-3 status-429-quota status-500 status-504 context-length unknown-model html-error-502
    garbage error-in-200 truncate ends
"""


@pytest.fixture(scope="module")
def vendor() -> Iterator[FakeAnthropic]:
    with running_fake_anthropic(key=PROVIDER_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(fake: FakeOpenAI, vendor: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that speaks both wires: OpenAI's to a fake of it, Anthropic's to a fake of that."""
    config = {
        "providers": {
            "chat": {"codec": "openai", "base_url": fake.base_url, "api_key": "${FAKE_KEY}"},
            "anthropic": {"base_url": vendor.base_url, "api_key": "${FAKE_KEY}"},
        },
        "demo": False,
    }
    with start_gateway(tmp_path_factory.mktemp("gateway"), config, FAKE_KEY=PROVIDER_KEY) as running:
        yield running


@pytest.mark.parametrize("model", ANSWERS.split())
def test_an_answer_is_that_of_the_other_wire(client: Client, model: str) -> None:
    """Plain and streamed."""
    expected = told(client.answer(f"chat/{model}", "Hello there", tools=[WEATHER]))
    assert told(client.answer(f"anthropic/{model}", "Hello there", tools=[WEATHER])) == expected
    assert told(client.stream(f"anthropic/{model}", "Hello there", tools=[WEATHER]).end()) == expected


def test_an_answer_in_the_form_that_was_not_asked_for_is_understood(client: Client) -> None:
    """The vendor is always asked for a stream."""
    plain, streamed = client.answer("anthropic/wrong-type"), client.stream("anthropic/wrong-type").end()
    assert told(plain) == told(streamed) == told(client.answer("anthropic/say-3"))


def test_a_refusal_is_told(client: Client) -> None:
    """Its explanation is an item, and the reason is that something was filtered."""
    answer = client.answer("anthropic/refusal")
    assert [item["type"] for item in answer["output"]] == ["refusal"]
    assert answer["finish_reason"] == "content_filter"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_goes_on_with_what_was_answered(client: Client, vendor: FakeAnthropic, streamed: bool) -> None:
    """Thinking goes back with the signature that it came with, or the vendor would refuse it."""

    def ask(model: str, given: Any, **fields: Any) -> Json:
        return client.stream(model, given, **fields).end() if streamed else client.answer(model, given, **fields)

    conversation: list[Json] = [{"role": "user", "content": "Think."}]
    thought = ask("anthropic/reasoning", conversation)
    conversation += [{"role": "assistant", "content": thought["output"]}, {"role": "user", "content": "Rome?"}]
    called = ask("anthropic/tools", conversation, tools=[WEATHER])
    call = called["output"][0]
    result = {"type": "tool_result", "tool_call_id": call["id"], "content": "sunny"}
    conversation += [{"role": "assistant", "content": called["output"]}, {"role": "tool", "content": [result]}]
    last = ask("anthropic/tools", conversation, tools=[WEATHER])
    assert [item["text"] for item in last["output"]] == ["The tool said: sunny"]
    sent = vendor.requests[-1]
    assert sent.body["messages"][1]["content"][0] == thought["output"][0]["provider_state"]["data"]
    assert (sent.headers["x-api-key"], sent.headers["anthropic-version"]) == (PROVIDER_KEY, "2023-06-01")
    assert "authorization" not in sent.headers


def test_a_conversation_of_the_other_wire_goes_on(client: Client) -> None:
    """What the other vendor's model thought is left out, with a warning; its call and the result stay."""
    question: Json = {"role": "user", "content": "Rome?"}
    called = client.answer("chat/tools", [question], tools=[WEATHER])
    result = {"type": "tool_result", "tool_call_id": called["output"][0]["id"], "content": "sunny"}
    thought = {"type": "reasoning", "text": "Hm.", "provider_state": {"provider": "chat", "data": []}}
    turns = [
        question,
        {"role": "assistant", "content": [thought, *called["output"]]},
        {"role": "tool", "content": [result]},
    ]
    answer = client.answer("anthropic/tools", turns, tools=[WEATHER])
    assert answer["output"][0]["text"] == "The tool said: sunny"
    assert [warning["code"] for warning in answer["warnings"]] == ["provider_state_dropped"]


def test_an_answer_obeys_a_schema(client: Client) -> None:
    """What the vendor's dialect lacks is told."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    wanted = {"type": "json_schema", "name": "numbers", "schema": schema}
    answer = client.answer("anthropic/json", response_format=wanted)
    assert answer["output"][0]["text"] == '{"n": 42}'
    assert [warning["parameter"] for warning in answer["warnings"]] == ["/response_format/schema"]


@pytest.mark.parametrize("model", ERRORS.split())
def test_an_error_is_that_of_the_other_wire(client: Client, model: str) -> None:
    """The same code, the same side to blame, the same advice on trying again."""
    expected = client.generate(f"chat/{model}").json()
    got = client.generate(f"anthropic/{model}").json()
    same = ("code", "status", "retryable", "retry_after_s")
    assert {name: got.get(name) for name in same} == {name: expected.get(name) for name in same}


def test_an_overloaded_vendor_is_worth_another_try(client: Client) -> None:
    """A 529 is no limit of ours."""
    problem = client.generate("anthropic/status-529").json()
    assert (problem["code"], problem["backend_status"], problem["retryable"]) == ("backend_error", 529, True)
    assert problem["backend_code"] == "overloaded_error"


@pytest.mark.parametrize("model", ["ends-5", "truncate-5", "reset-5", "error-in-200-2"])
def test_a_stream_that_breaks_off_keeps_what_came(client: Client, model: str) -> None:
    """It fails with an error, and never as an answer."""
    generation = client.stream(f"anthropic/{model}").end()
    assert (generation["status"], generation["finish_reason"]) == ("failed", "error")
    assert generation["output"][0]["text"] == "w0 w1"[: len(generation["output"][0]["text"])] != ""


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_ends_the_work(gateway: Gateway, vendor: FakeAnthropic, streamed: bool) -> None:
    """Also where it waited for a plain answer, since the vendor is asked for a stream all the same."""
    marker = f"leave {streamed}"
    body = {"model": "anthropic/slow-50-2000", "input": marker, "stream": streamed}
    connection = gateway.client.begin("POST", "/v1/generations", body)
    seen = asked(vendor, marker)
    eventually(lambda: seen.events_sent > 4, 5, "the answer runs")
    connection.close()
    assert_cancelled(gateway, seen, time.monotonic())


def test_the_vendors_models_are_listed(client: Client) -> None:
    """Under the provider's name."""
    listed = client.get("/v1/models").json()["data"]
    assert any(model["id"] == "anthropic/echo" for model in listed)
