"""Credentials that run out are renewed in time, once for all who need them."""

from __future__ import annotations

import asyncio

import pytest

from pluggably.errors import BackendAuthenticationFailed, BackendUnreachable
from pluggably.providers.credentials import Fetched, Renewed


class Source:
    """Gives a credential a time, or fails; `open` lets a fetch go on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetches = 0
        self.lifetime_s: float | None = 3600.0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.renewed = Renewed(self.fetch, early_s=300, pause_s=5, clock=lambda: self.now)

    async def fetch(self) -> Fetched[str]:
        self.fetches += 1
        number = self.fetches
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Fetched(f"credential {number}", None if self.lifetime_s is None else self.now + self.lifetime_s)


async def settled() -> None:
    """Until every task that can go on has done so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_one_fetch_serves_all_who_wait() -> None:
    """A hundred calls at once ask the source once, and later ones not at all."""

    async def run() -> None:
        source = Source()
        got = await asyncio.gather(*(source.renewed.current() for _ in range(100)))
        assert set(got) == {"credential 1"}
        source.now += 3000
        assert await source.renewed.current() == "credential 1"
        assert source.fetches == 1

    asyncio.run(run())


def test_it_is_renewed_before_it_runs_out_and_nobody_waits() -> None:
    """While the new one is fetched, the old one, which is still good, serves; one fetch is under way at a time."""

    async def run() -> None:
        source = Source()
        await source.renewed.current()
        source.now += 3400
        source.gate.clear()
        assert [await source.renewed.current() for _ in range(3)] == ["credential 1"] * 3
        await settled()
        assert source.fetches == 2
        source.gate.set()
        await settled()
        assert await source.renewed.current() == "credential 2"

    asyncio.run(run())


def test_a_source_that_goes_on_giving_the_same_one_is_not_asked_for_each_call() -> None:
    """One that runs out soon is asked for again after a pause, however many calls there are."""

    async def run() -> None:
        source = Source()
        source.lifetime_s = 100.0
        for _ in range(20):
            await source.renewed.current()
            await settled()
        assert source.fetches == 1
        source.now += 6
        for _ in range(20):
            await source.renewed.current()
            await settled()
        assert source.fetches == 2

    asyncio.run(run())


def test_the_last_good_one_serves_until_it_runs_out() -> None:
    """A source that fails is asked again after a pause, and told of once the old credential is no good."""

    async def run() -> None:
        source = Source()
        await source.renewed.current()
        source.failure = BackendUnreachable("No connection.")
        source.now += 3400
        for _ in range(3):
            assert await source.renewed.current() == "credential 1"
            await settled()
        assert source.fetches == 2
        source.now += 6
        assert await source.renewed.current() == "credential 1"
        await settled()
        assert source.fetches == 3
        source.now += 300
        with pytest.raises(BackendUnreachable, match="No connection"):
            await source.renewed.current()
        source.failure = None
        source.now += 6
        assert await source.renewed.current() == "credential 5"

    asyncio.run(run())


def test_a_failure_is_told_to_all_and_the_source_is_left_alone_for_a_while() -> None:
    """Each gets an error of its own."""

    async def run() -> None:
        source = Source()
        source.failure = BackendAuthenticationFailed("vendor: no keys. Set them.")
        errors = await asyncio.gather(*(source.renewed.current() for _ in range(5)), return_exceptions=True)
        assert [str(error) for error in errors] == ["vendor: no keys. Set them."] * 5
        assert len({id(error) for error in errors}) == 5
        with pytest.raises(BackendAuthenticationFailed):
            await source.renewed.current()
        assert source.fetches == 1

    asyncio.run(run())


def test_one_who_leaves_does_not_take_the_fetch_along() -> None:
    """The others get what it brings."""

    async def run() -> None:
        source = Source()
        source.gate.clear()
        first = asyncio.create_task(source.renewed.current())
        second = asyncio.create_task(source.renewed.current())
        await settled()
        first.cancel()
        await settled()
        source.gate.set()
        assert await second == "credential 1"
        assert first.cancelled()

    asyncio.run(run())


def test_an_answer_that_is_not_understood_is_told_without_its_words() -> None:
    """The exception of a parser may quote a secret."""

    async def run() -> None:
        source = Source()
        source.failure = ValueError("cannot read 's3cret'")
        with pytest.raises(BackendAuthenticationFailed) as caught:
            await source.renewed.current()
        assert "s3cret" not in caught.value.detail

    asyncio.run(run())


def test_one_that_never_runs_out_is_fetched_once() -> None:
    """A pair of keys in the config."""

    async def run() -> None:
        source = Source()
        source.lifetime_s = None
        await source.renewed.current()
        source.now += 10**9
        assert await source.renewed.current() == "credential 1"

    asyncio.run(run())


def test_one_that_has_run_out_already_is_no_credential() -> None:
    """A clock that is off is told, and does not make a loop."""

    async def run() -> None:
        source = Source()
        source.lifetime_s = -1
        with pytest.raises(BackendAuthenticationFailed, match="clock"):
            await source.renewed.current()

    asyncio.run(run())
