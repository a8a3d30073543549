"""What every codec makes of replies that are not as documented: each conversation again, with its reply changed in one
place or in a few.

A provider's mistake must stay the provider's: an answer that hangs together, in the types that the API promises, or one
error that blames the provider. It goes through the transport, since that is the net under the codecs. What surprises:
all changes of one place are tried, so nothing is left to chance there; only which of several places change together is
drawn, from a fixed seed.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from pluggably.domain.generation import (
    Completed,
    Event,
    Fold,
    GenerationRequest,
    Item,
    ToolCall,
    Usage,
    Warned,
)
from pluggably.errors import BackendError, PluggablyError
from pluggably.net.http import Patience
from pluggably.plugins import CODECS, Plugins
from pluggably.testing import codecs
from pluggably.wire.codec import Framing
from pluggably.wire.endpoint import Endpoint
from pluggably.wire.transport import attempt

FOLDERS = Path(__file__).parent.parent / "conversations"
CODEC = Plugins(CODECS)
NAMES = sorted(point.name for point in entry_points(group=CODECS) if point.value.startswith("pluggably."))
MEDIA_TYPES: Mapping[Framing | None, str] = {
    None: "application/json",
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "eventstream": "application/vnd.amazon.eventstream",
}
GONE = object()
VALUES = (GONE, None, True, -1, 1.5, "", "of no kind that is documented", [], [None], {"x": 1}, ["a"], 10**30)
# A reply as its entries (frames, or one whole text), and how they are framed.
Entries = list[Any]


class Answer:
    """A reply, in the pieces in which the network brings it."""

    def __init__(self, pieces: Sequence[bytes], status: int, headers: Mapping[str, str]) -> None:
        self._pieces = list(pieces)
        self.status = status
        self.headers = headers
        self.content_type = headers["content-type"]

    def saw_event(self) -> None: ...

    def close(self) -> None: ...

    async def drain(self) -> None:
        self._pieces.clear()

    async def next_chunk(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def read(self, _: int) -> bytes:
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


class Client:
    """Sends nothing, and has the same answer for every call."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._calls = 0

    async def send(self, *_: Any) -> Answer:
        self._calls += 1
        assert self._calls < 10, "it asks again and again"
        return copy.deepcopy(self._answer)


@cache
def conversations(name: str) -> list[tuple[codecs.Conversation, Framing | None, Entries]]:
    """Those of one codec that have a reply of JSON."""
    folder = FOLDERS / ("pluggably" if name == "native" else name)
    found: list[tuple[codecs.Conversation, Framing | None, Entries]] = []
    for conversation in codecs.load_conversations(folder):
        reply = conversation.reply
        if reply is None or reply.text is not None:
            continue
        if reply.sse is not None:
            found.append((conversation, "sse", reply.sse))
        elif reply.ndjson is not None:
            found.append((conversation, "ndjson", reply.ndjson))
        elif reply.eventstream is not None:
            found.append((conversation, "eventstream", reply.eventstream))
        else:
            found.append((conversation, None, [reply.value]))
    return found


def encoded(framing: Framing | None, entry: Any) -> bytes:
    if framing is None:
        return msgspec.json.encode(entry)
    return codecs.Reply(**{framing: [entry]}).body()


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*place, key)
        yield from places_in(each, (*place, key))


def changed(entries: Entries, place: tuple[Any, ...], value: object) -> Entries:
    """A copy with one place changed; `place` begins with the number of the entry."""
    whole = copy.deepcopy(entries)
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return whole


def places(framing: Framing | None, entries: Entries) -> list[tuple[Any, ...]]:
    """What may be changed: all within the entries, but for an AWS message's type and what is in an `error:`."""
    found = [place for place in places_in(entries) if len(place) > 1 and isinstance(entries[place[0]], dict | list)]
    if framing != "eventstream":
        return found
    return [place for place in found if len(place) > 2 and not place[1].startswith("error:")]


def reordered(entries: Entries) -> Iterator[tuple[str, Entries]]:
    """Frames that are lost, said twice, or come out of turn; the last one often is the mark of the end."""
    for number, entry in enumerate(entries):
        yield f"without frame {number}", entries[:number] + entries[number + 1 :]
        yield f"frame {number} twice", [*entries[: number + 1], *entries[number:]]
        yield f"the end before frame {number}", [*entries[:number], entries[-1], *entries[number:]]
        if number:
            yield (
                f"frame {number} too early",
                [*entries[: number - 1], entry, entries[number - 1], *entries[number + 1 :]],
            )


def outcome(
    name: str, conversation: codecs.Conversation, framing: Framing | None, pieces: Sequence[bytes]
) -> tuple[list[Event], PluggablyError | None]:
    """The events, and the error that ended them."""
    assert conversation.reply is not None
    codec = CODEC[name]
    request: GenerationRequest = conversation.generation_request()
    request.stream = conversation.stream
    endpoint = Endpoint(
        base_url=codecs.BASE_URL,
        model=conversation.model,
        backend=conversation.backend,
        location="remote",
        codec=codec,
        options=msgspec.convert(conversation.options, codec.Options),
    )
    headers = {name.lower(): value for name, value in conversation.reply.headers.items()}
    headers.setdefault("content-type", MEDIA_TYPES[framing])
    client: Any = Client(Answer(pieces, conversation.reply.status, headers))
    events: list[Event] = []

    async def run() -> PluggablyError | None:
        try:
            async for batch in attempt(client, request, endpoint, Patience(1, 1, 1)):
                events.extend(batch)
        except PluggablyError as error:
            return error
        return None

    return events, asyncio.run(run())


