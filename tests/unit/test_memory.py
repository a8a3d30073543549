"""When memory is given back. That it comes back is an integration test."""

from __future__ import annotations

from pluggably.memory import FLOOD, QUIET_S, Tide


class Beach:
    """A tide, its clock, and how often it gave back."""

    def __init__(self) -> None:
        self.now = 0.0
        self.given = 0
        self._tide = Tide(self._give, lambda: self.now)

    def _give(self) -> None:
        self.given += 1

    def sees(self, running: int, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            self._tide.seen(running)


def test_after_a_flood_memory_is_given_back_once() -> None:
    """When most of the requests have ended, and some time has passed in which backends' connections end as well."""
    beach = Beach()
    beach.sees(10 * FLOOD, 5)
    beach.sees(FLOOD, QUIET_S - 1)
    assert beach.given == 0
    beach.sees(FLOOD, 2)
    assert beach.given == 1
    beach.sees(0, 10 * QUIET_S)
    assert beach.given == 2  # what was left was a flood, too
    beach.sees(0, 10 * QUIET_S)
    assert beach.given == 2


def test_a_few_requests_are_no_flood() -> None:
    """Below it there is nothing worth a pause."""
    beach = Beach()
    for _ in range(5):
        beach.sees(FLOOD - 1, 1)
        beach.sees(0, 2 * QUIET_S)
    assert beach.given == 0


def test_waves_are_not_the_end_of_a_flood() -> None:
    """As long as it comes back within the time, nothing is given back."""
    beach = Beach()
    for _ in range(5):
        beach.sees(5 * FLOOD, 1)
        beach.sees(0, QUIET_S - 1)
    assert beach.given == 0
