"""URLs that a client puts into what it says to one provider alone, where that provider is on the operator's own network
or on this machine: it would fetch them from inside.

Everywhere else the gateway fetches what a URL points to, through its guard (`net.guard`). But options and items of a
vendor's own go to it as they come, so here they are only looked through. What surprises: a URL is no fault in itself.
Vendors' own items quote the pages that they found, and nobody fetches those again; a server fetches what stands where
it expects an image, a file, audio or a video. Options have no such pages, so in them every URL counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UnsetType

from pluggably.domain.generation import GenerationRequest, Part, ProviderItem, ProviderOptions, ToolResult
from pluggably.errors import UnsupportedParameter
from pluggably.wire.parts import pointer_step

_MEDIA = re.compile(r"image|file|audio|video|media|document", re.I)
# Where the wires have the address of such content: `url`, `image_url`, `fileUri`, `source`, `images`, `s3Location`.
_PLACE = re.compile(r"ur[li]|source|src|path|location|image|file|audio|video|media", re.I)
# What a server that takes it would fetch, or read from its own disk (SGLang does, where a name ends as images' do).
# A JPEG as base64 begins with a slash, too, but no base64 has a dot.
_ADDRESS = re.compile(r"\s*(?:(?!data:)[a-z][a-z0-9+.-]*:|(?:~|\.{0,2}[/\\])[^.]*\.)", re.I)


def refuse_own_urls(request: GenerationRequest, backend: str) -> None:
    """Raises: UnsupportedParameter for a URL in what the request says to this backend alone."""
    for place, said, is_item in _said(request, backend):
        if _holds_address(said, "", in_media=not is_item):
            raise UnsupportedParameter(
                f"{backend} runs on the operator's own network, and is given no URLs to fetch there. Give the content "
                "itself as a part of a message.",
                pointer=place,
            )


def _said(request: GenerationRequest, backend: str) -> Iterator[tuple[str, Any, bool]]:
    """What the request says to one backend alone: where, what, and whether it is an item and not options. Most requests
    say nothing."""

    def options(given: ProviderOptions | UnsetType, place: str) -> Iterator[tuple[str, Any, bool]]:
        if given and backend in given:
            yield f"{place}/provider_options/{pointer_step(backend)}", given[backend], False

    def parts(content: Sequence[Part], place: str) -> Iterator[tuple[str, Any, bool]]:
        for index, part in enumerate(content):
            if isinstance(part, ProviderItem):
                if part.provider == backend:
                    yield f"{place}/{index}/data", part.data, True
                continue
            if part.provider_options:
                yield from options(part.provider_options, f"{place}/{index}")
            if isinstance(part, ToolResult) and not isinstance(part.content, str):
                yield from parts(part.content, f"{place}/{index}/content")

    yield from options(request.provider_options, "")
    for index, message in enumerate(request.messages):
        if message.provider_options:
            yield from options(message.provider_options, f"/input/{index}")
        if not isinstance(message.content, str):
            yield from parts(message.content, f"/input/{index}/content")
    for index, tool in enumerate(request.tools):
        yield from options(tool.provider_options, f"/tools/{index}")


def _holds_address(value: Any, key: str, *, in_media: bool) -> bool:
    """Whether a server could find something to fetch. `key` is that under which the value stands, `in_media` whether it
    is a part of something that holds an image or the like."""
    if isinstance(value, str):
        return in_media and _PLACE.search(key) is not None and _ADDRESS.match(value) is not None
    if isinstance(value, list):
        return any(_holds_address(each, key, in_media=in_media) for each in value)
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    in_media = in_media or (isinstance(kind, str) and _MEDIA.search(kind) is not None)
    return any(
        _holds_address(each, name, in_media=in_media or _MEDIA.search(name) is not None) for name, each in value.items()
    )
