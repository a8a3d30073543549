"""The codec of Gemini's wire keeps the contract of every codec."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pluggably.testing import codecs
from pluggably.wire.codecs.gemini.codec import GeminiCodec

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "gemini")
make_codec = partial(codecs.make, GeminiCodec)
ERRORS = {
    "alone": b'{"error": {"code": 500, "message": "boom", "status": "INTERNAL"}}',
    "in a list": b'[{"error": {"code": 500, "message": "boom", "status": "INTERNAL"}}]',
}


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("title", ["streamed-text", "streamed-parallel-tool-calls", "streamed-reasoning", "plain-text"])
def test_an_error_is_an_error_wherever_it_stands(title: str, error: bytes) -> None:
    """In both of its forms, in place of an answer and after each event of a stream."""
    by_title = {each.title: each for each in CONVERSATIONS}
    codecs.check_error_in_200(make_codec, by_title[title], error, "backend_error")
