"""Vendors that need no code: one row each, their quirks as data.

Here is what a vendor documents, with the page and the month it was read; a quirk without a page is not here. What a
row does not say is as in the codec's own defaults (for the OpenAI wire: `wire.codecs.openai_options`). What surprises:
a preset never says that its servers are local. `ollama` on this machine may well be asked to run a model in its
maker's cloud, so only the operator can say where data goes.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Variable(Struct, frozen=True, kw_only=True):
    """A gap in a base URL, `{name}`: what fills it, and the environment variable in which the vendor's own tools look
    for it. Without a default it must be given."""

    means: str
    env: str | None = None
    default: str | None = None


class CodecRule(Struct, frozen=True, kw_only=True):
    """Models that the vendor serves by another wire. `models` is a regular expression, matched from the start of the
    vendor's model id; the first rule that matches counts."""

    models: str
    codec: str
    options: dict[str, Any] = {}


class ModelList(Struct, frozen=True, kw_only=True):
    """Where a vendor lists its models, and in which form.

    `path` follows the base URL, or is a whole URL (with the preset's gaps). `form` names the reader in
    `providers.listing`; `openai` takes `{"data": [{"id": …}]}` and whatever well-known fields stand beside the id."""

    path: str = "/models"
    form: str = "openai"


class Preset(Struct, frozen=True, kw_only=True):
    """A vendor. `base_url` is everything before the operation's own path, with a gap for each of `variables` and, where
    the model stands in the address, `{model}`; `key_env` is the environment variable in which the vendor's own tools
    look for the key; `options` are those of the codec, and an operator's stand over them; `docs` is where the rest of a
    quirk can be read, `checked` the day on which it was."""

    base_url: str
    docs: str
    checked: str
    title: str
    codec: str = "openai"
    codec_rules: tuple[CodecRule, ...] = ()
    variables: dict[str, Variable] = {}
    key_env: str | None = None
    needs_key: bool = True
    # The header that takes the key as it is; None: `Authorization: Bearer`.
    key_header: str | None = None
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    options: dict[str, Any] = {}
    # These notice that nobody listens any more only while they stream, so they are always asked for a stream.
    always_streams: bool = False
    # None: there is no list to read.
    models: ModelList | None = ModelList()
    # Whether accounts have an allowance that costs nothing; what it covers stands in the provider's page. It makes
    # no model `free` by itself: an account with a bill has none of it.
    free_tier: bool = False
    # A regular expression over the vendor's model ids of those that never cost anything, such as `:free$`; searched.
    free_models: str | None = None
    # The vendor's id in the price list of genai-prices; None: its prices are not known there.
    price_list: str | None = None


# developers.openai.com/api/docs/guides/reasoning and …/guides/latest-model, "Parameter compatibility" (2026-11): the
# o-series and GPT-5 take none of these; from GPT-5.1 on they take the first three with the effort `none`, which up to
# GPT-5.4 is the default.
_SAMPLING = ("temperature", "top_p", "logprobs")
_PENALTIES = ("presence_penalty", "frequency_penalty")

_OPENAI_MODEL_RULES: tuple[dict[str, Any], ...] = (
    {"models": r"(ft:)?o\d", "lacks": (*_SAMPLING, *_PENALTIES)},
    # "Not supported with latest reasoning models o3 and o4-mini": "Create chat completion", `stop` (2026-11).
    {"models": r"(ft:)?(o3($|-20|-pro)|o4-mini)", "lacks": ("stop",)},
    {"models": r"(ft:)?gpt-5(?![.\d]|-chat)", "lacks": (*_SAMPLING, *_PENALTIES)},
    {
        "models": r"(ft:)?gpt-5\.[1-4](?!\d|-chat)",
        "lacks": (*_SAMPLING, *_PENALTIES),
        "unless_effort": ("none",),
        "default_effort": "none",
    },
    {
        "models": r"(ft:)?gpt-(5\.[5-9]|5\.\d\d|[6-9])(?!-chat)",
        "lacks": (*_SAMPLING, *_PENALTIES),
        "unless_effort": ("none",),
        "default_effort": "medium",
    },
    # "Constrains effort on reasoning for reasoning models", which these are not.
    {"models": r"(ft:)?(gpt-3|gpt-4|chatgpt-4|gpt-5-chat)", "lacks": ("reasoning",)},
)

