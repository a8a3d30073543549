"""The framers keep the contract of every framer."""

from __future__ import annotations

import zlib

import pytest

from pluggably.errors import BackendInvalidResponse
from pluggably.testing import eventstream, framers
from pluggably.wire.codec import Frame
from pluggably.wire.framing import BARE_LIMIT_BYTES, EventStreamFramer, NdjsonFramer, SseFramer


@pytest.mark.parametrize("case", framers.SSE_CASES, ids=lambda case: case.rule)
def test_server_sent_events_mean_what_their_specification_says(case: framers.Case) -> None:
    """One rule of the specification, however the bytes are cut."""
    framers.check_framer(SseFramer, [case])


@pytest.mark.parametrize("case", framers.BARE_JSON_CASES, ids=lambda case: case.rule)
def test_an_error_outside_of_every_event_is_told(case: framers.Case) -> None:
    """One form of it, however the bytes are cut."""
    framers.check_framer(SseFramer, [case])


def test_json_that_never_ends_is_held_only_so_far() -> None:
    """Between events, where nothing else would count it; what comes after it is told again."""
    framer = SseFramer()
    assert framer.feed(b'{"error": [\n') == []
    for _ in range(BARE_LIMIT_BYTES // 1000 + 1):
        assert framer.feed(b'"' + b"x" * 1000 + b'",\ndata: a\n\n') == [Frame("", b"a")]
    assert framer.feed(b'{"error": 1}\n') == [Frame("error", b'{"error":1}')]


@pytest.mark.parametrize("case", framers.NDJSON_CASES, ids=lambda case: case.rule)
def test_lines_of_json_are_frames(case: framers.Case) -> None:
    """One rule of NDJSON, however the bytes are cut."""
    framers.check_framer(NdjsonFramer, [case])


@pytest.mark.parametrize("opening", [b"data: ", b"event: ", b": ", b"", b"data: x\ndata: "])
def test_an_event_that_never_ends_is_given_up(opening: bytes) -> None:
    """An endless line of any kind is held only up to the limit."""
    framers.check_limit(SseFramer(50_000), 50_000, opening)


def test_a_line_that_never_ends_is_given_up() -> None:
    """The same for lines of JSON."""
    framers.check_limit(NdjsonFramer(50_000), 50_000, b"{")


@pytest.mark.parametrize("case", framers.EVENTSTREAM_CASES, ids=lambda case: case.rule)
def test_messages_of_an_event_stream_are_frames(case: framers.Case) -> None:
    """One rule of AWS's event stream, however the bytes are cut."""
    framers.check_framer(EventStreamFramer, [case])


MESSAGE = eventstream.message("e", {"a": 1})


@pytest.mark.parametrize("place", range(len(MESSAGE)))
def test_a_damaged_message_is_never_a_frame(place: int) -> None:
    """Whichever byte is another one, the stream ends with an error, or waits for what never comes."""
    damaged = MESSAGE[:place] + bytes([MESSAGE[place] ^ 0x40]) + MESSAGE[place + 1 :]
    framer = EventStreamFramer()
    with pytest.raises(BackendInvalidResponse):
        framer.feed(damaged)


@pytest.mark.parametrize("cut", range(len(MESSAGE) + 1))
def test_what_came_before_a_damaged_message_counts(cut: int) -> None:
    """The whole message ahead of it is given, and then the error."""
    stream = MESSAGE + MESSAGE[:-1] + b"?"
    framer = EventStreamFramer()
    place = len(MESSAGE) + cut
    frames = framer.feed(stream[:place])
    with pytest.raises(BackendInvalidResponse):
        frames += framer.feed(stream[place:]) + framer.end()
    assert frames == [Frame("e", b'{"a":1}')]


def test_a_message_that_is_longer_than_the_limit_is_given_up() -> None:
    """Its length is known from its first bytes, so nothing of it is held."""
    with pytest.raises(BackendInvalidResponse, match="more than 50000 bytes"):
        EventStreamFramer(50_000).feed(eventstream.encoded({}, b"x" * 50_000)[:12])


@pytest.mark.parametrize(
    "block", [b"\x05ab", b"\x01a", b"\x01a\x0f", b"\x01a\x07\x00\x09x", b"\x01a\x07\x00", b"\x01\xff\x00"]
)
def test_headers_that_cannot_be_read_are_an_error(block: bytes) -> None:
    """Names and values that end behind the block, types that do not exist, names that are no text."""
    with pytest.raises(BackendInvalidResponse, match="headers cannot be read"):
        EventStreamFramer().feed(eventstream.with_headers(block, b"{}"))


def test_headers_longer_than_their_message_are_an_error() -> None:
    """By their own word, before anything of them is read."""
    whole = bytearray(eventstream.with_headers(b"", b"x"))
    whole[4:8] = (1000).to_bytes(4, "big")
    whole[8:12] = zlib.crc32(bytes(whole[:8])).to_bytes(4, "big")
    with pytest.raises(BackendInvalidResponse, match="shorter than its own headers"):
        EventStreamFramer().feed(bytes(whole))
