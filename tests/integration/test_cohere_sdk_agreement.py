"""Cohere's own SDK and our codec agree: on what is sent, on what the answer says, and on what our fake of Cohere says.

The SDK's types are made from Cohere's API description, so this is as near to Cohere as a test without a network comes.
Each conversation is held twice: by the SDK over a transport in memory, and by the codec.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import pydantic
import pytest
from cohere.types import ChatMessages, ResponseFormatV2, Thinking, ToolV2
from sdk_agreement import EVENTS, JSON, OurSide, Recorder

from pluggably.domain.generation import Embedding, Fold, Reasoning, Text, ToolCall
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.testing.fake_cohere import FakeCohere
from pluggably.testing.fake_vendor import running
from pluggably.wire.codecs.cohere.codec import CohereCodec

ALL = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "cohere")
SENT = [each for each in ALL if each.call and "body" in each.call]
# Forms of an answer that the SDK does not read: a stream where none was asked for, and blocks of a type it lacks.
UNREADABLE = {"stream-where-plain-was-asked", "block-of-an-unknown-type"}
ANSWERED = [each for each in ALL if each.answer and each.reply and each.title not in UNREADABLE]
# What the SDK has no name for, and only a test of ours says.
OWN = {"x", "z"}
KEY = "co-test"
OURS = OurSide(CohereCodec, PRESETS["cohere"].options)
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class Sdk(Recorder):
    """Cohere's, answered as the conversation is."""

    def __init__(self, conversation: codecs.Conversation) -> None:
        reply = conversation.reply
        if reply is None or conversation.title in UNREADABLE:
            reply = codecs.Reply(value={"id": "1", "finish_reason": "COMPLETE", "message": {"role": "assistant"}})
        super().__init__(httpx, reply.body(), EVENTS if conversation.stream else JSON)
        self.http = self.client()
        self.cohere = cohere.ClientV2(api_key=KEY, base_url=codecs.BASE_URL, httpx_client=self.http)

    def ask(self, body: dict[str, Any]) -> Any:
        given = {name: value for name, value in body.items() if name != "stream"}
        if "texts" in given:
            return self.cohere.embed(**given)
        if body.get("stream"):
            return list(self.cohere.chat_stream(**given))
        return self.cohere.chat(**given)


@pytest.fixture
def sdk(conversation: codecs.Conversation) -> Iterator[Sdk]:
    double = Sdk(conversation)
    yield double
    double.http.close()


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same address and the same body, from arguments that the SDK knows; it says `stream: false` aloud."""
    ours = OURS.sent(conversation)
    sdk.ask(ours)
    assert sdk.url == OURS.call(conversation).url
    assert {name: value for name, value in sdk.sent.items() if value is not False} == ours


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_codec_sends_what_coheres_types_allow(conversation: codecs.Conversation) -> None:
    """Each message, block, tool and format is one of those that the API description has."""
    body = OURS.sent(conversation)
    kinds = {"messages": ChatMessages, "tools": list[ToolV2], "response_format": ResponseFormatV2, "thinking": Thinking}
    for name in kinds.keys() & body.keys():
        if conversation.title == "block-handed-back":
            continue  # a type of block that is yet to come
        read = pydantic.TypeAdapter(kinds[name]).validate_python(body[name], strict=True)
        _same_fields(body[name], read)


def _same_fields(value: Any, read: Any) -> None:
    """Nothing of a value is unknown to the type that it was read as."""
    if isinstance(value, list):
        for inner, theirs in zip(value, read, strict=True):
            _same_fields(inner, theirs)
    elif isinstance(value, dict) and isinstance(read, pydantic.BaseModel):
        assert value.keys() - OWN <= type(read).model_fields.keys()
        for key in value.keys() - OWN:
            _same_fields(value[key], getattr(read, key))


@pytest.mark.parametrize("conversation", ANSWERED, ids=str)
def test_the_sdk_understands_what_the_codec_understands(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same thoughts, text, calls, citations and counts, in the same order."""
    fold = OURS.understood(conversation)
    answer = sdk.ask(OURS.sent(conversation))
    if conversation.request.get("modality") == "embedding":
        kinds = answer.embeddings.dict()
        theirs = next(value for value in kinds.values() if value)
        ours = [item.vector for item in fold.output() if isinstance(item, Embedding)]
        assert isinstance(theirs[0], str) or ours == theirs
        return
    if isinstance(answer, list):
        answer = _folded(answer)
    assert _of_the_codec(fold) == _of_the_sdk(answer.message)
    billed = answer.usage.billed_units or answer.usage.tokens
    assert (fold.usage.input_tokens, fold.usage.output_tokens) == (billed.input_tokens, billed.output_tokens)
    assert (fold.finish_reason == "length") == (answer.finish_reason == "MAX_TOKENS")


