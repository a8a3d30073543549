"""One gateway in front of another one: what the inner one says comes out of the outer one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from needs import Needs

from e2e.conftest import PROVIDER_KEY
from e2e.harness import ADMIN_KEY, BARE, Client, Gateway, eventually, free_port, start_gateway, told
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ANSWERS = "echo say-3 length content-filter cached n-usage-none utf8 refusal reasoning tools tools-parallel json"
ERRORS = "status-400 status-404 status-429-after-3 status-429-quota status-401 status-500 context-length garbage ends"


@pytest.fixture(scope="module")
def inner(fake: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """It has the demo model, and a fake vendor."""
    config = {
        "providers": {"fake": {"codec": "openai", "base_url": fake.base_url, "api_key": "${FAKE_KEY}"}},
        "retry": BARE,
    }
    with start_gateway(tmp_path_factory.mktemp("inner"), config, FAKE_KEY=PROVIDER_KEY) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(inner: Gateway, fake: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The outer one, which also knows the vendor itself, and the inner gateway by a wrong key."""
    address = f"{inner.url}/v1"
    config = {
        "providers": {
            "pluggably": {"base_url": address},
            "stranger": {"preset": "pluggably", "base_url": address, "api_key": "pk_wrong"},
            "fake": {"codec": "openai", "base_url": fake.base_url, "api_key": "${FAKE_KEY}"},
        },
        "demo": False,
        "retry": BARE,
    }
    folder = tmp_path_factory.mktemp("outer")
    with start_gateway(folder, config, FAKE_KEY=PROVIDER_KEY, PLUGGABLY_UPSTREAM_KEY=ADMIN_KEY) as running:
        yield running


@pytest.mark.parametrize("model", ANSWERS.split())
def test_an_answer_is_that_of_the_inner_gateway(client: Client, model: str) -> None:
    """Plain and streamed, as without a gateway between."""
    expected = told(client.answer(f"fake/{model}", "Hello there", tools=[WEATHER]))
    plain = client.answer(f"pluggably/fake/{model}", "Hello there", tools=[WEATHER])
    assert told(plain) == expected
    assert told(client.stream(f"pluggably/fake/{model}", "Hello there", tools=[WEATHER]).end()) == expected
    served_by = plain["served_by"]
    assert (served_by["backend"], served_by["behind"]["backend"], served_by["behind"]["model"]) == (
        "pluggably", "fake", model,
    )  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_goes_on_with_what_was_answered(client: Client, fake: FakeOpenAI, streamed: bool) -> None:
    """The call of a tool and its result pass both gateways."""

    def ask(given: object) -> Json:
        model, tools = "pluggably/fake/tools", [WEATHER]
        return client.stream(model, given, tools=tools).end() if streamed else client.answer(model, given, tools=tools)

    conversation: list[Json] = [{"role": "user", "content": "Rome?"}]
    called = ask(conversation)
    result = {"type": "tool_result", "tool_call_id": called["output"][0]["id"], "content": "sunny"}
    conversation += [{"role": "assistant", "content": called["output"]}, {"role": "tool", "content": [result]}]
    assert ask(conversation)["output"][0]["text"] == "The tool said: sunny"
    assert fake.requests[-1].body["messages"][-1]["tool_call_id"] == called["output"][0]["id"]


@pytest.mark.parametrize("model", ERRORS.split())
def test_an_error_is_that_of_the_inner_gateway(client: Client, model: str) -> None:
    """The same code, the same word on trying again, and what the vendor said."""
    expected = client.generate(f"fake/{model}").error
    got = client.generate(f"pluggably/fake/{model}").error
    differ = ("detail", "request_id", "generation_id", "attempts", "backend", "title")
    if expected["code"] == "backend_invalid_response":
        differ += ("backend_status", "backend_code")  # the inner gateway's, where the vendor gave none
    assert {name: got[name] for name in got if name not in differ} == {
        name: expected[name] for name in expected if name not in differ
    }
    assert got["backend"] in ("pluggably", None)


