"""The Responses wire: what its conversations do not reach."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import (
    Completed,
    Event,
    Fold,
    ItemCompleted,
    ItemDelta,
    ProviderItem,
    ProviderState,
    Reasoning,
    Text,
    ToolCall,
)
from pluggably.errors import (
    BackendError,
    BackendInvalidResponse,
    BackendRateLimited,
    ContentFiltered,
    InvalidRequest,
    PluggablyError,
)
from pluggably.testing.codecs import check_events, generation_request
from pluggably.wire.codec import NOTHING, Address, Frame, HttpReply
from pluggably.wire.codecs.openai_responses.codec import OpenAIResponsesCodec
from pluggably.wire.codecs.openai_responses.options import ResponsesOptions

ENDED = {"type": "response.completed", "response": {"status": "completed", "output": []}}


def begun(
    stream: bool = True, options: ResponsesOptions | None = None, **request: Any
) -> tuple[OpenAIResponsesCodec, dict[str, Any]]:
    codec = OpenAIResponsesCodec(options or ResponsesOptions())
    address = Address(base_url="https://v.test/v1", model="m", backend="vendor", stream=stream)
    call = codec.begin(generation_request({"input": "x", **request}), address).next
    assert call is not None
    return codec, msgspec.json.decode(call.body)


def frame(event: dict[str, Any]) -> Frame:
    return Frame(event["type"], msgspec.json.encode(event))


def text(delta: Any, index: int = 0, part: int = 0) -> dict[str, Any]:
    event = {"type": "response.output_text.delta", "output_index": index, "content_index": part, "delta": delta}
    return {**event, "logprobs": []}


def streamed(*told: dict[str, Any]) -> tuple[Fold, list[Event]]:
    codec, _ = begun()
    events: list[Event] = []
    for event in (*told, ENDED):
        events += codec.feed(frame(event)).events
    events += codec.finish().events
    check_events(events)
    fold = Fold()
    fold.add(events)
    return fold, events


def test_events_that_say_nothing_cost_no_event() -> None:
    """Progress, what the deltas have told, and whatever is new."""
    codec, _ = begun()
    codec.feed(frame(text("x")))
    for event in (
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.content_part.added", "part": {"type": "output_text"}},
        {"type": "response.output_text.done", "text": "x"},
        {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "content": []}},
        {"type": "response.output_item.added", "output_index": 2},
        {"type": "response.function_call_arguments.delta", "output_index": 7, "delta": "{"},
        {"type": "response.shell_call_output_content.delta", "delta": {"stdout": "x"}},
        {"type": "response.something.new", "code": 7, "message": None},
    ):
        assert codec.feed(frame(event)) is NOTHING
    assert codec.feed(Frame("", b"")) is NOTHING
    assert codec.feed(Frame("ping", b"tick")) is NOTHING
    assert codec.feed(Frame("", b"[DONE]")) is NOTHING


def test_what_follows_the_end_is_not_looked_at() -> None:
    """Not even an error: the answer is complete."""
    codec, _ = begun()
    codec.feed(frame(text("x")))
    assert isinstance(codec.feed(frame(ENDED)).events[-1], Completed)
    assert codec.feed(Frame("error", b'{"type": "error", "message": "late"}')) is NOTHING
    assert codec.feed(frame(ENDED)) is NOTHING
    assert codec.finish() is NOTHING


@pytest.mark.parametrize("delta", [None, 7, {"text": "x"}, ["x"]])
def test_a_piece_that_is_no_text_is_never_passed_on(delta: Any) -> None:
    """A client would get an event that the API does not have."""
    for name in ("output_text", "refusal", "reasoning_text", "reasoning_summary_text"):
        codec, _ = begun()
        with pytest.raises(BackendInvalidResponse):
            codec.feed(frame({**text(delta), "type": f"response.{name}.delta"}))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "server_error", "message": "boom"}, BackendError),
        ({"code": "rate_limit_exceeded", "message": "slow"}, BackendRateLimited),
        ({"code": "vector_store_timeout", "message": "slow"}, BackendError),
        ({"code": "bio_policy", "message": "no"}, ContentFiltered),
        ({"code": "misalignment_policy_violation", "message": "no"}, ContentFiltered),
        ({"code": "image_content_policy_violation", "message": "no"}, ContentFiltered),
        ({"code": "image_parse_error", "message": "bad"}, InvalidRequest),
        ({"code": "empty_image_file", "message": "bad"}, InvalidRequest),
        (None, BackendInvalidResponse),
    ],
)
def test_a_response_that_failed_says_whose_fault_it_is(error: Any, kind: type[PluggablyError]) -> None:
    """Its error has a code and no status, for the call itself succeeded."""
    failed = {"status": "failed", "output": [], "error": error}
    for stream in (False, True):
        codec, _ = begun(stream)
        with pytest.raises(kind) as caught:
            if stream:
                codec.feed(frame({"type": "response.failed", "response": failed}))
            else:
                codec.receive(HttpReply(status=200, headers={}, body=msgspec.json.encode(failed)))
        assert type(caught.value) is kind


@pytest.mark.parametrize("response", [{}, {"status": "completed"}, {"status": "in_progress", "output": []}])
def test_an_answer_that_is_not_there_is_no_answer(response: dict[str, Any]) -> None:
    """A 200 alone says nothing."""
    codec, _ = begun(stream=False)
    with pytest.raises(BackendInvalidResponse):
        codec.receive(HttpReply(status=200, headers={}, body=msgspec.json.encode(response)))


def test_a_last_event_without_a_response_ends_an_answer() -> None:
    """Its name says how."""
    codec, _ = begun()
    codec.feed(frame(text("x")))
    assert codec.feed(Frame("", b'{"type": "response.completed"}')).events[-1] == Completed("stop")
    codec, _ = begun()
    codec.feed(frame(text("x")))
    assert codec.feed(Frame("", b'{"type": "response.incomplete"}')).events[-1] == Completed("length")


def test_items_that_are_not_told_in_order_keep_what_is_theirs() -> None:
    """The reasoning ends after the text has begun, and the text after the call."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    said = {"type": "message", "content": [{"type": "output_text", "text": "so"}]}
    fold, _ = streamed(
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"},
        text("so", 1),
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.done", "output_index": 2, "item": call},
        {"type": "response.output_item.done", "output_index": 1, "item": said},
    )
    state = ProviderState("vendor", thought)
    assert fold.output() == [Reasoning("hm"), Text("so"), Reasoning(provider_state=state), ToolCall("c", "f", "{}")]


