"""Images and files as most wires take them, as a URL or as a data URL, before each gives them its form.

Source: developers.openai.com/api/docs/guides/images-vision and …/guides/file-inputs (2026-11).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct

from pluggably.domain.generation import File, Image, JsonObject, Media
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

    def check(self, part: Image | File, pointer: str) -> None:
        """That the part is taken, and in its form."""
        if isinstance(part, Image):
            self.require("image", pointer, "takes no images")
            if part.url is not UNSET:
                self.require("image_url", pointer, "takes images only as `data`, not by URL")
            return
        self.require("file", pointer, "takes no files")
        if part.url is not UNSET:
            self.require("file_url", pointer, "takes files only as `data`, not by URL: fetch it and send its bytes")

    def url(self, part: Image | File, pointer: str) -> str:
        """The part's own URL, or a data URL with what is in it."""
        self.check(part, pointer)
        return part.url if part.url is not UNSET else f"data:{part.media_type};base64,{part.data}"

    def image_part(self, part: Image, own: Mapping[str, Any], pointer: str) -> JsonObject:
        """An image as a part of a message, with what the client says to this backend of it. Its `detail`, the one
        option that clients know, stands inside (openai 3.54.0, ImageURL)."""
        image: JsonObject = {"url": self.url(part, pointer)}
        if "detail" not in own:
            return merged({"type": "image_url", "image_url": image}, own)
        rest = dict(own)
        image["detail"] = rest.pop("detail")
        return merged({"type": "image_url", "image_url": image}, rest)


def file_name(part: File) -> str:
    """OpenAI refuses a file without a name."""
    return part.name if part.name is not UNSET else "file"


def plain_type(part: Media) -> str:
    """The media type in lower case and without parameters; a target that is asked beforehand sees it as it came."""
    return (part.media_type or "").partition(";")[0].strip().lower()
