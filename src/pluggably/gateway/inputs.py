"""Brings the media of a request, images, files and audio, into the form that a target takes.

A part comes by URL or as data. Where a target takes URLs, a URL is handed on as it is, and nothing is fetched. Where it
takes none, and for every target on the operator's own network, the gateway fetches it, once a generation however many
parts name it and however many targets are tried, and the part becomes data. Data is looked at too: whether it is
base64, and whether it is what it says it is.

What surprises: a local target never sees a URL, although its server might take one: that server would fetch it from
inside the network, behind the guard's back.
"""

from __future__ import annotations

import asyncio
import binascii
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import structlog
from msgspec import UNSET, Struct

from pluggably.domain.generation import (
    Audio,
    File,
    GenerationRequest,
    GenerationWarning,
    Image,
    Media,
    MediaKind,
    Message,
    Part,
    ToolResult,
    Warned,
)
from pluggably.errors import (
    InputUrlUnreachable,
    InvalidRequest,
    Overloaded,
    PayloadTooLarge,
    PluggablyError,
    UnsupportedMediaType,
)
from pluggably.gateway.media_types import HEAD_BYTES, agrees, fitting, media_type_of, plain_type, type_of_fetched
from pluggably.net.fetch import Fetched
from pluggably.telemetry.metrics import Metrics

log = structlog.get_logger()

# One generation fetches so many URLs, so many of them at once.
MOST_URLS = 64
AT_ONCE = 4
# Base64 is checked and made so much at a time, and others have their turn in between. Multiples of four and of three.
CHECKED_AT_ONCE = 1024 * 1024
ENCODED_AT_ONCE = 768 * 1024