def check(name: str, conversation: codecs.Conversation, framing: Framing | None, pieces: Sequence[bytes]) -> None:
    """An answer that hangs together, or one error of the house that can be told."""
    assert conversation.reply is not None
    events, error = outcome(name, conversation, framing, pieces)
    fold = Fold()
    fold.add(events)
    output = fold.output()
    for event in events:
        # A later version of the other gateway may warn of more than this one knows.
        if not isinstance(event, Warned):
            msgspec.json.decode(msgspec.json.encode(event), type=type(event))
    msgspec.json.decode(msgspec.json.encode(output), type=list[Item])
    check_usage(fold.usage)
    if error is not None:
        msgspec.json.encode(error.problem())
        assert error.status != 500
        assert not any(isinstance(event, Completed) for event in events), "an answer, and an error"
        was_good = conversation.reply.status < 300 and conversation.error is None
        assert not was_good or isinstance(error, BackendError) or error.code in BLAMED_ON_THE_CLIENT
        return
    assert conversation.reply.status < 300, "an error became an answer"
    assert fold.finish_reason in ("stop", "length", "tool_calls", "content_filter")
    calls = [item for item in output if isinstance(item, ToolCall)]
    assert all(call.id and call.name for call in calls), "a call that nobody can answer"
    if name != "native":  # what another gateway tells passes whole; it has the same tests
        codecs.check_events(events)
        assert calls or fold.finish_reason != "tool_calls", "a client waits for calls"


# Some good replies say by their form what was wrong with the request: a vector for each token is no embedding, and one
# that is marked as truncated is one of a text that was too long.
BLAMED_ON_THE_CLIENT = ("unsupported_modality", "context_length_exceeded")


def check_usage(usage: Usage) -> None:
    """Counts that metrics and prices can take."""
    counts = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens)
    assert all(count is None or (type(count) is int and count >= 0) for count in counts), usage
    assert usage.cost_usd is None or Decimal(usage.cost_usd) >= 0


def described(
    name: str, conversation: codecs.Conversation, what: str, framing: Framing | None, entries: Entries
) -> list[str]:
    """What is wrong with the outcome, with the frames in one read and each in its own: a network may do either."""
    pieces = [encoded(framing, entry) for entry in entries]
    ways = [[b"".join(pieces)]] if framing is None else [[b"".join(pieces)], pieces]
    found: list[str] = []
    for way in ways:
        try:
            check(name, conversation, framing, way)
        except Exception as slip:
            found.append(f"{conversation.title}, {what}, {len(way)} reads: {type(slip).__name__} {str(slip)[:200]}")
    return found


@pytest.fixture(autouse=True)
def _unheard() -> Iterator[None]:
    """A slip of a codec is a line in the log, and here are thousands."""
    with structlog.testing.capture_logs():
        yield


@pytest.mark.parametrize("name", NAMES)
def test_one_change_is_an_answer_or_one_error(name: str) -> None:
    """A field that is gone or of another type, and frames that are lost, doubled or out of turn: every one of them."""
    wrong: list[str] = []
    for conversation, framing, entries in conversations(name):
        for number, place in enumerate(places(framing, entries)):
            # A few values for each place, others for the next one; all of them for each field would take minutes.
            for value in (VALUES[(number * 2 + turn) % len(VALUES)] for turn in range(2)):
                told = f"{place} = {'gone' if value is GONE else value!r}"
                wrong += described(name, conversation, told, framing, changed(entries, place, value))
        if framing is not None:
            for told, others in reordered(entries):
                wrong += described(name, conversation, told, framing, others)
    assert wrong[:5] == [], f"and {len(wrong[5:])} more"


@pytest.mark.parametrize("name", NAMES)
def test_several_changes_are_an_answer_or_one_error(name: str) -> None:
    """Together they reach what one of them does not."""

    @settings(max_examples=150, derandomize=True, deadline=None, database=None)
    @given(st.data())
    def changes(data: st.DataObject) -> None:
        conversation, framing, entries = data.draw(st.sampled_from(conversations(name)))
        for _ in range(data.draw(st.integers(2, 4))):
            found = places(framing, entries)
            if found:
                entries = changed(entries, data.draw(st.sampled_from(found)), data.draw(st.sampled_from(VALUES)))
        if framing is not None:
            entries = data.draw(st.sampled_from([others for _, others in reordered(entries)] or [entries]))
        assert described(name, conversation, "several changes", framing, entries) == []

    changes()


@pytest.mark.parametrize(
    "value", ["soon", "-1", "1e999", "nan", "9" * 5000, "", "Wed, 21 Oct 2015 07:28:00 GMT", "\xff"]
)
@pytest.mark.parametrize("name", NAMES)
def test_headers_of_an_error_may_say_anything(name: str, value: str) -> None:
    """How long to wait, and whatever else a failure says in its head."""
    for conversation, framing, entries in conversations(name):
        reply = conversation.reply
        if reply is not None and reply.status >= 400:
            headers = dict.fromkeys(["retry-after", "retry-after-ms", "x-ratelimit-reset", *reply.headers], value)
            said = msgspec.structs.replace(reply, headers={**headers, "content-type": MEDIA_TYPES[None]})
            asked = msgspec.structs.replace(conversation, reply=said)
            assert described(name, asked, value[:20], framing, entries) == []
