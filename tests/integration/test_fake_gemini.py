"""The fake Gemini API proved right: Google's own SDK reads what it says, and it refuses what Google refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from pluggably.testing.fake_gemini import FakeGemini, running_fake_gemini

KEY = "fake-key"
WEATHER = types.FunctionDeclaration(
    name="weather", parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}}
)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGemini]:
    with running_fake_gemini(KEY) as server:
        yield server


@pytest.fixture(scope="module")
def models(fake: FakeGemini) -> Iterator[Any]:
    base_url, _, version = fake.base_url.rpartition("/")
    with httpx2.Client() as http:
        options = types.HttpOptions(base_url=base_url, api_version=version, httpx_client=http)
        client = genai.Client(api_key=KEY, http_options=options)
        yield client.models
        client.close()


def ask(models: Any, model: str, contents: Any = "Hello there, fake.", **config: Any) -> Any:
    return models.generate_content(
        model=model, contents=contents, config=types.GenerateContentConfig.model_validate(config)
    )


def text_of(pieces: Any) -> str:
    return "".join(
        part.text or ""
        for piece in pieces
        for candidate in piece.candidates or ()
        for part in candidate.content.parts or ()
    )


@pytest.mark.parametrize("model", ["echo", "say-4", "slow-1-3", "length", "filtered", "reasoning", "json", "tools"])
def test_an_answer_is_the_same_whole_and_streamed(models: Any, model: str) -> None:
    """The same text, calls, reason and counts."""
    whole = ask(models, model)
    pieces = list(models.generate_content_stream(model=model, contents="Hello there, fake."))
    assert text_of(pieces) == text_of([whole])
    calls = [call for piece in pieces for call in piece.function_calls or ()]
    assert calls == (whole.function_calls or [])
    assert pieces[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason
    assert pieces[-1].usage_metadata == whole.usage_metadata


def test_tools_are_called_and_their_results_read(models: Any) -> None:
    """A conversation goes on with what the SDK keeps of the answer, and not without the signature."""
    tools = [types.Tool(function_declarations=[WEATHER])]
    answer = ask(models, "tools-parallel", tools=tools)
    assert [(call.name, call.args) for call in answer.function_calls] == [("weather", {"city": "text"})] * 2
    results = [
        types.Part(function_response=types.FunctionResponse(name="weather", id=call.id, response={"output": sky}))
        for call, sky in zip(answer.function_calls, ("sunny", "rainy"), strict=True)
    ]
    asked = types.Content(role="user", parts=[types.Part(text="Hello")])
    said = answer.candidates[0].content
    turn = [asked, said, types.Content(role="user", parts=results)]
    assert ask(models, "tools", turn, tools=tools).text == "The tool said: sunny, rainy"
    with pytest.raises(errors.ClientError, match="number of function response parts"):
        ask(models, "tools", [asked, said, types.Content(role="user", parts=results[:1])], tools=tools)
    said.parts[0].thought_signature = None
    with pytest.raises(errors.ClientError, match="thought_signature"):
        ask(models, "tools", turn, tools=tools)


def test_thoughts_are_told_where_they_are_asked_for(models: Any) -> None:
    """A summary, its tokens, and a signature at the end."""
    answer = ask(models, "reasoning", thinking_config=types.ThinkingConfig(include_thoughts=True))
    thought, said = answer.candidates[0].content.parts
    assert (thought.text, thought.thought) == ("I think. I know.", True)
    assert (said.text, said.thought_signature) == ("The answer is 42.", b"a signature of the fake")
    assert answer.usage_metadata.thoughts_token_count == 4


def test_embeddings_have_the_size_that_is_asked_for(models: Any) -> None:
    """One for each text, and the same for the same text."""
    config = types.EmbedContentConfig(output_dimensionality=3)
    answer = models.embed_content(model="embed-5", contents=["One", "Two", "One"], config=config)
    assert [len(each.values) for each in answer.embeddings] == [3, 3, 3]
    assert answer.embeddings[0] == answer.embeddings[2] != answer.embeddings[1]


def test_it_breaks_on_demand(fake: FakeGemini, models: Any) -> None:
    """Statuses, errors in a stream, a stream without an end, and a blocked prompt."""
    for status, kind in ((400, errors.ClientError), (429, errors.ClientError), (503, errors.ServerError)):
        with pytest.raises(kind) as raised:
            ask(models, f"status-{status}")
        assert raised.value.code == status
    with pytest.raises(errors.ClientError):
        ask(models, "nothing")
    for model in ("error-in-200-2", "error-bare-200-2"):
        with pytest.raises(errors.ServerError, match="overloaded"):
            list(models.generate_content_stream(model=model, contents="Hello"))
    cut = list(models.generate_content_stream(model="ends-2", contents="Hello"))
    assert [piece.candidates[0].finish_reason for piece in cut] == [None, None]
    assert ask(models, "blocked").prompt_feedback.block_reason is types.BlockedReason.SAFETY
    for body in ({"contents": []}, {"contents": [{"role": "user", "parts": []}]}, {"messages": []}):
        refused = httpx2.post(
            f"{fake.base_url}/models/echo:generateContent", json=body, headers={"x-goog-api-key": KEY}
        )
        assert (refused.status_code, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert httpx2.post(f"{fake.base_url}/models/echo:generateContent", json={}).status_code == 400