_KINDS: dict[type, MediaKind] = {Image: "image", File: "file", Audio: "audio"}
_NOUNS = {"image": "an image", "file": "a file", "audio": "audio"}
# What stands for content that has not been fetched yet, where a target is asked what it would make of a request: its
# type by the URL's name, else the one that every wire knows.
_LIKELY: dict[MediaKind, tuple[str, dict[str, str]]] = {
    "image": ("image/png", {"jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}),
    "file": ("application/pdf", {"txt": "text/plain", "md": "text/markdown", "csv": "text/csv"}),
    "audio": ("audio/wav", {"mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg", "m4a": "audio/mp4"}),
}
_STAND_IN = "AAAA"


class InputLimits(Struct, frozen=True, kw_only=True):
    """How much of it one part, one generation and all generations together may hold, and how long one URL may take.
    Bytes, seconds."""

    part_bytes: int = 20 * 1024 * 1024
    total_bytes: int = 50 * 1024 * 1024
    held_bytes: int = 512 * 1024 * 1024
    fetch_s: float = 15.0


class Fetch(Protocol):
    """What gets a URL's content: `net.fetch.Fetcher.fetch`."""

    def __call__(
        self, url: str, *, limit_bytes: int, timeout_s: float, took: Callable[[int], None]
    ) -> Awaitable[Fetched]: ...


class Inputs:
    """What all generations share."""

    def __init__(self, fetch: Fetch, limits: InputLimits, metrics: Metrics) -> None:
        self.limits = limits
        self.held_bytes = 0
        self._fetch = fetch
        self._metrics = metrics

    def of(self, request: GenerationRequest, request_id: str) -> RequestMedia | None:
        """The media of a request; None where it has none, which costs next to nothing to find out."""
        media = list(_media(request.messages))
        return RequestMedia(self, request, media, request_id) if media else None

    def foreseen(self, request: GenerationRequest, urls: Collection[MediaKind]) -> GenerationRequest:
        """The request as a target that takes `urls` would get it, with something in place of what is not fetched."""
        stands_in: dict[str, Media] = {}
        for pointer, part in _media(request.messages):
            if _is_to_fetch(part, urls):
                likely, by_suffix = _LIKELY[_KINDS[type(part)]]
                suffix = str(part.url).partition("?")[0].rpartition(".")[2].lower()
                stands_in[pointer] = msgspec.structs.replace(
                    part, url=UNSET, data=_STAND_IN, media_type=by_suffix.get(suffix, likely)
                )
        return _replaced(request, stands_in)

    async def fetch(self, url: str, request_id: str, took: Callable[[int], None]) -> Fetched:
        """Fetches, counts and logs. Raises: InputUrlRefused, InputUrlUnreachable, PayloadTooLarge, Overloaded."""
        began = time.perf_counter()
        outcome = "cancelled"
        size = 0

        def count(more: int) -> None:
            nonlocal size
            size += more
            took(more)

        try:
            fetched = await self._fetch(
                url, limit_bytes=self.limits.part_bytes, timeout_s=self.limits.fetch_s, took=count
            )
            outcome = "fetched"
        except PluggablyError as error:
            outcome = error.code
            raise
        finally:
            self._metrics.input_fetches.labels(outcome).inc()
            log.info(
                "input_fetched",
                request_id=request_id,
                host=_host_of(url),
                outcome=outcome,
                bytes=size,
                duration_s=round(time.perf_counter() - began, 6),
            )
        return fetched


class RequestMedia:
    """The media of one generation, from its first attempt to its end. `close` gives back what it holds."""

    def __init__(
        self, inputs: Inputs, request: GenerationRequest, media: Sequence[tuple[str, Media]], request_id: str
    ) -> None:
        self._inputs = inputs
        self._request = request
        self._media = media
        self._request_id = request_id
        self._warned: list[Warned] = []
        self._is_checked = False
        # By URL: what came, or why nothing did.
        self._got: dict[str, _Content | PluggablyError] = {}
        self._fetched_bytes = 0

    def needs_fetching(self, urls: Collection[MediaKind]) -> bool:
        """Whether a target that takes `urls` leaves something to fetch that is not here yet."""
        return any(_is_to_fetch(part, urls) and part.url not in self._got for _, part in self._media)

    async def brought(self, urls: Collection[MediaKind], within_s: float) -> tuple[GenerationRequest, Sequence[Warned]]:
        """The request for a target that takes `urls`, and what the client is told about it.

        Raises: InvalidRequest, PayloadTooLarge, UnsupportedMediaType, InputUrlRefused, InputUrlUnreachable,
        Overloaded."""
        if not self._is_checked:
            await self._check_data()
        to_fetch = [(pointer, part) for pointer, part in self._media if _is_to_fetch(part, urls)]
        if not to_fetch:
            return self._request, self._warned
        wanted: dict[str, str] = {}
        for pointer, part in to_fetch:
            wanted.setdefault(str(part.url), pointer)
        if len(wanted) > MOST_URLS:
            first_too_many = list(wanted.values())[MOST_URLS]
            raise InvalidRequest(
                f"The gateway fetches at most {MOST_URLS} URLs for one generation.", pointer=first_too_many
            )
        await self._fetch_all([url for url in wanted if url not in self._got], within_s)
        for url, pointer in wanted.items():
            got = self._got.get(url)
            if isinstance(got, PluggablyError):
                got.pointer = f"{pointer}/url"
                raise got
        inline = {pointer: _as_data(part, self._content(part), pointer) for pointer, part in to_fetch}
        return _replaced(self._request, inline), self._warned

    def close(self) -> None:
        self._inputs.held_bytes -= self._fetched_bytes
        self._fetched_bytes = 0
        self._got.clear()

    # ── what came as data ──

    async def _check_data(self) -> None:
        corrected: dict[str, Media] = {}
        for pointer, part in self._media:
            if part.data is UNSET:
                continue
            head = await self._checked_head(part.data, f"{pointer}/data")
            found = media_type_of(head)
            media_type = plain_type(part.media_type or "")
            if found is not None:  # else whoever sent it knows better than the first bytes
                fits = fitting(_KINDS[type(part)], found)
                if fits is None:
                    raise _misfit(part, f"{pointer}/data")
                if not agrees(media_type, fits):
                    media_type = fits
                    self._warned.append(_corrected(f"{pointer}/media_type", fits))
            if media_type != part.media_type:
                corrected[pointer] = msgspec.structs.replace(part, media_type=media_type)
        if corrected:
            self._request = _replaced(self._request, corrected)
            self._media = list(_media(self._request.messages))
        self._is_checked = True

    async def _checked_head(self, data: str, pointer: str) -> bytes:
        """The first bytes of base64 that is right to its end. Raises: InvalidRequest, PayloadTooLarge."""
        limit_bytes = self._inputs.limits.part_bytes
        if len(data) // 4 * 3 > limit_bytes + 2:
            raise PayloadTooLarge(f"This part is longer than {limit_bytes} bytes, the limit here.", pointer=pointer)
        head = b""
        try:
            for start in range(0, len(data), CHECKED_AT_ONCE):
                if start:
                    await asyncio.sleep(0)
                piece = data[start : start + CHECKED_AT_ONCE]
                if start + CHECKED_AT_ONCE < len(data) and piece.endswith("="):
                    raise binascii.Error("padding before the end")
                decoded = binascii.a2b_base64(piece, strict_mode=True)
                head = head or decoded[:HEAD_BYTES]
        except ValueError as error:  # binascii.Error is one
            raise InvalidRequest(
                "This is not base64: it takes the standard alphabet with `=` at the end, and no line breaks.",
                pointer=pointer,
            ) from error
        if not head:
            raise InvalidRequest("This part is empty.", pointer=pointer)
        return head

    # ── what came by URL ──

    async def _fetch_all(self, urls: Sequence[str], within_s: float) -> None:
        """Fetches what is not here yet, until all of it is or one has failed."""
        if not urls:
            return
        room = asyncio.Semaphore(AT_ONCE)
        tasks = {asyncio.create_task(self._fetch_one(url, room)): url for url in urls}
        try:
            await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        has_failed = False
        for task, url in tasks.items():
            if task.cancelled():
                continue
            error = task.exception()
            if error is None:
                self._got[url] = task.result()
            elif isinstance(error, PluggablyError):
                self._got[url] = error
                has_failed = True
            else:
                raise error
        if not has_failed:  # else the others were cut for its sake
            late = f"The content of this URL did not come within the {within_s:.3g} s that this request had left."
            self._got.update((url, InputUrlUnreachable(late)) for url in urls if url not in self._got)

    def _content(self, part: Media) -> _Content:
        got = self._got[str(part.url)]
        assert isinstance(got, _Content)
        return got

    async def _fetch_one(self, url: str, room: asyncio.Semaphore) -> _Content:
        async with room:
            fetched = await self._inputs.fetch(url, self._request_id, self._took)
            return _Content(fetched, await _as_base64(fetched.content))

    def _took(self, more_bytes: int) -> None:
        """Raises: PayloadTooLarge, Overloaded."""
        inputs = self._inputs
        self._fetched_bytes += more_bytes
        inputs.held_bytes += more_bytes
        if self._fetched_bytes > inputs.limits.total_bytes:
            raise PayloadTooLarge(
                f"The URLs of this request hold more than {inputs.limits.total_bytes} bytes, which is the limit here."
            )
        if inputs.held_bytes > inputs.limits.held_bytes:
            raise Overloaded("The gateway holds as much fetched content as it may.", retry_after_s=1)


class _Content:
    """What a URL held, ready to be put into a part."""

    __slots__ = ("_types", "data", "name")

    def __init__(self, fetched: Fetched, data: str) -> None:
        self.data = data
        self._types = {
            kind: type_of_fetched(kind, fetched.content, fetched.declared_type, fetched.name)
            for kind in _KINDS.values()
        }
        self.name = fetched.name

    def media_type(self, kind: MediaKind) -> str | None:
        return self._types[kind]


async def _as_base64(content: bytes) -> str:
    pieces = []
    for start in range(0, len(content), ENCODED_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        pieces.append(binascii.b2a_base64(content[start : start + ENCODED_AT_ONCE], newline=False))
    return b"".join(pieces).decode()


def _as_data(part: Media, content: _Content, pointer: str) -> Media:
    """Raises: UnsupportedMediaType."""
    media_type = content.media_type(_KINDS[type(part)])
    if media_type is None:
        raise _misfit(part, f"{pointer}/url")
    given: Mapping[str, str] = {"data": content.data, "media_type": media_type}
    if isinstance(part, File) and part.name is UNSET and content.name:
        given = {**given, "name": content.name}
    return msgspec.structs.replace(part, url=UNSET, **given)


def _misfit(part: Media, pointer: str) -> UnsupportedMediaType:
    kind = _KINDS[type(part)]
    if kind == "file":
        detail = (
            "The content is neither text in UTF-8 nor of a format that the gateway knows. Give it as `data`, with its "
            "`media_type`."
        )
    else:
        detail = (
            f"The content is not {_NOUNS[kind]} of a format that the gateway knows. Check it, and the part's `type`."
        )
    return UnsupportedMediaType(detail, pointer=pointer)


def holds_media(request: GenerationRequest) -> bool:
    return any(True for _ in _media(request.messages))


def media_kinds(request: GenerationRequest) -> set[MediaKind]:
    return {_KINDS[type(part)] for _, part in _media(request.messages)}


def _corrected(pointer: str, found: str) -> Warned:
    return Warned(
        GenerationWarning(
            code="media_type_corrected", parameter=pointer, detail=f"the content is {found}, and is sent as that"
        )
    )


def _is_to_fetch(part: Media, urls: Collection[MediaKind]) -> bool:
    return part.url is not UNSET and _KINDS[type(part)] not in urls


def _media(messages: Sequence[Message]) -> Iterator[tuple[str, Media]]:
    """Every media part, those inside tool results too, and where it stands."""
    for i, message in enumerate(messages):
        if not isinstance(message.content, str):
            yield from _media_in(message.content, f"/input/{i}/content")


def _media_in(parts: Sequence[Part], pointer: str) -> Iterator[tuple[str, Media]]:
    for i, part in enumerate(parts):
        if isinstance(part, Image | File | Audio):
            yield f"{pointer}/{i}", part
        elif isinstance(part, ToolResult) and not isinstance(part.content, str):
            yield from _media_in(part.content, f"{pointer}/{i}/content")


def _replaced(request: GenerationRequest, by_pointer: Mapping[str, Media]) -> GenerationRequest:
    """The request with other parts in these places. What is given is left as it is: another target may want it."""
    if not by_pointer:
        return request
    messages = [
        message
        if isinstance(message.content, str)
        else msgspec.structs.replace(message, content=_replaced_in(message.content, f"/input/{i}/content", by_pointer))
        for i, message in enumerate(request.messages)
    ]
    return msgspec.structs.replace(request, messages=messages)


def _replaced_in(parts: Sequence[Part], pointer: str, by_pointer: Mapping[str, Media]) -> list[Part]:
    replaced: list[Part] = []
    for i, part in enumerate(parts):
        place = f"{pointer}/{i}"
        if isinstance(part, ToolResult) and not isinstance(part.content, str):
            replaced.append(
                msgspec.structs.replace(part, content=_replaced_in(part.content, f"{place}/content", by_pointer))
            )
        else:
            replaced.append(by_pointer.get(place, part))
    return replaced


def _host_of(url: str) -> str:
    """For the log: a URL's path and query may hold secrets, and so may what stands before its host."""
    try:
        return (urlsplit(url).hostname or "")[:253]
    except ValueError:
        return ""
