"""Anthropic's own SDK and our codec agree: on what is sent, and on what the answer says.

The SDK's types are made from Anthropic's API description, so this is as near to Anthropic as a test without a network
comes. Each conversation is held twice: by the SDK over a transport in memory, and by the codec. What surprises: the SDK
speaks the version of the API that has no `temperature`, `top_p` and `top_k` any more, so those go through its
`extra_body`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pydantic
import pytest
from anthropic import types
from anthropic.types import message_create_params
from sdk_agreement import EVENTS, JSON, OurSide, Recorder

from pluggably.domain.generation import ProviderItem, Reasoning, Text, ToolCall
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codecs.anthropic.codec import AnthropicCodec
from pluggably.wire.framing import SseFramer

FOLDER = Path(__file__).parent.parent / "conversations" / "anthropic"
# What only the beta half of the SDK speaks.
COMPACTION = {"streamed-compaction", "compaction-handed-back"}
ALL = [each for each in codecs.load_conversations(FOLDER) if each.title not in COMPACTION]
SENT = [each for each in ALL if each.call and "body" in each.call]
# What the SDK does not read, or not as it stands: a stream where none was asked for, an unknown reason to stop, a call
# that was cut off in the midst of its arguments.
UNREADABLE = {"stream-where-plain-was-asked", "reason-that-is-new", "call-that-was-cut"}
# Features that are switched on by a header; their types are others.
BETA = {"provider-options-join-the-body"}
ANSWERED = [each for each in ALL if each.answer and each.reply and each.title not in UNREADABLE]
SAMPLING = ("temperature", "top_p", "top_k")
OURS = OurSide(AnthropicCodec, PRESETS["anthropic"].options)


def with_names(body: bytes) -> bytes:
    """The events of a stream with their names, which the SDK goes by and the conversations leave out."""
    framed = b""
    for frame in SseFramer().feed(body):
        kind = json.loads(frame.data)["type"]
        framed += b"event: " + kind.encode() + b"\ndata: " + frame.data + b"\n\n"
    return framed


class Sdk(Recorder):
    """Anthropic's, answered as the conversation is."""

    def __init__(self, conversation: codecs.Conversation) -> None:
        reply = conversation.reply
        if reply is None or conversation.title in UNREADABLE or not conversation.answer:
            reply = codecs.Reply(value={"type": "message", "content": []})
        body = with_names(reply.body()) if conversation.stream and conversation.answer else reply.body()
        super().__init__(httpx2, body, EVENTS if conversation.stream else JSON)
        self.anthropic = anthropic.Anthropic(
            api_key="sk-ant-test",
            base_url=codecs.BASE_URL.removesuffix("/v1"),
            max_retries=0,
            http_client=self.client(),
        )

    def ask(self, body: dict[str, Any]) -> Any:
        known = {name: value for name, value in body.items() if name not in SAMPLING}
        more = {name: value for name, value in body.items() if name in SAMPLING}
        return self.anthropic.messages.create(**known, extra_body=more, timeout=600)


@pytest.fixture
def sdk(conversation: codecs.Conversation) -> Iterator[Sdk]:
    double = Sdk(conversation)
    yield double
    double.anthropic.close()


