"""The codec of Amazon Bedrock keeps the contract of every codec, with the options of its preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pluggably.domain.generation import Completed, Embedding, UsageReported
from pluggably.errors import BackendError
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codec import Codec, Frame, HttpReply
from pluggably.wire.codecs.bedrock.codec import BedrockCodec

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "bedrock")
PRESET = msgspec.to_builtins(PRESETS["bedrock"].options)
BY_TITLE = {each.title: each for each in CONVERSATIONS}


def make_codec(options: dict[str, Any]) -> Codec:
    return codecs.make(BedrockCodec, {**PRESET, **options})


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize("title", ["streamed-text", "streamed-parallel-tool-calls", "streamed-reasoning"])
def test_an_exception_in_a_stream_is_an_error_wherever_it_stands(title: str) -> None:
    """After each message of a good stream."""
    conversation = BY_TITLE[title]
    assert conversation.reply is not None
    for count in range(len(conversation.reply.eventstream or ())):
        codec = make_codec(conversation.options)
        codec.begin(conversation.generation_request(), conversation.address())
        for entry in (conversation.reply.eventstream or ())[:count]:
            ((kind, value),) = entry.items()
            codec.feed(Frame(kind, msgspec.json.encode(value)))
        with pytest.raises(BackendError, match="boom"):
            codec.feed(Frame("exception:internalServerException", b'{"message": "boom"}'))


def test_titan_is_asked_for_one_text_after_the_other() -> None:
    """The vectors come in the order of the texts, and the tokens of all calls are added."""
    conversation = codecs.Conversation(
        request={"modality": "embedding", "input": ["a", "b", "c"]},
        backend="bedrock",
        model="amazon.titan-embed-text-v2:0",
    )
    codec = make_codec({})
    step = codec.begin(conversation.generation_request(), conversation.address())
    events = []
    for text in "abc":
        assert step.next is not None
        assert step.next.body == b'{"inputText":"%s"}' % text.encode()
        body = b'{"embedding": [%d], "inputTextTokenCount": 2}' % ord(text)
        step = codec.receive(HttpReply(status=200, headers={}, body=body))
        events += step.events
    assert step.next is None
    vectors = [event.item for event in events if hasattr(event, "item") and isinstance(event.item, Embedding)][::2]
    assert [(item.vector, item.input_index) for item in vectors] == [([97.0], 0), ([98.0], 1), ([99.0], 2)]
    assert [event for event in events if isinstance(event, UsageReported)][-1].input_tokens == 6
    assert isinstance(events[-1], Completed)


def test_cohere_is_asked_for_ninety_six_texts_at_once() -> None:
    """As many as it takes."""
    conversation = codecs.Conversation(
        request={"modality": "embedding", "input": [str(n) for n in range(100)]}, model="cohere.embed-english-v3"
    )
    codec = make_codec({})
    step = codec.begin(conversation.generation_request(), conversation.address())
    step = codec.receive(HttpReply(status=200, headers={}, body=msgspec.json.encode({"embeddings": [[1]] * 96})))
    assert step.next is not None
    assert b'"texts":["96","97","98","99"]' in step.next.body
    step = codec.receive(HttpReply(status=200, headers={}, body=msgspec.json.encode({"embeddings": [[1]] * 4})))
    assert isinstance(step.events[-1], Completed)
