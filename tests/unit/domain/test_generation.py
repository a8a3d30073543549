"""The fold, and the promise that what an answer holds can be sent back as it is."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluggably.api.bodies import decode
from pluggably.api.generations import GenerationBody
from pluggably.domain.generation import (
    AlternativeToken,
    Breakdown,
    Completed,
    Embedding,
    Event,
    Fold,
    GenerationWarning,
    Item,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    Leased,
    Message,
    Part,
    Progress,
    ProviderItem,
    ProviderState,
    Reasoning,
    Refusal,
    ServedBy,
    Started,
    Text,
    TextParameters,
    TokenLogprob,
    ToolCall,
    ToolResult,
    UsageReported,
    VisibleEvent,
    Warned,
    with_own_ids,
)
from tests.work import lines_run


def folded(*events: Event) -> Fold:
    fold = Fold()
    fold.add(events)
    return fold


# ── the fold ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fold_of_nothing_is_empty() -> None:
    """Before any event there is nothing, and nothing is known."""
    fold = Fold()
    assert (fold.output(), fold.warnings, fold.served_by, fold.finish_reason) == ([], [], None, None)
    assert fold.usage.input_tokens is None


def test_everything_has_its_place() -> None:
    """Usage, warnings, target, wait and end are taken from their events; progress leaves nothing."""
    warning = GenerationWarning(code="part_dropped", detail="no")
    served_by = ServedBy("b", "m", "local")
    fold = folded(
        Progress(stage="queued"),
        Leased(1.5),
        Warned(warning),
        Started(served_by),
        UsageReported(input_tokens=1),
        UsageReported(input_tokens=2, cached_input_tokens=1, output_tokens=3, reasoning_tokens=0),
        Completed("length"),
    )
    assert (fold.warnings, fold.served_by, fold.finish_reason) == ([warning], served_by, "length")
    usage = fold.usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens) == (2, 1, 3, 0)
    assert usage.queued_s == 1.5
    assert fold.output() == []


@pytest.mark.parametrize(
    ("item", "field"),
    [(Text(""), "text"), (Reasoning(""), "text"), (Refusal(""), "text"), (ToolCall("c", "f"), "arguments")],
)
def test_an_open_item_has_what_came_so_far(item: Any, field: str) -> None:
    """A stream that fails keeps the beginning of its last item; the item of the event is left as it was."""
    delta: dict[str, Any] = {field: "ab"}
    more: dict[str, Any] = {field: "cd"}
    fold = folded(ItemStarted(0, item), ItemDelta(0, "x", **delta), ItemDelta(0, "x", **more))
    assert getattr(fold.output()[0], field) == "abcd"
    assert getattr(item, field) == ""


def test_an_item_that_was_completed_is_what_was_completed() -> None:
    """The whole item of its last event stands, whatever the deltas were."""
    whole = Text("Hello", annotations=[{"a": 1}])
    assert folded(ItemStarted(0, Text("")), ItemDelta(0, "text", "Hel"), ItemCompleted(0, whole)).output() == [whole]


def test_an_item_that_was_only_opened_is_there() -> None:
    """Opened and not yet spoken of."""
    assert folded(ItemStarted(0, ToolCall("c", "f"))).output() == [ToolCall("c", "f")]


def test_items_may_interleave() -> None:
    """Tool calls grow side by side, and come out in the order of their indexes."""
    fold = folded(
        ItemStarted(0, Text("")),
        ItemStarted(2, ToolCall("c2", "g")),
        ItemStarted(1, ToolCall("c1", "f")),
        ItemDelta(1, "tool_call", arguments='{"a"'),
        ItemDelta(2, "tool_call", arguments="{}"),
        ItemDelta(1, "tool_call", arguments=":1}"),
        ItemCompleted(2, ToolCall("c2", "g", "{}")),
    )
    assert fold.output() == [Text(""), ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "{}")]


def test_a_count_below_zero_is_not_known() -> None:
    """A backend's slip; metrics, which only grow, would break on it."""
    fold = Fold()
    fold.add([UsageReported(input_tokens=-1, cached_input_tokens=0, output_tokens=5, reasoning_tokens=-(10**20))])
    usage = fold.usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (None, 0, 5)
    assert usage.reasoning_tokens is None


def test_whole_items_need_no_text() -> None:
    """Embeddings and a vendor's blocks come in one piece."""
    items: list[Item] = [Embedding([0.5], 0), ProviderItem("p", {"a": 1})]
    fold = Fold()
    for index, item in enumerate(items):
        fold.add([ItemStarted(index, item), ItemCompleted(index, item)])
    assert fold.output() == items


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    texts=st.lists(st.lists(st.text(max_size=5), max_size=6), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 30), max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_how_events_are_cut_makes_no_difference(texts: list[list[str]], cuts: list[int], order: Any) -> None:
    """One by one, all at once, in any batches and interleaved in any way: the output is the same."""
    lanes: list[list[Event]] = [
        [ItemStarted(i, Text("")), *(ItemDelta(i, "text", piece) for piece in pieces)] for i, pieces in enumerate(texts)
    ]
    events: list[Event] = []
    while any(lanes):
        events.append(order.choice([lane for lane in lanes if lane]).pop(0))
    fold = Fold()
    start = 0
    for end in [*sorted(cut % (len(events) + 1) for cut in cuts), len(events)]:
        fold.add(events[start:end])
        start = max(start, end)
    assert fold.output() == [Text("".join(pieces)) for pieces in texts]


