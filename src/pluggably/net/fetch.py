"""Fetches what a URL of somebody else's points to: through the guard, within a size and a time, without credentials.

What surprises: nothing of what a server answered reaches whoever gave the URL, not even its status, only that the
content did not come. With a host that the operator has allowed, an answer's status would already say what is inside.
And every hop of a redirect is a new connection to an address that was looked up and judged anew.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import unquote

from msgspec import Struct

from pluggably import __version__
from pluggably.errors import BackendError, BackendTimeout, InputUrlRefused, InputUrlUnreachable, PayloadTooLarge
from pluggably.net.guard import Guard, GuardedAddresses, LookUp, NameThreads, Place
from pluggably.net.http import Answer, HttpClient, Patience

MOST_REDIRECTS = 5
# In all, however many ask. More wait.
MOST_AT_ONCE = 128
MOST_NAME_CHARACTERS = 200

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "*/*", "User-Agent": f"pluggably/{__version__}"}


class Fetched(Struct, frozen=True):
    """What a URL led to. `declared_type` is what the server calls it, in lower case and without parameters; `name` the
    last step of the path that was asked for in the end, which may be empty."""

    content: bytes
    declared_type: str
    name: str


class Fetcher:
    """Holds no connection between two fetches. `look_up` and `tls` are there for tests: how names are looked up, and
    whom to trust."""

    def __init__(self, guard: Guard, *, look_up: LookUp | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._threads = NameThreads()
        addresses = GuardedAddresses(guard, look_up or self._threads.look_up)
        self._client = HttpClient(reuses=False, tls=tls, addresses=addresses)
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def fetch(self, url: str, *, limit_bytes: int, timeout_s: float, took: Callable[[int], None]) -> Fetched:
        """`took` is told of each piece of the content; what it raises ends the fetch.

        Raises: InputUrlRefused, InputUrlUnreachable, PayloadTooLarge."""
        place = self._guard.place(url)
        async with self._room:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._follow(place, limit_bytes, timeout_s, took)
            except (TimeoutError, BackendTimeout) as error:
                raise InputUrlUnreachable(f"The content of this URL did not come within {timeout_s:g} s.") from error
            except BackendError as error:
                raise InputUrlUnreachable(
                    "The server of this URL could not be reached, or broke off. Check the URL, or give the content "
                    "itself as `data`."
                ) from error

    async def close(self) -> None:
        self._threads.close()
        await self._client.close()

    async def _follow(self, place: Place, limit_bytes: int, timeout_s: float, took: Callable[[int], None]) -> Fetched:
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._client.send("GET", place.url, _HEADERS, b"", Patience(timeout_s, timeout_s, timeout_s))
            try:
                if answer.status in _REDIRECTS and "location" in answer.headers:
                    # Servers write UTF-8 here, and HTTP reads it as Latin-1.
                    location = answer.headers["location"].encode("latin-1").decode("utf-8", "replace")
                    place = self._guard.redirected(place, location)
                    continue
                if answer.status != 200:
                    raise InputUrlUnreachable(
                        "The server of this URL did not give its content. Check that the URL opens without a sign-in, "
                        "or give the content itself as `data`."
                    )
                content = await _content(answer, limit_bytes, took)
                return Fetched(content, answer.content_type, _last_step(place.path))
            finally:
                answer.close()
        raise InputUrlRefused(f"This URL is redirected more than {MOST_REDIRECTS} times.")


async def _content(answer: Answer, limit_bytes: int, took: Callable[[int], None]) -> bytes:
    """The bytes once they are unpacked, which is where they are counted."""
    said = answer.headers.get("content-length") or ""
    if said.isdigit() and (len(said) > 15 or int(said) > limit_bytes):
        raise _too_large(limit_bytes)
    pieces = []
    size = 0
    while piece := await answer.next_chunk():
        size += len(piece)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        took(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The content of this URL is longer than {limit_bytes} bytes, which is the limit here.")


def _last_step(path: str) -> str:
    """A file's name, as far as a URL tells one."""
    step = unquote(path.partition("?")[0].rpartition("/")[2])
    return step[:MOST_NAME_CHARACTERS] if step.isprintable() else ""
