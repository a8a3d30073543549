"""The codec of OpenAI's Responses API keeps the contract of every codec."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codecs.openai_responses.codec import OpenAIResponsesCodec

ROOT = Path(__file__).parent.parent / "conversations"
CONVERSATIONS = codecs.load_conversations(ROOT / "openai_responses")
# A folder bears the name of a preset.
FOLDERS = sorted(name for name, preset in PRESETS.items() if preset.codec == "openai_responses")
make_codec = partial(codecs.make, OpenAIResponsesCodec)
ERRORS = {
    "as on the older wire": b'{"error": {"message": "boom", "type": "server_error", "param": null, "code": null}}',
    "as the reference has it": b'{"type": "error", "code": "server_error", "message": "boom", "param": null}',
    "as it is sent": b'{"type": "error", "error": {"type": "server_error", "code": null, "message": "boom"}}',
    "of the response": b'{"type": "response.failed", "response": {"status": "failed", "output": [], "error": '
    b'{"code": "server_error", "message": "boom"}}}',
}


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize(
    ("folder", "conversation"),
    [
        pytest.param(folder, conversation, id=f"{folder}/{conversation.title}")
        for folder in FOLDERS
        for conversation in codecs.load_conversations(ROOT / folder)
    ],
)
def test_a_conversation_of_a_vendor_is_spoken_as_documented(folder: str, conversation: codecs.Conversation) -> None:
    """With the options of its preset."""
    options = msgspec.to_builtins(PRESETS[folder].options)
    codecs.check(lambda own: codecs.make(OpenAIResponsesCodec, {**options, **own}), conversation)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("title", ["streamed-text", "streamed-parallel-tool-calls", "streamed-reasoning"])
def test_an_error_in_a_stream_is_an_error_wherever_it_stands(title: str, error: bytes) -> None:
    """In each of its forms, after each event."""
    by_title = {each.title: each for each in CONVERSATIONS}
    codecs.check_error_in_200(make_codec, by_title[title], error, "backend_error")


def test_an_error_inside_a_200_is_an_error() -> None:
    """OpenAI's error object in place of a whole answer."""
    by_title = {each.title: each for each in CONVERSATIONS}
    codecs.check_error_in_200(make_codec, by_title["plain-text"], ERRORS["as on the older wire"], "backend_error")
