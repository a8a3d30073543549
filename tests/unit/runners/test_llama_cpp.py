"""The llama.cpp runner: what it tells of weights, and the command lines and settings that it starts."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
import structlog

from pluggably.domain.catalog import LocalModel
from pluggably.errors import InvalidRequest, ModelUnavailable
from pluggably.runners.llama_cpp import LlamaCpp, LlamaCppOptions
from pluggably.runners.runner import Placement

sys.path.insert(0, str(Path(__file__).parent))
import tiny_gguf as tiny

PLACEMENT = Placement(port=4321, secret="s3cret-s3cret", threads=7, parent_pid=99)
WHEEL = LlamaCpp(has_wheel=lambda: True)
PROGRAM = LlamaCpp(has_wheel=lambda: False, find_program=lambda name: f"/opt/{name}")
NEITHER = LlamaCpp(has_wheel=lambda: False, find_program=lambda name: None)


@pytest.fixture
def weights(tmp_path):
    return tiny.write_model(tmp_path / "tiny.gguf", context=1024)


def model_of(weights, **fields):
    return LocalModel(id="tiny", runner="llama.cpp", weights=str(weights), **fields)


def launch(runner, model, **options):
    decoded = msgspec.convert(options, LlamaCppOptions)
    return runner.launch(model, decoded, runner.describe(model, decoded), PLACEMENT)


def settings(model, **options):
    return json.loads(launch(WHEEL, model, **options).settings)


def write(tmp_path, pairs, tensors=(), name="x.gguf"):
    path = tmp_path / name
    path.write_bytes(tiny.encode(pairs, tensors or tiny.model_tensors()))
    return path


def test_describes_a_chat_model(weights):
    """A chat model's description says what the file says, and what its template knows."""
    description = WHEEL.describe(model_of(weights), LlamaCppOptions())
    assert (description.name, description.license, description.quantization) == ("Tiny", "apache-2.0", "F32")
    assert description.bytes == weights.stat().st_size
    assert description.output_modalities == ("text",)
    assert description.has_chat_template
    assert description.capabilities.tools is False
    assert (description.context_tokens, description.trained_context_tokens) == (1024, 1024)


def test_reads_capabilities_from_the_template(tmp_path):
    """Tools and reasoning are what the chat template renders."""
    path = tiny.write_model(tmp_path / "t.gguf", template="{{ tools }} <think>")
    capabilities = WHEEL.describe(model_of(path), LlamaCppOptions()).capabilities
    assert capabilities.tools is capabilities.reasoning is capabilities.json_schema is True


@pytest.mark.parametrize("mark", ["<think>", "{{ thinking_budget }}", "<|START_THINKING|>", "{{ reasoning_effort }}"])
def test_an_effort_is_for_templates_that_know_reasoning(tmp_path, mark):
    """To a model whose template has nothing of it, llama.cpp would ignore it without a word."""
    plain = model_of(tiny.write_model(tmp_path / "a.gguf", template="{{ messages }}"))
    thinks = model_of(tiny.write_model(tmp_path / "b.gguf", template=mark))
    for runner in (WHEEL, PROGRAM):
        assert launch(runner, plain).codec_options["lacks"] == ["reasoning"]
        assert launch(runner, thinks).codec_options["lacks"] == []


def test_describes_an_embedding_model(tmp_path):
    """Weights with a pooling, or of an encoder, only embed; they are started for it, each input in one batch."""
    pooled = write(tmp_path, tiny.model_pairs(extra=[tiny.uint32("llama.pooling_type", 2)]))
    encoder = write(tmp_path, [tiny.string("general.architecture", "nomic-bert")], name="y.gguf")
    for path, pooling in [(pooled, 2), (encoder, 1)]:
        description = WHEEL.describe(model_of(path), LlamaCppOptions())
        assert description.output_modalities == ("embedding",)
        assert description.capabilities.streaming is False
        assert settings(model_of(path))["pooling"] == pooling
        with pytest.raises(InvalidRequest):
            WHEEL.describe(model_of(path), LlamaCppOptions(embedding=False))
    assert settings(model_of(pooled), pooling="last")["pooling"] == 3


def test_a_chat_model_embeds_on_request(weights):
    """With `embedding: true` a chat model serves both."""
    model = model_of(weights)
    assert WHEEL.describe(model, LlamaCppOptions(embedding=True)).output_modalities == ("text", "embedding")
    assert settings(model, embedding=True)["pooling"] == 1
    assert settings(model)["pooling"] is None


@pytest.mark.parametrize(("asked", "given"), [(None, 1024), (256, 256), (4096, 1024)])
def test_context_is_a_generation_s_own(weights, asked, given):
    """The context is for each slot, and never above what the model was trained on, which is then logged."""
    with structlog.testing.capture_logs() as logs:
        assert settings(model_of(weights, context_tokens=asked, slots=3))["context_tokens"] == given
    assert [entry["event"] for entry in logs] == (["context_above_trained"] if asked == 4096 else [])
    command = launch(PROGRAM, model_of(weights, context_tokens=asked, slots=3)).command
    assert command[command.index("--ctx-size") + 1] == str(3 * given)


