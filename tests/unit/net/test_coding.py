"""gzip and deflate, cut anywhere, and never more at once than a piece."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from pluggably.errors import BackendInvalidResponse
from pluggably.net.coding import MOST_EMPTY_PARTS, PIECE_BYTES, Inflater

TEXT = b"".join(b"line %d\n" % n for n in range(40))


def bare(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


def inflated(inflater: Inflater, pieces: list[bytes]) -> bytes:
    out = b""
    for piece in pieces:
        inflater.feed(piece)
        while found := inflater.step():
            assert len(found) <= PIECE_BYTES
            out += found
    return out


BODIES = {
    "gzip": (True, gzip.compress(TEXT)),
    "gzip in parts": (True, gzip.compress(TEXT[:100]) + gzip.compress(b"") + gzip.compress(TEXT[100:]) + b"\0\0"),
    "deflate": (False, zlib.compress(TEXT)),
    "bare deflate": (False, bare(TEXT)),
}


@pytest.mark.parametrize("name", BODIES)
def test_it_is_the_same_however_it_is_cut(name: str) -> None:
    """Every body in two pieces at every boundary, and byte by byte."""
    is_gzip, body = BODIES[name]
    cuts = [[body[:at], body[at:]] for at in range(len(body) + 1)] + [[body[at : at + 1] for at in range(len(body))]]
    for pieces in cuts:
        inflater = Inflater(gzip=is_gzip)
        assert inflated(inflater, pieces) == TEXT
        assert inflater.is_whole


def test_many_parts_with_nothing_in_them_are_refused() -> None:
    """They would be work without end that no size counts. A few are taken, wherever they stand."""
    empty = gzip.compress(b"")
    inflater = Inflater(gzip=True)
    assert inflated(inflater, [(empty * MOST_EMPTY_PARTS + gzip.compress(b"x")) * 3 + empty]) == b"xxx"
    assert inflater.is_whole
    with pytest.raises(BackendInvalidResponse):
        inflated(Inflater(gzip=True), [empty * (MOST_EMPTY_PARTS + 1)])
    with pytest.raises(BackendInvalidResponse):
        inflated(Inflater(gzip=True), [empty] * (MOST_EMPTY_PARTS + 1))


def test_a_large_body_of_many_parts_comes_whole() -> None:
    """Larger than a step looks at, in parts that end anywhere."""
    parts = [TEXT * n for n in range(300)]
    assert inflated(Inflater(gzip=True), [b"".join(map(gzip.compress, parts))]) == b"".join(parts)
    noise = random.Random(1).randbytes(5 * PIECE_BYTES)
    assert inflated(Inflater(gzip=True), [gzip.compress(noise)]) == noise


@pytest.mark.parametrize("name", ["gzip", "deflate", "bare deflate"])
def test_an_early_end_is_seen(name: str) -> None:
    """Without its last byte a body is not whole; an empty one is."""
    is_gzip, body = BODIES[name]
    for end in range(1, len(body)):
        inflater = Inflater(gzip=is_gzip)
        inflated(inflater, [body[:end]])
        assert not inflater.is_whole, end
    assert Inflater(gzip=is_gzip).is_whole


def test_a_huge_body_comes_in_pieces() -> None:
    """A megabyte that means a gigabyte is undone a piece at a time, and only as far as somebody asks."""
    inflater = Inflater(gzip=True)
    inflater.feed(gzip.compress(bytes(50_000_000)))
    for _ in range(100):
        assert len(inflater.step()) == PIECE_BYTES
        assert inflater.has_more


@pytest.mark.parametrize(("is_gzip", "body"), [(True, b"no such thing"), (False, b"\xff\xfeno such thing")])
def test_what_is_not_compressed(is_gzip: bool, body: bytes) -> None:
    """What is none of it is an invalid answer."""
    inflater = Inflater(gzip=is_gzip)
    inflater.feed(body)
    with pytest.raises(BackendInvalidResponse):
        inflater.step()
