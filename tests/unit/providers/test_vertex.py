"""Vertex AI: where calls for Gemini, Claude and embeddings go, as the makers' own packages send them, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic._constants import ANTHROPIC_API_VERSION
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from pluggably.domain.catalog import Target
from pluggably.errors import ModelNotFound
from pluggably.plugins import CODECS, Plugins
from pluggably.providers.build import build_provider
from pluggably.providers.presets import PRESETS
from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address, HttpCall

PLACE = "https://aiplatform.googleapis.com/v1/projects/acme/locations/global"


def call_for(model: str, asked: dict[str, Any] | None = None, *, stream: bool = False, **variables: str) -> HttpCall:
    """The call that asks a model to say something, or what is `asked`."""
    given = {
        "project": "acme",
        **{name: row.default for name, row in PRESETS["vertex"].variables.items() if row.default},
    }
    provider = build_provider("vertex", PRESETS["vertex"], Plugins(CODECS), variables={**given, **variables})
    endpoint = provider.endpoint(Target(backend="vertex", model=model, location="remote"))
    assert endpoint.signer is not None
    address = Address(base_url=endpoint.base_url, model=model, backend="vertex", stream=stream)
    request = generation_request(asked or {"input": "Hi", "parameters": {"max_output_tokens": 100}})
    call = endpoint.codec(endpoint.options).begin(request, address).next
    assert call is not None
    return call


@pytest.mark.parametrize(("stream", "operation"), [(False, "generateContent"), (True, "streamGenerateContent?alt=sse")])
def test_gemini_is_asked_under_its_publisher(stream: bool, operation: str) -> None:
    """With the body of the Gemini API."""
    call = call_for("gemini-2.5-flash", stream=stream)
    assert call.url == f"{PLACE}/publishers/google/models/gemini-2.5-flash:{operation}"
    assert json.loads(call.body)["contents"] == [{"role": "user", "parts": [{"text": "Hi"}]}]


def test_a_tuned_model_is_an_endpoint() -> None:
    """By its number."""
    assert call_for("endpoints/123").url == f"{PLACE}/endpoints/123:generateContent"


def test_a_region_has_a_server_of_its_own() -> None:
    """Both are given."""
    call = call_for("gemini-2.5-flash", location="europe-west4", host="europe-west4-aiplatform.googleapis.com")
    assert call.url.startswith(
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme/locations/europe-west4/publishers/"
    )


@pytest.mark.parametrize("stream", [False, True])
def test_claude_is_asked_as_by_anthropics_package(stream: bool) -> None:
    """The same address, and the same body but for the version, which is the documented one."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={})

    sdk = anthropic.AnthropicVertex(
        region="global",
        project_id="acme",
        access_token="t",
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )
    ours = call_for("claude-sonnet-4-5@20250929", stream=stream)
    body: dict[str, Any] = json.loads(ours.body)
    assert "model" not in body
    assert body.pop("anthropic_version") == "vertex-2023-10-16"
    sdk.messages.create(model="claude-sonnet-4-5@20250929", **body)
    sdk.close()
    assert str(seen[0].url) == ours.url
    # Its version of the API is the package's own; ours is the one of the pages.
    assert json.loads(seen[0].content) == {**body, "anthropic_version": ANTHROPIC_API_VERSION}


def test_claude_is_asked_to_show_what_it_thinks() -> None:
    """As at Anthropic; newer models leave it out by default."""
    asked = {"input": "Hi", "parameters": {"reasoning": {"effort": "low"}}}
    body = json.loads(call_for("claude-opus-4-8", asked).body)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "most", "thinking"),
    [
        ("claude-opus-4-1@20250805", 32_000, {"type": "enabled", "budget_tokens": 16_000}),
        ("claude-sonnet-4@20250514", 64_000, {"type": "enabled", "budget_tokens": 16_384}),
        ("claude-3-7-sonnet@20250219", 64_000, {"type": "enabled", "budget_tokens": 16_384}),
        ("claude-3-5-haiku@20241022", 8192, None),
        ("claude-3-haiku@20240307", 4096, None),
        ("claude-opus-4-8", 128_000, {"type": "adaptive", "display": "summarized"}),
    ],
)
def test_claude_before_4_5_is_asked_in_the_old_way(model: str, most: int, thinking: Any) -> None:
    """Google serves models for longer than Anthropic does."""
    body = json.loads(call_for(model, {"input": "Hi", "parameters": {"reasoning": {"effort": "high"}}}).body)
    assert (body["max_tokens"], body.get("thinking")) == (most, thinking)


