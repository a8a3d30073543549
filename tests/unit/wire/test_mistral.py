"""Mistral's wire: what its conversations do not reach."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import Fold, ProviderState, Reasoning, Text
from pluggably.errors import BackendError, BackendInvalidResponse, InvalidRequest, PluggablyError
from pluggably.testing.codecs import check_events, generation_request
from pluggably.wire.codec import Address, Frame, HttpReply
from pluggably.wire.codecs.mistral.codec import MistralCodec
from pluggably.wire.codecs.mistral.faults import fault_in_answer, fault_of_reply
from pluggably.wire.codecs.mistral.messages import call_id
from pluggably.wire.codecs.mistral.options import MistralOptions
from pluggably.wire.faults import Asked
from tests.work import lines_run

ASKED = Asked(backend="mistral", model="m", modality="text", origins=[0, 1])


def begun(**request: Any) -> MistralCodec:
    codec = MistralCodec(MistralOptions())
    address = Address(base_url="https://v.test/v1", model="m", backend="mistral", stream=True)
    assert codec.begin(generation_request({"input": "x", **request}), address).next is not None
    return codec


def frame(delta: Any, reason: str | None = None) -> Frame:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return Frame("", msgspec.json.encode({"choices": [choice]}))


def streamed(*deltas: Any) -> Fold:
    codec, fold, events = begun(), Fold(), []
    for delta in deltas:
        events += codec.feed(frame(delta)).events
    for last in (frame({}, "stop"), Frame("", b"[DONE]")):
        events += codec.feed(last).events
    check_events(events)
    fold.add(events)
    return fold


def thinking(text: str, **fields: Any) -> dict[str, Any]:
    return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}], **fields}]}


@given(st.text())
def test_every_id_becomes_nine_letters_and_digits(given_id: str) -> None:
    """The same one each time, and one that fits stays what it is."""
    made = call_id(given_id)
    assert re.fullmatch("[a-zA-Z0-9]{9}", made)
    assert made == call_id(given_id) == call_id(made)


def test_a_signature_ends_a_chunk_of_thoughts() -> None:
    """What follows is another, so that each goes back with its own."""
    fold = streamed(thinking("a"), thinking("b", signature="s"), thinking("c", signature="t"), {"content": "d"})
    states = [
        {"type": "thinking", "signature": signature, "thinking": [{"type": "text", "text": text}]}
        for text, signature in (("ab", "s"), ("c", "t"))
    ]
    assert fold.output() == [
        Reasoning("ab", ProviderState("mistral", states[0])),
        Reasoning("c", ProviderState("mistral", states[1])),
        Text("d"),
    ]


def test_thoughts_that_are_a_text_are_read_as_well() -> None:
    """Servers with Mistral's open models send them so."""
    fold = streamed({"content": [{"type": "thinking", "thinking": "hm"}]}, {"content": [{"type": "text", "text": "d"}]})
    assert fold.output() == [Reasoning("hm"), Text("d")]


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({"detail": [{"loc": ["body", "stop", 0], "msg": "wrong"}]}, "/parameters/stop", "stop.0: wrong"),
        ({"detail": [{"loc": ["body", "messages", 1, "role"], "msg": "wrong"}]}, "/input/1", "wrong"),
        ({"detail": [{"loc": ["body", "messages", 9], "msg": "wrong"}]}, "/input", "wrong"),
        ({"detail": [{"loc": [], "msg": "wrong"}]}, None, "wrong"),
        ({"detail": ["wrong", {"msg": "Bearer sk-12345 is wrong"}]}, None, "[redacted] is wrong"),
        ({"message": {"detail": [{"loc": ["body", "n"], "msg": "wrong"}]}, "object": "error"}, None, "n: wrong"),
        ({"detail": "wrong"}, None, "wrong"),
    ],
)
def test_what_is_wrong_in_a_body_is_pointed_at(body: Any, pointer: str | None, said: str) -> None:
    """By Mistral's places, in our request; what has no place in ours has no pointer."""
    fault = fault_of_reply(HttpReply(status=422, headers={}, body=msgspec.json.encode(body)), ASKED)
    assert isinstance(fault, InvalidRequest)
    assert fault.pointer == pointer
    assert said in fault.detail


def test_a_refusal_that_names_nothing_is_told_all_the_same() -> None:
    """The list may hold what nobody expects."""
    reply = HttpReply(status=422, headers={}, body=b'{"detail": [7, "x"]}')
    assert isinstance(fault_of_reply(reply, ASKED), InvalidRequest)
    assert isinstance(fault_in_answer({}, ASKED), BackendInvalidResponse)
    assert isinstance(fault_in_answer({"object": "error", "message": "boom"}, ASKED), BackendError)


CHUNKS = st.sampled_from(
    [
        {"type": "text", "text": "a"},
        {"type": "text"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "b"}]},
        {"type": "thinking", "thinking": [], "signature": "s"},
        {"type": "thinking"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "image_url", "image_url": "x"},
        {},
    ]
)
CALLS = st.sampled_from(
    [
        {"id": "D681PevKs", "index": 0, "function": {"name": "f", "arguments": "{}"}},
        {"id": "hG7sKq91A", "index": 0, "function": {"name": "g", "arguments": {"a": 1}}},
        {"index": 0, "function": {"arguments": "{"}},
        {"index": 1, "function": {}},
    ]
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.one_of(st.none(), st.text(max_size=2), st.lists(CHUNKS, max_size=3)),
        "tool_calls": st.one_of(st.none(), st.lists(CALLS, max_size=2)),
    },
)


@given(st.lists(DELTAS, max_size=8))
def test_deltas_in_any_order_hang_together_or_are_refused(deltas: list[Any]) -> None:
    """Items open, grow and close whatever order a stream has."""
    try:
        streamed(*deltas)
    except PluggablyError:
        return


def test_many_system_messages_take_little_work_each() -> None:
    """Each is looked at once, wherever it is put."""

    def lines(count: int) -> int:
        said = [{"role": "user", "content": "u"}, *[{"role": "system", "content": "s"}] * count]
        return lines_run(lambda: begun(input=said))

    assert lines(2000) < 2.5 * lines(1000)
