"""Google's and Anthropic's own SDKs, as clients of Vertex AI, understand what our fake of it says."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from pluggably.testing.fake_vertex import TOKEN, VERSION, FakeVertex, running_fake_vertex


@pytest.fixture(scope="module")
def vertex() -> Iterator[FakeVertex]:
    with running_fake_vertex() as running:
        yield running


@pytest.fixture(scope="module")
def claude(vertex: FakeVertex) -> Iterator[anthropic.AnthropicVertex]:
    with anthropic.AnthropicVertex(
        region="europe-west4", project_id="acme", access_token=TOKEN, base_url=f"{vertex.origin}/v1", max_retries=0
    ) as sdk:
        yield sdk


def google_client(vertex: FakeVertex, version: str) -> genai.Client:
    return genai.Client(
        vertexai=True,
        project="acme",
        location="europe-west4",
        credentials=Credentials(TOKEN),
        http_options=types.HttpOptions(base_url=vertex.origin, api_version=version),
    )


@pytest.fixture(scope="module")
def google(vertex: FakeVertex) -> Iterator[genai.Client]:
    with google_client(vertex, "v1") as sdk:
        yield sdk


def test_claude_is_read_by_anthropics_sdk(claude: anthropic.AnthropicVertex) -> None:
    """Plain and streamed. The SDK names another version by itself than the pages do."""
    asked = {
        "model": "claude-echo",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello there"}],
        "extra_body": {"anthropic_version": VERSION},
    }
    plain = claude.messages.create(**asked)
    assert [block.text for block in plain.content] == ["Hello there"]
    with claude.messages.stream(**asked) as stream:
        assert stream.get_final_message().content[0].text == "Hello there"
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(**{**asked, "model": "claude-status-429"})


def test_gemini_is_read_by_googles_sdk(google: genai.Client) -> None:
    """Plain and streamed."""
    assert google.models.generate_content(model="echo", contents="Hello there").text == "Hello there"
    pieces = google.models.generate_content_stream(model="echo", contents="Hello there")
    assert "".join(piece.text or "" for piece in pieces) == "Hello there"


@pytest.mark.parametrize("model", ["text-embedding-005", "gemini-embedding-2"])
def test_embeddings_are_read_by_googles_sdk(google: genai.Client, model: str) -> None:
    """Of the size that was asked for, with their tokens."""
    config = types.EmbedContentConfig(output_dimensionality=3, auto_truncate=False)
    (embedding,) = google.models.embed_content(model=model, contents="Hello there", config=config).embeddings or ()
    assert (len(embedding.values or ()), embedding.statistics.token_count) == (3, 2)


def test_the_list_is_read_by_googles_sdk(vertex: FakeVertex) -> None:
    """Page by page; only the newer version of the API has it."""
    with google_client(vertex, "v1beta1") as sdk:
        names = [model.name for model in sdk.models.list()]
    assert names[:2] == ["publishers/google/models/gemini-2.5-flash", "publishers/google/models/text-embedding-005"]