def test_a_failure_after_output_keeps_what_came(client: Client) -> None:
    """It ends with the vendor's failure, and with the text up to there."""
    generation = client.stream("pluggably/fake/truncate-6").end()
    assert (generation["status"], generation["finish_reason"]) == ("failed", "error")
    assert generation["output"][0]["text"].startswith("w0")
    assert generation["error"]["code"] == "backend_invalid_response"


def test_a_refused_key_is_the_operators(client: Client) -> None:
    """A client of the outer gateway has nothing to do with the key for the inner one."""
    error = client.generate("stranger/fake/echo").error
    assert (error["status"], error["code"], error["backend_code"]) == (
        502, "backend_authentication_failed", "unauthenticated",
    )  # fmt: skip


def test_what_is_wrong_in_a_request_is_the_clients(client: Client) -> None:
    """A model that the inner gateway does not have, and provider options that it does not understand."""
    assert client.generate("pluggably/nobody").error["code"] == "model_not_found"
    error = client.generate("pluggably/fake/echo", provider_options={"pluggably": {"routing": {"only": 3}}}).error
    assert (error["code"], error["pointer"]) == ("invalid_request", "/provider_options/pluggably/routing/only")


def test_a_client_that_leaves_ends_the_inner_generation(client: Client, inner: Gateway, fake: FakeOpenAI) -> None:
    """And with it the call to the vendor."""
    stream = client.stream("pluggably/fake/slow-50-2000", "leaving through two gateways")
    stream.next("output.delta")
    stream.leave()
    seen = eventually(
        lambda: next((one for one in list(fake.requests) if "leaving through" in str(one.body)), None), 5, "it is asked"
    )
    assert seen.finished.wait(5), "the vendor works on"
    eventually(
        lambda: [one for one in inner.generations() if one["generation_status"] == "cancelled"], 5, "it is cancelled"
    )


def test_the_models_of_the_inner_gateway_are_listed(client: Client) -> None:
    """With what it tells of them."""

    def found() -> Json | None:
        models = client.get("/v1/models").json()["data"]
        return next((model for model in models if model["id"] == "pluggably/demo"), None)

    demo = eventually(found, 10, "its list is read")
    assert (demo["free"], demo["location"], demo["output_modalities"]) == (True, "remote", ["text"])


def test_only_the_way_to_another_gateway_is_bounded(client: Client) -> None:
    """A request that has passed many gateways may go to a vendor, and not on to a gateway."""
    for model, status in (("fake/echo", 200), ("pluggably/fake/echo", 502)):
        body = {"model": model, "input": "Hello"}
        assert client.post("/v1/generations", body, headers={"Pluggably-Hops": "9"}).status == status


def test_two_gateways_that_name_each_other_stop(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A gateway that is its own provider asks itself a few times, and then says why it fails."""
    port = free_port()
    config = {
        "providers": {"me": {"preset": "pluggably", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": ADMIN_KEY}},
        "models": {"loop": "me/loop"},
        "demo": False,
    }
    with start_gateway(tmp_path_factory.mktemp("circle"), config, arguments=("--port", str(port))) as running:
        error = running.client.generate("loop").error
        assert (error["code"], error["retryable"]) == ("backend_error", False)
        assert "each other as providers" in error["detail"]
        assert len(running.generations()) <= 5


def test_the_demo_model_loads_and_answers_through_both(client: Client, inner: Gateway, needs: Needs) -> None:
    """Its loading is told by the outer gateway while the inner one waits for it."""
    needs.llama_cpp()
    stream = client.stream("pluggably/demo", "Hello", parameters={"max_output_tokens": 8})
    generation = stream.end()
    stages = [event.data["stage"] for event in stream.seen if event.name == "generation.progress"]
    assert "loading" in stages
    assert generation["served_by"]["behind"]["location"] == "local"
    assert generation["usage"]["output_tokens"] > 0
    assert (generation["usage"]["cost_usd"], generation["usage"]["queued_s"] > 0) == ("0", True)
    assert client.answer("pluggably/demo", "Hello", parameters={"max_output_tokens": 8})["output"]
