"""The codec of Ollama's own wire keeps the contract of every codec, with the options of the preset."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pluggably.domain.generation import Leased
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.ollama.codec import OllamaCodec

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "ollama")
BY_TITLE = {each.title: each for each in CONVERSATIONS}
ERROR = b'{"error": "an error was encountered while running the model"}'


def make_codec(options: codecs.Json) -> OllamaCodec:
    preset = msgspec.to_builtins(PRESETS["ollama"].options)
    codec = codecs.make(OllamaCodec, {**preset, **options})
    assert isinstance(codec, OllamaCodec)
    return codec


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize("title", ["plain-text", "streamed-text", "streamed-parallel-tool-calls", "embeddings"])
def test_an_error_is_an_error_wherever_it_stands(title: str) -> None:
    """In place of an answer, and after each line of one."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], ERROR, "backend_error")


@pytest.mark.parametrize(("title", "waited_s"), [("plain-text", 0.002154), ("embeddings", 0.00102)])
def test_the_time_to_load_a_model_counts_as_waiting(title: str, waited_s: float) -> None:
    """As with the models of this machine."""
    conversation = BY_TITLE[title]
    codec = make_codec({})
    codec.begin(conversation.generation_request(), conversation.address())
    assert conversation.reply is not None
    events = codec.receive(HttpReply(status=200, headers={}, body=conversation.reply.body())).events
    assert [event.queued_s for event in events if isinstance(event, Leased)] == [waited_s]
