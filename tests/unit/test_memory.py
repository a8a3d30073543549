"""Which allocator the process runs on, and when it gives memory back. That it does is an integration test."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from pluggably.memory import FLOOD, QUIET_S, Tide, start_over


def glibc() -> bool:
    return "CS_GNU_LIBC_VERSION" in os.confstr_names and bool(os.confstr("CS_GNU_LIBC_VERSION"))


class Replaced(Exception):
    """Stands for a process that became another."""


def test_the_process_is_started_over_once() -> None:
    """First with another allocator and all else the same; then not again, and without a trace for its children."""
    calls: list[Any] = []

    def replace(*call: Any) -> None:
        calls.append(call)
        raise Replaced

    environment = {"HOME": "/nowhere"}
    if not glibc():
        start_over(environment, replace)
        assert calls == []
        return
    with pytest.raises(Replaced):
        start_over(environment, replace)
    program, arguments, second = calls[0]
    assert (program, arguments[1:]) == (sys.executable, sys.orig_argv[1:])
    assert second == {"HOME": "/nowhere", "PYTHONMALLOC": "malloc"}
    start_over(second, replace)
    assert len(calls) == 1
    assert second == {"HOME": "/nowhere"}


def test_the_operators_choice_stands() -> None:
    """An allocator that was chosen is kept, also for the children."""
    environment = {"PYTHONMALLOC": "pymalloc"}
    start_over(environment, pytest.fail)
    assert environment == {"PYTHONMALLOC": "pymalloc"}


def test_a_process_that_cannot_be_replaced_goes_on() -> None:
    """It serves as well on the allocator that it has."""

    def replace(*_: Any) -> None:
        raise OSError(7, "too long")

    environment: dict[str, str] = {}
    start_over(environment, replace)
    assert environment == {}


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
