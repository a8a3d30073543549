"""Google Vertex AI through the installed command, by its own preset: Gemini, Claude and embeddings, for one account."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from e2e.harness import BARE, Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_vertex import TOKEN, VERSION, FakeVertex, running_fake_vertex

KEY = RSAKey.generate_key(2048)
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def vertex() -> Iterator[FakeVertex]:
    with running_fake_vertex() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(vertex: FakeVertex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the preset `vertex` and a service account's key, both at the fake's address."""
    folder = tmp_path_factory.mktemp("gateway")
    secret = folder / "account.json"
    account = {
        "type": "service_account",
        "client_email": "box@acme.iam.gserviceaccount.com",
        "private_key": KEY.as_pem(private=True).decode(),
        "token_uri": vertex.token_url,
    }
    secret.write_text(json.dumps(account))
    secret.chmod(0o600)
    provider = {
        "base_url": vertex.origin + "/v1/projects/{project}/locations/{location}",
        "variables": {"project": "acme", "location": "europe-west4"},
        "google": [f"file:{secret}"],
    }
    with start_gateway(folder, {"providers": {"vertex": provider}, "retry": BARE, "demo": False}) as running:
        yield running


def told(generation: Json) -> Json:
    """What an answer says, without the moment and without ids."""
    items = [{name: item.get(name) for name in ("type", "text", "name", "arguments")} for item in generation["output"]]
    counts = {name: generation["usage"][name] for name in ("input_tokens", "output_tokens")}
    return {"items": items, "finish_reason": generation["finish_reason"], "usage": counts}


@pytest.mark.parametrize(
    "model", [f"{prefix}{name}" for prefix in ("", "claude-") for name in ("echo", "say-4", "tools-parallel", "length")]
)
def test_an_answer_is_the_same_plain_and_streamed(client: Client, vertex: FakeVertex, model: str) -> None:
    """Of Gemini as of Claude, each by its own operations; the token is the account's. Claude is always asked for a
    stream."""
    plain = client.answer(f"vertex/{model}", "Hello there", tools=[WEATHER])
    asked = vertex.requests[-1]
    streamed = client.stream(f"vertex/{model}", "Hello there", tools=[WEATHER]).end()
    assert told(plain) == told(streamed)
    assert plain["served_by"]["backend"] == "vertex"
    operations = [request.path.rpartition(":")[2] for request in (asked, vertex.requests[-1])]
    if model.startswith("claude-"):
        assert operations == ["streamRawPredict"] * 2
        assert asked.body["anthropic_version"] == VERSION
        assert "model" not in asked.body
    else:
        assert operations == ["generateContent", "streamGenerateContent"]
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.path.startswith("/v1/projects/acme/locations/europe-west4/publishers/")


