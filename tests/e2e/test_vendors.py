"""Vendors with a wire of their own, through the installed command: the same answers and errors from each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e.conftest import PROVIDER_KEY
from e2e.harness import Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_cohere import FakeCohere
from pluggably.testing.fake_huggingface import FakeHuggingFace
from pluggably.testing.fake_mistral import FakeMistral
from pluggably.testing.fake_ollama import FakeOllama
from pluggably.testing.fake_vendor import FakeVendor, running

FAKES: dict[str, type[FakeVendor]] = {
    "cohere": FakeCohere,
    "huggingface": FakeHuggingFace,
    "mistral": FakeMistral,
    "ollama": FakeOllama,
}
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module", params=FAKES)
def vendor(request: pytest.FixtureRequest) -> Iterator[tuple[str, FakeVendor]]:
    with running(FAKES[request.param](PROVIDER_KEY)) as fake:
        yield request.param, fake


@pytest.fixture(scope="module")
def gateway(vendor: tuple[str, FakeVendor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the vendor's preset, at the fake's address."""
    name, fake = vendor
    suffix = "/v1" if name in ("huggingface", "mistral") else ""
    provider = {"base_url": fake.base_url + suffix, "api_key": "${FAKE_KEY}", "preset": name}
    config = {"providers": {"it": provider}, "demo": False}
    with start_gateway(tmp_path_factory.mktemp("gateway"), config, FAKE_KEY=PROVIDER_KEY) as running_gateway:
        yield running_gateway


def told(generation: Json) -> Json:
    """What an answer says, without what depends on the moment: the ids of calls are ours where a vendor has none."""
    items = [{name: value for name, value in item.items() if name != "id"} for item in generation["output"]]
    return {"output": items, **{name: generation[name] for name in ("finish_reason", "warnings")}}


@pytest.mark.parametrize("model", ["echo", "say-3", "tools", "tools-parallel", "reasoning", "length"])
def test_an_answer_is_the_same_plain_and_streamed(client: Client, model: str) -> None:
    """Its items, its end, and what it used."""
    plain = client.answer(f"it/{model}", "Hello there", tools=[WEATHER])
    streamed = client.stream(f"it/{model}", "Hello there", tools=[WEATHER]).end()
    assert told(plain) == told(streamed)
    assert plain["output"]
    assert plain["usage"]["input_tokens"] == streamed["usage"]["input_tokens"] == 2
    ends = {"tools": "tool_calls", "tools-parallel": "tool_calls", "length": "length"}
    assert plain["finish_reason"] == ends.get(model, "stop")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_goes_on_after_a_tool(client: Client, vendor: tuple[str, FakeVendor], streamed: bool) -> None:
    """What was answered goes back as it is, with the results of its calls, to a vendor that refuses all else."""
    asked: Json = {"role": "user", "content": "How is the weather?"}
    ask = {"tools": [WEATHER]}
    first = (
        client.stream("it/tools-parallel", [asked], **ask).end()
        if streamed
        else client.answer("it/tools-parallel", [asked], **ask)
    )
    calls = [item for item in first["output"] if item["type"] == "tool_call"]
    assert [json.loads(call["arguments"]) for call in calls] == [{"city": "c0"}, {"city": "c1"}]
    results = [{"type": "tool_result", "tool_call_id": call["id"], "content": "sunny"} for call in calls]
    more = [asked, {"role": "assistant", "content": first["output"]}, {"role": "tool", "content": results}]
    second = client.answer("it/tools-parallel", more, **ask)
    assert [item["text"] for item in second["output"]] == ["sunny"]
    # The router documents no field that takes reasoning back.
    dropped = ["part_dropped"] if vendor[0] == "huggingface" else []
    assert [warning["code"] for warning in second["warnings"]] == dropped
    assert (
        client.answer("it/echo", [*more, {"role": "user", "content": "Thanks"}], **ask)["output"][0]["text"] == "Thanks"
    )


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("status-400", 400, "invalid_request"),
        ("status-401", 502, "backend_authentication_failed"),
        ("nothing", 404, "model_not_found"),
        ("status-429", 429, "backend_rate_limited"),
        ("status-500", 502, "backend_error"),
        ("status-503", 502, "backend_error"),
    ],
)
def test_an_error_is_that_of_every_vendor(client: Client, model: str, status: int, code: str) -> None:
    """The same status and code, plain and streamed."""
    plain = client.generate(f"it/{model}")
    assert (plain.status, plain.error["code"]) == (status, code)
    refusal = client.stream(f"it/{model}").refusal
    assert refusal is not None
    assert (refusal.status, refusal.error["code"]) == (status, code)


