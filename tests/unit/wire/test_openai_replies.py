"""Answers on OpenAI's wire: what the conversations do not reach."""

from __future__ import annotations

import array
import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import (
    Completed,
    Event,
    Fold,
    ItemDelta,
    ProviderState,
    Reasoning,
    Text,
    ToolCall,
    UsageReported,
)
from pluggably.errors import BackendError, BackendInvalidResponse
from pluggably.testing.codecs import check_events, generation_request
from pluggably.wire.codec import NOTHING, Address, Frame, HttpReply
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.codecs.openai.reply import ThinkTags
from pluggably.wire.embedding_calls import floats_of

DONE = Frame("", b"[DONE]")


def begun(stream: bool = True, **request: Any) -> OpenAICodec:
    codec = OpenAICodec(OpenAIOptions())
    address = Address(base_url="https://v.test/v1", model="m", backend="vendor", stream=stream)
    codec.begin(generation_request({"input": "x", **request}), address)
    return codec


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **rest: Any) -> Frame:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return Frame("", msgspec.json.encode({"choices": choices, **rest}))


def streamed(*frames: Frame) -> tuple[Fold, list[Event]]:
    codec = begun()
    events: list[Event] = []
    for frame in (*frames, DONE):
        events += codec.feed(frame).events
    events += codec.finish().events
    check_events(events)
    fold = Fold()
    fold.add(events)
    return fold, events


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("sensitive", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("something_new", "length"),
        ("STOP", "stop"),
    ],
)
def test_every_finish_reason_has_a_word_of_ours(theirs: str, ours: str) -> None:
    """Who stopped for a reason that nobody documented did not stop by itself, and that is told."""
    fold = streamed(chunk({"content": "x"}), chunk({}, theirs))[0]
    assert fold.finish_reason == ours
    assert [warning.code for warning in fold.warnings] == (
        ["finish_reason_unknown"] if theirs == "something_new" else []
    )


@pytest.mark.parametrize("theirs", ["tool_calls", "function_call", "stop"])
def test_calls_and_their_finish_reason_go_together(theirs: str) -> None:
    """With a call the reason is `tool_calls`, without one it is not, whatever the server says."""
    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}
    assert streamed(chunk({"tool_calls": [call]}), chunk({}, theirs))[0].finish_reason == "tool_calls"
    assert streamed(chunk({"content": "x"}), chunk({}, theirs))[0].finish_reason == "stop"


def test_an_empty_finish_reason_is_none() -> None:
    """Some servers write "" where others write null, and then nothing has finished."""
    codec = begun()
    codec.feed(chunk({"content": "x"}, ""))
    with pytest.raises(BackendInvalidResponse):
        codec.feed(DONE)


@pytest.mark.parametrize("reason", ["error", "abort", "network_error"])
def test_an_answer_that_ends_in_an_error_is_none(reason: str) -> None:
    """OpenRouter, SGLang and Z.ai say so in the finish reason, beside an error object or without one."""
    codec = begun()
    codec.feed(chunk({"content": "x"}, reason))
    with pytest.raises(BackendError):
        codec.feed(DONE)


def test_chunks_that_say_nothing_cost_no_event() -> None:
    """Roles, nulls, empty texts and empty choices."""
    codec = begun()
    for frame in (
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": None, "tool_calls": None, "refusal": None}),
        chunk({}),
        chunk(None),
        chunk({"tool_calls": [], "annotations": [], "images": []}),
        Frame("", b'{"choices": []}'),
        Frame("", b'{"choices": null, "usage": null}'),
        chunk({}, ""),
        Frame("", b"{}"),
        Frame("", b""),
        Frame("ping", b"tick"),
    ):
        assert codec.feed(frame) is NOTHING


def test_what_follows_the_end_mark_is_not_looked_at() -> None:
    """A second end mark changes nothing."""
    codec = begun()
    codec.feed(chunk({"content": "x"}, "stop"))
    assert isinstance(codec.feed(DONE).events[-1], Completed)
    assert codec.feed(DONE) is NOTHING
    assert codec.finish() is NOTHING


def test_usage_is_told_when_it_changes() -> None:
    """Some servers repeat it with every chunk."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    _, events = streamed(
        chunk({"content": "a"}, usage=usage),
        chunk({"content": "b"}, usage=usage),
        chunk({}, "stop", usage={**usage, "completion_tokens": 2}),
    )
    told = [event.output_tokens for event in events if isinstance(event, UsageReported)]
    assert told == [1, 2]


def test_text_and_calls_in_one_chunk_are_both_taken() -> None:
    """Some servers send a whole answer as one chunk."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    fold, _ = streamed(chunk({"reasoning": "hm", "content": "x", "tool_calls": [call]}, "tool_calls"))
    assert [type(item).__name__ for item in fold.output()] == ["Reasoning", "Text", "ToolCall"]


def test_annotations_gather_on_the_text_they_belong_to() -> None:
    """They come one by one, and a second text has its own."""
    one, two, three = ({"type": "url_citation", "n": n} for n in range(3))
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    fold, _ = streamed(
        chunk({"content": "a"}),
        chunk({"annotations": [one]}),
        chunk({"annotations": [two]}),
        chunk({"tool_calls": [call]}),
        chunk({"content": "b"}),
        chunk({"annotations": [three]}),
        chunk({}, "stop"),
    )
    texts = [item for item in fold.output() if isinstance(item, Text)]
    assert texts == [Text("a", [one, two]), Text("b", [three])]


