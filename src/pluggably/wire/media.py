"""Images and files as most wires take them, as a URL or as a data URL, before each gives them its form.

What surprises: `data` travels as a data URL, which is also what a client may have sent as `url`; so a server that
fetches nothing still takes a URL that holds its data.

Source: developers.openai.com/api/docs/guides/images-vision and …/guides/file-inputs (2026-11).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct

from pluggably.domain.generation import File, Image, JsonObject
from pluggably.errors import UnsupportedModality, UnsupportedParameter
from pluggably.wire.parts import merged

# What of media a wire takes: as data, or by a URL too.
Input: TypeAlias = Literal["image", "image_url", "file", "file_url", "audio"]


class MediaRules(Struct, frozen=True):
    """Which media a backend takes. The methods raise UnsupportedModality for a kind that it does not, and
    UnsupportedParameter for one that it takes in another form alone."""

    backend: str
    inputs: Collection[Input]

    def require(self, needed: Input, pointer: str, lack: str) -> None:
        if needed in self.inputs:
            return
        error = UnsupportedModality if needed in ("image", "file", "audio") else UnsupportedParameter
        raise error(f"{self.backend} {lack}.", pointer=pointer)

    def image_url(self, part: Image, pointer: str) -> str:
        self.require("image", pointer, "takes no images")
        if part.url is UNSET:
            return _data_url(part, "image/png")
        if not part.url.startswith("data:"):
            self.require("image_url", pointer, "takes images only as `data`, not by URL")
        return part.url

    def image_part(self, part: Image, own: Mapping[str, Any], pointer: str) -> JsonObject:
        """An image as a part of a message, with what the client says to this backend of it. Its `detail`, the one
        option that clients know, stands inside (openai 3.54.0, ImageURL)."""
        image: JsonObject = {"url": self.image_url(part, pointer)}
        if "detail" not in own:
            return merged({"type": "image_url", "image_url": image}, own)
        rest = dict(own)
        image["detail"] = rest.pop("detail")
        return merged({"type": "image_url", "image_url": image}, rest)

    def file_url(self, part: File, pointer: str) -> str:
        """A file's own URL, or a data URL with what is in it."""
        self.require("file", pointer, "takes no files")
        if part.url is UNSET:
            return _data_url(part, "application/octet-stream")
        if not part.url.startswith("data:"):
            self.require("file_url", pointer, "takes files only as `data`, not by URL: fetch it and send its bytes")
        return part.url


def file_name(part: File) -> str:
    """OpenAI refuses a file without a name."""
    return part.name if part.name is not UNSET else "file"


def _data_url(part: Image | File, default_type: str) -> str:
    return f"data:{part.media_type or default_type};base64,{part.data or ''}"