@pytest.mark.parametrize(("model", "code"), [("error-in-stream", "backend_error"), ("cut", "backend_invalid_response")])
def test_a_stream_that_breaks_fails(client: Client, model: str, code: str) -> None:
    """An error in its midst, and an end without the vendor's mark; what came before is kept."""
    generation = client.stream(f"it/{model}", "Hello there").end()
    assert (generation["status"], generation["error"]["code"]) == ("failed", code)
    assert generation["output"][0]["text"].startswith("Hello")


def test_a_client_that_leaves_ends_the_call(gateway: Gateway, vendor: tuple[str, FakeVendor]) -> None:
    """The vendor is no longer asked to speak."""
    stream = gateway.client.stream("it/slow-20-2000", "for long")
    stream.next("output.delta")
    stream.leave()
    seen = vendor[1].requests[-1]
    assert seen.finished.wait(5), "the vendor works on"
    assert seen.disconnected
    eventually(lambda: [one for one in gateway.generations() if one["generation_status"] == "cancelled"], 5, "the log")


def test_many_texts_become_as_many_embeddings(client: Client, vendor: tuple[str, FakeVendor]) -> None:
    """In their order, however many calls the vendor wants for them."""
    texts = [f"text {number}" for number in range(2000)]
    # Feature extraction has no parameter for the size, and tells no usage.
    has_sizes = vendor[0] != "huggingface"
    parameters: Json = {"dimensions": 3} if has_sizes else {}
    generation = client.answer("it/embed-4", texts, modality="embedding", parameters=parameters)
    assert [item["input_index"] for item in generation["output"]] == list(range(2000))
    alone = client.answer("it/embed-4", texts[1500:1501], modality="embedding", parameters=parameters)
    assert generation["output"][1500]["vector"] == alone["output"][0]["vector"]
    assert len(alone["output"][0]["vector"]) == (3 if has_sizes else 4)
    assert generation["usage"]["input_tokens"] == (2000 if has_sizes else None)


@pytest.mark.parametrize("vendor", ["cohere", "mistral", "huggingface"], indirect=True)
def test_a_call_that_fails_after_others_fails_the_whole(client: Client, vendor: tuple[str, FakeVendor]) -> None:
    """With the vendor's error, which says how far it came; a stream keeps the vectors that had come."""
    texts = ["text"] * 1100
    texts[1050] = "status-400"
    before = len(vendor[1].requests)
    error = client.generate("it/embed-4", texts, modality="embedding").error
    assert error["code"] == "invalid_request"
    calls = len(vendor[1].requests) - before
    assert calls > 2
    assert f"call {calls} for this request" in error["detail"]
    streamed = client.stream("it/embed-4", texts, modality="embedding").end()
    assert (streamed["status"], streamed["error"]["code"]) == ("failed", "invalid_request")
    assert 900 < len(streamed["output"]) <= 1050
    if vendor[0] != "huggingface":
        assert streamed["usage"]["input_tokens"] == len(streamed["output"])


@pytest.mark.parametrize("vendor", ["huggingface"], indirect=True)
def test_a_model_that_makes_no_embedding_says_so(client: Client) -> None:
    """Hugging Face has models that answer with a vector for each token, and names that nobody serves."""
    for model, code in (("token-vectors", "unsupported_modality"), ("nothing", "model_not_found")):
        refused = client.generate(f"it/{model}", ["two words"], modality="embedding")
        assert refused.error["code"] == code


def test_its_models_are_listed(client: Client, vendor: tuple[str, FakeVendor]) -> None:
    """By the vendor's own list, in its own form."""

    def listed() -> list[str]:
        return [model["id"] for model in client.get("/v1/models").json()["data"] if model["id"].startswith("it/")]

    # The router lists what chats.
    second = "it/tools" if vendor[0] == "huggingface" else "it/embed-4"
    assert eventually(listed, 10, "the list is read") == ["it/echo", second]
