"""From a host's name to a connection, in two steps that stand apart: `resolve` (names → addresses, remembered for a
while) and `connect` (one address after the other). Whoever wants to judge addresses does it between the two, and what
was judged is what is connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Protocol, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)

# Seconds that a name's addresses are used before the name is looked up again.
REMEMBERED_S = 30.0
MOST_NAMES = 256
# How long one address may take to connect while there is another to try. A network without working IPv6 costs this.
ONE_ADDRESS_S = 1.0


class Resolver(Protocol):
    """Who gives an HTTP client the addresses that it connects to."""

    async def resolve(self, host: str) -> list[str]:
        """At least one address. Raises: OSError; the house's errors where it refuses."""
        ...

    def worked(self, host: str, address: str) -> None:
        """A connection to this address was made."""
        ...


class Addresses:
    """The addresses of names. Several who ask for one name at once share one look-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(self, host: str) -> list[str]:
        """At least one address, the families by turns. Raises: OSError (socket.gaierror)."""
        if _is_address(host):
            return [host]
        known = self._known.get(host)
        if known is not None and self._loop.time() < known[0]:
            return known[1]
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = self._loop.create_task(self._look_up(host))
            asked.add_done_callback(lambda done: self._answered(host, done))
        # Nobody who leaves ends the look-up for the others.
        return await asyncio.shield(asked)

    def worked(self, host: str, address: str) -> None:
        """The next connection tries this one first."""
        known = self._known.get(host)
        if known is not None and known[1][0] != address and address in known[1]:
            known[1].remove(address)
            known[1].insert(0, address)

    async def _look_up(self, host: str) -> list[str]:
        found = await self._loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        families: dict[int, list[str]] = {}
        for family, _, _, _, address in found:
            families.setdefault(family, []).append(str(address[0]))
        by_turns = [one for one in chain.from_iterable(zip_longest(*families.values())) if one is not None]
        if not by_turns:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return list(dict.fromkeys(by_turns))

    def _answered(self, host: str, asked: asyncio.Future[list[str]]) -> None:
        self._asked.pop(host, None)
        if asked.cancelled() or asked.exception() is not None:
            return
        if len(self._known) >= MOST_NAMES:
            self._known.clear()
        self._known[host] = (self._loop.time() + REMEMBERED_S, asked.result())


async def connect(
    make: Callable[[], P],
    addresses: Sequence[str],
    port: int,
    *,
    tls: ssl.SSLContext | None,
    name: str,
) -> tuple[P, str]:
    """Connects to the first of the addresses that takes it, with `name` as the one that its certificate must be for.
    Returns the connection, and the address.

    Raises: OSError, of the last one tried."""
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    for number, address in enumerate(addresses, 1):
        try:
            async with asyncio.timeout(ONE_ADDRESS_S if number < len(addresses) else None):
                transport, protocol = await loop.create_connection(
                    make, address, port, ssl=tls, server_hostname=name if tls is not None else None
                )
        except ssl.SSLError:
            raise  # it is there, and is not whom we look for
        except OSError as error:
            failed = error
            continue
        opened: socket.socket | None = transport.get_extra_info("socket")
        if opened is not None:  # a backend that vanished without a word is noticed in the end
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return protocol, address
    raise failed or OSError("no address")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
