"""The codec of Hugging Face keeps the contract of every codec; a chat's, as the OpenAI codec keeps it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codecs.huggingface.codec import HuggingFaceCodec
from pluggably.wire.codecs.openai.options import OpenAIOptions

ROOT = Path(__file__).parent.parent / "conversations"
CONVERSATIONS = codecs.load_conversations(ROOT / "huggingface")
BY_TITLE = {each.title: each for each in CONVERSATIONS}
# Embeddings are what the router has in a form of its own.
OF_OPENAI = [each for each in codecs.load_conversations(ROOT / "openai") if each.request.get("modality") != "embedding"]
ERRORS = {
    "of the router": b'{"error": "boom"}',
    "of a server": b'{"error": "boom", "error_type": "generation"}',
    "of a provider": b'{"error": {"message": "boom", "type": "server_error", "param": null, "code": null}}',
}


def make_codec(options: codecs.Json) -> HuggingFaceCodec:
    preset = msgspec.to_builtins(PRESETS["huggingface"].options)
    codec = codecs.make(HuggingFaceCodec, {**preset, **options})
    assert isinstance(codec, HuggingFaceCodec)
    return codec


def make_as_openai(options: codecs.Json) -> HuggingFaceCodec:
    """With the options that the OpenAI codec has by itself, where the router's are others."""
    plain = msgspec.to_builtins(OpenAIOptions())
    codec = codecs.make(HuggingFaceCodec, {**plain, **options})
    assert isinstance(codec, HuggingFaceCodec)
    return codec


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize("conversation", OF_OPENAI, ids=str)
def test_a_chat_is_what_it_is_at_openai(conversation: codecs.Conversation) -> None:
    """Sent and understood alike, errors included."""
    codecs.check(make_as_openai, conversation)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("title", ["plain-text", "streamed-text", "embeddings"])
def test_an_error_inside_a_200_is_an_error_wherever_it_stands(title: str, error: bytes) -> None:
    """In each of its forms, in place of an answer and after each event of a stream."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], error, "backend_error")
