"""The reader of GGUF heads: what it tells of good files, and how quickly and clearly it refuses bad ones."""

import struct
import sys
from pathlib import Path

import pytest
from work import lines_run

from pluggably.runners.gguf import GGUFError, read_head, shards

sys.path.insert(0, str(Path(__file__).parent))
import tiny_gguf as tiny

# What a file may cost, however hostile; the worst one that is read whole costs a tenth.
WORST_LINES = 10_000_000


def head_of(tmp_path, raw):
    path = tmp_path / "x.gguf"
    path.write_bytes(raw)
    return read_head(path)


def refusal(tmp_path, raw):
    """The reason for which a file is refused, which must not take much work."""
    refused = []

    def read():
        with pytest.raises(GGUFError) as reason:
            head_of(tmp_path, raw)
        refused.append(str(reason.value))

    assert lines_run(read) < WORST_LINES
    return refused[0]


def whole():
    return tiny.encode(tiny.model_pairs(), tiny.model_tensors())


def raw_array(key, kind, count, payload=b""):
    return tiny.Pair(key, 9, struct.pack("<IQ", kind, count) + payload)


def test_a_good_head(tmp_path):
    """Name, license, sizes, heads and template are read, and vocabularies are counted, not kept."""
    head = head_of(tmp_path, whole())
    assert (head.architecture, head.text("general.name"), head.license) == ("llama", "Tiny", "apache-2.0")
    assert (head.context_length, head.block_count, head.embedding_length) == (512, 1, 32)
    assert (head.head_count, head.kv_head_counts) == (2, [2])
    assert (head.quantization, head.pooling, head.split_count) == ("F32", None, 1)
    assert head.chat_template is not None
    assert head.vocabulary_size == 257
    assert "tokenizer.ggml.tokens" not in head.pairs
    assert head.parameter_count == sum(tensor.elements for tensor in tiny.model_tensors())
    assert head.tensor_bytes == 4 * head.parameter_count
    assert head.file_bytes == len(whole())


def test_the_demo_model():
    """The demo model that is shipped can be read."""
    path = Path(sys.modules["pluggably"].__file__).parent / "demo" / "demo.gguf"
    if not path.exists():
        pytest.skip("the demo model is not built")
    head = read_head(path)
    assert head.quantization == "Q8_0"
    assert head.chat_template is not None


def test_quantized_tensors_are_measured_in_blocks(tmp_path):
    """The bytes of a quantized tensor are counted by its type's blocks: Q8_0 has 34 bytes for 32 elements."""
    table = tiny.text("w") + struct.pack("<I2Q", 2, 64, 2) + struct.pack("<IQ", 8, 0)
    raw = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + table
    raw += b"\0" * (-len(raw) % 32)
    head = head_of(tmp_path, raw + b"\0" * 136)
    assert (head.parameter_count, head.tensor_bytes) == (128, 136)
    assert "truncated" in refusal(tmp_path, raw + b"\0" * 135)


def test_pooling_and_per_layer_heads(tmp_path):
    """An embedding model's pooling and an array of head counts are read under the architecture's own keys."""
    pairs = [
        tiny.string("general.architecture", "qwen3"),
        tiny.uint32("qwen3.pooling_type", 3),
        tiny.int32s("qwen3.attention.head_count_kv", [8, 0, 8]),
    ]
    head = head_of(tmp_path, tiny.encode(pairs))
    assert (head.pooling, head.kv_head_counts) == ("last", [8, 0, 8])


def test_every_truncation_is_refused(tmp_path):
    """A file that ends anywhere before its end is refused, whether in its head or in its tensors."""
    raw = whole()
    for size in [*range(400), *range(400, len(raw), 997), len(raw) - 1]:
        reason = refusal(tmp_path, raw[:size])
        assert size < 400 or "truncated" in reason, (size, reason)


def test_a_head_longer_than_the_buffer(tmp_path):
    """Values that cross the reader's buffer, and arrays longer than it, are read as others are."""
    long = "x" * 1_500_000
    pairs = [
        tiny.string("general.architecture", "llama"),
        tiny.strings("tokenizer.ggml.tokens", ["token"] * 100_000 + [long] + ["t"] * 7),
        tiny.string("general.name", long),
        tiny.int32s("tokenizer.ggml.token_type", range(600_000)),
        tiny.uint32("llama.context_length", 99),
    ]
    head = head_of(tmp_path, tiny.encode(pairs))
    assert head.vocabulary_size == 100_008
    assert head.text("general.name") == long
    assert head.context_length == 99


def test_foreign_files(tmp_path):
    """What is no GGUF file, or none for this machine, is told apart."""
    assert "empty" in refusal(tmp_path, b"")
    assert "not a GGUF" in refusal(tmp_path, b"PK\x03\x04" + b"\0" * 100)
    assert "not a GGUF" in refusal(tmp_path, b"GGUF")
    assert "big-endian" in refusal(tmp_path, b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + b"\0" * 100)
    assert "version 1" in refusal(tmp_path, b"GGUF" + struct.pack("<IQQ", 1, 0, 0) + b"\0" * 100)
    with pytest.raises(FileNotFoundError):
        read_head(tmp_path / "none.gguf")


@pytest.mark.parametrize(
    "pairs",
    [
        [raw_array("a", 8, 1 << 60)],
        [raw_array("a", 4, 1 << 62)],
        [raw_array("a", 9, 1 << 40)],
        [raw_array("a", 77, 1)],
        [tiny.Pair("a", 77, b"")],
        [tiny.Pair("a", 8, struct.pack("<Q", 1 << 63))],
        [tiny.Pair("a", 9, struct.pack("<IQ", 9, 1) * 5000)],
        [raw_array("a", 8, 1, struct.pack("<Q", 1 << 50))],
        [tiny.uint32("general.alignment", 0)],
        [tiny.string("general.alignment", "x")],
    ],
)
def test_hostile_values(tmp_path, pairs):
    """Huge counts and lengths, unknown types and deep nesting are refused at once."""
    assert refusal(tmp_path, tiny.encode(pairs) + b"\0" * 1000)


def test_hostile_counts(tmp_path):
    """Counts of tensors or entries that no file of this size can have are refused before they are walked."""
    for tensors, pairs in [(1 << 63, 0), (0, 1 << 63), (50_000, 0), (0, 10_000)]:
        raw = b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + b"\0" * 4096
        assert "cannot be" in refusal(tmp_path, raw)


def test_many_short_elements_are_bounded(tmp_path):
    """A large file of nothing but empty strings is refused by their number, not walked to its end."""
    raw = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + tiny.text("a") + struct.pack("<IIQ", 9, 8, 5_000_000)
    path = tmp_path / "sparse.gguf"
    path.write_bytes(raw)
    with path.open("r+b") as file:
        file.truncate(100_000_000)

    def read():
        with pytest.raises(GGUFError, match="elements"):
            read_head(path)

    assert lines_run(read) < WORST_LINES


def test_too_many_dimensions(tmp_path):
    """A tensor with more dimensions than a tensor has is refused."""
    table = tiny.text("w") + struct.pack("<I", 1 << 30)
    assert "dimensions" in refusal(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + table + b"\0" * 64)


def test_shards():
    """The other parts of split weights are named after the first."""
    names = [path.name for path in shards(Path("/m/a-00001-of-00003.gguf"), 3)]
    assert names == ["a-00001-of-00003.gguf", "a-00002-of-00003.gguf", "a-00003-of-00003.gguf"]
    assert shards(Path("a.gguf"), 1) == [Path("a.gguf")]
    with pytest.raises(GGUFError, match="named"):
        shards(Path("a.gguf"), 2)