@pytest.mark.parametrize("conversation", SENT, ids=str)
@pytest.mark.filterwarnings("ignore:The model .* is deprecated")
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same address and the same body, from arguments that the SDK knows."""
    ours = OURS.sent(conversation)
    answer = sdk.ask(ours)
    if isinstance(answer, anthropic.Stream):
        answer.close()
    assert conversation.call is not None
    assert sdk.url == conversation.call["url"]
    assert sdk.sent == ours


@pytest.mark.parametrize("conversation", [each for each in SENT if each.title not in BETA], ids=str)
def test_the_codec_sends_what_anthropics_types_allow(conversation: codecs.Conversation) -> None:
    """Each message, block, tool and option is one of those that the API description has."""
    body = {name: value for name, value in OURS.sent(conversation).items() if name not in SAMPLING}
    stream = body.pop("stream", False)
    assert stream in (False, True)
    _obeys(message_create_params.MessageCreateParamsBase, {**body, "messages": [], "tools": [], "system": "x"})
    # pydantic checks an iterable lazily, so what stands in one is checked here, one by one.
    for message in body["messages"]:
        kinds = {"user": types.UserMessageParam, "assistant": types.AssistantMessageParam}
        _obeys(kinds.get(message["role"], types.SystemMessageParam), {**message, "content": "x"})
        for block in message["content"] if isinstance(message["content"], list) else ():
            _obeys(types.ContentBlockParam, {**block, "content": []} if block["type"] == "tool_result" else block)
            inner = block.get("content") if block["type"] == "tool_result" else None
            for part in inner if isinstance(inner, list) else ():
                _obeys(types.ContentBlockParam, part)
    system = body.get("system", "")
    for block in system if isinstance(system, list) else ():
        _obeys(types.TextBlockParam, block)
    for tool in body.get("tools", ()):
        _obeys(types.ToolUnionParam, tool)


def _obeys(kind: Any, value: Any) -> None:
    """Raises pydantic.ValidationError for what is not of Anthropic's type, unknown fields included."""
    adapter = pydantic.TypeAdapter(kind)
    told = adapter.validate_python(value)
    if isinstance(value, dict) and isinstance(told, dict):
        assert value.keys() <= told.keys(), sorted(value.keys() - told.keys())


@pytest.mark.parametrize("conversation", ANSWERED, ids=str)
@pytest.mark.filterwarnings("ignore:The model .* is deprecated")
def test_the_sdk_understands_what_the_codec_understands(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same blocks in the same order, the same counts, the same reason to stop."""
    fold = OURS.understood(conversation)
    if conversation.stream:
        body = {name: value for name, value in OURS.sent(conversation).items() if name != "stream"}
        with sdk.anthropic.messages.stream(**body) as stream:
            answer: Any = stream.get_final_message()
    else:
        answer = sdk.ask(OURS.sent(conversation))
    refused = [item for item in fold.output() if item.__struct_config__.tag == "refusal"]
    containers = [item for item in fold.output() if _is_container(item)]
    ours = [_of_the_codec(item) for item in fold.output() if item not in refused + containers]
    assert ours == [_of_the_sdk(block) for block in answer.content]
    named = answer.container.id if answer.container else None
    assert [item.data["id"] for item in containers if isinstance(item, ProviderItem)] == ([named] if named else [])
    if refused:
        assert refused[0].text == answer.stop_details.explanation  # type: ignore[union-attr]
    cached, written = answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens
    assert fold.usage.input_tokens == answer.usage.input_tokens + (cached or 0) + (written or 0)
    assert (fold.usage.cached_input_tokens, fold.usage.output_tokens) == (cached, answer.usage.output_tokens)
    assert (fold.finish_reason == "tool_calls") == (answer.stop_reason == "tool_use")
    assert (fold.finish_reason == "content_filter") == (answer.stop_reason == "refusal")


def _is_container(item: Any) -> bool:
    """An item of ours that is no block of theirs."""
    return isinstance(item, ProviderItem) and item.data["type"] == "container"


def _of_the_sdk(block: Any) -> tuple[Any, ...]:
    if block.type == "text":
        return "text", block.text, [citation.to_dict() for citation in block.citations or ()]
    if block.type == "tool_use":
        return "call", block.id, block.name, block.input
    return "block", block.to_dict()


def _of_the_codec(item: Any) -> tuple[Any, ...]:
    if isinstance(item, Text):
        return "text", item.text, item.annotations
    if isinstance(item, ToolCall):
        return "call", item.id, item.name, json.loads(item.arguments)
    if isinstance(item, Reasoning):
        assert item.provider_state is not None
        return "block", item.provider_state.data
    assert isinstance(item, ProviderItem)
    return "block", item.data


def test_the_preset_asks_where_the_sdk_asks() -> None:
    """At the same address, with a header that names the version of the API."""
    preset, client = PRESETS["anthropic"], anthropic.Anthropic(api_key="x")
    assert preset.base_url == f"{client.base_url}".rstrip("/") + "/v1"
    assert preset.headers.keys() <= client.default_headers.keys()
    client.close()