# ── items are parts ─────────────────────────────────────────────────────────────────────────────────────────────────

plain = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=5,
)
logprobs = st.builds(
    TokenLogprob,
    token=plain,
    logprob=st.floats(-100, 0),
    top=st.lists(st.builds(AlternativeToken, token=plain, logprob=st.floats(-100, 0)), max_size=2),
)
items = st.one_of(
    st.builds(
        Text,
        text=plain,
        annotations=st.lists(st.dictionaries(plain, values, max_size=3), max_size=2),
        logprobs=st.none() | st.lists(logprobs, max_size=3),
    ),
    st.builds(
        Reasoning,
        text=st.none() | plain,
        provider_state=st.none() | st.builds(ProviderState, provider=plain, data=values),
    ),
    st.builds(ToolCall, id=plain, name=plain, arguments=plain),
    st.builds(Refusal, text=plain),
    st.builds(ProviderItem, provider=plain, data=values),
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(output=st.lists(items, min_size=1, max_size=4))
def test_what_was_answered_can_be_sent_back_word_for_word(output: list[Any]) -> None:
    """The output of an answer is, as JSON, the content of an assistant's message, and is understood as itself."""
    sent = json.loads(msgspec.json.encode(output))
    body = {"model": "m", "input": [{"role": "assistant", "content": sent}]}
    decoded: GenerationBody = decode(json.dumps(body).encode(), GenerationBody)
    message = decoded.input[0]
    assert isinstance(message, Message)
    assert message.content == output
    assert json.loads(msgspec.json.encode(message.content)) == sent


def test_every_item_but_an_embedding_is_a_part() -> None:
    """The two families share their classes."""
    assert set(get_args(Item)) - {Embedding} <= set(get_args(Part))


def test_what_was_not_given_is_not_told() -> None:
    """A field of an input only does not appear in an answer."""
    for item in (Text("x"), Reasoning("x"), ToolCall("c", "f"), Refusal("x")):
        assert "provider_options" not in json.loads(msgspec.json.encode(item))


def test_the_events_names_are_those_of_the_reference() -> None:
    """What clients see has its name as its `type`."""
    tags = {event.__struct_config__.tag for event in get_args(VisibleEvent)}
    assert tags == {"generation.progress", "generation.started", "output.started", "output.delta", "output.completed"}


@pytest.mark.parametrize(
    "event",
    [
        Progress(stage="loading", fraction=0.5),
        Started(ServedBy("b", "m", "remote")),
        ItemStarted(0, ToolCall("c", "f")),
        ItemDelta(1, "text", "x"),
        ItemDelta(1, "tool_call", arguments="{"),
        ItemDelta(1, "text", "x", logprobs=[TokenLogprob("x", -1.0)]),
        ItemCompleted(0, Embedding([0.5, -1.0], 3)),
    ],
)
def test_events_survive_the_wire(event: Any) -> None:
    """What is written is read as the same event."""
    assert msgspec.json.decode(msgspec.json.encode(event), type=VisibleEvent) == event


@pytest.mark.parametrize(("stop", "stops"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"]), ([], [])])
def test_stops_are_a_list(stop: Any, stops: list[str]) -> None:
    """One, many or none."""
    assert TextParameters(stop=stop).stops() == stops


@pytest.mark.parametrize("count", [-1, 2**53 + 1, 10**400])
def test_a_count_that_nobody_counted_is_not_known(count: int) -> None:
    """Below zero, or more than any number of tokens: it would break metrics and prices."""
    fold = Fold()
    fold.add([UsageReported(input_tokens=count, output_tokens=7, breakdown=Breakdown(cache_write_tokens=count))])
    assert (fold.usage.input_tokens, fold.usage.output_tokens, fold.breakdown) == (None, 7, None)
    fold.add([UsageReported(input_tokens=2**53, breakdown=Breakdown(cache_write_tokens=2**53))])
    assert (fold.usage.input_tokens, fold.breakdown) == (2**53, Breakdown(cache_write_tokens=2**53))


def same_ids(count: int, *, answered: bool = False) -> list[Message]:
    calls: list[Part] = [ToolCall("a", "f") for _ in range(count)]
    results: list[Part] = [ToolResult("a", "x") for _ in range(count)]
    return [Message("assistant", calls), *([Message("tool", results)] if answered else [])]


def test_many_calls_of_one_id_take_little_work_each() -> None:
    """Twice as many are twice the work, and the results follow their calls."""
    assert lines_run(lambda: with_own_ids(same_ids(4000, answered=True))) < 4000 * 25
    calls, results = with_own_ids(same_ids(3, answered=True))
    assert [part.id for part in calls.content if isinstance(part, ToolCall)] == ["a", "a-2", "a-3"]
    assert [part.tool_call_id for part in results.content if isinstance(part, ToolResult)] == ["a", "a-2", "a-3"]


def test_an_id_that_looks_like_a_made_one_is_no_second_time_given() -> None:
    """It keeps its name, and the next number is taken."""
    (message,) = with_own_ids([Message("assistant", [ToolCall(id_, "f") for id_ in ("a-2", "a", "a", "a")])])
    assert [part.id for part in message.content if isinstance(part, ToolCall)] == ["a-2", "a", "a-3", "a-4"]
