"""The codec of Anthropic's Messages API keeps the contract of every codec, with the options of its preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codec import Codec
from pluggably.wire.codecs.anthropic.codec import AnthropicCodec

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "anthropic")
BY_TITLE = {each.title: each for each in CONVERSATIONS}
# Their streams begin blocks that are handed on with every field, and so with those that nobody knows.
HANDED_ON = {
    "streamed-thinking",
    "streamed-thinking-that-is-not-shown",
    "streamed-compaction",
    "streamed-server-tools-and-citations",
}
ERROR = b'{"type": "error", "error": {"type": "api_error", "message": "boom"}}'


def make_codec(options: dict[str, Any]) -> Codec:
    return codecs.make(AnthropicCodec, {**msgspec.to_builtins(PRESETS["anthropic"].options), **options})


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    more = {"content_block"} if conversation.title in HANDED_ON else set()
    codecs.check(make_codec, conversation, codecs.OPAQUE | more)


@pytest.mark.parametrize(
    "title",
    ["plain-text", "streamed-text", "streamed-thinking", "streamed-parallel-tool-calls"],
)
def test_an_error_is_an_error_wherever_it_stands(title: str) -> None:
    """In place of an answer, and after each event of a stream."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], ERROR, "backend_error")
