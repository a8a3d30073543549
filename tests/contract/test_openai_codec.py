"""The OpenAI codec keeps the contract of every codec, with each vendor's quirks as its preset has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codecs.openai.codec import OpenAICodec

ROOT = Path(__file__).parent.parent / "conversations"
# A folder bears the name of a preset. `openai` tells of the wire itself: each conversation names the options it needs.
FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.name in PRESETS and PRESETS[path.name].codec == "openai")
ERROR = b'{"error": {"message": "boom", "type": "server_error", "param": null, "code": null}}'


def all_conversations() -> list[Any]:
    return [
        pytest.param(folder, conversation, id=f"{folder}/{conversation.title}")
        for folder in FOLDERS
        for conversation in codecs.load_conversations(ROOT / folder)
    ]


def factory_for(folder: str) -> codecs.CodecFactory:
    """Codecs with the options of the folder's preset, and those of the conversation over them."""
    preset = {} if folder == "openai" else msgspec.to_builtins(PRESETS[folder].options)
    return lambda options: codecs.make(OpenAICodec, {**preset, **options})


@pytest.mark.parametrize(("folder", "conversation"), all_conversations())
def test_a_conversation_is_spoken_as_documented(folder: str, conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(factory_for(folder), conversation)


@pytest.mark.parametrize("title", ["plain-text", "streamed-text", "streamed-parallel-tool-calls", "embeddings"])
def test_an_error_inside_a_200_is_an_error_wherever_it_stands(title: str) -> None:
    """OpenAI's error object in place of an answer, and after each event of a stream."""
    by_title = {each.title: each for each in codecs.load_conversations(ROOT / "openai")}
    codecs.check_error_in_200(factory_for("openai"), by_title[title], ERROR, "backend_error")
