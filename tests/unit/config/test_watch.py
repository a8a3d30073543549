"""When a changed file is told of, and when not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from pluggably.config.files import Fingerprint
from pluggably.config.watch import changes

FILE, KEY = Path("/p.yaml"), Path("/key")
OLD, NEW, NEWER = b"old", b"new", b"newer"


class Files:
    """Files that hold what a list says, one state for each look; then the watch ends."""

    def __init__(self, *states: Mapping[Path, Fingerprint] | Fingerprint) -> None:
        self.states = [state if isinstance(state, Mapping) else {FILE: state} for state in states]
        self.pauses: list[float] = []
        self.missing: list[list[str]] = []
        self.asked_at: int | None = None
        self.loaded: Mapping[Path, Fingerprint] = {}

    async def look(self, paths: Iterable[Path]) -> Mapping[Path, Fingerprint]:
        if not self.states:
            raise asyncio.CancelledError
        state = self.states.pop(0)
        return {path: state.get(path) for path in paths}

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def told(files: Files, loads: list[Mapping[Path, Fingerprint]]) -> list[int]:
    """The looks after which a change was told. `loads` are what is loaded: at first, and after each change; where there
    are no more, what was told could not be loaded."""
    total = len(files.states)
    events: list[int] = []

    async def watch() -> None:
        files.loaded = loads.pop(0)
        told = changes(
            lambda: files.loaded,
            lambda: 1,
            settle_s=0.1,
            look=files.look,
            sleep=files.sleep,
            is_asked=lambda: files.asked_at == total - len(files.states),
            missing=lambda paths: files.missing.append(sorted(map(str, paths))),
        )
        async for seen in told:
            events.append(total - len(files.states))
            files.loaded = loads.pop(0) if loads else {**files.loaded, **seen}

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch())
    return events


def test_a_file_that_stays_the_same_is_no_change() -> None:
    """Touched, or written anew with the same content."""
    files = Files(OLD, OLD, OLD)
    assert told(files, [{FILE: OLD}]) == []
    assert files.pauses == [1, 1, 1, 1]


def test_a_change_is_told_once_it_has_settled() -> None:
    """Two looks that agree, a short while apart."""
    files = Files(OLD, NEW, NEW, NEW, NEW)
    assert told(files, [{FILE: OLD}, {FILE: NEW}]) == [3]
    assert files.pauses == [1, 1, 0.1, 1, 1, 1]


def test_a_file_in_two_halves_is_told_once() -> None:
    """The first half is never loaded."""
    assert told(Files(b"half", NEW, NEW, NEW), [{FILE: OLD}, {FILE: NEW}]) == [3]


def test_what_stays_gone_is_told_once() -> None:
    """After two looks at which it was not there; and once more when it is back."""
    files = Files(OLD, None, OLD, None, None, None, OLD, OLD)
    assert told(files, [{FILE: OLD}]) == []
    assert files.missing == [[str(FILE)], []]


def test_who_asks_is_told_in_any_case() -> None:
    """What is there, once it has settled, although nothing has changed."""
    files = Files(OLD, OLD, OLD, OLD)
    files.asked_at = 1
    assert told(files, [{FILE: OLD}]) == [3]


def test_a_file_that_is_gone_for_a_while_is_no_change() -> None:
    """It is told of when it is back, and only if it holds something else."""
    assert told(Files(None, None, OLD, None, OLD), [{FILE: OLD}]) == []
    assert told(Files(None, None, NEW, NEW), [{FILE: OLD}, {FILE: NEW}]) == [4]
    assert told(Files(NEW, None, None, NEW, NEW), [{FILE: OLD}, {FILE: NEW}]) == [5]
    assert told(Files(NEW, NEW, None, None, None, NEW), [{FILE: OLD}, {FILE: NEW}]) == [2]


def test_a_change_that_is_taken_back_is_none() -> None:
    """Before it has settled."""
    assert told(Files(NEW, OLD, OLD, OLD), [{FILE: OLD}]) == []


def test_a_config_that_could_not_be_loaded_is_told_once() -> None:
    """Whoever goes on with the old one is not told of the same mistake each second, but of the next try."""
    assert told(Files(NEW, NEW, NEW, NEW, NEWER, NEWER, NEWER), [{FILE: OLD}]) == [2, 6]


def test_the_way_back_from_a_config_that_could_not_be_loaded_is_told() -> None:
    """Whoever said that the file is wrong can say that it is right again."""
    assert told(Files(NEW, NEW, OLD, OLD, OLD, NEW, NEW), [{FILE: OLD}]) == [2, 4, 7]


def test_a_config_that_is_put_back_is_told() -> None:
    """New, and old again: both were loaded."""
    assert told(Files(NEW, NEW, OLD, OLD, OLD), [{FILE: OLD}, {FILE: NEW}, {FILE: OLD}]) == [2, 4]


def test_the_files_of_secrets_count_too() -> None:
    """A rotated key is a change, and so is one that appears where it was missing."""
    same, rotated = {FILE: OLD, KEY: OLD}, {FILE: OLD, KEY: NEW}
    assert told(Files(same, rotated, rotated, rotated), [same, rotated]) == [3]
    assert told(Files(same, same), [{FILE: OLD, KEY: None}, same]) == [2]


def test_several_files_that_change_at_once_are_one_change() -> None:
    """A mounted folder is swapped as a whole."""
    old, new = {FILE: OLD, KEY: OLD}, {FILE: NEW, KEY: NEW}
    assert told(Files(old, {FILE: NEW, KEY: OLD}, new, new, new), [old, new]) == [4]


def test_what_was_loaded_last_says_which_files_count() -> None:
    """After a reload, the files of the new config are looked at."""
    assert told(Files(NEW, NEW, {KEY: OLD}, {KEY: NEW}, {KEY: NEW}), [{FILE: OLD}, {KEY: OLD}, {KEY: NEW}]) == [2, 5]


def test_a_change_between_the_load_and_the_first_look_is_told() -> None:
    """What counts is what was loaded, not what the first look sees."""
    assert told(Files(NEW, NEW), [{FILE: OLD}, {FILE: NEW}]) == [2]
