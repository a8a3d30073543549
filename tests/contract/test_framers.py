"""The framers keep the contract of every framer."""

from __future__ import annotations

import pytest

from pluggably.testing import framers
from pluggably.wire.framing import NdjsonFramer, SseFramer


@pytest.mark.parametrize("case", framers.SSE_CASES, ids=lambda case: case.rule)
def test_server_sent_events_mean_what_their_specification_says(case: framers.Case) -> None:
    """One rule of the specification, however the bytes are cut."""
    framers.check_framer(SseFramer, [case])


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
