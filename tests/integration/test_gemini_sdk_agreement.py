"""Google's own SDK and our codec agree on Gemini's wire: on what is sent, and on what an answer says.

The SDK's types are made from the API's description, and refuse what is not in it, so this is as near to Google as a
test without a network comes. Each conversation is held twice: by the SDK over a transport in memory, and by the codec.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import types
from sdk_agreement import EVENTS, JSON, OurSide, Recorder

from pluggably.domain.generation import Embedding, ProviderItem, Reasoning, Text, ToolCall
from pluggably.testing import codecs
from pluggably.wire.codecs.gemini.codec import GeminiCodec

FOLDER = Path(__file__).parent.parent / "conversations" / "gemini"
ALL = codecs.load_conversations(FOLDER)
TEXT = [each for each in ALL if each.request.get("modality") != "embedding"]
# What only Vertex AI takes, and what the SDK has no argument for.
UNSENDABLE = {"model-elsewhere-by-options", "streamed-arguments-in-pieces", "error-400-own-option"}
SENT = [each for each in TEXT if each.refused is None and each.title not in UNSENDABLE]
# Forms of an answer that the SDK does not read where it asked for another, and what it warns of.
UNREADABLE = {
    "stream-where-plain-was-asked",
    "plain-where-stream-was-asked",
    "pieces-in-a-list",
    "only-the-first-candidate",
    "unknown-reason-after-text",
}
ANSWERED = [each for each in SENT if each.answer and each.reply and each.title not in UNREADABLE]
OURS = OurSide(GeminiCodec)


class Sdk(Recorder):
    """Google's, answered with what it is told to."""

    def __init__(self) -> None:
        super().__init__(httpx2)
        base_url, _, version = codecs.BASE_URL.rpartition("/")
        self._client = self.client()
        options = types.HttpOptions(base_url=base_url, api_version=version, httpx_client=self._client)
        self._sdk = genai.Client(api_key="test", http_options=options)
        self.models = self._sdk.models

    def answers(self, reply: codecs.Reply | None) -> None:
        self.content = reply.body() if reply is not None else b"{}"
        self.kind = EVENTS if reply is not None and reply.sse is not None else JSON

    def close(self) -> None:
        self._sdk.close()
        self._client.close()

    def ask(self, model: str, body: dict[str, Any], stream: bool) -> list[types.GenerateContentResponse]:
        """Says with the SDK's arguments what a body says, and returns the answer or its pieces."""
        rest = {name: value for name, value in body.items() if name not in ("contents", "generationConfig")}
        given = {**body.get("generationConfig", {}), **rest}
        config = types.GenerateContentConfig.model_validate({**given, "automaticContinuation": False})
        contents: Any = [types.Content.model_validate(content) for content in body["contents"]]
        if stream:
            return list(self.models.generate_content_stream(model=model, contents=contents, config=config))
        return [self.models.generate_content(model=model, contents=contents, config=config)]


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    double = Sdk()
    yield double
    double.close()


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same address and the same body, from arguments that the SDK knows."""
    call = OURS.call(conversation)
    ours = json.loads(call.body)
    sdk.answers(conversation.reply if conversation in ANSWERED else None)
    sdk.ask(conversation.model, ours, conversation.stream)
    assert sdk.url == call.url
    if sdk.sent["generationConfig"] == {}:
        del sdk.sent["generationConfig"]
    for body in (sdk.sent, ours):
        body.get("tools", []).sort(key=min)  # the SDK declares functions last
    assert _normal(sdk.sent) == _normal(ours)


def _normal(value: Any) -> Any:
    """Names in one of the two forms that the API takes, and bytes instead of the two alphabets that they come in."""
    if isinstance(value, list):
        return [_normal(each) for each in value]
    if not isinstance(value, dict):
        return value
    normal: dict[str, Any] = {}
    for name, each in value.items():
        key = name.replace("_", "").lower()
        is_bytes = key in ("thoughtsignature", "data")
        normal[key] = base64.urlsafe_b64decode(each.replace("+", "-").replace("/", "_")) if is_bytes else _normal(each)
    return normal


@pytest.mark.parametrize("conversation", ANSWERED, ids=str)
def test_the_sdk_understands_what_the_codec_understands(conversation: codecs.Conversation, sdk: Sdk) -> None:
    """The same text, thoughts, calls, other parts, counts and reason, in the same order."""
    fold = OURS.understood(conversation)
    sdk.answers(conversation.reply)
    pieces = sdk.ask(conversation.model, json.loads(OURS.call(conversation).body), conversation.stream)
    candidates = [piece.candidates[0] for piece in pieces if piece.candidates]
    theirs: list[tuple[str, Any]] = []
    for candidate in candidates:
        for part in (candidate.content.parts if candidate.content else None) or ():
            _add(theirs, part)
    ours: list[tuple[str, Any]] = []
    for item in fold.output():
        told = _of_the_codec(item)
        if told is not None:
            _join(ours, told)
    assert ours == theirs
    usage = [piece.usage_metadata for piece in pieces if piece.usage_metadata][-1]
    assert fold.usage.input_tokens == _sum(usage.prompt_token_count, usage.tool_use_prompt_token_count)
    # The SDK leaves open what was left out because it is zero.
    assert (fold.usage.output_tokens or None) == _sum(usage.candidates_token_count, usage.thoughts_token_count)
    assert (fold.usage.cached_input_tokens, fold.usage.reasoning_tokens) == (
        usage.cached_content_token_count,
        usage.thoughts_token_count,
    )
    reasons = [candidate.finish_reason for candidate in candidates if candidate.finish_reason]
    assert (fold.finish_reason in ("stop", "tool_calls")) == (reasons[-1] is types.FinishReason.STOP)


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _join(told: list[tuple[str, Any]], more: tuple[str, Any]) -> None:
    """Text and thoughts in pieces are one."""
    if told and more[0] in ("text", "thought") and told[-1][0] == more[0]:
        told[-1] = (more[0], told[-1][1] + more[1])
    else:
        told.append(more)


def _add(told: list[tuple[str, Any]], part: types.Part) -> None:
    if part.text is not None:
        if part.text:
            _join(told, ("thought" if part.thought else "text", part.text))
    elif part.function_call is not None:
        told.append(("call", (part.function_call.name, part.function_call.args or {})))
    else:
        told.append(("part", part.model_dump(mode="json", by_alias=True, exclude_none=True)))


def _of_the_codec(item: Any) -> tuple[str, Any] | None:
    if isinstance(item, Text):
        return "text", item.text
    if isinstance(item, Reasoning):
        return ("thought", item.text) if item.text else None
    if isinstance(item, ToolCall):
        return "call", (item.name, json.loads(item.arguments))
    assert isinstance(item, ProviderItem)
    return None if "urlContextMetadata" in item.data else ("part", item.data)


def test_embeddings_are_asked_for_as_by_the_sdk(sdk: Sdk) -> None:
    """Several texts at once, with their size and kind."""
    reply = codecs.Reply(value={"embeddings": [{"values": [0.5, 1.0]}, {"values": [1.5, 2.0]}]})
    sdk.answers(reply)
    request: dict[str, Any] = {"modality": "embedding", "input": ["One", "Two"], "parameters": {"dimensions": 2}}
    request["provider_options"] = {"vendor": {"taskType": "CLUSTERING"}}
    conversation = codecs.Conversation(request=request, reply=reply)
    config = types.EmbedContentConfig(output_dimensionality=2, task_type="CLUSTERING")
    answer = sdk.models.embed_content(model=conversation.model, contents=["One", "Two"], config=config)
    call = OURS.call(conversation)
    assert sdk.url == call.url
    for each in sdk.sent["requests"]:
        each["content"].pop("role", None)  # the SDK says whose words they are
    assert sdk.sent == json.loads(call.body)
    vectors = [item.vector for item in OURS.understood(conversation).output() if isinstance(item, Embedding)]
    assert vectors == [each.values for each in answer.embeddings or ()]
