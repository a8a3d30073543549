"""Undoes gzip and deflate, a bounded piece at a time: a few bytes can stand for gigabytes, and those must neither fill
the memory nor hold the loop."""

from __future__ import annotations

import zlib

from pluggably.errors import BackendInvalidResponse

# What one step makes at most; some 0.2 ms of work.
PIECE_BYTES = 64 * 1024
_AS_GZIP = 16 + zlib.MAX_WBITS
_AS_ZLIB = zlib.MAX_WBITS
_BARE = -zlib.MAX_WBITS


class Inflater:
    """One answer's body. `feed` gives it what came, `step` takes the next piece of what that means."""

    __slots__ = ("_gzip", "_inflate", "_input")

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inflate: zlib._Decompress | None = None  # for the present part
        self._input = b""

    def feed(self, data: bytes) -> None:
        self._input += data

    @property
    def has_more(self) -> bool:
        """Whether `step` may have another piece without more input."""
        return bool(self._input)

    @property
    def is_whole(self) -> bool:
        """Whether what came is complete as it stands; so is nothing at all."""
        return not self._input and (self._inflate is None or self._inflate.eof)

    def step(self) -> bytes:
        """The next piece; nothing where more input is needed. Raises: BackendInvalidResponse."""
        try:
            while self._input:
                if self._inflate is None or self._inflate.eof:
                    self._inflate = self._begun()
                    if self._inflate is None:
                        return b""
                piece = self._inflate.decompress(self._input, PIECE_BYTES)
                self._input = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
                if self._inflate.eof and not self._gzip:
                    self._input = b""  # deflate has one part only; what follows it is padding
                if piece:
                    return piece
        except zlib.error as error:
            raise BackendInvalidResponse("The backend's answer is compressed in a way that cannot be read.") from error
        return b""

    def _begun(self) -> zlib._Decompress | None:
        """The decoder for the (next) part; None where its first two bytes are not there yet."""
        if self._gzip:  # a body may be several such files, one behind the other (RFC 1952, 2.2)
            self._input = self._input.lstrip(b"\0")  # and padded
            return zlib.decompressobj(_AS_GZIP) if self._input else None
        if len(self._input) < 2:
            return None
        # `deflate` is a zlib stream (RFC 9110, 8.4.1.2), but some servers send it bare.
        first, second = self._input[:2]
        is_zlib = first & 15 == 8 and (first << 8 | second) % 31 == 0
        return zlib.decompressobj(_AS_ZLIB if is_zlib else _BARE)
