"""Embeddings of more texts than a vendor takes at once, through the installed command: cost, failures, clients that
leave. That all texts come back in their order is asked of every vendor in `test_vendors`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.conftest import PROVIDER_KEY
from e2e.harness import BARE, Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_cohere import FakeCohere
from pluggably.testing.fake_gemini import FakeGemini, running_fake_gemini
from pluggably.testing.fake_openai import FakeOpenAI, embed, running_fake_openai
from pluggably.testing.fake_vendor import running

TEXTS = [f"text {number}" for number in range(250)]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
DOLLAR = {"input_per_million": "1000000", "output_per_million": "1000000"}  # a token


@pytest.fixture(scope="module")
def cohere() -> Iterator[FakeCohere]:
    with running(FakeCohere(PROVIDER_KEY)) as fake:
        yield fake


@pytest.fixture(scope="module")
def gemini() -> Iterator[FakeGemini]:
    with running_fake_gemini(PROVIDER_KEY) as fake:
        yield fake


@pytest.fixture(scope="module")
def last() -> Iterator[FakeOpenAI]:
    with running_fake_openai() as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(
    cohere: FakeCohere, gemini: FakeGemini, last: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    def at(base_url: str, preset: str, **more: Any) -> Json:
        models = {"embed-4": {"price": DOLLAR}}
        return {"preset": preset, "base_url": base_url, "api_key": "${FAKE_KEY}", "models": models, **more}

    config: Json = {
        "providers": {
            "cohere": at(cohere.base_url, "cohere"),
            "google": at(gemini.base_url, "google"),
            "last": {"codec": "openai", "base_url": last.base_url},
            "tens": at(gemini.base_url, "google", options={"texts_per_call": 10}),
        },
        "models": {f"{name}-first": {"targets": [f"{name}/embed-4", "last/embed-4"]} for name in ("cohere", "google")},
        "retry": BARE,
        "demo": False,
    }
    with start_gateway(tmp_path_factory.mktemp("gateway"), config, FAKE_KEY=PROVIDER_KEY) as running_gateway:
        yield running_gateway


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Client:
    return gateway.client


def ask(client: Client, model: str, texts: list[str], stream: bool = False, **fields: Any) -> Json:
    if stream:
        return client.stream(model, texts, modality="embedding", **fields).end()
    found: Json = client.generate(model, texts, modality="embedding", **fields).json()
    return found


def cancelled(gateway: Gateway) -> list[Json]:
    return [line for line in gateway.generations() if line["generation_status"] == "cancelled"]


@BOTH
@pytest.mark.parametrize(("provider", "most", "calls"), [("cohere", 96, 3), ("google", 100, 3), ("tens", 10, 25)])
def test_many_texts_are_several_calls_and_one_answer(
    client: Client, cohere: FakeCohere, gemini: FakeGemini, provider: str, most: int, calls: int, stream: bool
) -> None:
    """Their vectors are those that each text has alone, and the tokens of all calls are counted and paid."""
    fake: Any = cohere if provider == "cohere" else gemini
    before = len(fake.requests)
    generation = ask(client, f"{provider}/embed-4", TEXTS, stream)
    sent = [len(seen.body.get("texts") or seen.body.get("requests")) for seen in fake.requests[before:]]
    assert (len(sent), max(sent), sum(sent)) == (calls, most, 250)
    assert (generation["status"], generation["attempts"]) == ("completed", [])
    assert [item["input_index"] for item in generation["output"]] == list(range(250))
    for place in (0, most - 1, most, 249):
        [alone] = ask(client, f"{provider}/embed-4", [TEXTS[place]])["output"]
        assert generation["output"][place]["vector"] == alone["vector"]
    assert (generation["usage"]["input_tokens"], generation["usage"]["cost_usd"]) == (250, "250")


@pytest.mark.parametrize("provider", ["cohere", "google"])
def test_a_limit_in_the_third_call_goes_to_the_next_target(client: Client, last: FakeOpenAI, provider: str) -> None:
    """Which is asked for all texts, since vectors of two models do not go together. What the calls before it cost is
    told."""
    texts = [*TEXTS[:220], "status-429"]
    generation = ask(client, f"{provider}-first", texts)
    assert (generation["status"], generation["served_by"]["backend"]) == ("completed", "last")
    assert [item["input_index"] for item in generation["output"]] == list(range(221))
    assert generation["output"][7]["vector"] == pytest.approx(embed(texts[7], 4), abs=1e-6)
    assert [len(seen.body["input"]) for seen in last.requests[-1:]] == [221]
    [attempt] = generation["attempts"]
    sent = {"cohere": 192, "google": 200}[provider]
    assert (attempt["code"], attempt["cost_usd"]) == ("backend_rate_limited", str(sent))


@pytest.mark.parametrize("provider", ["cohere", "google"])
def test_a_stream_that_has_vectors_out_stays_with_its_target(client: Client, last: FakeOpenAI, provider: str) -> None:
    """It fails where it fails, and keeps what has come."""
    before = len(last.requests)
    generation = ask(client, f"{provider}-first", [*TEXTS[:220], "status-429"], stream=True)
    error = generation["error"]
    assert (generation["status"], error["code"], error["backend"]) == ("failed", "backend_rate_limited", provider)
    assert "call 3 for this request" in error["detail"]
    sent = {"cohere": 192, "google": 200}[provider]
    assert (len(generation["output"]), generation["usage"]["input_tokens"]) == (sent, sent)
    assert len(last.requests) == before


@BOTH
def test_a_client_that_leaves_between_costs_no_further_call(gateway: Gateway, gemini: FakeGemini, stream: bool) -> None:
    """The call that is under way is cut, and no other is made."""
    before, gone = len(gemini.requests), len(cancelled(gateway))
    texts = [*TEXTS[:150], "stall", *TEXTS[150:]]
    body = {"model": "google/embed-4", "input": texts, "modality": "embedding", "stream": stream}
    connection = gateway.client.begin("POST", "/v1/generations", body)
    seen = eventually(lambda: gemini.requests[before + 1 :], 10, "the second call")[0]
    connection.close()
    assert seen.finished.wait(5)
    assert seen.disconnected
    eventually(lambda: len(cancelled(gateway)) > gone, 5, "the log")
    assert len(gemini.requests) == before + 2


def test_all_calls_have_one_time_together(client: Client) -> None:
    """A call that never ends is given up when the time of the request is over, not when its own would be."""
    reply = client.generate("google/embed-4", [*TEXTS[:150], "stall"], modality="embedding", timeouts={"total_s": 0.7})
    assert (reply.status, reply.error["code"]) == (504, "backend_timeout")
    [attempt] = reply.error["attempts"]
    assert 0.6 < attempt["duration_s"] < 2
    assert attempt["cost_usd"] == "100"
