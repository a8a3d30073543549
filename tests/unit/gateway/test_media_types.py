"""What a file is, by its first bytes, and which part it may stand in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import MediaKind
from pluggably.gateway.media_types import agrees, fitting, is_text, media_type_of, plain_type, type_of_fetched

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

HEADS = [
    (b"\x89PNG\r\n\x1a\n....", "image/png"),
    (b"\xff\xd8\xff\xe0..JFIF", "image/jpeg"),
    (b"GIF87a......", "image/gif"),
    (b"GIF89a......", "image/gif"),
    (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    (b"BM\x36\x00\x0c\x00\0\0\0\0\x36\0", "image/bmp"),
    (b"II*\0........", "image/tiff"),
    (b"MM\0*........", "image/tiff"),
    (b"\0\0\0\x1cftypavif....", "image/avif"),
    (b"\0\0\0\x1cftypheic....", "image/heic"),
    (b"%PDF-1.7\n", "application/pdf"),
    (b"PK\x03\x04\x14\0", "application/zip"),
    (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav"),
    (b"ID3\x04\0\0....", "audio/mpeg"),
    (b"\xff\xfb\x90\x64....", "audio/mpeg"),
    (b"\xff\xf3\x40\xc4....", "audio/mpeg"),
    (b"\xff\xf1\x50\x80....", "audio/aac"),
    (b"fLaC\0\0\0\x22", "audio/flac"),
    (b"OggS\0\x02....", "audio/ogg"),
    (b"FORM\0\0\0\0AIFFCOMM", "audio/aiff"),
    (b"\0\0\0\x20ftypM4A ....", "video/mp4"),
    (b"\0\0\0\x20ftypisom....", "video/mp4"),
    (b"\x1aE\xdf\xa3....webm", "video/webm"),
]
UNKNOWN = [b"", b"B", b"BMW builds cars", b"ID3 tags", b"RIFF", b"RIFFxxxxAVI ", b"\xff\xfe\x41\0", b"\xff\xff\xff\xff",
           b"<!doctype html>", b"<svg/>", b"hello", b"PK", b"GIF8", b"\x89PNG", b"\0\0\0\0ftyx"]  # fmt: skip


@pytest.mark.parametrize(("head", "media_type"), HEADS)
def test_formats_are_known_by_their_first_bytes(head: bytes, media_type: str) -> None:
    """Each format that parts hold is known by its signature."""
    assert media_type_of(head) == media_type


@pytest.mark.parametrize("head", UNKNOWN)
def test_what_has_no_signature_is_not_known(head: bytes) -> None:
    """Text, half a signature and what only looks a little like one are not taken for a format."""
    assert media_type_of(head) is None


@given(st.binary(max_size=40))
def test_any_bytes_are_looked_at(head: bytes) -> None:
    """Whatever the bytes are, they are of a type or of none, and every part can tell whether that fits."""
    found = media_type_of(head)
    for kind in ("image", "file", "audio"):
        if found is not None:
            fitting(kind, found)
        type_of_fetched(kind, head, "text/plain", "x")
    is_text(head)


@pytest.mark.parametrize(
    ("kind", "found", "called"),
    [
        ("image", "image/png", "image/png"),
        ("image", "application/pdf", None),
        ("image", "audio/wav", None),
        ("image", "video/mp4", None),
        ("audio", "audio/mpeg", "audio/mpeg"),
        ("audio", "video/mp4", "audio/mp4"),
        ("audio", "video/webm", "audio/webm"),
        ("audio", "image/png", None),
        ("file", "application/pdf", "application/pdf"),
        ("file", "image/png", "image/png"),
        ("file", "video/mp4", "video/mp4"),
    ],
)
def test_a_part_holds_its_own_kind(kind: MediaKind, found: str, called: str | None) -> None:
    """An image part holds images, an audio part what has sound, a file anything."""
    assert fitting(kind, found) == called


@pytest.mark.parametrize(
    ("declared", "found", "is_same"),
    [
        ("image/png", "image/png", True),
        ("IMAGE/PNG; x=y", "image/png", True),
        ("image/jpg", "image/jpeg", True),
        ("image/png", "image/jpeg", False),
        ("audio/mp3", "audio/mpeg", True),
        ("audio/x-wav", "audio/wav", True),
        ("audio/m4a", "audio/mp4", True),
        ("audio/wav", "audio/mpeg", False),
        (DOCX, "application/zip", True),
        ("text/plain", "application/zip", False),
        ("", "image/png", False),
    ],
)
def test_one_type_has_several_names(declared: str, found: str, is_same: bool) -> None:
    """A type under another of its names is the same type; another type is not."""
    assert agrees(plain_type(declared), found) is is_same


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("kind", "content", "declared", "name", "called"),
    [
        ("image", PNG, "image/png", "a.png", "image/png"),
        ("image", PNG, "text/html", "a.exe", "image/png"),
        ("image", b"<!doctype html><title>Sign in", "image/png", "a.png", None),
        ("image", b"<svg/>", "image/svg+xml", "a.svg", None),
        ("image", b"%PDF-1.7", "image/png", "a.png", None),
        ("image", b"", "image/png", "a.png", None),
        ("audio", b"ID3\x03", "application/octet-stream", "", "audio/mpeg"),
        ("audio", PNG, "audio/wav", "a.wav", None),
        ("file", b"%PDF-1.7", "application/octet-stream", "", "application/pdf"),
        ("file", b"a,b\n1,2\n", "text/csv", "", "text/csv"),
        ("file", b"a,b\n1,2\n", "text/plain", "a.csv", "text/csv"),
        ("file", b"a,b\n1,2\n", "image/png", "a.CSV", "text/csv"),
        ("file", b"{}", "application/json", "", "application/json"),
        ("file", b"{}", "application/problem+json", "", "application/problem+json"),
        ("file", "Grüße".encode(), "", "", "text/plain"),
        ("file", "Grüße".encode("latin-1"), "text/plain", "", None),
        ("file", b"a\0b", "text/plain", "", None),
        ("file", b"", "text/plain", "", None),
        ("file", b"PK\x03\x04", DOCX, "", DOCX),
        ("file", b"PK\x03\x04", "application/octet-stream", "a.docx", DOCX),
        ("file", b"PK\x03\x04", "text/plain", "a.zip", "application/zip"),
        ("image", b"PK\x03\x04", "image/png", "a.png", None),
    ],
)
def test_fetched_content_is_called_by_what_it_is(
    kind: MediaKind, content: bytes, declared: str, name: str, called: str | None
) -> None:
    """The bytes decide; what the server says and the name refine only what they leave open."""
    assert type_of_fetched(kind, content, declared, name) == called