def test_a_long_context_is_not_taken_unasked(tmp_path):
    """A trained length of 131,072 tokens is used only where the config asks for it."""
    path = tiny.write_model(tmp_path / "long.gguf", context=131_072)
    assert settings(model_of(path))["context_tokens"] == 8192
    assert settings(model_of(path, context_tokens=100_000))["context_tokens"] == 100_000


def test_threads(weights, tmp_path):
    """A tiny model gets one thread, another its share, and an option is obeyed."""
    assert settings(model_of(weights))["threads"] == 1
    assert settings(model_of(weights), threads=3)["threads"] == 3
    table_only = tiny.Tensor("w", 8_000_000, 8, kind=1)
    path = tmp_path / "large.gguf"
    table_only.data = lambda source: b""
    path.write_bytes(tiny.encode(tiny.model_pairs(), [table_only]))
    with path.open("r+b") as file:
        file.truncate(150_000_000)
    assert settings(model_of(path))["threads"] == 7


def test_the_secret_is_on_no_command_line(weights):
    """The secret goes by standard input or environment, and the endpoint's header carries it."""
    wheel, program = launch(WHEEL, model_of(weights)), launch(PROGRAM, model_of(weights))
    for started in (wheel, program):
        assert not any(PLACEMENT.secret in word for word in started.command)
        assert started.headers["Authorization"] == f"Bearer {PLACEMENT.secret}"
        assert started.always_streams
    assert json.loads(wheel.settings)["secret"] == PLACEMENT.secret
    assert PLACEMENT.secret not in str(wheel.env)
    assert program.env["LLAMA_API_KEY"] == PLACEMENT.secret


def test_the_wheel_ends_itself_and_a_program_is_guarded(weights):
    """Our own child dies with its parent by itself; llama-server needs the guard and listens where we say."""
    wheel, program = launch(WHEEL, model_of(weights)), launch(PROGRAM, model_of(weights), gpu_layers=9, pooling="cls")
    assert (wheel.guarded, wheel.address) == (False, "announced")
    assert (program.guarded, program.address) == (True, "chosen")
    assert program.command[0] == "/opt/llama-server"
    assert program.command[program.command.index("--port") + 1] == "4321"
    assert program.command[program.command.index("--n-gpu-layers") + 1] == "9"
    assert "--embedding" not in program.command, "a pooling alone makes no embedding model"
    assert program.env["LLAMA_ARG_CORS_ORIGINS"] == "http://127.0.0.1"


def test_says_what_to_install(weights):
    """Without an engine the error says exactly what to install."""
    with pytest.raises(ModelUnavailable, match=r"pip install xllamacpp.*llama-server.*PATH"):
        NEITHER.describe(model_of(weights), LlamaCppOptions())


def test_unusable_weights_read_well(tmp_path, weights):
    """Missing, foreign, truncated and empty weights, a folder and none at all are each told as what they are."""
    garbage, truncated, empty = (tmp_path / name for name in ("garbage.gguf", "cut.gguf", "empty.gguf"))
    garbage.write_bytes(b"\x89PNG" * 100)
    truncated.write_bytes(weights.read_bytes()[:-100])
    empty.write_bytes(b"")
    for path, reason in [
        (tmp_path / "none.gguf", "missing: there is no file none.gguf"),
        (garbage, "not a GGUF file"),
        (truncated, "truncated"),
        (empty, "empty"),
        (tmp_path, "folder"),
    ]:
        with pytest.raises(ModelUnavailable, match=reason) as refused:
            WHEEL.describe(model_of(path), LlamaCppOptions())
        assert str(tmp_path) not in refused.value.detail, "paths of the machine are not the client's business"
    with pytest.raises(ModelUnavailable, match="has no weights"):
        WHEEL.describe(LocalModel(id="m", runner="llama.cpp"), LlamaCppOptions())


def test_files_that_are_no_model(tmp_path):
    """Adapters, projectors, rerankers and files without tensors are refused by name."""
    for pairs, reason in [
        ([tiny.string("general.architecture", "llama"), tiny.string("general.type", "adapter")], "part for another"),
        ([tiny.string("general.architecture", "clip")], "part for another"),
        ([tiny.string("general.architecture", "bert"), tiny.uint32("bert.pooling_type", 4)], "reranker"),
        ([], "no architecture"),
    ]:
        with pytest.raises(ModelUnavailable, match=reason):
            WHEEL.describe(model_of(write(tmp_path, pairs)), LlamaCppOptions())


def test_split_weights(tmp_path):
    """Weights in parts are measured together, and a missing part is named."""
    pairs = tiny.model_pairs(extra=[tiny.uint32("split.count", 2)])
    first = write(tmp_path, pairs, name="m-00001-of-00002.gguf")
    with pytest.raises(ModelUnavailable, match=r"no file m-00002-of-00002\.gguf"):
        WHEEL.describe(model_of(first), LlamaCppOptions())
    second = write(tmp_path, [], name="m-00002-of-00002.gguf")
    size = WHEEL.describe(model_of(first), LlamaCppOptions()).bytes
    assert size == first.stat().st_size + second.stat().st_size


@pytest.mark.parametrize("wrong", [{"colour": 1}, {"threads": 0}, {"pooling": "rank"}, {"cache_ram_mib": -1}])
def test_options_are_strict(wrong):
    """An unknown option, or a value out of range, is refused."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, LlamaCppOptions)
