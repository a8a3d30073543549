"""What a file is, by its first bytes, and whether that fits the part that holds it. Pure.

What a server or a client calls it is believed only within what the bytes leave open: which kind of text, which kind of
document in a zip. Signatures: the formats' own specifications, as listed by the WHATWG's "MIME Sniffing" standard
(2026-11) and, where that has none, by the format's registration with IANA.
"""

from __future__ import annotations

from pluggably.domain.generation import MediaKind

# How much of a file is looked at.
HEAD_BYTES = 4096

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"ID3\x02", "audio/mpeg"),
    (b"ID3\x03", "audio/mpeg"),
    (b"ID3\x04", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_IMAGE_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
}
# A container that holds sound, pictures or both says little of which.
_AS_AUDIO = {"video/mp4": "audio/mp4", "video/webm": "audio/webm"}

# Names that vendors do not know, for those that they do.
_USUAL = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "application/x-pdf": "application/pdf",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-pn-wav": "audio/wav",
}
# Other names of the same, as clients and servers write them.
_ALSO = {
    "image/heic": ("image/heif",),
    "image/heif": ("image/heic", "image/avif"),
    "audio/mpeg": ("audio/mp3", "audio/mpga", "audio/x-mp3", "audio/x-mpeg", "audio/mpeg3"),
    "audio/aac": ("audio/x-aac", "audio/aacp"),
    "audio/aiff": ("audio/x-aiff",),
    "audio/flac": ("audio/x-flac",),
    "audio/ogg": ("audio/opus", "audio/vorbis", "video/ogg", "application/ogg"),
    "audio/mp4": ("audio/m4a", "audio/x-m4a", "video/mp4", "audio/aac", "video/quicktime", "audio/3gpp"),
    "video/mp4": ("audio/mp4", "audio/m4a", "audio/x-m4a", "video/quicktime", "video/3gpp"),
    "audio/webm": ("video/webm", "audio/x-matroska", "video/x-matroska"),
    "video/webm": ("audio/webm", "audio/x-matroska", "video/x-matroska"),
}
# Text that is not called so.
_TEXTS = ("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript")
# Documents that are zip files.
_ZIPS = ("application/vnd.openxmlformats-", "application/vnd.oasis.opendocument.", "application/epub+zip")
_ZIP_NAMES = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
_TEXT_NAMES = {".csv": "text/csv", ".md": "text/markdown", ".html": "text/html", ".json": "application/json"}


def media_type_of(head: bytes) -> str | None:
    """What begins so; None where that is not known. Text has no mark, so it is not known here."""
    for start, media_type in _STARTS:
        if head.startswith(start):
            return media_type
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # two letters alone begin many a text
        return "image/bmp"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        return _IMAGE_BRANDS.get(head[8:12], "video/mp4")
    return _frame_type(head)


def _frame_type(head: bytes) -> str | None:
    """MPEG sound without a header of its own: the first frame (ISO 11172-3, 2.4.2.3; ISO 13818-7, 6.2)."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    is_layer_2_or_3 = head[1] & 0xE0 == 0xE0 and (head[1] >> 1) & 3 in (1, 2) and (head[1] >> 3) & 3 != 1
    is_possible = head[2] >> 4 not in (0, 15) and (head[2] >> 2) & 3 != 3
    return "audio/mpeg" if is_layer_2_or_3 and is_possible else None


def is_text(content: bytes) -> bool:
    """Whether it is text in UTF-8, and not nothing at all."""
    if not content or b"\0" in content:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def fitting(kind: MediaKind, found: str) -> str | None:
    """What a part of this kind calls content of a type; None where it cannot hold it. A file may be anything."""
    if kind == "file" or found.startswith(f"{kind}/"):
        return found
    return _AS_AUDIO.get(found) if kind == "audio" else None


def plain_type(declared: str) -> str:
    """A type in the form that every vendor reads: its usual name, in lower case and without parameters."""
    name = declared.partition(";")[0].strip().lower()
    return _USUAL.get(name, name)


def agrees(declared: str, found: str) -> bool:
    """Whether somebody's name for a type, in its plain form, may mean what was found."""
    if found == "application/zip":
        return declared.startswith("application/")
    return declared == found or declared in _ALSO.get(found, ())


def type_of_fetched(kind: MediaKind, content: bytes, declared: str, name: str) -> str | None:
    """What to call content that a server gave; None where a part of this kind cannot hold it, or nobody can tell what
    it is."""
    found = media_type_of(content[:HEAD_BYTES])
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    if found is None:
        if kind != "file" or not is_text(content):
            return None
        if declared.startswith("text/") or declared in _TEXTS or declared.endswith(("+json", "+xml")):
            return declared if declared != "text/plain" else _TEXT_NAMES.get(suffix, "text/plain")
        return _TEXT_NAMES.get(suffix, "text/plain")
    if found == "application/zip" and kind == "file":
        return declared if declared.startswith(_ZIPS) else _ZIP_NAMES.get(suffix, found)
    return fitting(kind, found)
