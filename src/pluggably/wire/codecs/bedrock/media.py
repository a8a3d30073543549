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
from pluggably.errors import UnsupportedModality, UnsupportedParameter
from pluggably.wire.media import Input, plain_type

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
# Text in all but its name, as which it goes.
_TEXTS = frozenset(
    ("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript")
)
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


class Media:
    """The blocks of one request. The methods raise UnsupportedModality for a kind that the backend does not
    take, UnsupportedParameter for a form of it."""

    def __init__(self, backend: str, inputs: Collection[Input]) -> None:
        self._backend = backend
        self._inputs = inputs
        # Those that are taken, each with the last number that was put behind it.
        self._names: dict[str, int] = {}
        self._documents: list[JsonObject] = []

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
        block = self._block(part, _DOCUMENTS, pointer)
        block["name"] = self._name(stem if extension.lower() == block["format"] else name)
        document: JsonObject = {"document": block}
        self._documents.append(document)
        return document

    @property
    def has_open_pdfs(self) -> bool:
        """Whether there is a PDF for which the client says nothing of citations."""
        return any(block["document"]["format"] == "pdf" and _is_cited(block) is None for block in self._documents)

    def cite_pdfs(self) -> bool:
        """Asks for citations of PDFs, without which Claude gets their bare text here. "A request can't mix documents
        that have citations enabled with documents that don't", so only where no other kind of document is beside them,
        nor one for which the client says otherwise. Gives whether it could.

        Source: platform.claude.com/docs/en/build-with-claude/pdf-support, "Converse API", and …/citations (2026-11)."""
        if any(block["document"]["format"] != "pdf" or _is_cited(block) is False for block in self._documents):
            return False
        for block in self._documents:
            block["document"].setdefault("citations", {"enabled": True})
        return True

    def _block(self, part: Image | File | Audio, formats: Mapping[str, str], pointer: str) -> JsonObject:
        if part.url is not UNSET:
            raise UnsupportedParameter(
                f"{self._backend} takes this only as `data`, not by URL: fetch it and send its bytes.", pointer=pointer
            )
        essence = plain_type(part)
        kind = formats.get(essence)
        if kind is None and formats is _DOCUMENTS and _is_text(essence):
            kind = "txt"
        if kind is None:
            known = ", ".join(dict.fromkeys(formats.values()))
            raise UnsupportedParameter(
                f"{self._backend} takes only these formats here: {known}. Say which by `media_type`.", pointer=pointer
            )
        return {"format": kind, "source": {"bytes": part.data}}

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
            raise UnsupportedModality(f"{self._backend} takes no {what}.", pointer=pointer)


def _is_cited(block: JsonObject) -> bool | None:
    """What the client says of a document; None: nothing."""
    citations = block["document"].get("citations")
    return bool(citations.get("enabled")) if isinstance(citations, dict) else None


def _is_text(essence: str) -> bool:
    return essence.startswith("text/") or essence in _TEXTS or essence.endswith(("+json", "+xml"))
