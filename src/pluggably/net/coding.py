"""Undoes gzip and deflate, a bounded piece at a time: a few bytes can stand for gigabytes, and those must neither fill
the memory nor hold the loop."""

from __future__ import annotations

import zlib

from pluggably.errors import BackendInvalidResponse

# What one step makes at most, and looks at; some 0.2 ms of work.
PIECE_BYTES = 64 * 1024
# Parts without a byte in them, one behind the other. Some programs end their files with one; more have no use but to
# be work that counts nowhere.
MOST_EMPTY_PARTS = 64
_AS_GZIP = 16 + zlib.MAX_WBITS
_AS_ZLIB = zlib.MAX_WBITS
_BARE = -zlib.MAX_WBITS


class Inflater:
    """One answer's body. `feed` gives it what came, `step` takes the next piece of what that means."""

    __slots__ = ("_at", "_empty_parts", "_gzip", "_inflate", "_input")

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inflate: zlib._Decompress | None = None  # for the present part
        self._input = b""
        self._at = 0  # what of the input has been used
        self._empty_parts = 0

    def feed(self, data: bytes) -> None:
        self._input = self._input[self._at :] + data
        self._at = 0

    @property
    def has_more(self) -> bool:
        """Whether `step` may have another piece without more input."""
        return self._at < len(self._input)

    @property
    def is_whole(self) -> bool:
        """Whether what came is complete as it stands; so is nothing at all."""
        return not self.has_more and (self._inflate is None or self._inflate.eof)

    def step(self) -> bytes:
        """The next piece; nothing where more input is needed. Raises: BackendInvalidResponse."""
        try:
            while self._at < len(self._input):
                if self._inflate is None or self._inflate.eof:
                    self._inflate = self._begun()
                    if self._inflate is None:
                        return b""
                # Not all at once: what a part leaves is copied, for each of them.
                window = self._input[self._at : self._at + PIECE_BYTES]
                piece = self._inflate.decompress(window, PIECE_BYTES)
                left = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
                self._at += len(window) - len(left)
                if self._inflate.eof and not self._gzip:
                    self._at = len(self._input)  # deflate has one part only; what follows it is padding
                if piece:
                    self._empty_parts = 0
                    return piece
                self._empty_parts += self._inflate.eof
                if self._empty_parts > MOST_EMPTY_PARTS:
                    raise BackendInvalidResponse("The backend's answer is compressed without anything in it.")
        except zlib.error as error:
            raise BackendInvalidResponse("The backend's answer is compressed in a way that cannot be read.") from error
        return b""

    def _begun(self) -> zlib._Decompress | None:
        """The decoder for the (next) part; None where its first two bytes are not there yet."""
        if self._gzip:  # a body may be several such files, one behind the other (RFC 1952, 2.2)
            if self._input[self._at] == 0:  # and padded
                self._input, self._at = self._input[self._at :].lstrip(b"\0"), 0
            return zlib.decompressobj(_AS_GZIP) if self.has_more else None
        if len(self._input) < 2:
            return None
        # `deflate` is a zlib stream (RFC 9110, 8.4.1.2), but some servers send it bare.
        first, second = self._input[:2]
        is_zlib = first & 15 == 8 and (first << 8 | second) % 31 == 0
        return zlib.decompressobj(_AS_ZLIB if is_zlib else _BARE)
