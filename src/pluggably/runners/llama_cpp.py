"""GGUF models by llama.cpp: the xllamacpp wheel's server in a child of ours, or a `llama-server` on the PATH.

The gateway never imports xllamacpp (22 MB, and a crash of it would be ours); it only looks whether it is there.
What surprises: an embedding model is started with other settings than a chat model, and so is a very small one, which
runs seven times faster on one thread than on two. llama.cpp notices a lost client only while it streams, so it is
always asked for a stream.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
import structlog
from msgspec import Meta, Struct

from pluggably.domain.catalog import Capabilities, Description, LocalModel
from pluggably.domain.generation import Modality
from pluggably.errors import InvalidRequest, ModelUnavailable
from pluggably.runners import llama_cpp_child
from pluggably.runners.gguf import GGUFError, GGUFHead, read_head, shards
from pluggably.runners.runner import Launch, Placement

Pooling: TypeAlias = Literal["mean", "cls", "last"]
FlashAttention: TypeAlias = Literal["auto", "on", "off"]

# Where neither the config nor the weights ask for less: a trained length of 131,072 tokens would take many gigabytes.
DEFAULT_CONTEXT_TOKENS = 8192
FALLBACK_CONTEXT_TOKENS = 2048
TINY_PARAMETERS = 30_000_000
CORS_ORIGIN = "http://127.0.0.1"

# llama.cpp's `enum llama_pooling_type` and `enum llama_flash_attn_type`
_POOLING_NUMBERS = {"mean": 1, "cls": 2, "last": 3}
_FLASH_ATTENTION_NUMBERS = {"auto": -1, "off": 0, "on": 1}
_AUTO_GPU_LAYERS = -1

# Architectures of encoders, which have no other use than embedding. Source: llama.cpp's src/llama-arch.cpp.
_ENCODERS = frozenset(
    {
        "bert",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "jina-bert-v2",
        "jina-bert-v3",
        "eurobert",
        "gemma-embedding",
    }
)
# In lower case, what the chat templates of models that reason have: the names of the variables by which it is turned on
# (`enable_thinking`, `thinking_budget`, `reasoning_effort`) or handed back, and the marks around it. Source: the
# formats that llama.cpp tells apart, common/chat.cpp, 2026-11.
_REASONING_MARKS = (
    "thinking",
    "<think",
    "[think]",
    ":think>",
    "◁think▷",
    "reasoning_",
    "<|channel|>",
    "<|inner_prefix|>",
)

# How llama.cpp's server differs from the common form of OpenAI's wire. No input but text: without a projector file
# ("mmproj"), which this runner does not load, it takes no other. Source: llama.cpp's tools/server/README.md, 2026-11.
CODEC_OPTIONS: dict[str, Any] = {
    "lacks": [],
    "reasoning_back": "reasoning_content",
    "least_top_logprobs": 1,
    "embedding_encoding": "base64",
    "inputs": [],
}

INSTALL_HINT = (
    "llama.cpp is not installed. Run `pip install xllamacpp` in the gateway's Python environment, "
    "or put llama.cpp's `llama-server` on the PATH, then restart the gateway."
)

log = structlog.get_logger(__name__)


class LlamaCppOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's `options`.

    `threads`: of the processor; by default a fair share of it, and one for tiny models. `gpu_layers`: how many layers
    go to the GPU; by default as many as fit. `cache_ram_mib`: how much memory llama.cpp may take to keep prompts of
    earlier requests. `embedding`: whether embeddings are served; by default where the weights are made for it.
    `pooling`: how a text's vector is made from its tokens' vectors; by default as the weights say, else the mean.
    `extra_body`: fields of llama.cpp's own chat body that stand where a request says nothing, such as `temperature`.
    """

    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    gpu_layers: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    cache_ram_mib: Annotated[int, Meta(ge=0, le=1 << 20)] = 256
    flash_attention: FlashAttention = "auto"
    embedding: bool | None = None
    pooling: Pooling | None = None
    extra_body: dict[str, Any] = {}