@pytest.mark.parametrize(
    ("given", "streams"), [(None, {"claude": True, "gemini": False}), (False, {"claude": False, "gemini": False})]
)
def test_claude_alone_always_streams(given: bool | None, streams: dict[str, bool]) -> None:
    """Its answers may take long, as at Anthropic; an operator may say otherwise."""
    provider = build_provider(
        "vertex", PRESETS["vertex"], Plugins(CODECS), variables={"project": "acme"}, always_streams=given
    )
    models = {"claude": "claude-opus-4-8", "gemini": "gemini-3.8-flash"}
    leased = {
        name: provider.endpoint(Target(backend="vertex", model=model, location="remote"))
        for name, model in models.items()
    }
    assert {name: endpoint.always_streams for name, endpoint in leased.items()} == streams


@pytest.mark.parametrize("model", ["claude-x/../../y", "claude-x:predict", "claude-x?y"])
def test_claudes_name_never_leaves_its_step(model: str) -> None:
    """Clients name the models."""
    with pytest.raises(ModelNotFound):
        call_for(model)


class Google:
    """Google's SDK as a client of Vertex AI; keeps the last request."""

    def __init__(self) -> None:
        def answer(request: httpx2.Request) -> httpx2.Response:
            self.request = request
            return httpx2.Response(200, json={})

        self._transport = httpx2.Client(transport=httpx2.MockTransport(answer))
        self._sdk = genai.Client(
            vertexai=True,
            project="acme",
            location="global",
            credentials=Credentials("ya29.t"),
            http_options=types.HttpOptions(api_version="v1", httpx_client=self._transport),
        )
        self.models = self._sdk.models

    def close(self) -> None:
        self._sdk.close()
        self._transport.close()


@pytest.fixture
def google() -> Iterator[Google]:
    sdk = Google()
    yield sdk
    sdk.close()


@pytest.mark.parametrize("stream", [False, True])
def test_gemini_is_asked_as_by_googles_package(google: Google, stream: bool) -> None:
    """The same address and the same body."""
    ours = call_for("gemini-2.0-flash", stream=stream)
    ask = google.models.generate_content_stream if stream else google.models.generate_content
    answer = ask(model="gemini-2.0-flash", contents="Hi", config=types.GenerateContentConfig(max_output_tokens=100))
    if stream:
        list(answer)
    assert str(google.request.url) == ours.url
    assert json.loads(google.request.content) == json.loads(ours.body)


@pytest.mark.parametrize("model", ["text-embedding-005", "text-multilingual-embedding-002", "gemini-embedding-2"])
def test_embeddings_are_asked_for_as_by_googles_package(google: Google, model: str) -> None:
    """By the operation that the model has, with the size, the kind of task and the title where it wants them."""
    ours = call_for(
        model,
        {
            "modality": "embedding",
            "input": "Hi",
            "parameters": {"dimensions": 3},
            "provider_options": {"vertex": {"taskType": "CLUSTERING", "title": "Greetings"}},
        },
    )
    config = types.EmbedContentConfig(
        output_dimensionality=3, task_type="CLUSTERING", title="Greetings", auto_truncate=False
    )
    google.models.embed_content(model=model, contents="Hi", config=config)
    theirs = json.loads(google.request.content)
    theirs.get("content", {}).pop("role", None)  # the SDK says whose words they are
    assert str(google.request.url) == ours.url
    assert theirs == json.loads(ours.body)


def test_the_first_gemini_embedding_is_asked_by_predict_for_one_text() -> None:
    """As its page says, with a text that is not to be cut."""
    ours = call_for("gemini-embedding-001", {"modality": "embedding", "input": ["Hi", "Ho"]})
    assert ours.url == f"{PLACE}/publishers/google/models/gemini-embedding-001:predict"
    assert json.loads(ours.body) == {"instances": [{"content": "Hi"}], "parameters": {"autoTruncate": False}}
