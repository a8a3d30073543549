"""The guard against server-side request forgery: which URLs may be fetched for somebody else, and which addresses may
be connected to for that.

A client names a URL, and the gateway stands where the client does not: beside the cloud's metadata, databases and
admin pages. So a URL is read strictly (`Guard.place`), a name is resolved once, every one of its addresses is judged
(`Guard.check`), and the connection goes to what was judged (`GuardedAddresses` stands in the HTTP client between its
two steps). What surprises: IPv6 is judged by what is allowed, because so little of it is public; Python's own
`is_global` is not asked, because on 3.11 it is true for multicast, NAT64, 6to4 and site-local. And a name without any
address and one with an inner address get the same answer: otherwise clients could ask which inner names there are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias
from urllib.parse import urljoin

from msgspec import Struct

from pluggably.errors import InputUrlRefused

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
# A name → its addresses. Raises OSError where it has none.
LookUp: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

MAX_URL_CHARACTERS = 8192
PORTS = frozenset({80, 443})
# Look-ups have threads of their own: a client may name hosts whose name servers never answer.
LOOK_UP_THREADS = 32

# What is not for everybody to reach. Source: IANA's special-purpose address registry for IPv4 (RFC 6890 and its
# updates, 2026-11), and Azure's address for what its machines may ask of their host, which lies among the public ones.
_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata too
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata nearly everywhere
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata too
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "168.63.129.16/32",  # Azure
    )
)
# All of IPv6 that is given out for the Internet (IANA, "IPv6 global unicast address space"); so everything else is
# refused without a line of its own: unspecified, loopback, IPv4-mapped and -compatible, NAT64 (64:ff9b::/96 and
# 64:ff9b:1::/48), discard-only, segment routing, unique local, link-local, site-local, multicast.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
# The middle of an ISATAP address, which holds an IPv4 one (RFC 5214, 6.1).
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})

# RFC 3986, 3, for http and https alone. What is no part of a URL by this is not guessed at.
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label like this makes browsers and system libraries read the whole host as an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PLAIN = re.compile(r"[^\s\\\x00-\x20\x7f-\x9f]+")


class Place(Struct, frozen=True):
    """Where a URL leads, once it has been read: `host` is a name in ASCII and lower case, or an address."""

    tls: bool
    host: str
    port: int
    # The path and the query.
    path: str

    @property
    def url(self) -> str:
        scheme, shown = "https" if self.tls else "http", f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{shown}:{self.port}{self.path}"


class Guard:
    """`allow_hosts` are names, addresses and networks that may be fetched from though they are not public,
    `allow_ports` ports beside 80 and 443: what the operator trusts clients to reach.

    Raises: ValueError for an entry that is none of these."""

    def __init__(self, allow_hosts: Iterable[str] = (), allow_ports: Iterable[int] = ()) -> None:
        self._ports = PORTS | set(allow_ports)
        self._names: set[str] = set()
        self._networks: list[IPNetwork] = []
        for entry in allow_hosts:
            network = _network(entry)
            if network is not None:
                self._networks.append(network)
            else:
                self._names.add(_name(entry))

    def place(self, url: str) -> Place:
        """Reads a URL. Raises: InputUrlRefused."""
        found = _URL.fullmatch(url) if len(url) <= MAX_URL_CHARACTERS and _PLAIN.fullmatch(url) else None
        authority = _AUTHORITY.fullmatch(found[2]) if found is not None else None
        if found is None or authority is None:
            raise InputUrlRefused(
                "This is not a URL that the gateway fetches: http or https, a host, no user name or password, and "
                "spaces and other special characters percent-encoded."
            )
        tls = found[1].lower() == "https"
        host = _host(authority[1])
        port = int(authority[2]) if authority[2] else 443 if tls else 80
        if port not in self._ports:
            raise InputUrlRefused(f"The gateway fetches only from the ports {_listed(self._ports)}.")
        path = found[3] or "/"
        return Place(tls, host, port, path + (found[4] or ""))

    def redirected(self, place: Place, location: str) -> Place:
        """Where an answer at `place` sends its reader. Raises: InputUrlRefused."""
        if not _PLAIN.fullmatch(location):
            raise InputUrlRefused("The server of this URL redirects to something that is no URL.")
        try:
            joined = urljoin(place.url, location)
        except ValueError:  # brackets without an address in them
            joined = ""
        following = self.place(joined)
        if place.tls and not following.tls:
            raise InputUrlRefused(
                "The server of this URL redirects from https to http, which the gateway won't follow."
            )
        return following

    def check(self, host: str, addresses: Sequence[str]) -> None:
        """Judges all addresses of a host. Raises: InputUrlRefused where any of them is not public or is this machine's
        own, and the operator allows neither it nor the host."""
        if host in self._names and addresses:
            return
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise not_public()

    def _is_allowed(self, text: str) -> bool:
        address = _address(text)
        if address is None:
            return False
        return self._is_in_networks(address) or (is_public(address) and not is_own(address))

    def _is_in_networks(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


class GuardedAddresses:
    """Names and their addresses for an HTTP client that fetches for others: what it is given to connect to has been
    judged. `look_up` is asked anew for each connection, and its answer is the one that is used."""

    def __init__(self, guard: Guard, look_up: LookUp) -> None:
        self._guard = guard
        self._look_up = look_up

    async def resolve(self, host: str) -> list[str]:
        """Raises: InputUrlRefused."""
        if _address(host) is not None:
            found: Sequence[str] = [host]
        else:
            try:
                found = await self._look_up(host)
            except (OSError, UnicodeError) as error:
                raise not_public() from error
        self._guard.check(host, found)
        return list(found)

    def worked(self, host: str, address: str) -> None:
        """Nothing is remembered."""


class NameThreads:
    """The system's look-ups, in threads of their own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOK_UP_THREADS, thread_name_prefix="look-up")

    async def look_up(self, host: str) -> list[str]:
        """Raises: OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the Internet that anybody may reach."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id is not None or address not in _PUBLIC_V6:
        return False
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return False
    return not any(address in network for network in _NOT_PUBLIC_V6)


def is_own(address: IPAddress) -> bool:
    """Whether an address is this machine's own: a public one too leads behind its firewall from here. Nothing is sent
    for that; the system only says from which of its addresses it would send."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return _address(str(probe.getsockname()[0])) == address
    except OSError:  # no way there, so neither is it this machine
        return False


