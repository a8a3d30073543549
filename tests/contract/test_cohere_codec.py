"""The codec of Cohere's API v2 keeps the contract of every codec, with the options of the preset."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codecs.cohere.codec import CohereCodec

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "cohere")
BY_TITLE = {each.title: each for each in CONVERSATIONS}
ERRORS = {
    "as a reply has it": b'{"id": "3c1b", "message": "boom"}',
    "at the end": b'{"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "boom"}}',
}


def make_codec(options: codecs.Json) -> CohereCodec:
    preset = msgspec.to_builtins(PRESETS["cohere"].options)
    codec = codecs.make(CohereCodec, {**preset, **options})
    assert isinstance(codec, CohereCodec)
    return codec


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("title", ["streamed-text", "streamed-parallel-tool-calls", "streamed-thinking"])
def test_an_error_in_a_stream_is_an_error_wherever_it_stands(title: str, error: bytes) -> None:
    """In place of an event, and as the last one, after each event."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], error, "backend_error")


@pytest.mark.parametrize("title", ["plain-text", "embeddings"])
def test_an_error_inside_a_200_is_an_error(title: str) -> None:
    """Cohere's error object in place of a whole answer."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], ERRORS["as a reply has it"], "backend_error")
