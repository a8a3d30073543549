"""Vertex AI: where the calls for Gemini and for Claude go, as Anthropic's own package sends them there, too."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic._constants import ANTHROPIC_API_VERSION

from pluggably.domain.catalog import Target
from pluggably.errors import ModelNotFound
from pluggably.plugins import CODECS, Plugins
from pluggably.providers.build import build_provider
from pluggably.providers.presets import PRESETS
from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address, HttpCall

PLACE = "https://aiplatform.googleapis.com/v1/projects/acme/locations/global"


def call_for(model: str, *, stream: bool = False, **variables: str) -> HttpCall:
    """The call that asks a model to say something."""
    given = {
        "project": "acme",
        **{name: row.default for name, row in PRESETS["vertex"].variables.items() if row.default},
    }
    provider = build_provider("vertex", PRESETS["vertex"], Plugins(CODECS), variables={**given, **variables})
    endpoint = provider.endpoint(Target(backend="vertex", model=model, location="remote"))
    assert endpoint.signer is not None
    address = Address(base_url=endpoint.base_url, model=model, backend="vertex", stream=stream)
    request = generation_request({"input": "Hi", "parameters": {"max_output_tokens": 100}})
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
    assert body.pop("anthropic_version") == "vertex-2023-10-16"
    sdk.messages.create(model="claude-sonnet-4-5@20250929", **body)
    sdk.close()
    assert str(seen[0].url) == ours.url
    # Its version of the API is the package's own; ours is the one of the pages.
    assert json.loads(seen[0].content) == {**body, "anthropic_version": ANTHROPIC_API_VERSION}


@pytest.mark.parametrize("model", ["claude-x/../../y", "claude-x:predict", "claude-x?y"])
def test_claudes_name_never_leaves_its_step(model: str) -> None:
    """Clients name the models."""
    with pytest.raises(ModelNotFound):
        call_for(model)