def not_public() -> InputUrlRefused:
    return InputUrlRefused(
        "The host of this URL has no public address. Give a URL that is open to the Internet, or the content itself "
        "as `data`."
    )


def _host(given: str) -> str:
    """Raises: InputUrlRefused."""
    if given.startswith("["):
        address = _address(given[1:-1])
        if address is None or address.version != 6:
            raise InputUrlRefused("The host of this URL is not a valid address.")
        return str(address)
    try:
        return _name(given)
    except ValueError as error:
        raise InputUrlRefused(f"The host of this URL {error}.") from error


def _name(given: str) -> str:
    """A host's name in ASCII and lower case, or an IPv4 address. Raises: ValueError, which says why not."""
    if len(given) > 253:  # before the mapping, whose time grows with the square of it
        raise ValueError("is not a valid name")
    try:
        # The same mapping that the resolver knows: other digits and dots than ASCII's become ASCII's here, before
        # anything is judged. A name in ASCII is left as it is.
        name = (given if given.isascii() else given.encode("idna").decode()).lower()
    except UnicodeError as error:
        raise ValueError("is not a valid name") from error
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        if not isinstance(_address(name), ipaddress.IPv4Address):
            raise ValueError("is not an IPv4 address in its usual form, such as 192.0.2.1")
        return name
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is not a valid name")
    return name


def _network(entry: str) -> IPNetwork | None:
    """An address or a network of the operator's list; None for a name. Raises: ValueError."""
    if "/" in entry or ":" in entry or _NUMBER.fullmatch(entry.rpartition(".")[2].lower()):
        return ipaddress.ip_network(entry)
    return None


def _address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _listed(ports: Iterable[int]) -> str:
    *others, last = (str(port) for port in sorted(ports))
    return f"{', '.join(others)} and {last}"
