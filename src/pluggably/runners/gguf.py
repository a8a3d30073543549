"""The head of a GGUF file: what llama.cpp's models say about themselves, read without their weights.

Reads the key-value pairs and the tensor table through a buffered file, never a tensor, and checks that the file is
as long as its table says. A file may come from anywhere, so every count is held against the bytes that are left
before anything is made of it. What surprises: long arrays (a vocabulary has 250,000 strings) are walked, not kept.

Source: the GGUF specification, ggml's docs/gguf.md (version 3, read November 2026); sizes of blocks: ggml's
`type_traits`; names of file types: `enum llama_ftype` in llama.cpp's include/llama.h.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from msgspec import Struct

Value: TypeAlias = int | float | bool | str | list[Any]

MAX_HEAD_BYTES = 512 * 1024 * 1024
MAX_STRING_BYTES = 16 * 1024 * 1024
MAX_KEY_BYTES = 65535
MAX_PAIRS = 65_536
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 8
# Elements of arrays that are walked one by one, in all: a vocabulary of 250,000 tokens and its merges have 800,000.
MAX_WALKED_ELEMENTS = 4_000_000
MAX_ARRAY_DEPTH = 3
# Arrays up to this length are kept if they are numbers: per-layer head counts are wanted, vocabularies are not.
MAX_KEPT_ARRAY = 1024
DEFAULT_ALIGNMENT = 32
BUFFER_BYTES = 1024 * 1024

# value type → struct format; 8 is a string, 9 an array
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

# tensor type → (elements a block, bytes a block)
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip

_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0",
}  # fmt: skip

# llama.cpp's `enum llama_pooling_type`
_POOLING = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}


class GGUFError(ValueError):
    """The file is not a GGUF file that can be read; the text says why, and is fit to be shown."""


class GGUFHead(Struct, frozen=True, kw_only=True):
    """What the head says. `tensor_bytes` and `parameter_count` are sums over the table of this one file."""

    version: int
    pairs: dict[str, Value]
    vocabulary_size: int | None
    tensor_count: int
    parameter_count: int
    tensor_bytes: int
    file_bytes: int

    def text(self, key: str) -> str | None:
        value = self.pairs.get(key)
        return value if isinstance(value, str) and value else None

    def number(self, key: str) -> int | None:
        value = self.pairs.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def architecture(self) -> str | None:
        return self.text("general.architecture")

    @property
    def quantization(self) -> str | None:
        file_type = self.number("general.file_type")
        return None if file_type is None else _FILE_TYPES.get(file_type)

    @property
    def pooling(self) -> str | None:
        number = self._own("pooling_type")
        return None if number is None else _POOLING.get(number)

    @property
    def context_length(self) -> int | None:
        return self._own("context_length")

    @property
    def block_count(self) -> int | None:
        return self._own("block_count")

    @property
    def embedding_length(self) -> int | None:
        return self._own("embedding_length")

    @property
    def head_count(self) -> int | None:
        return self._own("attention.head_count")

    @property
    def kv_head_counts(self) -> list[int] | None:
        """One number a layer, where the file gives one or many."""
        value = self.pairs.get(f"{self.architecture}.attention.head_count_kv", self.head_count)
        if isinstance(value, list):
            return [int(count) for count in value]
        return None if value is None or self.block_count is None else [int(value)] * min(self.block_count, 4096)

    @property
    def size_label(self) -> str | None:
        return self.text("general.size_label")

    @property
    def license(self) -> str | None:
        return self.text("general.license") or self.text("general.license.name")

    @property
    def chat_template(self) -> str | None:
        return self.text("tokenizer.chat_template")

    @property
    def split_count(self) -> int:
        """How many files the weights are split over."""
        return self.number("split.count") or 1

    def _own(self, key: str) -> int | None:
        return self.number(f"{self.architecture}.{key}")


def read_head(path: Path) -> GGUFHead:
    """Raises: GGUFError, OSError."""
    with path.open("rb", buffering=0) as file:
        return _read(_Cursor(file, os.fstat(file.fileno()).st_size))


def shards(path: Path, count: int) -> list[Path]:
    """The files that weights split over `count` files have, given the first: `name-00001-of-00003.gguf`.

    Source: llama.cpp's `llama_split_path`. Raises: GGUFError."""
    if count == 1:
        return [path]
    ending = f"-00001-of-{count:05d}.gguf"
    if count > 99_999 or not path.name.endswith(ending):
        raise GGUFError(f"It is one of {count} parts, and not named as the first of them (“…{ending}”).")
    stem = path.name.removesuffix(ending)
    return [path.with_name(f"{stem}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]


class _Cursor:
    """A place in the file, with what was read ahead."""

    def __init__(self, file: BinaryIO | Any, size: int) -> None:
        self._file = file
        self._buffer = b""
        self._offset = 0
        self._buffer_start = 0
        self._walk_left = MAX_WALKED_ELEMENTS
        self.size = size

    @property
    def position(self) -> int:
        return self._buffer_start + self._offset

    @property
    def left(self) -> int:
        return self.size - self.position

    def take(self, count: int) -> bytes:
        start = self._offset
        end = start + count
        if end > len(self._buffer):
            self._fill(count)
            start, end = 0, count
        self._offset = end
        return self._buffer[start:end]

    def skip(self, count: int) -> None:
        if count > self.left:
            raise self.truncated()
        if self._offset + count <= len(self._buffer):
            self._offset += count
            return
        target = self.position + count
        self._check_head(target)
        self._file.seek(target)
        self._buffer, self._buffer_start, self._offset = b"", target, 0

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self, limit: int = MAX_STRING_BYTES) -> str:
        length = self.number("Q")
        if length > self.left:
            raise self.truncated()
        if length > limit:
            raise GGUFError(f"A text in its head has {length} bytes; at most {limit} are read.")
        return self.take(length).decode("utf-8", "replace")

    def skip_texts(self, count: int) -> None:
        """A vocabulary: most of the time of reading a head goes here, so it works on the buffer itself."""
        unpack = struct.Struct("<Q").unpack_from
        buffer, offset, size = self._buffer, self._offset, len(self._buffer)
        for _ in range(count):
            if offset + 8 > size:
                self._offset = min(offset, size)
                self._fill(8)
                buffer, offset, size = self._buffer, 0, len(self._buffer)
            offset += 8 + unpack(buffer, offset)[0]
            if offset > size:
                self._offset = size
                self.skip(offset - size)
                buffer, offset, size = self._buffer, self._offset, len(self._buffer)
        self._offset = offset

    def walk(self, count: int, least_bytes: int) -> None:
        """Is called before `count` elements, each of `least_bytes` or more, are walked one by one."""
        if count * least_bytes > self.left:
            raise self.truncated()
        self._walk_left -= count
        if self._walk_left < 0:
            raise GGUFError(f"The arrays of its head have more than {MAX_WALKED_ELEMENTS} elements.")

    def truncated(self) -> GGUFError:
        return GGUFError(f"It ends in the middle of its head, at {self.size} bytes: it is truncated or broken.")

    def _fill(self, count: int) -> None:
        """Brings at least `count` bytes from the present position to the front of the buffer."""
        position = self.position
        if count > self.size - position:
            raise self.truncated()
        self._check_head(position + count)
        pieces = [self._buffer[self._offset :]]
        have = len(pieces[0])
        self._file.seek(position + have)
        while have < count:
            piece = self._file.read(max(BUFFER_BYTES, count - have))
            if not piece:
                raise self.truncated()
            pieces.append(piece)
            have += len(piece)
        self._buffer, self._buffer_start, self._offset = b"".join(pieces), position, 0

    def _check_head(self, end: int) -> None:
        if end > MAX_HEAD_BYTES:
            raise GGUFError(f"Its head is longer than {MAX_HEAD_BYTES} bytes.")


def _read(cursor: _Cursor) -> GGUFHead:
    version, tensor_count, pair_count = _read_counts(cursor)
    pairs: dict[str, Value] = {}
    vocabulary_size = None
    for _ in range(pair_count):
        key = cursor.text(MAX_KEY_BYTES)
        value, length = _read_value(cursor, cursor.number("I"), MAX_ARRAY_DEPTH)
        if key == "tokenizer.ggml.tokens":
            vocabulary_size = length
        if value is not None:
            pairs[key] = value
    alignment = pairs.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20:
        raise GGUFError("Its alignment is not a sensible number.")
    parameters, tensor_bytes, data_end = _read_tensors(cursor, tensor_count)
    data_start = -(-cursor.position // alignment) * alignment
    if tensor_count and data_start + data_end > cursor.size:
        raise GGUFError(
            f"It is truncated: it has {cursor.size} of {data_start + data_end} bytes. Download or copy it again."
        )
    return GGUFHead(
        version=version,
        pairs=pairs,
        vocabulary_size=vocabulary_size,
        tensor_count=tensor_count,
        parameter_count=parameters,
        tensor_bytes=tensor_bytes,
        file_bytes=cursor.size,
    )


def _read_counts(cursor: _Cursor) -> tuple[int, int, int]:
    if cursor.size == 0:
        raise GGUFError("It is empty.")
    if cursor.size < 24 or cursor.take(4) != b"GGUF":
        raise GGUFError("It is not a GGUF file.")
    version = cursor.number("I")
    if version & 0xFFFF == 0:
        raise GGUFError("It is a GGUF file for big-endian machines.")
    if version not in (2, 3):
        raise GGUFError(f"It has version {version} of GGUF; 2 and 3 can be read.")
    tensor_count, pair_count = cursor.number("Q"), cursor.number("Q")
    # The shortest pair has a key's length, a type and one byte; the shortest tensor entry a length and four numbers.
    if pair_count > min(MAX_PAIRS, cursor.left // 13) or tensor_count > min(MAX_TENSORS, cursor.left // 24):
        raise GGUFError(
            f"It claims {tensor_count} tensors and {pair_count} entries, which cannot be: it is truncated or broken."
        )
    return version, tensor_count, pair_count


def _read_value(cursor: _Cursor, kind: int, depth: int) -> tuple[Value | None, int]:
    """The value, None for an array that is not kept, and how many elements it has."""
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind]), 1
    if kind == _STRING:
        return cursor.text(), 1
    if kind == _ARRAY:
        return _read_array(cursor, depth)
    raise GGUFError(f"An entry of its head has the unknown type {kind}.")


def _read_array(cursor: _Cursor, depth: int) -> tuple[Value | None, int]:
    kind, count = cursor.number("I"), cursor.number("Q")
    if kind in _SCALARS:
        width = struct.calcsize("<" + _SCALARS[kind])
        if count * width > cursor.left:
            raise cursor.truncated()
        if count > MAX_KEPT_ARRAY:
            cursor.skip(count * width)
            return None, count
        return list(struct.unpack(f"<{count}{_SCALARS[kind]}", cursor.take(count * width))), count
    if kind == _STRING:
        cursor.walk(count, 8)
        cursor.skip_texts(count)
        return None, count
    if kind != _ARRAY:
        raise GGUFError(f"An array of its head has the unknown type {kind}.")
    if depth == 0:
        raise GGUFError("Its head has arrays nested too deeply.")
    cursor.walk(count, 12)
    for _ in range(count):
        _read_array(cursor, depth - 1)
    return None, count


def _read_tensors(cursor: _Cursor, count: int) -> tuple[int, int, int]:
    """The number of parameters, the bytes of all tensors, and where the last byte of them is, from the data's
    start. A tensor of a type that is not known here counts with its first byte only."""
    parameters = tensor_bytes = data_end = 0
    for _ in range(count):
        cursor.text(MAX_KEY_BYTES)
        dimensions = cursor.number("I")
        if dimensions > MAX_DIMENSIONS:
            raise GGUFError(f"A tensor has {dimensions} dimensions; the head is broken.")
        elements = 1
        for size in struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions)):
            elements *= size
        kind, offset = cursor.number("I"), cursor.number("Q")
        block_elements, block_bytes = _BLOCKS.get(kind, (1, 0))
        size_bytes = -(-elements // block_elements) * block_bytes
        parameters += elements
        tensor_bytes += size_bytes
        data_end = max(data_end, offset + size_bytes)
    return parameters, tensor_bytes, data_end
