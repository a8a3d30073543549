"""Cohere's wire: what its conversations do not reach."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import Completed, Embedding, Fold, ToolCall, UsageReported
from pluggably.errors import BackendInvalidResponse, PluggablyError
from pluggably.testing.codecs import check_events, generation_request
from pluggably.wire.codec import Address, Frame, HttpReply
from pluggably.wire.codecs.cohere.codec import CohereCodec
from pluggably.wire.codecs.cohere.options import CohereOptions

EVENTS = """
    message-start content-start content-delta content-end tool-plan-delta tool-call-start tool-call-delta tool-call-end
    citation-start citation-end
"""


def begun(stream: bool = True, **request: Any) -> tuple[CohereCodec, dict[str, Any]]:
    codec = CohereCodec(CohereOptions())
    address = Address(base_url="https://v.test", model="m", backend="cohere", stream=stream)
    call = codec.begin(generation_request({"input": "x", **request}), address).next
    assert call is not None
    return codec, msgspec.json.decode(call.body)


def frame(event: dict[str, Any]) -> Frame:
    return Frame(event.get("type", ""), msgspec.json.encode(event))


def embedded(texts: list[str], **meta: Any) -> HttpReply:
    vectors = [[float(text)] for text in texts]
    body = {"embeddings": {"float": vectors}, "meta": {"billed_units": {"input_tokens": len(texts)}, **meta}}
    return HttpReply(status=200, headers={}, body=msgspec.json.encode(body))


def test_more_texts_than_a_call_takes_are_several_calls() -> None:
    """Of 96 texts each, in their order; only the last one completes, and the usage is that of all."""
    texts = [str(number) for number in range(200)]
    codec, body = begun(modality="embedding", input=texts)
    fold, sizes = Fold(), []
    while body:
        sizes.append(len(body["texts"]))
        step = codec.receive(embedded(body["texts"], cached_tokens=1))
        assert any(isinstance(event, Completed) for event in step.events) == (step.next is None)
        fold.add(step.events)
        body = msgspec.json.decode(step.next.body) if step.next else None
    assert sizes == [96, 96, 8]
    vectors = [item for item in fold.output() if isinstance(item, Embedding)]
    assert [(item.input_index, item.vector) for item in vectors] == [(n, [float(n)]) for n in range(200)]
    assert (fold.usage.input_tokens, fold.usage.cached_input_tokens) == (200, 3)


def test_more_cached_tokens_than_were_billed_are_those_that_were_billed() -> None:
    """They are counted together with Cohere's own prompt, so a price would turn negative."""
    codec, _ = begun(stream=False)
    counts = {"billed_units": {"input_tokens": 5}, "tokens": {"input_tokens": 905}, "cached_tokens": 900}
    message = {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}
    body = msgspec.json.encode({"finish_reason": "COMPLETE", "message": message, "usage": counts})
    events = codec.receive(HttpReply(status=200, headers={}, body=body)).events
    assert UsageReported(input_tokens=5, cached_input_tokens=5) in events


def test_a_call_without_a_beginning_is_no_answer() -> None:
    """Neither its name nor its id is known."""
    codec, _ = begun()
    delta = {"message": {"tool_calls": {"function": {"arguments": "{}"}}}}
    with pytest.raises(BackendInvalidResponse):
        codec.feed(frame({"type": "tool-call-delta", "index": 0, "delta": delta}))


def test_a_call_without_a_reason_for_its_end_is_one_all_the_same() -> None:
    """The reason is `tool_calls`, whatever word the vendor has for it."""
    codec, _ = begun()
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    fold = Fold()
    for event in (
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
    ):
        fold.add(codec.feed(frame(event)).events)
    assert fold.output() == [ToolCall("a", "f", "{}")]
    assert fold.finish_reason == "tool_calls"


PIECES = st.fixed_dictionaries(
    {"type": st.sampled_from(EVENTS.split())},
    optional={
        "index": st.integers(0, 2),
        "delta": st.fixed_dictionaries(
            {
                "message": st.fixed_dictionaries(
                    {},
                    optional={
                        "content": st.sampled_from([{"type": "text", "text": "a"}, {"thinking": "b"}, [], None]),
                        "tool_plan": st.sampled_from(["", "plan", None]),
                        "tool_calls": st.sampled_from(
                            [{"id": "a", "function": {"name": "f", "arguments": "{"}}, {"function": {}}, [], None]
                        ),
                        "citations": st.sampled_from([{"start": 0}, [{"type": "PLAN"}], [], None]),
                    },
                )
            }
        ),
    },
)


@given(st.lists(PIECES, max_size=12))
def test_events_in_any_order_hang_together_or_are_refused(pieces: list[dict[str, Any]]) -> None:
    """Items open, grow and close whatever order a stream has."""
    codec, _ = begun()
    events: list[Any] = []
    try:
        for piece in [*pieces, {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}]:
            events += codec.feed(frame(piece)).events
    except PluggablyError:
        return
    check_events(events)
