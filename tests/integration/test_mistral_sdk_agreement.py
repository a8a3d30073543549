"""Mistral's own SDK and our codec agree: on what is sent, on what the answer says, and on what our fake says.

The SDK's types are made from Mistral's API description, so this is as near to Mistral as a test without a network
comes. Each conversation is held twice: by the SDK over a transport in memory, and by the codec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mistralai.client import Mistral, models
from mistralai.client.errors import MistralError
from sdk_agreement import EVENTS, JSON, OurSide, Recorder

from pluggably.domain.generation import Embedding, Fold, Reasoning, Text, ToolCall
from pluggably.testing import codecs
from pluggably.testing.fake_mistral import FakeMistral
from pluggably.testing.fake_vendor import running
from pluggably.wire.codecs.mistral.codec import MistralCodec

ALL = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "mistral")
# Fields that no type has, as a client may put them there for what is yet to come; and a chunk that only answers have.
OF_NO_TYPE = {"options-on-messages-and-parts", "chunks-handed-back"}
SENT = [each for each in ALL if each.call and "body" in each.call and each.title not in OF_NO_TYPE]
# Forms of an answer that the SDK does not read: a stream where none was asked for, pings, chunks of an unknown type.
UNREADABLE = {"stream-where-plain-was-asked", "events-with-names-and-comments", "chunk-of-another-kind", "references"}
# The codec takes off the beginning that the client gave.
UNREADABLE |= {"a-last-word-of-the-assistant-is-a-prefix", "streamed-prefix"}
ANSWERED = [
    each for each in SENT + [one for one in ALL if not one.call] if each.answer and each.title not in UNREADABLE
]
# What the SDK says aloud where we leave it out.
DEFAULTS = (None, False, 0, "function", [])
KEY = "mistral-test"
OURS = OurSide(MistralCodec)
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class Sdk(Recorder):
    """Mistral's, answered as the conversation is."""

    def __init__(self, conversation: codecs.Conversation) -> None:
        reply = conversation.reply
        if reply is None or reply.status >= 300:
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            empty = {"id": "1", "object": "chat.completion", "model": "m", "created": 1, "choices": [], "usage": usage}
            reply = codecs.Reply(value=empty)
        super().__init__(httpx2, reply.body(), EVENTS if conversation.stream else JSON)
        self.http = self.client()
        self.mistral = Mistral(api_key=KEY, server_url=codecs.BASE_URL.removesuffix("/v1"), client=self.http)

    def ask(self, body: dict[str, Any]) -> Any:
        given = {name: value for name, value in body.items() if name != "stream"}
        if "input" in given:
            return self.mistral.embeddings.create(inputs=given.pop("input"), **given)
        if body.get("stream"):
            return [event.data for event in self.mistral.chat.stream(**given)]
        return self.mistral.chat.complete(**given)


@pytest.fixture
def sdk(conversation: codecs.Conversation) -> Iterator[Sdk]:
    double = Sdk(conversation)
    yield double
    double.http.close()


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same address and the same body, read and written by the SDK's own types, but for its defaults."""
    ours = OURS.sent(conversation)
    sdk.ask(ours)
    assert sdk.url.partition("#")[0] == OURS.call(conversation).url
    _same(ours, sdk.sent)