def test_one_token_serves_all_calls(client: Client, vertex: FakeVertex) -> None:
    """It was given for a statement that the account's key has signed."""
    client.answer("vertex/echo", "Hello")
    client.answer("vertex/claude-echo", "Hello")
    (assertion,) = vertex.assertions
    claims = jwt.decode(assertion, KEY, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"]) == ("box@acme.iam.gserviceaccount.com", vertex.token_url)


@pytest.mark.parametrize("model", ["tools", "claude-tools"])
def test_a_conversation_goes_on_after_a_tool(client: Client, model: str) -> None:
    """With what was answered handed back as it came."""
    asked: Json = {"role": "user", "content": "How is the weather?"}
    first = client.answer(f"vertex/{model}", [asked], tools=[WEATHER])
    (call,) = first["output"]
    result = {"type": "tool_result", "tool_call_id": call["id"], "content": "sunny"}
    more = [asked, {"role": "assistant", "content": first["output"]}, {"role": "tool", "content": [result]}]
    second = client.answer(f"vertex/{model}", more, tools=[WEATHER])
    assert "sunny" in second["output"][0]["text"]


@pytest.mark.parametrize("model", ["text-embedding-005", "gemini-embedding-001", "gemini-embedding-2"])
def test_embeddings_come_for_as_many_texts_as_there_are(client: Client, model: str) -> None:
    """In their order and of the size that is asked for, however many calls the model needs for them."""
    texts = [f"text {number}" for number in range(300 if model.startswith("text") else 3)]
    many = client.answer(f"vertex/{model}", texts, modality="embedding", parameters={"dimensions": 2})
    last = client.answer(f"vertex/{model}", texts[-1], modality="embedding", parameters={"dimensions": 2})
    assert [item["input_index"] for item in many["output"]] == list(range(len(texts)))
    assert {len(item["vector"]) for item in many["output"]} == {2}
    assert many["output"][-1]["vector"] == last["output"][0]["vector"]
    assert (many["usage"]["input_tokens"], last["usage"]["input_tokens"]) == (2 * len(texts), 2)


def test_a_text_that_is_too_long_is_refused_and_not_cut(client: Client) -> None:
    """Unless that is what the client wants."""
    text = "word " * 2049
    reply = client.generate("vertex/text-embedding-005", text, modality="embedding")
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    own = {"vertex": {"autoTruncate": True}}
    answer = client.answer("vertex/text-embedding-005", text, modality="embedding", provider_options=own)
    assert answer["usage"]["input_tokens"] == 2048


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("status-400", 502, "backend_authentication_failed"),
        ("status-403", 502, "backend_authentication_failed"),
        ("nothing", 404, "model_not_found"),
        ("status-429", 429, "backend_rate_limited"),
        ("status-500", 502, "backend_error"),
        ("claude-status-400", 400, "invalid_request"),
        ("claude-status-429", 429, "backend_rate_limited"),
        ("claude-status-529", 502, "backend_error"),
        ("claude-x/../y", 404, "model_not_found"),
    ],
)
def test_an_error_is_that_of_every_vendor(client: Client, model: str, status: int, code: str) -> None:
    """The same plain and streamed, without the operator's token."""
    plain = client.generate(f"vertex/{model}")
    assert (plain.status, plain.error["code"]) == (status, code)
    refusal = client.stream(f"vertex/{model}").refusal
    assert refusal is not None
    assert (refusal.status, refusal.error["code"]) == (status, code)
    assert TOKEN not in plain.body.decode()


def test_what_a_model_does_not_make_is_refused_before_any_call(client: Client, vertex: FakeVertex) -> None:
    """Text of a model for embeddings, and embeddings of one for text."""
    before = len(vertex.requests)
    for model, modality in (("text-embedding-005", "text"), ("echo", "embedding")):
        reply = client.generate(f"vertex/{model}", "Hello", modality=modality)
        assert (reply.status, reply.error["code"]) == (400, "unsupported_modality")
    assert len(vertex.requests) == before


def test_its_models_are_those_of_both_publishers(client: Client) -> None:
    """Page after page, under the names that requests take; what would have to be deployed first is not there."""
    listed = eventually(
        lambda: [one for one in client.get("/v1/models").json()["data"] if one["id"].startswith("vertex/")], 5, "listed"
    )
    assert {one["id"].removeprefix("vertex/"): one["output_modalities"] for one in listed} == {
        "gemini-2.5-flash": ["text"],
        "text-embedding-005": ["embedding"],
        "claude-opus-4-6": ["text"],
        "claude-haiku-4-5@20251001": ["text"],
    }


@pytest.mark.parametrize("model", ["slow-20-2000", "claude-slow-20-2000"])
def test_a_client_that_leaves_ends_the_work(client: Client, vertex: FakeVertex, model: str) -> None:
    """The call is cut within two seconds, in the middle of a stream."""
    words = f"a client of {model} that leaves"
    stream = client.stream(f"vertex/{model}", words)
    stream.next("output.delta")
    stream.leave()
    seen = eventually(lambda: next((one for one in vertex.requests if words in str(one.body)), None), 5, "asked")
    assert seen.finished.wait(2)
    assert seen.disconnected
