"""Ollama's own SDK and our codec agree: on what is sent, on what the answer says, and on what our fake of Ollama says.

The SDK's types are the vendor's word on the form of its wire. Each conversation is held twice: by the SDK over a
transport in memory, and by the codec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from sdk_agreement import OurSide, Recorder

from pluggably.domain.generation import Embedding, Reasoning, Text, ToolCall
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.testing.fake_ollama import FakeOllama
from pluggably.testing.fake_vendor import running
from pluggably.wire.codecs.ollama.codec import OllamaCodec

ALL = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "ollama")
# The SDK opens images itself and so refuses what a client may send through provider options; and it reads no call whose
# arguments are `null`.
OF_NO_TYPE = {"options-on-messages-parts-and-tools", "tool-call-without-arguments"}
SENT = [each for each in ALL if each.call and "body" in each.call and each.title not in OF_NO_TYPE]
ANSWERED = [each for each in SENT if each.answer and each.reply]
KEY = "ollama-test"
OURS = OurSide(OllamaCodec, PRESETS["ollama"].options)
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def without_empty(value: Any) -> Any:
    if isinstance(value, list):
        return [without_empty(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {key: without_empty(entry) for key, entry in value.items() if entry not in ("", [], {})}


class Sdk(Recorder):
    """Ollama's, answered as the conversation is."""

    def __init__(self, conversation: codecs.Conversation) -> None:
        assert conversation.reply is not None
        super().__init__(httpx, conversation.reply.body())
        self.ollama = ollama.Client(host=codecs.BASE_URL, transport=self.transport)

    def ask(self, body: dict[str, Any]) -> Any:
        if "messages" not in body:
            return self.ollama.embed(**body)
        said = self.ollama.chat(**body)
        return list(said) if body["stream"] else said


@pytest.fixture
def sdk(conversation: codecs.Conversation) -> Iterator[Sdk]:
    double = Sdk(conversation)
    with double.ollama:
        yield double


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same address and the same body, from arguments that the SDK knows, but for empty texts and lists: some of
    them the SDK leaves out, and others it says aloud."""
    ours = OURS.sent(conversation)
    sdk.ask(ours)
    assert sdk.url == OURS.call(conversation).url
    assert without_empty(sdk.sent) == without_empty(ours)


def texts(chunks: list[Any]) -> tuple[str, str, list[tuple[str, Any]]]:
    """What the SDK understood: text, thinking, and calls."""
    messages = [chunk.message for chunk in chunks]
    calls = [call.function for message in messages for call in message.tool_calls or ()]
    return (
        "".join(message.content or "" for message in messages),
        "".join(message.thinking or "" for message in messages),
        [(call.name, dict(call.arguments)) for call in calls],
    )


@pytest.mark.parametrize("conversation", ANSWERED, ids=str)
def test_the_sdk_reads_what_the_codec_reads(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same text, thinking, calls, vectors and counts."""
    theirs = sdk.ask(OURS.sent(conversation))
    ours = OURS.understood(conversation)
    items = ours.output()
    if isinstance(theirs, ollama.EmbedResponse):
        assert [list(vector) for vector in theirs.embeddings] == [
            item.vector for item in items if isinstance(item, Embedding)
        ]
        assert theirs.prompt_eval_count == ours.usage.input_tokens
        return
    chunks = theirs if isinstance(theirs, list) else [theirs]
    assert texts(chunks) == (
        "".join(item.text for item in items if isinstance(item, Text)),
        "".join(item.text or "" for item in items if isinstance(item, Reasoning)),
        [(item.name, json.loads(item.arguments)) for item in items if isinstance(item, ToolCall)],
    )
    assert (chunks[-1].prompt_eval_count, chunks[-1].eval_count) == (ours.usage.input_tokens, ours.usage.output_tokens)


# ── our fake ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with running(FakeOllama(KEY)) as server:
        yield server


@pytest.fixture
def client(fake: FakeOllama) -> Iterator[ollama.Client]:
    with ollama.Client(host=fake.base_url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


@pytest.mark.parametrize("model", ["echo", "say-3", "tools", "tools-parallel", "reasoning", "length"])
def test_the_sdk_reads_our_fake(client: ollama.Client, model: str) -> None:
    """The same plain and streamed."""
    asked = [{"role": "user", "content": "Hello there"}]
    plain = client.chat(model, asked, tools=[WEATHER])
    streamed = list(client.chat(model, asked, tools=[WEATHER], stream=True))
    assert texts([plain]) == texts(streamed)
    assert any(texts([plain]))
    assert plain.done
    assert plain.done_reason == streamed[-1].done_reason == ("length" if model == "length" else "stop")
    assert plain.prompt_eval_count == streamed[-1].prompt_eval_count == 2


def test_the_sdk_reads_our_fakes_vectors_and_models(client: ollama.Client) -> None:
    """In the form of the vendor's types."""
    vectors = client.embed("embed-4", ["a", "b"], dimensions=3).embeddings
    assert [len(vector) for vector in vectors] == [3, 3]
    assert [model.model for model in client.list().models] == ["echo", "embed-4"]


@pytest.mark.parametrize(("model", "status"), [("nothing", 404), ("status-429", 429), ("status-500", 500)])
def test_the_sdk_reads_our_fakes_errors(client: ollama.Client, model: str, status: int) -> None:
    """With the status, and with words."""
    with pytest.raises(ollama.ResponseError) as raised:
        client.chat(model, [{"role": "user", "content": "Hello"}])
    assert (raised.value.status_code, bool(raised.value.error)) == (status, True)


def test_the_sdk_reads_our_fakes_error_in_a_stream(client: ollama.Client) -> None:
    """As a line in place of another."""
    with pytest.raises(ollama.ResponseError, match="the model broke"):
        list(client.chat("error-in-stream", [{"role": "user", "content": "Hello there"}], stream=True))
