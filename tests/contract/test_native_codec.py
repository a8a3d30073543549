"""The codec of another Pluggably keeps the contract of every codec."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pluggably.domain.generation import (
    Completed,
    Event,
    Leased,
    Progress,
    ServedBy,
    Started,
    UsageReported,
)
from pluggably.errors import PluggablyError
from pluggably.testing import codecs
from pluggably.wire.codec import Codec, Frame
from pluggably.wire.codecs.native.codec import NativeCodec
from pluggably.wire.framing import SseFramer

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "pluggably")
BY_TITLE = {each.title: each for each in CONVERSATIONS}
make_codec = partial(codecs.make, NativeCodec)
PROBLEM = b'{"type": "https://pluggably.dev/errors/overloaded", "status": 503, "code": "overloaded", "detail": "full"}'


def begun(title: str) -> Codec:
    conversation = BY_TITLE[title]
    codec = make_codec(conversation.options)
    codec.begin(conversation.generation_request(), conversation.address())
    return codec


def frames(title: str) -> list[Frame]:
    reply = BY_TITLE[title].reply
    assert reply is not None
    return SseFramer().feed(reply.body())


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no cut, garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


@pytest.mark.parametrize("title", ["streamed-text", "streamed-parallel-tool-calls"])
def test_a_problem_in_a_stream_is_an_error_wherever_it_stands(title: str) -> None:
    """After each event."""
    codecs.check_error_in_200(make_codec, BY_TITLE[title], PROBLEM, "backend_error")


def test_the_wait_for_the_other_gateways_model_is_told() -> None:
    """Its progress passes as it comes, and how long it waited counts as waiting here."""
    codec, events = begun("streamed-progress-and-queue"), list[Event]()
    for frame in frames("streamed-progress-and-queue"):
        events += codec.feed(frame).events
    assert [event.stage for event in events if isinstance(event, Progress)] == ["queued", "loading"]
    assert [event.queued_s for event in events if isinstance(event, Leased)] == [2.5]
    assert Started(ServedBy("llama.cpp", "qwen.gguf", "local")) in events


def test_a_failure_tells_its_usage_before_it_is_raised() -> None:
    """What the other gateway spent on an answer that failed is not lost, nor what it said before."""
    codec, events = begun("failed-after-output"), list[Event]()
    for frame in frames("failed-after-output"):
        events += codec.feed(frame).events
    reported = [event for event in events if isinstance(event, UsageReported)]
    assert [(usage.output_tokens, usage.cost_usd) for usage in reported] == [(5, "0")]
    assert not any(isinstance(event, Completed) for event in events)
    with pytest.raises(PluggablyError, match="openai was silent"):
        codec.finish()
    with pytest.raises(PluggablyError, match="openai was silent"):
        codec.feed(Frame("", b"{}"))
