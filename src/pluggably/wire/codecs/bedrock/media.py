"""Images, documents and audio as blocks of Bedrock's Converse.

What surprises: bytes stand in JSON as base64, which is what clients send, so they pass as they are. A document must
bear a name of few characters, no two the same.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html, …_DocumentBlock.html and
…_AudioBlock.html (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from msgspec import UNSET

from pluggably.domain.generation import Audio, File, Image, JsonObject
from pluggably.errors import UnsupportedParameter
from pluggably.wire.media import Input

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_AUDIO = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/opus": "opus",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/mp4": "mp4",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/ogg": "ogg",
    "audio/webm": "webm",
}
# How base64 of these begins, for parts that do not tell their type.
_BEGINNINGS = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp", "JVBERi": "pdf"}
_DATA_URL = re.compile(r"data:([^;,]*)[^,]*;base64,", re.I)


class Media:
    """The blocks of one request. The methods raise UnsupportedParameter for what the backend does not take."""

    def __init__(self, backend: str, inputs: Collection[Input]) -> None:
        self._backend = backend
        self._inputs = inputs
        # Those that are taken, each with the last number that was put behind it.
        self._names: dict[str, int] = {}

    def image(self, part: Image, pointer: str) -> JsonObject:
        self._require("image", pointer, "images")
        return {"image": self._block(part, _IMAGES, pointer)}

    def audio(self, part: Audio, pointer: str) -> JsonObject:
        self._require("audio", pointer, "audio")
        return {"audio": self._block(part, _AUDIO, pointer)}

    def document(self, part: File, pointer: str) -> JsonObject:
        self._require("file", pointer, "files")
        name = part.name if part.name is not UNSET else ""
        stem, _, extension = name.rpartition(".")
        block = self._block(part, _DOCUMENTS, pointer, extension.lower())
        return {"document": {**block, "name": self._name(stem if extension.lower() == block["format"] else name)}}

    def _block(
        self, part: Image | File | Audio, formats: Mapping[str, str], pointer: str, extension: str = ""
    ) -> JsonObject:
        media_type = part.media_type if part.media_type is not UNSET else ""
        data = part.data if part.data is not UNSET else ""
        if part.url is not UNSET:
            found = _DATA_URL.match(part.url)
            if found is None:
                raise UnsupportedParameter(
                    f"{self._backend} takes this only as `data`, not by URL: fetch it and send its bytes.",
                    pointer=pointer,
                )
            media_type, data = media_type or found[1], part.url[found.end() :]
        kind = formats.get(media_type.partition(";")[0].strip().lower())
        if kind is None and not media_type:
            begins = next((kind for begin, kind in _BEGINNINGS.items() if data.startswith(begin)), extension)
            kind = begins if begins in formats.values() else None
        if kind is None:
            known = ", ".join(dict.fromkeys(formats.values()))
            raise UnsupportedParameter(
                f"{self._backend} takes only these formats here: {known}. Say which by `media_type`.", pointer=pointer
            )
        return {"format": kind, "source": {"bytes": data}}

    def _name(self, given: str) -> str:
        """Letters, digits, single spaces, hyphens, parentheses and square brackets, each name once."""
        plain = " ".join(re.sub(r"[^A-Za-z0-9()\[\]-]+", " ", given).split())[:180] or "document"
        name = plain
        while name in self._names:
            self._names[plain] += 1
            name = f"{plain} {self._names[plain]}"
        self._names[name] = 1
        return name

    def _require(self, needed: Input, pointer: str, what: str) -> None:
        if needed not in self._inputs:
            raise UnsupportedParameter(f"{self._backend} takes no {what}.", pointer=pointer)
