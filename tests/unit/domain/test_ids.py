"""Ids: their form, their order, and that no two are the same."""

from __future__ import annotations

import re
import threading
import time

import pytest

from pluggably.domain.ids import new_id


@pytest.mark.parametrize("prefix", ["gen_", "req_", "key_", ""])
def test_an_id_has_its_prefix_and_safe_letters(prefix: str) -> None:
    """Safe in a URL, a header and a log line."""
    assert re.fullmatch(prefix + "[0-9a-zA-Z]{20,40}", new_id(prefix))


def test_no_two_are_the_same() -> None:
    """Many ids from several threads at once."""
    made: list[list[str]] = [[] for _ in range(4)]

    def make(ids: list[str]) -> None:
        ids += [new_id("x_") for _ in range(5000)]

    threads = [threading.Thread(target=make, args=(ids,)) for ids in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for ids in made for one in ids}) == 20_000


def test_ids_sort_by_time() -> None:
    """An id made in a later millisecond sorts behind."""
    before = new_id("x_")
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= now:
        pass
    assert before < new_id("x_")