def test_each_stretch_of_reasoning_has_its_own_state() -> None:
    """Else the first one's blocks would be handed back twice."""
    first, second = ({"type": "reasoning.text", "index": n, "text": str(n)} for n in range(2))
    fold, _ = streamed(
        chunk({"reasoning": "0", "reasoning_details": [first]}),
        chunk({"content": "so"}),
        chunk({"reasoning": "1"}),
        chunk({"reasoning_details": [second]}),
        chunk({}, "stop"),
    )
    states = [item.provider_state for item in fold.output() if isinstance(item, Reasoning)]
    assert states == [ProviderState("vendor", [first]), ProviderState("vendor", [second])]


def test_calls_may_come_interleaved() -> None:
    """Each piece finds its own call."""
    fold, _ = streamed(
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "["}}]}),
        chunk(
            {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}, {"index": 1, "function": {"arguments": "]"}}]}
        ),
        chunk({}, "tool_calls"),
    )
    assert fold.output() == [ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]")]


def test_an_id_that_is_repeated_is_no_new_call() -> None:
    """Some servers name a call in each of its pieces."""
    piece = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}
    fold, _ = streamed(chunk({"tool_calls": [piece]}), chunk({"tool_calls": [piece]}), chunk({}, "tool_calls"))
    assert fold.output() == [ToolCall("a", "f", "11")]


def test_ids_that_are_made_up_differ() -> None:
    """In one answer and between two, or results could not be told apart later."""
    piece = {"function": {"name": "f", "arguments": "{}"}}
    ids = set()
    for _ in range(2):
        fold, _ = streamed(chunk({"tool_calls": [piece, piece]}), chunk({}, "tool_calls"))
        ids |= {item.id for item in fold.output() if isinstance(item, ToolCall)}
    assert len(ids) == 4


def test_a_call_without_a_name_cannot_be_made() -> None:
    """There is nothing that a client could do with it."""
    with pytest.raises(BackendInvalidResponse):
        begun().feed(chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]}))


@pytest.mark.parametrize("choices", [[], None, [{"index": 1, "message": {"content": "x"}}], [{"index": 0}]])
def test_an_answer_without_a_message_is_none(choices: Any) -> None:
    """A 200 alone is no answer."""
    body = msgspec.json.encode({"choices": choices})
    with pytest.raises(BackendInvalidResponse):
        begun(stream=False).receive(HttpReply(status=200, headers={}, body=body))


def test_a_whole_answer_without_a_reason_has_stopped() -> None:
    """It is complete by its form; a stream would not be."""
    body = msgspec.json.encode({"choices": [{"message": {"content": "x"}, "finish_reason": None}]})
    events = begun(stream=False).receive(HttpReply(status=200, headers={}, body=body)).events
    assert events[-1] == Completed("stop")


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_packed_numbers_are_the_numbers(numbers: list[float]) -> None:
    """Little-endian 32-bit floats in base64."""
    packed = array.array("f", numbers)
    assert floats_of(base64.b64encode(packed.tobytes()).decode()) == numbers


@pytest.mark.parametrize("text", ["AA==", "!", "AAAA"])
def test_what_is_no_packed_number_is_refused(text: str) -> None:
    """The transport tells it as an invalid response."""
    with pytest.raises(ValueError, match=r".*"):
        floats_of(text)


pieces = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | st.text(max_size=3),
        "reasoning": st.none() | st.text(max_size=3),
        "refusal": st.none() | st.text(max_size=3),
        "reasoning_details": st.lists(
            st.fixed_dictionaries({"type": st.just("t"), "index": st.integers(0, 1), "text": st.text(max_size=2)}),
            max_size=2,
        ),
        "annotations": st.lists(st.just({"type": "url_citation"}), max_size=1),
        "tool_calls": st.lists(
            st.builds(
                lambda index, id_, text: {"index": index, "id": id_, "function": {"name": "f", "arguments": text}},
                st.none() | st.integers(0, 2),
                st.none() | st.sampled_from(["a", "b"]),
                st.text(max_size=3),
            ),
            max_size=2,
        ),
    },
)


@given(st.lists(pieces, max_size=12))
def test_the_events_of_any_stream_hang_together(deltas: list[dict[str, Any]]) -> None:
    """Whatever a server mixes, items open, grow and close in order, and no text is lost."""
    fold, events = streamed(*(chunk(delta) for delta in deltas), chunk({}, "stop"))
    told = "".join(event.text or "" for event in events if isinstance(event, ItemDelta) and event.item_type == "text")
    assert told == "".join(delta.get("content") or "" for delta in deltas)
    assert fold.finish_reason in ("stop", "tool_calls")


def told_apart(pieces: list[str]) -> tuple[str, str]:
    tags = ThinkTags()
    told = [*(tags.split(piece) for piece in pieces), tags.rest()]
    return "".join(thought for thought, _ in told), "".join(text for _, text in told)


@pytest.mark.parametrize(
    ("answer", "thought", "text"),
    [
        ("<think>Asia, so Ob.</think>\n\nOb", "Asia, so Ob.", "Ob"),
        ("\n<think>a < b</ think></think>Ob", "a < b</ think>", "Ob"),
        ("Ob <think>no</think>", "", "Ob <think>no</think>"),
        ("<thing>", "", "<thing>"),
        ("<th", "", "<th"),
        ("<think>cut off </thi", "cut off </thi", ""),
        ("", "", ""),
    ],
)
def test_reasoning_in_tags_is_told_from_the_text(answer: str, thought: str, text: str) -> None:
    """However the answer is cut into pieces; tags in the midst of it are text."""
    assert told_apart([answer]) == (thought, text)
    assert told_apart(list(answer)) == (thought, text)
    for cut in range(len(answer)):
        assert told_apart([answer[:cut], answer[cut:]]) == (thought, text)
