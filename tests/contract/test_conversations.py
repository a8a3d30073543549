"""The conversations that codecs are held to are ones that a client can have: the API's own door lets each in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pluggably.api.bodies import decode
from pluggably.api.generations import GenerationBody, resolved
from pluggably.testing import codecs

ROOT = Path(__file__).parent.parent / "conversations"
CONVERSATIONS = codecs.load_conversations(ROOT)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_client_can_ask_for_it(conversation: codecs.Conversation) -> None:
    """As the body of `POST /v1/generations`; only the name of the model may be left out, and `hops` is a header."""
    body = {"model": "any", **conversation.request}
    body.pop("hops", None)
    resolved(decode(msgspec.json.encode(body), GenerationBody), None)
