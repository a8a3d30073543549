"""Framing beyond its contract: any stream, any cut, and what it costs."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.errors import BackendInvalidResponse
from pluggably.testing.framers import frames_of
from pluggably.wire.codec import Frame
from pluggably.wire.framing import NdjsonFramer, SseFramer

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
DATA = st.binary(max_size=30).map(lambda data: data.replace(b"\r", b"?").replace(b"\n", b"?"))
NOISE = st.sampled_from([b": comment", b"id: 1", b"retry: 5", b"unknown", b":", b"x: y"])


def pieces(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream cut at the places, in their order."""
    bounds = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(bounds)]


@st.composite
def event_streams(draw: st.DrawFn) -> tuple[bytes, list[Frame]]:
    """A stream as a server might write it, and its events."""
    stream, frames = b"", []
    for lines in draw(st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=6)):
        end = draw(LINE_ENDS)
        kind = draw(st.sampled_from(["", "ping", "a b"]))
        if kind:
            stream += b"event: " + kind.encode() + end
        for line in lines:
            for noise in draw(st.lists(NOISE, max_size=1)):
                stream += noise + end
            stream += b"data: " + line + end
        stream += end
        frames.append(Frame(kind, b"\n".join(lines)))
    return stream, frames


@given(event_streams(), st.lists(st.integers(min_value=0), max_size=8))
def test_any_stream_has_the_same_events_in_any_pieces(written: tuple[bytes, list[Frame]], places: list[int]) -> None:
    """What was written is read, wherever the network cuts."""
    stream, frames = written
    assert frames_of(SseFramer(), pieces(stream, places)) == frames


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=5))
def test_any_bytes_mean_the_same_in_any_pieces(stream: bytes, places: list[int]) -> None:
    """Even for what no server would write, a cut changes nothing, and nothing is raised."""
    assert frames_of(SseFramer(), pieces(stream, places)) == frames_of(SseFramer(), [stream])
    assert frames_of(NdjsonFramer(), pieces(stream, places)) == frames_of(NdjsonFramer(), [stream])


@given(
    st.lists(st.text(alphabet="\r\n:ad t", max_size=12).map(str.encode), max_size=6),
    st.lists(st.integers(min_value=0), max_size=5),
)
def test_line_ends_in_every_order_mean_the_same_in_any_pieces(parts: list[bytes], places: list[int]) -> None:
    """Mixtures of CR, LF and colons, which random bytes hardly ever are."""
    stream = b"data".join(parts)
    assert frames_of(SseFramer(), pieces(stream, places)) == frames_of(SseFramer(), [stream])


def test_a_frame_may_be_as_long_as_the_limit() -> None:
    """The limit is for what is longer, in one read or in many."""
    event = b"data: " + b"x" * 900 + b"\n\n"
    assert len(SseFramer(1000).feed(event)) == 1
    assert len(SseFramer(1000).feed(event * 50)) == 50
    assert sum(len(SseFramer(1000).feed(event[place : place + 7])) for place in range(0, 900, 7)) == 0


def test_a_whole_frame_beyond_the_limit_is_refused() -> None:
    """A frame that comes in one read is not let through either."""
    with pytest.raises(BackendInvalidResponse, match="more than 1000 bytes"):
        SseFramer(1000).feed(b"data: " + b"x" * 1001 + b"\n\n")
    with pytest.raises(BackendInvalidResponse, match="more than 1000 bytes"):
        NdjsonFramer(1000).feed(b"x" * 1001 + b"\n")


def test_many_small_events_are_no_long_one() -> None:
    """What is counted begins anew with each event."""
    framer = SseFramer(1000)
    for _ in range(100):
        assert len(framer.feed(b"data: " + b"x" * 50 + b"\n\ndata: y")) == 1
        assert len(framer.feed(b"\n\n")) == 1


def test_a_long_event_in_small_reads_is_not_copied_again_and_again() -> None:
    """64 MiB in reads of 512 bytes: joining at each read would copy 4 TB, and this test would not end."""
    framer = SseFramer(limit_bytes=65 << 20)
    framer.feed(b"data: ")
    for _ in range(1 << 17):
        framer.feed(b"x" * 512)
    (frame,) = framer.feed(b"\n\n")
    assert len(frame.data) == 64 << 20