PRESETS: dict[str, Preset] = {
    # developers.openai.com/api/reference/resources/chat and …/resources/embeddings (2026-11)
    "openai": Preset(
        title="OpenAI",
        checked="2026-11-22",
        base_url="https://api.openai.com/v1",
        docs="https://developers.openai.com/api/reference/resources/chat",
        price_list="openai",
        key_env="OPENAI_API_KEY",
        options={
            # "With o1 models and newer, use developer messages for this purpose instead": the system message.
            "system_role": "developer",
            # "This value is now deprecated in favor of max_completion_tokens": `max_tokens`.
            "max_tokens_field": "max_completion_tokens",
            "refusal_parts": True,
            "embedding_encoding": "base64",
            # "Up to 4 sequences": `stop`.
            "stop_limit": 4,
            "inputs": ("image", "image_url", "file", "audio"),
            "lacks": ("top_k", "min_p"),
            "model_rules": _OPENAI_MODEL_RULES,
        },
    ),
    # console.groq.com/docs/openai, "Currently Unsupported OpenAI Features", and …/docs/api-reference (2026-11)
    "groq": Preset(
        title="Groq",
        checked="2026-11-22",
        base_url="https://api.groq.com/openai/v1",
        docs="https://console.groq.com/docs/openai",
        price_list="groq",
        key_env="GROQ_API_KEY",
        options={
            # "Deprecated in favor of max_completion_tokens": `max_tokens`.
            "max_tokens_field": "max_completion_tokens",
            # "Up to 4 sequences": `stop`.
            "stop_limit": 4,
            # …/docs/vision: images by URL or as base64. Text and images only.
            "inputs": ("image", "image_url"),
            # logprobs and top_logprobs "will result in a 400 error (yikes) if they are supplied".
            "lacks": ("top_k", "min_p", "logprobs"),
        },
    ),
    # openrouter.ai/docs/api/reference/parameters, …/docs/use-cases/reasoning-tokens (2026-11)
    "openrouter": Preset(
        title="OpenRouter",
        checked="2026-11-22",
        base_url="https://openrouter.ai/api/v1",
        docs="https://openrouter.ai/docs/api/reference/overview",
        price_list="openrouter",
        key_env="OPENROUTER_API_KEY",
        options={
            # "You can control reasoning tokens in your requests using the reasoning parameter", and they are handed
            # back in `reasoning`, or as they came in `reasoning_details`.
            "effort_field": "reasoning",
            "reasoning_back": "reasoning",
            "embedding_encoding": "base64",
            # …/docs/features/multimodal/pdfs: a file by URL or as base64.
            "inputs": ("image", "image_url", "file", "file_url", "audio"),
            "lacks": (),
        },
    ),
    # As of 2026-11, read at docs.ollama.com/api/openai-compatibility.
    "ollama": Preset(
        title="Ollama",
        checked="2026-11-22",
        base_url="http://127.0.0.1:11434/v1",
        docs="https://docs.ollama.com/api/openai-compatibility",
        needs_key=False,
        options={
            "reasoning_back": "reasoning",
            "embedding_encoding": "base64",
            # "Image URL (HTTP/HTTPS)" has no check mark.
            "inputs": ("image",),
            # Neither among the supported fields, and what it does not know it ignores without a word.
            "lacks": ("top_k", "min_p", "tool_choice", "parallel_tool_calls"),
        },
        always_streams=True,
    ),
    # As of 2026-11, read in tools/server/README.md of github.com/ggml-org/llama.cpp.
    "llama-server": Preset(
        title="llama.cpp server",
        checked="2026-11-22",
        base_url="http://127.0.0.1:8080/v1",
        docs="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        needs_key=False,
        options={
            # "Reasoning support": as DeepSeek's `reasoning_content`, also as input.
            "reasoning_back": "reasoning_content",
            "embedding_encoding": "base64",
            # "For multimodal input": `image_url`, `input_audio`.
            "inputs": ("image", "image_url", "audio"),
            # "/completion-specific features … are also supported": top_k, min_p.
            "lacks": (),
        },
        always_streams=True,
    ),
}