class LlamaCpp:
    """The runner `llama.cpp`. The parameters are there for tests: how the wheel and the program are looked for."""

    Options: ClassVar[type[Struct]] = LlamaCppOptions

    def __init__(
        self,
        *,
        has_wheel: Callable[[], bool] = lambda: importlib.util.find_spec("xllamacpp") is not None,
        find_program: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self._has_wheel = has_wheel
        self._find_program = find_program

    def describe(self, model: LocalModel, options: LlamaCppOptions) -> Description:
        head, size_bytes = _read_weights(model)
        description = _describe(head, size_bytes, model, options)
        self._program()
        return description

    def launch(
        self, model: LocalModel, options: LlamaCppOptions, description: Description, placement: Placement
    ) -> Launch:
        if model.weights is None:
            raise _no_weights(model)
        context_tokens = description.context_tokens or FALLBACK_CONTEXT_TOKENS
        _warn_of_context(model, description)
        tiny = (description.parameter_count or TINY_PARAMETERS) < TINY_PARAMETERS
        threads = options.threads or (1 if tiny else placement.threads)
        embeds = "embedding" in (description.output_modalities or ())
        pooling = options.pooling or _weights_pooling(Path(model.weights)) or "mean" if embeds else None
        codec_options = _codec_options(options, description)
        program = self._program()
        if program is None:
            return _launch_wheel(model, options, placement, context_tokens, threads, pooling, codec_options)
        return _launch_program(program, model, options, placement, context_tokens, threads, pooling, codec_options)

    def _program(self) -> str | None:
        """The `llama-server` to start, or None for the wheel. Raises: ModelUnavailable."""
        if self._has_wheel():
            return None
        program = self._find_program("llama-server")
        if program is None:
            raise ModelUnavailable(INSTALL_HINT)
        return program


def _launch_wheel(
    model: LocalModel,
    options: LlamaCppOptions,
    placement: Placement,
    context_tokens: int,
    threads: int,
    pooling: Pooling | None,
    codec_options: dict[str, Any],
) -> Launch:
    gpu_layers = _AUTO_GPU_LAYERS if options.gpu_layers is None else options.gpu_layers
    settings = {
        "weights": model.weights,
        "alias": model.id,
        "secret": placement.secret,
        "parent_pid": placement.parent_pid,
        "context_tokens": context_tokens,
        "slots": model.slots,
        "threads": threads,
        "gpu_layers": gpu_layers,
        "cache_ram_mib": options.cache_ram_mib,
        "flash_attention": _FLASH_ATTENTION_NUMBERS[options.flash_attention],
        "pooling": None if pooling is None else _POOLING_NUMBERS[pooling],
    }
    # -P keeps this folder off the child's path, where `gguf.py` would hide the package of that name.
    return Launch(
        command=[sys.executable, "-P", llama_cpp_child.__file__],
        settings=msgspec.json.encode(settings) + b"\n",
        guarded=False,
        address="announced",
        model=model.id,
        codec_options=codec_options,
        headers=_headers(placement),
        always_streams=True,
    )


def _launch_program(
    program: str,
    model: LocalModel,
    options: LlamaCppOptions,
    placement: Placement,
    context_tokens: int,
    threads: int,
    pooling: Pooling | None,
    codec_options: dict[str, Any],
) -> Launch:
    """What older builds of llama-server have goes by flag; what they may lack goes by environment, which they ignore
    where they would refuse a flag. Source: llama.cpp's tools/server/README.md, November 2026."""
    command = [program, "--model", str(model.weights), "--alias", model.id]
    command += ["--host", "127.0.0.1", "--port", str(placement.port)]
    command += ["--ctx-size", str(context_tokens * model.slots), "--parallel", str(model.slots)]
    command += ["--threads", str(threads), "--jinja", "--no-webui"]
    if options.gpu_layers is not None:
        command += ["--n-gpu-layers", str(options.gpu_layers)]
    if pooling is not None:
        command += ["--embedding", "--pooling", pooling]
        command += ["--batch-size", str(context_tokens), "--ubatch-size", str(context_tokens)]
    env = {
        "LLAMA_API_KEY": placement.secret,
        "LLAMA_ARG_CACHE_RAM": str(options.cache_ram_mib),
        "LLAMA_ARG_CORS_ORIGINS": CORS_ORIGIN,
        "LLAMA_ARG_ENDPOINT_METRICS": "1",
        "LLAMA_ARG_ENDPOINT_SLOTS": "1",
        "LLAMA_ARG_LOG_PREFIX": "1",
        "LLAMA_ARG_LOG_VERBOSITY": str(llama_cpp_child.LOG_VERBOSITY),
        "GGML_NO_BACKTRACE": "1",
    }
    if options.flash_attention != "auto":
        env["LLAMA_ARG_FLASH_ATTN"] = options.flash_attention
    return Launch(
        command=command,
        env=env,
        address="chosen",
        model=model.id,
        codec_options=codec_options,
        headers=_headers(placement),
        always_streams=True,
    )


def _codec_options(options: LlamaCppOptions, description: Description) -> dict[str, Any]:
    """A model whose chat template knows no reasoning takes no effort: llama.cpp ignores it without a word."""
    lacks = ["reasoning"] if description.capabilities.reasoning is False else []
    return {**CODEC_OPTIONS, "lacks": lacks, "extra_body": options.extra_body}


def _headers(placement: Placement) -> dict[str, str]:
    return {"Authorization": f"Bearer {placement.secret}"}


def _no_weights(model: LocalModel) -> ModelUnavailable:
    return ModelUnavailable(f"The model {model.id} has no weights; set `weights` to a GGUF file.")


def _read_weights(model: LocalModel) -> tuple[GGUFHead, int]:
    """The head of the first file, and the size of all. Raises: ModelUnavailable."""
    if model.weights is None:
        raise _no_weights(model)
    path = Path(model.weights)
    try:
        if path.is_dir():
            raise ModelUnavailable(f"The weights of {model.id} are a folder; name a GGUF file in it.")
        head = read_head(path)
        files = shards(path, head.split_count)
        return head, head.file_bytes + sum(read_head(file).file_bytes for file in files[1:])
    except FileNotFoundError as error:
        name = Path(error.filename).name if error.filename else path.name
        raise ModelUnavailable(f"The weights of {model.id} are missing: there is no file {name}.") from error
    except OSError as error:
        raise ModelUnavailable(f"The weights of {model.id} cannot be read: {error.strerror}.") from error
    except GGUFError as error:
        raise ModelUnavailable(f"The weights of {model.id} ({path.name}) cannot be used. {error}") from error


def _weights_pooling(path: Path) -> Pooling | None:
    pooling = read_head(path).pooling
    return pooling if pooling in _POOLING_NUMBERS else None  # type: ignore[return-value]


def _describe(head: GGUFHead, size_bytes: int, model: LocalModel, options: LlamaCppOptions) -> Description:
    if head.architecture is None or head.tensor_count == 0:
        raise ModelUnavailable(f"The weights of {model.id} hold no model: the file names no architecture.")
    if head.text("general.type") in ("adapter", "mmproj", "imatrix") or head.architecture == "clip":
        raise ModelUnavailable(f"The weights of {model.id} are a part for another model, not a model.")
    if head.pooling == "rank":
        raise ModelUnavailable(f"The model {model.id} is a reranker; only chat and embedding models are served.")
    only_embeds = head.architecture in _ENCODERS or head.pooling in _POOLING_NUMBERS
    if only_embeds and options.embedding is False:
        raise InvalidRequest(
            f"The model {model.id} can only embed; take `embedding: false` out.", pointer="/options/embedding"
        )
    modalities: tuple[Modality, ...] = ("text", "embedding") if options.embedding else ("text",)
    return Description(
        name=head.text("general.name"),
        license=head.license,
        quantization=head.quantization,
        bytes=size_bytes,
        parameter_count=head.parameter_count if head.split_count == 1 else None,
        context_tokens=_context_tokens(head, model),
        trained_context_tokens=head.context_length,
        has_chat_template=head.chat_template is not None,
        input_modalities=("text",),
        output_modalities=("embedding",) if only_embeds else modalities,
        capabilities=_capabilities(head.chat_template or "", only_embeds),
    )


def _context_tokens(head: GGUFHead, model: LocalModel) -> int:
    trained = head.context_length
    if model.context_tokens is not None:
        return min(model.context_tokens, trained) if trained else model.context_tokens
    return min(trained, DEFAULT_CONTEXT_TOKENS) if trained else FALLBACK_CONTEXT_TOKENS


def _warn_of_context(model: LocalModel, description: Description) -> None:
    trained = description.trained_context_tokens
    if model.context_tokens is not None and trained is not None and model.context_tokens > trained:
        log.warning(
            "context_above_trained",
            detail="context_tokens is above what the model was trained on; the trained length is used",
            model=model.id,
            context_tokens=model.context_tokens,
            trained_context_tokens=trained,
        )


def _capabilities(template: str, only_embeds: bool) -> Capabilities:
    """llama.cpp reads from the chat template whether a model knows tools and how it reasons, so do we."""
    if only_embeds:
        return Capabilities(streaming=False, tools=False, json_schema=False, reasoning=False)
    return Capabilities(
        streaming=True,
        tools="tools" in template,
        json_schema=True,
        reasoning=any(mark in template.lower() for mark in _REASONING_MARKS),
    )