def _of_the_codec(fold: Fold) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    for item in fold.output():
        if isinstance(item, Reasoning):
            assert item.provider_state is not None
            told.append((item.provider_state.data["type"], item.text))
        elif isinstance(item, Text):
            told.append(("text", item.text))
            told += [("citation", (each["start"], each["end"], each["text"])) for each in item.annotations]
        elif isinstance(item, ToolCall):
            told.append(("call", (item.id, item.name, item.arguments)))
    return told


def _of_the_sdk(message: Any) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = [(block.type, getattr(block, block.type)) for block in message.content or ()]
    if message.tool_plan:
        told.append(("tool_plan", message.tool_plan))
    told += [("citation", (each.start, each.end, each.text)) for each in message.citations or ()]
    told += [("call", (call.id, call.function.name, call.function.arguments)) for call in message.tool_calls or ()]
    return told


def _folded(events: list[Any]) -> Any:
    """The whole answer that a stream of the SDK's events adds up to."""
    blocks: dict[int, list[str]] = {}
    calls: dict[int, list[str]] = {}
    plan, citations = "", []
    end: Any = None
    for event in events:
        message = getattr(event.delta, "message", None) if getattr(event, "delta", None) else None
        if event.type == "content-start":
            blocks[event.index] = [message.content.type, ""]
        elif event.type == "content-delta":
            piece = message.content.thinking or message.content.text
            blocks.setdefault(event.index or 0, ["text", ""])[1] += piece
        elif event.type == "tool-plan-delta":
            plan += message.tool_plan
        elif event.type == "tool-call-start":
            calls[event.index] = [message.tool_calls.id, message.tool_calls.function.name, ""]
        elif event.type == "tool-call-delta":
            calls[event.index][2] += message.tool_calls.function.arguments
        elif event.type == "citation-start" and message.citations.type != "PLAN":
            citations.append(message.citations.dict())
        elif event.type == "message-end":
            end = event.delta
    whole = {
        "id": "1",
        "finish_reason": end.finish_reason,
        "usage": end.usage.dict(),
        "message": {
            "role": "assistant",
            "content": [{"type": kind, kind: text} for kind, text in blocks.values()],
            "tool_plan": plan,
            "citations": citations,
            "tool_calls": [
                {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
                for id_, name, arguments in calls.values()
            ],
        },
    }
    return cohere.V2ChatResponse.model_validate(whole)


# ── the fake ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def client() -> Iterator[cohere.ClientV2]:
    with running(FakeCohere(KEY)) as fake, httpx.Client() as http:
        yield cohere.ClientV2(api_key=KEY, base_url=fake.base_url, httpx_client=http)


@pytest.mark.parametrize("model", ["echo", "say-3", "tools", "tools-parallel", "reasoning", "length"])
def test_the_sdk_reads_the_same_in_both_forms_of_the_fake(client: cohere.ClientV2, model: str) -> None:
    """Thoughts, text, calls, the reason and the counts, plain and streamed."""
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello there"}]}
    plain = client.chat(**asked, tools=[WEATHER])
    streamed = _folded(list(client.chat_stream(**asked, tools=[WEATHER])))
    assert _of_the_sdk(plain.message) == _of_the_sdk(streamed.message) != []
    assert (plain.finish_reason, plain.usage) == (streamed.finish_reason, streamed.usage)


def test_the_sdk_reads_the_fakes_embeddings_models_and_errors(client: cohere.ClientV2) -> None:
    """Vectors in their order, the names of models, and an error for each status."""
    answer = client.embed(
        model="embed-4", texts=["a", "b"], input_type="search_query", embedding_types=["float"], output_dimension=2
    )
    assert [len(vector) for vector in answer.embeddings.float_ or ()] == [2, 2]
    assert [model.name for model in client.models.list().models] == ["echo", "embed-4"]
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}
    with pytest.raises(cohere.TooManyRequestsError):
        client.chat(model="status-429", **asked, request_options={"max_retries": 0})
    with pytest.raises(cohere.NotFoundError):
        client.chat(model="nothing", **asked)
    ends = [event for event in client.chat_stream(model="error-in-stream", **asked) if event.type == "message-end"]
    assert [(end.delta.finish_reason, end.delta.error) for end in ends if end.delta] == [("ERROR", "the model broke")]


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([{"role": "user", "content": ""}], 400),
        ([{"role": "tool", "tool_call_id": "a", "content": "x"}], 400),
        ([{"role": "user", "content": [{"type": "file", "file": {}}]}], 422),
        ([{"role": "user", "content": "x", "mood": "good"}], 422),
        ([], 400),
    ],
)
def test_the_fake_refuses_what_is_not_documented(messages: list[Any], status: int) -> None:
    """A codec that invents things is caught."""
    with running(FakeCohere(KEY)) as fake, httpx.Client() as http:
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = http.post(f"{fake.base_url}/v2/chat", json={"model": "echo", "messages": messages}, headers=headers)
    assert answer.status_code == status
