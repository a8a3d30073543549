"""OpenAI's own SDK and our codec agree: on what is sent, and on what the answer says.

The SDK's types are made from OpenAI's API description, so this is as near to OpenAI as a test without a network comes.
Each conversation is held twice: by the SDK over a transport in memory, and by the codec.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from openai.types import chat
from openai.types.chat import completion_create_params
from sdk_agreement import EVENTS, JSON, OurSide, Recorder

from pluggably.domain.generation import Embedding, Refusal, Text, ToolCall
from pluggably.testing import codecs
from pluggably.wire.codecs.openai.codec import OpenAICodec

FOLDER = Path(__file__).parent.parent / "conversations" / "openai"
CONVERSATIONS = [each for each in codecs.load_conversations(FOLDER) if each.call and "body" in each.call]
# What we send only where an operator says that the server takes it.
NOT_OPENAIS = ("top_k", "min_p")
OURS = OurSide(OpenAICodec)


class Sdk(Recorder):
    """OpenAI's, answered as the conversation is."""

    def __init__(self, conversation: codecs.Conversation) -> None:
        reply = conversation.reply or codecs.Reply(value={"choices": [], "data": []})
        super().__init__(httpx2, reply.body(), EVENTS if reply.sse is not None else JSON)
        self.openai = openai.OpenAI(
            api_key="sk-test", base_url=codecs.BASE_URL, max_retries=0, http_client=self.client()
        )

    def create(self, body: Mapping[str, Any]) -> Any:
        """Calls the SDK with a body's fields as its arguments; one that it does not have is a TypeError."""
        extra = {name: body[name] for name in NOT_OPENAIS if name in body}
        arguments = {name: value for name, value in body.items() if name not in extra}
        if "messages" in body:
            return self.openai.chat.completions.create(**arguments, extra_body=extra or None)
        return self.openai.embeddings.create(**arguments)


@pytest.fixture
def sdk(conversation: codecs.Conversation) -> Iterator[Sdk]:
    double = Sdk(conversation)
    yield double
    double.openai.close()


by_conversation = pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)


@by_conversation
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same path and the same body, from arguments that the SDK knows."""
    ours = OURS.sent(conversation)
    given = dict(ours)
    if "stream_options" not in conversation.request.get("provider_options", {}).get("vendor", {}):
        given.pop("stream_options", None)  # nobody asks for the usage by hand
    answer = sdk.create(given)
    if isinstance(answer, openai.Stream):
        answer.close()
    assert conversation.call is not None
    assert sdk.url == conversation.call["url"]
    assert {"stream_options": ours.get("stream_options"), **sdk.sent} == {"stream_options": None, **ours}


@by_conversation
def test_the_codec_sends_what_openais_types_allow(conversation: codecs.Conversation) -> None:
    """Each message, part, tool and format is one of those that the API description has."""
    body = OURS.sent(conversation)
    if "messages" not in body:
        return
    _obeys(completion_create_params.CompletionCreateParamsBase, {**body, "messages": [], "tools": []})
    for message in body["messages"]:
        content, calls = message.get("content"), message.get("tool_calls")
        for part in content if isinstance(content, list) else ():
            _obeys(chat.ChatCompletionContentPartParam | chat.ChatCompletionContentPartRefusalParam, part)
        for call in calls or ():
            _obeys(chat.ChatCompletionMessageToolCallUnionParam, call)
        # pydantic checks a list of a union lazily, and not to the end; so the lists are checked above, one by one.
        whole = "" if isinstance(content, list) else content
        lists = {"tool_calls": []} if calls else {}
        _obeys(chat.ChatCompletionMessageParam, {**message, "content": whole, **lists})
    for tool in body.get("tools", ()):
        _obeys(chat.ChatCompletionToolUnionParam, tool)


def _obeys(kind: Any, value: Any) -> None:
    """Raises pydantic.ValidationError for what is not of OpenAI's type."""
    pydantic.TypeAdapter(kind).validate_python(value)


# Those in a folder of their own are answers of others, whom the SDK need not understand.
ANSWERED = [each for each in codecs.load_conversations(FOLDER) if each.answer and each.reply and "/" not in each.title]


@pytest.mark.parametrize("conversation", ANSWERED, ids=str)
def test_the_sdk_understands_what_the_codec_understands(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same text, calls, refusal, vectors, finish reason and counts."""
    if conversation.reply is None or conversation.reply.headers or conversation.reply.text:
        pytest.skip("a form of answer that the SDK does not expect")
    fold = OURS.understood(conversation)
    answer = sdk.create(OURS.sent(conversation))
    theirs = _streamed(answer) if conversation.stream and "messages" in sdk.sent else _whole(answer)
    output = fold.output()
    assert theirs["text"] == "".join(item.text for item in output if isinstance(item, Text))
    assert theirs["refusal"] == "".join(item.text for item in output if isinstance(item, Refusal))
    assert theirs["calls"] == [(item.name, item.arguments) for item in output if isinstance(item, ToolCall)]
    assert theirs["vectors"] == [item.vector for item in output if isinstance(item, Embedding)]
    if theirs["finish_reason"] not in ("function_call", None) and not theirs["calls"]:
        assert theirs["finish_reason"] == fold.finish_reason
    assert theirs["tokens"] == (fold.usage.input_tokens, fold.usage.output_tokens)


def _whole(answer: Any) -> dict[str, Any]:
    counts = (answer.usage.prompt_tokens, getattr(answer.usage, "completion_tokens", 0))
    read: dict[str, Any] = {"text": "", "refusal": "", "calls": [], "vectors": [], "finish_reason": None}
    read["tokens"] = counts
    if isinstance(answer, openai.types.CreateEmbeddingResponse):
        vectors = sorted(answer.data, key=lambda each: each.index)
        read["vectors"] = [each.embedding for each in vectors]
        if read["vectors"] and isinstance(read["vectors"][0], str):  # it decodes only what it asked for by itself
            read["vectors"] = [_floats(each) for each in read["vectors"]]
        return read
    choice = next(each for each in answer.choices if each.index == 0)
    message = choice.message
    calls = [(each.function.name, each.function.arguments) for each in message.tool_calls or ()]
    read.update(text=message.content or "", refusal=message.refusal or "", calls=calls)
    read["finish_reason"] = choice.finish_reason
    return read


def _streamed(chunks: Any) -> dict[str, Any]:
    read: dict[str, Any] = {"text": "", "refusal": "", "vectors": [], "finish_reason": None, "tokens": (None, None)}
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        if chunk.usage is not None:
            read["tokens"] = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            if choice.index:
                continue
            read["text"] += choice.delta.content or ""
            read["refusal"] += choice.delta.refusal or ""
            read["finish_reason"] = choice.finish_reason or read["finish_reason"]
            pieces = [(each.index, each.function) for each in choice.delta.tool_calls or ()]
            pieces += [(-1, choice.delta.function_call)] if choice.delta.function_call else []
            for index, function in pieces:
                call = calls.setdefault(index, [function.name, ""])
                call[1] += function.arguments or ""
    read["calls"] = [tuple(call) for call in calls.values()]
    return read


def _floats(packed: str) -> list[float]:
    data = base64.b64decode(packed)
    return list(struct.unpack(f"<{len(data) // 4}f", data))
