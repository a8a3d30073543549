"""Names and their addresses, with a look-up that the test answers. Over real sockets: tests/integration."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from pluggably.net.addresses import REMEMBERED_S, Addresses

V4, V6 = socket.AF_INET, socket.AF_INET6


class Clock:
    """A loop whose time and look-ups the test sets; the rest is the running loop's."""

    def __init__(self, *found: tuple[int, str]) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.found = list(found)
        self.go = asyncio.Event()
        self.go.set()

    def time(self) -> float:
        return self.now

    def create_task(self, coroutine: Any) -> Any:
        return asyncio.get_running_loop().create_task(coroutine)

    async def getaddrinfo(self, host: str, port: None, *, type: int) -> list[Any]:  # noqa: A002
        self.asked.append(host)
        await self.go.wait()
        if not self.found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(family, type, 6, "", (address, 0)) for family, address in self.found]


def addresses(clock: Clock) -> Addresses:
    loop: Any = clock
    return Addresses(loop)


def test_addresses_are_remembered_for_a_while() -> None:
    """One look-up serves for half a minute, and then another is made."""

    async def main() -> None:
        clock = Clock((V4, "192.0.2.1"))
        known = addresses(clock)
        for clock.now in (0.0, REMEMBERED_S - 1):
            assert await known.resolve("example.test") == ["192.0.2.1"]
        assert clock.asked == ["example.test"]
        clock.now = REMEMBERED_S + 1
        await known.resolve("example.test")
        assert clock.asked == ["example.test"] * 2

    asyncio.run(main())


def test_families_take_turns_without_repetition() -> None:
    """If one family leads nowhere, the second address tried is of the other."""

    async def main() -> None:
        clock = Clock((V6, "2001:db8::1"), (V6, "2001:db8::2"), (V4, "192.0.2.1"), (V4, "192.0.2.1"))
        assert await addresses(clock).resolve("example.test") == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]

    asyncio.run(main())


def test_what_worked_is_tried_first() -> None:
    """An address that took a connection stands first for as long as the look-up is remembered."""

    async def main() -> None:
        known = addresses(Clock((V6, "2001:db8::1"), (V4, "192.0.2.1")))
        await known.resolve("example.test")
        known.worked("example.test", "192.0.2.1")
        known.worked("elsewhere.test", "192.0.2.1")
        assert await known.resolve("example.test") == ["192.0.2.1", "2001:db8::1"]

    asyncio.run(main())


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_is_its_own(address: str) -> None:
    """What is an address already is not looked up."""

    async def main() -> None:
        clock = Clock()
        assert await addresses(clock).resolve(address) == [address]
        assert clock.asked == []

    asyncio.run(main())


def test_many_share_one_look_up_and_none_spoils_it() -> None:
    """A hundred calls at once look a name up once, and go on where one of them is cancelled."""

    async def main() -> None:
        clock = Clock((V4, "192.0.2.1"))
        clock.go.clear()
        known = addresses(clock)
        first = asyncio.create_task(known.resolve("example.test"))
        others = [asyncio.create_task(known.resolve("example.test")) for _ in range(99)]
        await asyncio.sleep(0)
        first.cancel()
        clock.go.set()
        assert await asyncio.gather(*others) == [["192.0.2.1"]] * 99
        assert first.cancelled()
        assert clock.asked == ["example.test"]

    asyncio.run(main())


def test_a_failure_is_not_remembered() -> None:
    """A name that could not be found is looked up again with the next call."""

    async def main() -> None:
        clock = Clock()
        known = addresses(clock)
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                await known.resolve("example.test")
        assert len(clock.asked) == 2
        clock.found = [(V4, "192.0.2.1")]
        assert await known.resolve("example.test") == ["192.0.2.1"]

    asyncio.run(main())
