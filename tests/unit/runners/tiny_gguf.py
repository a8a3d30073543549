"""Writes small GGUF files for tests: real enough for llama.cpp to load, with random weights that say nothing.

Source: the GGUF specification, ggml's docs/gguf.md.
"""

import random
import struct
from pathlib import Path

ALIGNMENT = 32
WIDTH, FEED_FORWARD, HEADS = 32, 64, 2


class Pair:
    """A key with its value already encoded: the type's number, then the bytes."""

    def __init__(self, key, kind, payload):
        self.bytes = text(key) + struct.pack("<I", kind) + payload


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def string(key, value):
    return Pair(key, 8, text(value))


def uint32(key, value):
    return Pair(key, 4, struct.pack("<I", value))


def float32(key, value):
    return Pair(key, 6, struct.pack("<f", value))


def boolean(key, value):
    return Pair(key, 7, struct.pack("<?", value))


def strings(key, values):
    return Pair(key, 9, struct.pack("<IQ", 8, len(values)) + b"".join(text(value) for value in values))


def int32s(key, values):
    return Pair(key, 9, struct.pack(f"<IQ{len(values)}i", 5, len(values), *values))


class Tensor:
    """F32 of the given shape, its fastest dimension first."""

    def __init__(self, name, *shape, kind=0, fill=None):
        self.name, self.shape, self.kind, self.fill = name, shape, kind, fill

    @property
    def elements(self):
        count = 1
        for size in self.shape:
            count *= size
        return count

    def data(self, source):
        if self.fill is not None:
            return struct.pack(f"<{self.elements}f", *[self.fill] * self.elements)
        return struct.pack(f"<{self.elements}f", *(source.gauss(0, 0.3) for _ in range(self.elements)))


def encode(pairs, tensors=(), *, version=3):
    """The bytes of a whole file."""
    source = random.Random(7)
    table, data = [], b""
    for tensor in tensors:
        data += b"\0" * (-len(data) % ALIGNMENT)
        table.append(
            text(tensor.name)
            + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
            + struct.pack("<IQ", tensor.kind, len(data))
        )
        data += tensor.data(source)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(pair.bytes for pair in pairs) + b"".join(table)
    return head + b"\0" * (-len(head) % ALIGNMENT) + data


def model_pairs(*, context=512, name="Tiny", template="{% for m in messages %}{{ m.content }}{% endfor %}", extra=()):
    pairs = [
        string("general.architecture", "llama"),
        string("general.name", name),
        string("general.license", "apache-2.0"),
        uint32("general.file_type", 0),
        uint32("llama.context_length", context),
        uint32("llama.embedding_length", WIDTH),
        uint32("llama.block_count", 1),
        uint32("llama.feed_forward_length", FEED_FORWARD),
        uint32("llama.attention.head_count", HEADS),
        uint32("llama.attention.head_count_kv", HEADS),
        uint32("llama.rope.dimension_count", WIDTH // HEADS),
        float32("llama.attention.layer_norm_rms_epsilon", 1e-5),
        *tokenizer_pairs(),
        *extra,
    ]
    if template is not None:
        pairs.append(string("tokenizer.chat_template", template))
    return pairs


def tokenizer_pairs():
    """One token a byte, as GPT-2 writes bytes, and an end that random weights seldom choose."""
    tokens = [*byte_tokens(), "<end>"]
    return [
        string("tokenizer.ggml.model", "gpt2"),
        string("tokenizer.ggml.pre", "qwen2"),
        strings("tokenizer.ggml.tokens", tokens),
        int32s("tokenizer.ggml.token_type", [1] * 256 + [3]),
        strings("tokenizer.ggml.merges", ["a b"]),
        uint32("tokenizer.ggml.eos_token_id", 256),
        boolean("tokenizer.ggml.add_bos_token", False),
    ]


def byte_tokens():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(printable))
    return [table[byte] for byte in range(256)]


def model_tensors():
    vocabulary = 257
    return [
        Tensor("token_embd.weight", WIDTH, vocabulary),
        Tensor("output_norm.weight", WIDTH, fill=1.0),
        Tensor("blk.0.attn_norm.weight", WIDTH, fill=1.0),
        Tensor("blk.0.attn_q.weight", WIDTH, WIDTH),
        Tensor("blk.0.attn_k.weight", WIDTH, WIDTH),
        Tensor("blk.0.attn_v.weight", WIDTH, WIDTH),
        Tensor("blk.0.attn_output.weight", WIDTH, WIDTH),
        Tensor("blk.0.ffn_norm.weight", WIDTH, fill=1.0),
        Tensor("blk.0.ffn_gate.weight", WIDTH, FEED_FORWARD),
        Tensor("blk.0.ffn_up.weight", WIDTH, FEED_FORWARD),
        Tensor("blk.0.ffn_down.weight", FEED_FORWARD, WIDTH),
    ]


def write_model(path: Path, **settings) -> Path:
    path.write_bytes(encode(model_pairs(**settings), model_tensors()))
    return path
