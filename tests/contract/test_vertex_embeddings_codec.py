"""The codec of Vertex AI's embeddings keeps the contract of every codec, and makes as many calls as the texts need."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pluggably.domain.generation import Completed, Embedding, Event, ItemCompleted, UsageReported
from pluggably.errors import BackendInvalidResponse
from pluggably.testing import codecs
from pluggably.wire.codec import Frame, HttpCall, HttpReply
from pluggably.wire.codecs.vertex_embeddings import VertexEmbeddingsCodec

CONVERSATIONS = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "vertex_embeddings")
make_codec = partial(codecs.make, VertexEmbeddingsCodec)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_is_spoken_as_documented(conversation: codecs.Conversation) -> None:
    """What is sent, what is understood, and what no garbage or unknown field changes."""
    codecs.check(make_codec, conversation)


def embedded(texts: Sequence[str], **options: Any) -> tuple[list[HttpCall], list[Event]]:
    """Every call for these texts, and the events of all answers; the vector of a text is its length."""
    conversation = codecs.Conversation(request={"modality": "embedding", "input": texts})
    codec = make_codec(options)
    step = codec.begin(conversation.generation_request(), conversation.address())
    calls: list[HttpCall] = []
    events: list[Event] = []
    while step.next is not None:
        calls.append(step.next)
        body: Any
        if options.get("method") == "embedContent":
            text = sent(step.next)[0]
            body = {"embedding": {"values": [len(text)]}, "usageMetadata": {"promptTokenCount": 2}}
        else:
            predictions = [
                {"embeddings": {"values": [len(text)], "statistics": {"token_count": 2}}} for text in sent(step.next)
            ]
            body = {"predictions": predictions}
        step = codec.receive(HttpReply(status=200, headers={}, body=msgspec.json.encode(body)))
        events += step.events
    return calls, events


def sent(call: HttpCall) -> list[str]:
    """The texts of a call."""
    body = msgspec.json.decode(call.body)
    if "content" in body:
        return [part["text"] for part in body["content"]["parts"]]
    return [instance["content"] for instance in body["instances"]]


@pytest.mark.parametrize(
    ("texts", "sizes", "options"),
    [
        (["x"] * 251, [250, 1], {}),
        (["x"] * 250, [250], {}),
        # No token is less than a byte, two more mark a text's ends, and no text may have more than 2,048.
        (["x" * 1998] * 21, [10, 10, 1], {}),
        (["x" * 1999] * 10, [9, 1], {}),
        (["x" * 50_000] * 10, [9, 1], {}),
        (["ä" * 999] * 11, [10, 1], {}),
        (["a", "b", "c"], [1, 1, 1], {"texts_per_call": 1}),
        (["a", "b", "c"], [1, 1, 1], {"method": "embedContent"}),
    ],
)
def test_many_texts_are_asked_for_in_several_calls(texts: list[str], sizes: list[int], options: dict[str, Any]) -> None:
    """As many in each as the model takes; none is lost, and the vectors come in the order of the texts."""
    calls, events = embedded(texts, **options)
    assert [len(sent(call)) for call in calls] == sizes
    assert [text for call in calls for text in sent(call)] == texts
    items = [event.item for event in events if isinstance(event, ItemCompleted)]
    vectors = [(item.vector, item.input_index) for item in items if isinstance(item, Embedding)]
    assert vectors == [([float(len(text))], place) for place, text in enumerate(texts)]
    assert [event for event in events if isinstance(event, UsageReported)][-1].input_tokens == 2 * len(texts)
    assert [place for place, event in enumerate(events) if isinstance(event, Completed)] == [len(events) - 1]


def test_a_call_that_lacks_an_embedding_is_an_error_at_once() -> None:
    """The vectors of the next call would stand at the wrong texts."""
    conversation = codecs.Conversation(request={"modality": "embedding", "input": ["a", "b", "c"]})
    codec = make_codec({"texts_per_call": 2})
    codec.begin(conversation.generation_request(), conversation.address())
    body = b'{"predictions": [{"embeddings": {"values": [1]}}]}'
    with pytest.raises(BackendInvalidResponse):
        codec.receive(HttpReply(status=200, headers={}, body=body))


def test_a_stream_is_no_answer() -> None:
    """Nobody asked for one."""
    conversation = codecs.Conversation(request={"modality": "embedding", "input": "a"})
    codec = make_codec({})
    codec.begin(conversation.generation_request(), conversation.address())
    with pytest.raises(BackendInvalidResponse):
        codec.feed(Frame("", b"{}"))
    with pytest.raises(BackendInvalidResponse):
        codec.finish()
