"""OpenAI's own SDK and our codec agree on the Responses API: on what is sent, and on what the answer says.

The SDK's types are made from OpenAI's API description, so this is as near to OpenAI as a test without a network comes.
Each conversation is held twice: by the SDK over a transport in memory, and by the codec. Of a stream the SDK is asked
for the whole response that ends it, and the codec for what the pieces before it add up to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from openai.types import responses
from openai.types.responses import response_create_params
from sdk_agreement import EVENTS, JSON, OurSide, Recorder

from pluggably.domain.generation import ProviderItem, Reasoning, Refusal, Text, ToolCall
from pluggably.testing import codecs
from pluggably.wire.codecs.openai_responses.codec import OpenAIResponsesCodec

FOLDER = Path(__file__).parent.parent / "conversations" / "openai_responses"
ALL = codecs.load_conversations(FOLDER)
SENT = [each for each in ALL if each.call and "body" in each.call]
# Forms of an answer that the SDK does not read: pings, a stream or none where the other was asked for, unknown types.
UNREADABLE = {
    "stream-where-plain-was-asked",
    "plain-where-stream-was-asked",
    "items-and-parts-of-an-unknown-type",
    "streamed-several-parts",
    "model-that-gives-no-stream",
    "events-with-names-and-comments",
}
ANSWERED = [each for each in ALL if each.answer and each.reply and each.title not in UNREADABLE]
OURS = OurSide(OpenAIResponsesCodec)


class Sdk(Recorder):
    """OpenAI's, answered as the conversation is."""

    def __init__(self, conversation: codecs.Conversation) -> None:
        reply = conversation.reply
        if reply is None or conversation.title in UNREADABLE:
            reply = codecs.Reply(value={"output": []})
        super().__init__(httpx2, reply.body(), EVENTS if conversation.stream else JSON)
        self.openai = openai.OpenAI(
            api_key="sk-test", base_url=codecs.BASE_URL, max_retries=0, http_client=self.client()
        )


@pytest.fixture
def sdk(conversation: codecs.Conversation) -> Iterator[Sdk]:
    double = Sdk(conversation)
    yield double
    double.openai.close()


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same address and the same body, from arguments that the SDK knows."""
    ours = OURS.sent(conversation)
    answer = sdk.openai.responses.create(**ours)
    if isinstance(answer, openai.Stream):
        answer.close()
    assert conversation.call is not None
    assert sdk.url == conversation.call["url"]
    assert sdk.sent == ours


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_codec_sends_what_openais_types_allow(conversation: codecs.Conversation) -> None:
    """Each item, part, tool and format is one of those that the API description has."""
    body = OURS.sent(conversation)
    _obeys(response_create_params.ResponseCreateParamsBase, {**body, "input": [], "tools": []})
    for item in body["input"]:
        content = item.get("content")
        parts = content if isinstance(content, list) else ()
        if item.get("role") == "assistant" and parts:
            # The description wants the message's id, which only the answer that it came with had.
            _obeys(
                responses.ResponseOutputMessageParam, {"id": "msg_1", "status": "completed", "type": "message", **item}
            )
            continue
        for part in parts:
            _obeys(responses.ResponseInputContentParam, part)
        for part in item.get("output", ()) if isinstance(item.get("output"), list) else ():
            _obeys(responses.ResponseFunctionCallOutputItemParam, part)
        # pydantic checks a list of a union lazily, and not to the end; so the parts are checked above, one by one.
        _obeys(responses.ResponseInputItemParam, {**item, "content": ""} if parts else item)
    for tool in body.get("tools", ()):
        _obeys(responses.ToolParam, tool)


def _obeys(kind: Any, value: Any) -> None:
    """Raises pydantic.ValidationError for what is not of OpenAI's type."""
    pydantic.TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize("conversation", ANSWERED, ids=str)
def test_the_sdk_understands_what_the_codec_understands(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same text, calls, refusal, reasoning, foreign items and counts, in the same order."""
    fold = OURS.understood(conversation)
    answer = sdk.openai.responses.create(**OURS.sent(conversation))
    if isinstance(answer, openai.Stream):
        ends = [event.response for event in answer if event.type in ("response.completed", "response.incomplete")]
        assert len(ends) == 1
        answer = ends[0]
    theirs: list[tuple[str, Any]] = []
    for item in answer.output:
        theirs += _of_the_sdk(item)
    assert [_of_the_codec(item) for item in fold.output()] == theirs
    assert (fold.usage.input_tokens, fold.usage.output_tokens) == (
        answer.usage.input_tokens,
        answer.usage.output_tokens,
    )
    assert fold.usage.cached_input_tokens == answer.usage.input_tokens_details.cached_tokens
    assert fold.usage.reasoning_tokens == answer.usage.output_tokens_details.reasoning_tokens
    assert (fold.finish_reason in ("length", "content_filter")) == (answer.status == "incomplete")


def _of_the_sdk(item: Any) -> list[tuple[str, Any]]:
    if item.type == "message":
        return [(part.type, part.text if part.type == "output_text" else part.refusal) for part in item.content]
    if item.type == "function_call":
        return [("call", (item.call_id, item.name, item.arguments))]
    if item.type == "reasoning":
        return [("reasoning", item.encrypted_content)]
    return [("item", item.id)]


def _of_the_codec(item: Any) -> tuple[str, Any]:
    if isinstance(item, Text):
        return "output_text", item.text
    if isinstance(item, Refusal):
        return "refusal", item.text
    if isinstance(item, ToolCall):
        return "call", (item.id, item.name, item.arguments)
    if isinstance(item, Reasoning):
        assert item.provider_state is not None
        return "reasoning", item.provider_state.data["encrypted_content"]
    assert isinstance(item, ProviderItem)
    return "item", item.data["id"]