def _same(ours: Any, theirs: Any) -> None:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() <= theirs.keys()
        assert [value for key, value in theirs.items() if key not in ours and value not in DEFAULTS] == []
        for key in ours:
            _same(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            _same(mine, other)
    else:
        assert ours == theirs


@pytest.mark.parametrize("conversation", ANSWERED, ids=str)
def test_the_sdk_understands_what_the_codec_understands(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same thoughts, text, calls and counts, in the same order."""
    fold = OURS.understood(conversation)
    answer = sdk.ask(OURS.sent(conversation))
    if conversation.request.get("modality") == "embedding":
        theirs = sorted(answer.data, key=lambda each: each.index)
        ours = [item.vector for item in fold.output() if isinstance(item, Embedding)]
        assert ours == [each.embedding for each in theirs]
        return
    if isinstance(answer, list):
        told, usage, reason = _folded(answer)
    else:
        choice = next(choice for choice in answer.choices if choice.index == 0)
        messages = choice.messages or [choice.message]
        told, usage, reason = _of_the_sdk(messages), answer.usage, choice.finish_reason
    assert _of_the_codec(fold) == told
    assert (fold.usage.input_tokens, fold.usage.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert (fold.finish_reason == "length") == (reason in ("length", "model_length"))


def _of_the_codec(fold: Fold) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    for item in fold.output():
        if isinstance(item, Reasoning):
            told.append(("thinking", item.text))
        elif isinstance(item, Text):
            told.append(("text", item.text))
        elif isinstance(item, ToolCall):
            told.append(("call", (item.id, item.name, json.loads(item.arguments))))
    return _joined(told)


def _of_the_sdk(messages: list[Any]) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    calls: dict[str, list[str]] = {}
    # What Mistral's own tools were asked and found is no one's to answer, and no answer.
    results = [message for message in messages if getattr(message, "tool_call_id", None)]
    of_results = {result.index for result in results}
    for message in messages:
        if of_results and message.index in of_results:
            continue
        content = message.content or ""
        for chunk in [models.TextChunk(text=content)] if isinstance(content, str) else content:
            if isinstance(chunk, models.TextChunk):
                told.append(("text", chunk.text))
            elif isinstance(chunk, models.ThinkChunk):
                inner = "".join(each.text for each in chunk.thinking if isinstance(each, models.TextChunk))
                told.append(("thinking", inner))
        for call in message.tool_calls or ():
            given = call.function.arguments
            arguments = given if isinstance(given, str) else json.dumps(given)
            # "null" is what the SDK has for no id: more of the call before.
            id_ = call.id if call.id != "null" else list(calls)[-1]
            calls.setdefault(id_, [call.function.name, ""])[1] += arguments
    for result in results:
        calls.pop(result.tool_call_id, None)
    told += [("call", (id_, name, json.loads(arguments))) for id_, (name, arguments) in calls.items()]
    return _joined([each for each in told if each[1] != ""])


def _joined(told: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Texts of one kind that follow each other, as one: the SDK has them as they came."""
    joined: list[tuple[str, Any]] = []
    for kind, what in told:
        if joined and kind != "call" and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + what)
        else:
            joined.append((kind, what))
    return joined


def _folded(chunks: list[Any]) -> tuple[list[tuple[str, Any]], Any, str | None]:
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices if choice.index == 0]
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    # One for each time that the model spoke.
    first, *more = {chunk.id: chunk.usage for chunk in chunks if chunk.usage}.values()
    for usage in more:
        first.prompt_tokens += usage.prompt_tokens
        first.completion_tokens += usage.completion_tokens
    return _of_the_sdk(deltas), first, reasons[-1]


# ── the fake ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def client() -> Iterator[Mistral]:
    with running(FakeMistral(KEY)) as fake, httpx2.Client() as http:
        yield Mistral(api_key=KEY, server_url=fake.base_url, client=http)


@pytest.mark.parametrize("model", ["echo", "say-3", "tools", "tools-parallel", "reasoning", "length"])
@pytest.mark.parametrize("tools", [[WEATHER], [WEATHER, {"type": "connector", "connector_id": "rivers"}]])
def test_the_sdk_reads_the_same_in_both_forms_of_the_fake(client: Mistral, model: str, tools: list[Any]) -> None:
    """Thoughts, text, calls, the reason and the counts, plain and streamed; with a tool of Mistral's own, too."""
    asked: Any = {"model": model, "messages": [{"role": "user", "content": "Hello there"}], "tools": tools}
    plain = client.chat.complete(**asked)
    told, usage, reason = _folded([event.data for event in client.chat.stream(**asked)])
    choice = plain.choices[0]
    assert bool(choice.messages) == (len(tools) > 1)
    assert _of_the_sdk(choice.messages or [choice.message]) == told != []
    assert (plain.choices[0].finish_reason, plain.usage) == (reason, usage)


def test_the_sdk_reads_the_fakes_embeddings_models_and_errors(client: Mistral) -> None:
    """Vectors in their order, the names of models, and an error for each status."""
    answer = client.embeddings.create(model="embed-4", inputs=["a", "b"], output_dimension=2)
    assert [len(each.embedding or ()) for each in answer.data] == [2, 2]
    assert [model.id for model in client.models.list().data or ()] == ["echo", "embed-4"]
    for model, status in (("status-429", 429), ("nothing", 404)):
        with pytest.raises(MistralError) as raised:
            client.chat.complete(model=model, messages=[{"role": "user", "content": "Hello"}])
        assert raised.value.status_code == status


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([{"role": "user", "content": "x", "mood": "good"}], 422),
        ([{"role": "user", "content": [{"type": "pdf"}]}], 422),
        ([{"role": "assistant", "content": "x"}], 400),
        ([{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "D681PevKs", "content": "x"}], 400),
        ([], 422),
    ],
)
def test_the_fake_refuses_what_is_not_documented(messages: list[Any], status: int) -> None:
    """A codec that invents things is caught."""
    with running(FakeMistral(KEY)) as fake, httpx2.Client() as http:
        headers = {"Authorization": f"Bearer {KEY}"}
        body = {"model": "echo", "messages": messages}
        answer = http.post(f"{fake.base_url}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == status
