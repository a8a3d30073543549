"""The rules of one stream of events, as docs/reference/api.md promises them; every stream that a test reads is held
against them.

`created` comes first, `progress` only before `started`, `started` right before the first output; an item is started,
grows by deltas and is completed with what the deltas add up to; one of three events ends the stream, and it tells the
same output as the events before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
ENDS = ("generation.completed", "generation.failed", "generation.cancelled")


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event."""

    name: str
    data: Json


def check_stream(events: Sequence[StreamEvent]) -> Json:
    """Checks a whole stream; returns the generation that its last event tells."""
    names = [event.name for event in events]
    assert names[0] == "generation.created", names
    assert [name for name in names if name in ENDS] == [names[-1]], names
    created: Json = events[0].data["generation"]
    generation: Json = events[-1].data["generation"]
    assert generation["status"] == names[-1].removeprefix("generation.")
    for field in ("id", "object", "model", "modality", "created_at", "metadata"):
        assert created[field] == generation[field]
    items = _check_output(events[1:-1])
    if generation["status"] == "completed":
        assert all(completed for _, completed in items), "an item was left open"
        assert generation["error"] is None
        assert "generation.started" in names
    told = generation["output"]
    assert told == [_as_told(item, other) for (item, _), other in zip(items, told, strict=True)]
    return generation


def _check_output(events: Sequence[StreamEvent]) -> list[tuple[Json, bool]]:
    """The items that the events tell, and whether each was completed."""
    started = False
    items: list[tuple[Json, bool]] = []
    for before, event in zip([None, *events], events, strict=False):
        if event.name == "generation.progress":
            assert not started, "progress after the start"
            assert event.data["stage"]
        elif event.name == "generation.started":
            assert not started, "started twice"
            assert set(event.data["served_by"]) - {"behind"} == {"backend", "model", "location"}
            started = True
        else:
            assert started, f"{event.name} before generation.started"
            _take(event, items)
        assert before is None or before.name != "generation.started" or event.name == "output.started"
    return items


def _take(event: StreamEvent, items: list[tuple[Json, bool]]) -> None:
    index = event.data["index"]
    if event.name == "output.started":
        assert index == len(items), "items start in order"
        items.append((event.data["item"], False))
        return
    item, completed = items[index]
    assert not completed, "more of an item that was complete"
    field = "arguments" if item["type"] == "tool_call" else "text"
    if event.name == "output.delta":
        assert event.data["item_type"] == item["type"]
        assert (event.data[field] or event.data.get("logprobs")) and not {"text", "arguments"} - {field} & set(
            event.data
        )
        items[index] = ({**item, field: (item[field] or "") + event.data[field]}, False)
    else:
        assert event.name == "output.completed", event.name
        whole = event.data["item"]
        assert whole["type"] == item["type"]
        if field in item:
            assert whole[field] == item[field], "the deltas do not add up"
        items[index] = (whole, True)


def _as_told(item: Json, told: Json) -> Json:
    """An item that is still open has grown by its deltas in what is compared; the rest comes with its completion."""
    return {**item, "logprobs": told["logprobs"]} if "logprobs" in told else item
