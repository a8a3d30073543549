"""The codec of Mistral keeps the contract of every codec, with the options of the preset."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codecs.mistral.codec import MistralCodec

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "mistral")
BY_TITLE = {each.title: each for each in CONVERSATIONS}
ERRORS = {
    "its own": b'{"object": "error", "message": "boom", "type": "internal_server_error", "code": "1000"}',
    "as a reply has it": b'{"message": "boom", "request_id": "9b1e"}',
    "as openai has it": b'{"error": {"message": "boom", "type": "server_error", "param": null, "code": null}}',
}


def make_codec(options: codecs.Json) -> MistralCodec:
    preset = msgspec.to_builtins(PRESETS["mistral"].options)
    codec = codecs.make(MistralCodec, {**preset, **options})
    assert isinstance(codec, MistralCodec)
    return codec


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("title", ["streamed-text", "streamed-parallel-tool-calls", "streamed-reasoning-in-chunks"])
def test_an_error_in_a_stream_is_an_error_wherever_it_stands(title: str, error: bytes) -> None:
    """In each of its forms, after each event."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], error, "backend_error")


@pytest.mark.parametrize("title", ["plain-text", "embedding-sizes"])
def test_an_error_inside_a_200_is_an_error(title: str) -> None:
    """Mistral's error object in place of a whole answer."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], ERRORS["its own"], "backend_error")
