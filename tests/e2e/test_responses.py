"""Models that are served by OpenAI's Responses API, through the gateway, answer and fail as by Chat Completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.conftest import PROVIDER_KEY
from e2e.harness import Client, Gateway, start_gateway, told
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ANSWERS = """
    echo say-3 slow-5-3 slow-headers-50 length content-filter cached n-usage-none utf8 refusal reasoning tools
    tools-parallel json drip many-in-one crlf gzip
"""
ERRORS = """
    status-400 status-401 status-404 status-429-after-3 status-429-quota status-500 status-503 context-length
    html-error-502 garbage error-in-200 truncate ends reset unknown-model
"""


@pytest.fixture(scope="module")
def gateway(fake: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that speaks both wires to the fake."""
    address = {"base_url": fake.base_url, "api_key": "${FAKE_KEY}"}
    config = {
        "providers": {"chat": {"codec": "openai", **address}, "new": {"codec": "openai_responses", **address}},
        "demo": False,
    }
    with start_gateway(tmp_path_factory.mktemp("gateway"), config, FAKE_KEY=PROVIDER_KEY) as running:
        yield running


@pytest.mark.parametrize("model", ANSWERS.split())
def test_an_answer_is_that_of_the_other_wire(client: Client, model: str) -> None:
    """Plain and streamed."""
    expected = told(client.answer(f"chat/{model}", "Hello there", tools=[WEATHER]))
    assert told(client.answer(f"new/{model}", "Hello there", tools=[WEATHER])) == expected
    assert told(client.stream(f"new/{model}", "Hello there", tools=[WEATHER]).end()) == expected


def test_an_answer_in_the_form_that_was_not_asked_for_is_understood(client: Client) -> None:
    """A stream in place of a whole answer, and the other way round."""
    plain, streamed = client.answer("new/wrong-type"), client.stream("new/wrong-type").end()
    assert told(plain) == told(streamed) == told(client.answer("new/say-3"))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_goes_on_with_what_was_answered(client: Client, fake: FakeOpenAI, streamed: bool) -> None:
    """The items of an answer are handed back word for word, reasoning included, and nothing is kept at the vendor."""

    def ask(model: str, given: Any, **fields: Any) -> Json:
        return client.stream(model, given, **fields).end() if streamed else client.answer(model, given, **fields)

    conversation: list[Json] = [{"role": "user", "content": "Think."}]
    thought = ask("new/reasoning", conversation)
    conversation += [{"role": "assistant", "content": thought["output"]}, {"role": "user", "content": "Rome?"}]
    called = ask("new/tools", conversation, tools=[WEATHER])
    call = called["output"][0]
    result = {"type": "tool_result", "tool_call_id": call["id"], "content": "sunny"}
    conversation += [{"role": "assistant", "content": called["output"]}, {"role": "tool", "content": [result]}]
    assert ask("new/tools", conversation, tools=[WEATHER])["output"][0]["text"] == "The tool said: sunny"
    sent = fake.requests[-1].body
    assert (fake.requests[-1].path, sent["store"]) == ("/v1/responses", False)
    kinds = [item.get("type") or item["role"] for item in sent["input"]]
    assert kinds == ["user", "reasoning", "assistant", "user", "function_call", "function_call_output"]
    assert sent["input"][1] == thought["output"][0]["provider_state"]["data"]
    assert sent["input"][1]["encrypted_content"].startswith("gAAAA")


@pytest.mark.parametrize("model", ERRORS.split())
def test_an_error_is_that_of_the_other_wire(client: Client, model: str) -> None:
    """The same code and the same side to blame."""
    expected = client.generate(f"chat/{model}").json()
    got = client.generate(f"new/{model}").json()
    differ = ("detail", "errors", "request_id", "generation_id", "attempts", "backend")
    assert {name: got[name] for name in got if name not in differ} == {
        name: expected[name] for name in expected if name not in differ
    }


@pytest.mark.parametrize("model", ["ends-6", "truncate-6", "reset-6", "error-in-200-2"])
def test_a_stream_that_breaks_off_keeps_what_came(client: Client, model: str) -> None:
    """It fails with an error, and never as an answer."""
    generation = client.stream(f"new/{model}").end()
    assert (generation["status"], generation["finish_reason"]) == ("failed", "error")
    assert generation["output"][0]["text"] == "w0 w1"[: len(generation["output"][0]["text"])] != ""


def test_embeddings_are_refused_before_any_call(client: Client, fake: FakeOpenAI) -> None:
    """This API has none."""
    before = len(fake.requests)
    reply = client.generate("new/embed-8", "Hello", modality="embedding")
    assert (reply.status, reply.json()["code"]) == (400, "unsupported_modality")
    assert len(fake.requests) == before