def test_the_operators_fields_are_the_same_for_every_request() -> None:
    """What one request joins to them is not seen by the next."""
    options = ResponsesOptions(
        extra_body={"include": ["a"], "reasoning": {"summary": "auto"}, "tools": [{"type": "x"}]}
    )
    own = {"vendor": {"include": ["b"], "reasoning": {"summary": "detailed"}, "tools": [{"type": "y"}]}}
    _, first = begun(options=options, provider_options=own, parameters={"reasoning": {"effort": "low"}})
    assert first["include"] == ["a", "reasoning.encrypted_content", "b"]
    assert first["reasoning"] == {"summary": "detailed", "effort": "low"}
    assert first["tools"] == [{"type": "x"}, {"type": "y"}]
    _, second = begun(options=options)
    assert (second["include"], second["reasoning"]) == (["a", "reasoning.encrypted_content"], {"summary": "auto"})
    assert second["tools"] == [{"type": "x"}]


def test_a_message_of_nothing_is_left_out() -> None:
    """All that it held belonged to others."""
    item = {"type": "provider_item", "provider": "other", "data": {"type": "x"}}
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [item]}]
    _, body = begun(input=[*messages, {"role": "user", "content": []}])
    assert body["input"] == [{"role": "user", "content": "a"}, {"role": "user", "content": ""}]


def test_what_is_handed_back_is_not_written_to() -> None:
    """The same request may be made again, of another target."""
    codec = OpenAIResponsesCodec(ResponsesOptions())
    address = Address(base_url="https://v.test/v1", model="m", backend="vendor", stream=False)
    data = {"type": "message", "role": "assistant", "content": [{"type": "output_scent"}]}
    part = {"type": "provider_item", "provider": "vendor", "data": dict(data)}
    message = {"role": "assistant", "content": [part], "provider_options": {"vendor": {"phase": "commentary"}}}
    request = generation_request({"input": [message]})
    call = codec.begin(request, address).next
    assert call is not None
    assert msgspec.json.decode(call.body)["input"] == [{**data, "phase": "commentary"}]
    assert request.messages[0].content == [ProviderItem("vendor", data)]


# ── whatever a server mixes ─────────────────────────────────────────────────────────────────────────────────────────

indexes = st.integers(0, 2)
words = st.text(max_size=3)
messages = st.fixed_dictionaries(
    {
        "type": st.just("message"),
        "content": st.lists(
            st.fixed_dictionaries({"type": st.sampled_from(["output_text", "refusal", "new"]), "text": words}),
            max_size=2,
        ),
    },
    optional={"phase": st.just("commentary")},
)
calls = st.fixed_dictionaries(
    {"type": st.just("function_call"), "call_id": st.just("c"), "name": st.just("f"), "arguments": words}
)
thoughts = st.fixed_dictionaries(
    {"type": st.just("reasoning"), "summary": st.lists(st.fixed_dictionaries({"text": words}), max_size=2)}
)
others = st.fixed_dictionaries({"type": st.just("web_search_call"), "id": words})
told = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                [
                    "response.output_text.delta",
                    "response.refusal.delta",
                    "response.reasoning_text.delta",
                    "response.reasoning_summary_text.delta",
                    "response.function_call_arguments.delta",
                ]
            ),
            "output_index": indexes,
            "content_index": st.integers(0, 1),
            "summary_index": st.integers(0, 1),
            "delta": words,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["response.output_item.added", "response.output_item.done"]),
            "output_index": indexes,
            "item": st.one_of(messages, calls, thoughts, others),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("response.output_text.annotation.added"),
            "output_index": indexes,
            "annotation": st.just({"type": "url_citation"}),
        }
    ),
)


@given(st.lists(told, max_size=12))
def test_the_events_of_any_stream_hang_together(events: list[dict[str, Any]]) -> None:
    """Items open, grow and close in order, no piece of a text is lost, and no foreign item."""
    fold, made = streamed(*events)
    pieces = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    said = "".join(event.text or "" for event in made if isinstance(event, ItemDelta) and event.item_type == "text")
    assert all(piece in said for piece in pieces)
    foreign = [event["item"] for event in events if event.get("item", {}).get("type") == "web_search_call"]
    kept = [event.item for event in made if isinstance(event, ItemCompleted) and isinstance(event.item, ProviderItem)]
    ended = [event for event in events if event["type"] == "response.output_item.done" and event["item"] in foreign]
    assert sum(item.data.get("type") == "web_search_call" for item in kept) == len(ended)
    assert fold.finish_reason in ("stop", "tool_calls")
