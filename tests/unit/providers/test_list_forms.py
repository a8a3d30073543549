"""Every vendor's list of models, as its page shows it: ids, facts, and prices in dollars a million tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluggably.domain.catalog import Capabilities, Price, RemoteModel
from pluggably.errors import BackendInvalidResponse
from pluggably.providers import list_forms, list_prices
from pluggably.providers.list_forms import FORMS, MAX_MODELS, Listed, Page, joined, read


def page(form: str, document: Any) -> Page:
    return read(form, json.dumps(document).encode())


def only(form: str, entry: dict[str, Any], within: str = "data") -> Listed:
    """The one model of a list of one entry."""
    found = page(form, {"object": "list", within: [entry]})
    assert found.lost == 0
    (listed,) = found.models
    return listed


def model(form: str, entry: dict[str, Any], within: str = "data") -> RemoteModel:
    return only(form, entry, within).model


def price(given: str | None, made: str | None, cached: str | None = None) -> Price:
    return Price(input_per_million=given, cached_input_per_million=cached, output_per_million=made)


# ── the plain form, and what vendors put beside the id ──────────────────────────────────────────────────────────────


def test_openai_tells_ids_and_nothing_else() -> None:
    """OpenAI's own list (developers.openai.com/api/reference/resources/models, 2026-11) leaves every fact unknown."""
    entry = {"id": "gpt-5-mini", "object": "model", "created": 1686935002, "owned_by": "openai"}
    assert model("openai", entry) == RemoteModel(id="gpt-5-mini")


def test_groq() -> None:
    """Groq (console.groq.com/docs/api-reference, 2026-11) tells the context and the longest answer."""
    entry = {
        "id": "llama-3.3-70b-versatile",
        "object": "model",
        "created": 1733447754,
        "owned_by": "Meta",
        "active": True,
        "context_window": 131072,
        "public_apps": None,
        "max_completion_tokens": 32768,
    }
    assert model("openai", entry) == RemoteModel(
        id="llama-3.3-70b-versatile", context_tokens=131072, max_output_tokens=32768
    )


def test_a_model_that_is_switched_off_is_left_out() -> None:
    """Groq's `active: false` is a model that cannot be asked; it is no lost entry."""
    off = [{"id": "a", "active": False}, {"id": "c", "active": True}]
    found = page("openai", {"data": off})
    assert [one.model.id for one in found.models] == ["c"]
    assert found.lost == 0


def test_mistral() -> None:
    """Mistral (docs.mistral.ai/api, "List Available Models", 2026-11) tells yes and no in `capabilities`."""
    entry = {
        "id": "mistral-small-latest",
        "object": "model",
        "name": "mistral-small-2506",
        "capabilities": {
            "completion_chat": True,
            "completion_fim": False,
            "function_calling": True,
            "fine_tuning": False,
            "vision": True,
            "audio": False,
            "reasoning": False,
        },
        "max_context_length": 131072,
        "aliases": ["mistral-small-2506"],
        "type": "base",
    }
    assert model("openai", entry) == RemoteModel(
        id="mistral-small-latest",
        name="mistral-small-2506",
        context_tokens=131072,
        input_modalities=("text", "image"),
        capabilities=Capabilities(tools=True, reasoning=False),
    )


def test_moonshot() -> None:
    """Moonshot (platform.moonshot.ai/docs/api, 2026-11) has flags of its own."""
    entry = {
        "id": "kimi-k2.5",
        "object": "model",
        "created": 1769472000,
        "context_length": 262144,
        "supports_image_in": True,
        "supports_video_in": True,
        "supports_reasoning": True,
    }
    assert model("openai", entry) == RemoteModel(
        id="kimi-k2.5",
        context_tokens=262144,
        input_modalities=("text", "image"),
        capabilities=Capabilities(reasoning=True),
    )


def test_vllm() -> None:
    """vLLM (docs.vllm.ai, OpenAI-compatible server, 2026-11) calls the context `max_model_len`."""
    entry = {
        "id": "Qwen/Qwen3-8B",
        "object": "model",
        "owned_by": "vllm",
        "root": "Qwen/Qwen3-8B",
        "max_model_len": 40960,
    }
    assert model("openai", entry) == RemoteModel(id="Qwen/Qwen3-8B", context_tokens=40960)


def test_llama_cpp() -> None:
    """llama.cpp's server (tools/server/README.md, 2026-11) tells what a request gets before what was trained."""
    meta = {"vocab_type": 2, "n_vocab": 128256, "n_ctx_train": 131072, "n_embd": 4096, "n_params": 8030261312}
    entry = {"id": "../models/Llama-3.1-8B.gguf", "object": "model", "owned_by": "llamacpp", "meta": meta}
    assert model("openai", entry).context_tokens == 131072
    assert model("openai", {**entry, "meta": {**meta, "n_ctx": 8192}}).context_tokens == 8192


def test_lm_studio() -> None:
    """LM Studio (lmstudio.ai/docs/api/rest-api, GET /api/v0/models, 2026-11) tells the kind of a model."""
    vision = {
        "id": "qwen2-vl-7b-instruct",
        "object": "model",
        "type": "vlm",
        "publisher": "mlx-community",
        "arch": "qwen2_vl",
        "compatibility_type": "mlx",
        "quantization": "4bit",
        "state": "not-loaded",
        "max_context_length": 32768,
    }
    assert model("openai", vision) == RemoteModel(
        id="qwen2-vl-7b-instruct",
        context_tokens=32768,
        input_modalities=("text", "image"),
        output_modalities=("text",),
    )
    loaded = {**vision, "type": "llm", "state": "loaded", "loaded_context_length": 4096, "capabilities": ["tool_use"]}
    assert model("openai", loaded) == RemoteModel(
        id="qwen2-vl-7b-instruct",
        context_tokens=4096,
        output_modalities=("text",),
        capabilities=Capabilities(tools=True),
    )
    assert model("openai", {**vision, "type": "embeddings"}).output_modalities == ("embedding",)


def test_no_price_is_read_where_no_unit_is_documented() -> None:
    """The plain form reads no price: the same words mean a token at one vendor and a million of them at another."""
    assert model("openai", {"id": "a", "pricing": {"prompt": "0.5", "completion": "1"}}).price is None
    assert model("openai", {"id": "a", "input_token_price_per_m": 3900}).price is None


# ── routers and hosts that tell prices ──────────────────────────────────────────────────────────────────────────────

OPENROUTER = {
    "id": "openai/gpt-4",
    "canonical_slug": "openai/gpt-4",
    "name": "GPT-4",
    "created": 1692901234,
    "context_length": 8192,
    "architecture": {
        "modality": "text->text",
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "tokenizer": "GPT",
        "instruct_type": "chatml",
    },
    "pricing": {"prompt": "0.00003", "completion": "0.00006", "request": "0", "image": "0"},
    "top_provider": {"is_moderated": True, "context_length": 8192, "max_completion_tokens": 4096},
    "per_request_limits": None,
    "supported_parameters": ["temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty"],
}


def test_openrouter() -> None:
    """OpenRouter (openrouter.ai/docs/models, 2026-11): dollars a token; its list of parameters is whole, so what is not
    in it is not supported."""
    listed = only("openrouter", OPENROUTER)
    assert listed == Listed(
        RemoteModel(
            id="openai/gpt-4",
            name="GPT-4",
            price=price("30", "60"),
            context_tokens=8192,
            max_output_tokens=4096,
            input_modalities=("text",),
            output_modalities=("text",),
            capabilities=Capabilities(tools=False, json_schema=False, reasoning=False),
        )
    )


def test_openrouter_capabilities() -> None:
    """`response_format` alone may be JSON mode, so whether schemas are held to is then not known."""

    def told(*words: str) -> Capabilities:
        return model("openrouter", {**OPENROUTER, "supported_parameters": list(words)}).capabilities

    assert told("tools", "structured_outputs", "reasoning") == Capabilities(
        tools=True, json_schema=True, reasoning=True
    )
    assert told("response_format") == Capabilities(tools=False, json_schema=None, reasoning=False)
    assert told() == Capabilities()


@pytest.mark.parametrize(
    ("pricing", "expected", "varies"),
    [
        ({"prompt": "0", "completion": "0"}, price("0", "0"), False),
        ({"prompt": "1.5e-7", "completion": "6e-7", "input_cache_read": 7e-8}, price("0.15", "0.6", "0.07"), False),
        # A router whose price depends on where it sends the call.
        ({"prompt": "-1", "completion": "-1"}, None, False),
        # A fee for each call, and rates of long inputs: shown, but no cost follows.
        ({"prompt": "0.000001", "completion": "0.000001", "request": "0.005"}, price("1", "1"), True),
        ({"prompt": "0.000001", "completion": "1e-6", "overrides": [{"min_prompt_tokens": 9}]}, price("1", "1"), True),
        ({"prompt": "0.000001", "completion": "0.000002", "internal_reasoning": "0.000003"}, price("1", "2"), True),
        ({"prompt": "0.000001", "completion": "0.000002", "internal_reasoning": "0.000002"}, price("1", "2"), False),
        # Nothing but a fee is not free.
        ({"prompt": "0", "completion": "0", "request": "0.01"}, None, False),
        ({"prompt": "0.00001"}, price("10", None), False),
        ({}, None, False),
        ([], None, False),
    ],
)  # fmt: skip
def test_openrouter_prices(pricing: Any, expected: Price | None, varies: bool) -> None:
    """A price is what the list says, exactly, and nothing where it says none."""
    listed = only("openrouter", {**OPENROUTER, "pricing": pricing})
    assert (listed.model.price, listed.rates_vary) == (expected, varies)


def test_sambanova() -> None:
    """SambaNova (docs.sambanova.ai, "Get environment's available model list metadata", 2026-11): "price per prompt
    token in USD", as numbers."""
    entry = {
        "id": "Meta-Llama-3.3-70B-Instruct",
        "object": "model",
        "owned_by": "no-reply@sambanova.ai",
        "context_length": 131072,
        "max_completion_tokens": 3072,
        "pricing": {"prompt": 0.0000006, "completion": 0.0000012, "duration_per_hour": None},
        "sn_metadata": {},
    }
    assert model("openrouter", entry) == RemoteModel(
        id="Meta-Llama-3.3-70B-Instruct",
        price=price("0.6", "1.2"),
        context_tokens=131072,
        max_output_tokens=3072,
    )


def test_nebius() -> None:
    """Nebius with `verbose=true` (docs.tokenfactory.nebius.com, 2026-11): modalities as an arrow, features as words
    whose absence says nothing."""
    entry = {
        "id": "Qwen/Qwen2.5-VL-72B-Instruct",
        "name": "Qwen2.5-VL-72B-Instruct",
        "created": 1740000000,
        "context_length": 32000,
        "architecture": {"modality": "text+image->text", "tokenizer": "Qwen"},
        "pricing": {"prompt": "0.00000025", "completion": "0.00000075"},
        "supported_features": ["tools"],
    }
    assert model("openrouter", entry) == RemoteModel(
        id="Qwen/Qwen2.5-VL-72B-Instruct",
        name="Qwen2.5-VL-72B-Instruct",
        price=price("0.25", "0.75"),
        context_tokens=32000,
        input_modalities=("text", "image"),
        output_modalities=("text",),
        capabilities=Capabilities(tools=True),
    )


VERCEL = {
    "id": "google/gemini-3-pro-preview",
    "object": "model",
    "created": 1755815280,
    "owned_by": "google",
    "name": "Gemini 3 Pro Preview",
    "context_window": 1000000,
    "max_tokens": 64000,
    "type": "language",
    "tags": ["file-input", "tool-use", "reasoning", "vision"],
    "pricing": {"input": "0.000002", "output": "0.000012", "input_cache_read": "0.0000002"},
}


def test_vercel() -> None:
    """Vercel's gateway (vercel.com/docs/ai-gateway/sdks-and-apis/rest-api, 2026-11): dollars a token; `max_tokens` is
    the longest answer; a rate in tiers is shown but makes no cost."""
    assert only("vercel", VERCEL) == Listed(
        RemoteModel(
            id="google/gemini-3-pro-preview",
            name="Gemini 3 Pro Preview",
            price=price("2", "12", "0.2"),
            context_tokens=1000000,
            max_output_tokens=64000,
            input_modalities=("text", "image", "file"),
            output_modalities=("text",),
            capabilities=Capabilities(tools=True, reasoning=True),
        )
    )
    tiers = [{"cost": "0.000002", "min": 0, "max": 200001}, {"cost": "0.000004", "min": 200001}]
    assert only(
        "vercel", {**VERCEL, "pricing": {"input": "0.000002", "output": "0.000012", "input_tiers": tiers}}
    ).rates_vary
    assert model("vercel", {**VERCEL, "type": "image"}).output_modalities == ()
    assert model("vercel", {**VERCEL, "type": "embedding"}).output_modalities == ("embedding",)


TOGETHER = {
    "id": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "object": "model",
    "created": 1692896905,
    "type": "chat",
    "display_name": "Meta Llama 3.3 70B Instruct Turbo",
    "organization": "Meta",
    "link": "https://huggingface.co/meta-llama/Llama-3.3-70B-Instruct",
    "license": "llama3.3",
    "context_length": 131072,
    "pricing": {"hourly": 0, "input": 0.88, "output": 0.88, "base": 0, "finetune": 0},
}


def test_together() -> None:
    """Together (github.com/togethercomputer/openapi, ModelInfo, 2026-11) answers a bare array; dollars a million."""
    found = page("together", [TOGETHER])
    assert [one.model for one in found.models] == [
        RemoteModel(
            id="meta-llama/Llama-3.3-70B-Instruct-Turbo",
            name="Meta Llama 3.3 70B Instruct Turbo",
            price=price("0.88", "0.88"),
            context_tokens=131072,
            output_modalities=("text",),
        )
    ]


def test_a_zero_at_together_is_no_price() -> None:
    """Models that Together does not sell by the token have zeros there, which must not look free."""
    image = {**TOGETHER, "type": "image", "pricing": {"hourly": 0, "input": 0, "output": 0, "base": 0, "finetune": 0}}
    assert model("together", image).price is None
    assert model("together", image).output_modalities == ()


def test_novita() -> None:
    """Novita (novita.ai/docs/api-reference/model-apis-llm-list-models, 2026-11): ten-thousandths of a dollar."""
    entry = {
        "created": 1733560109,
        "id": "meta-llama/llama-3.3-70b-instruct",
        "object": "model",
        "input_token_price_per_m": 3900,
        "output_token_price_per_m": 3900,
        "title": "meta-llama/llama-3.3-70b-instruct",
        "description": "The Meta Llama 3.3 multilingual large language model",
        "context_size": 131072,
    }
    assert model("novita", entry) == RemoteModel(
        id="meta-llama/llama-3.3-70b-instruct", price=price("0.39", "0.39"), context_tokens=131072
    )


XAI = {
    "id": "grok-4.3",
    "aliases": ["grok-latest"],
    "created": 1743724800,
    "object": "model",
    "owned_by": "xai",
    "input_modalities": ["text", "image"],
    "output_modalities": ["text"],
    "prompt_text_token_price": 12500,
    "cached_prompt_text_token_price": 2000,
    "prompt_image_token_price": 12500,
    "completion_text_token_price": 25000,
    "search_price": 250000000,
}


def test_xai() -> None:
    """xAI (docs.x.ai/developers/rest-api-reference/inference/models, 2026-11): cents for a hundred million tokens, and
    other rates from a threshold on."""
    assert only("xai", XAI, "models") == Listed(
        RemoteModel(
            id="grok-4.3",
            price=price("1.25", "2.5", "0.2"),
            input_modalities=("text", "image"),
            output_modalities=("text",),
        )
    )
    assert only("xai", {**XAI, "long_context_threshold": 128000}).rates_vary
    assert not only("xai", {**XAI, "long_context_threshold": 0}).rates_vary
    zeros = {"prompt_text_token_price": 0, "completion_text_token_price": 0}
    assert model("xai", {**XAI, **zeros}).price is None


def hugging(*providers: dict[str, Any]) -> RemoteModel:
    architecture = {"input_modalities": ["text"], "output_modalities": ["text"]}
    return model("huggingface", {"id": "zai-org/GLM-4.6", "architecture": architecture, "providers": list(providers)})


def test_hugging_face() -> None:
    """The router (huggingface.co/docs/inference-providers, 2026-11): dollars a million by provider; only what all that
    are live agree on is known, and the context is the shortest."""
    live: dict[str, Any] = {"provider": "novita", "status": "live", "context_length": 204800, "supports_tools": True}
    cheap = {**live, "pricing": {"input": 0.55, "output": 2.2}, "supports_structured_output": False}
    dear = {**live, "provider": "x", "pricing": {"input": 0.6, "output": 2.2}, "context_length": 131072}
    assert hugging(cheap) == RemoteModel(
        id="zai-org/GLM-4.6",
        price=price("0.55", "2.2"),
        context_tokens=204800,
        input_modalities=("text",),
        output_modalities=("text",),
        capabilities=Capabilities(tools=True, json_schema=False),
    )
    both = hugging(cheap, {**dear, "supports_structured_output": True})
    assert both.price is None
    assert both.context_tokens == 131072
    assert both.capabilities == Capabilities(tools=True)
    assert hugging(cheap, {**dear, "status": "error"}).price == price("0.55", "2.2")
    assert hugging(cheap, {**cheap, "pricing": None}).price is None
    assert hugging(cheap, {**cheap, "context_length": None}).context_tokens is None
    assert hugging().capabilities == Capabilities()


def test_fireworks() -> None:
    """Fireworks (docs.fireworks.ai/api-reference/list-models, 2026-11): the name is the id that requests take."""
    entry = {
        "name": "accounts/fireworks/models/deepseek-v3p1",
        "displayName": "DeepSeek V3.1",
        "state": "READY",
        "kind": "HF_BASE_MODEL",
        "contextLength": 163840,
        "supportsImageInput": False,
        "supportsTools": True,
    }
    found = page("fireworks", {"models": [entry], "nextPageToken": "abc", "totalSize": 400})
    assert found.models[0].model == RemoteModel(
        id="accounts/fireworks/models/deepseek-v3p1",
        name="DeepSeek V3.1",
        context_tokens=163840,
        input_modalities=("text",),
        capabilities=Capabilities(tools=True),
    )
    assert found.next == {"pageToken": "abc"}
    assert page("fireworks", {"models": [entry], "nextPageToken": ""}).next == {}


def test_cloudflare() -> None:
    """Cloudflare (developers.cloudflare.com/api/resources/ai/subresources/models, 2026-11): the name is the id, facts
    are rows of text, prices rows with a unit."""
    entry = {
        "id": "f8703a00-ed54-4f98-bdc3-cd9a813286f3",
        "source": 1,
        "name": "@cf/qwen/qwen3-30b-a3b-fp8",
        "description": "Qwen3",
        "task": {"id": "c329a1f9", "name": "Text Generation", "description": "Family of generative text models"},
        "properties": [
            {"property_id": "context_window", "value": "32768"},
            {"property_id": "function_calling", "value": "true"},
            {
                "property_id": "price",
                "value": [
                    {"unit": "per M input tokens", "price": 0.051, "currency": "USD"},
                    {"unit": "per M output tokens", "price": 0.335, "currency": "USD"},
                ],
            },
        ],
    }
    found = page(
        "cloudflare", {"success": True, "result": [entry], "result_info": {"page": 1, "per_page": 1, "total_count": 2}}
    )
    assert found.models[0].model == RemoteModel(
        id="@cf/qwen/qwen3-30b-a3b-fp8",
        price=price("0.051", "0.335"),
        context_tokens=32768,
        output_modalities=("text",),
        capabilities=Capabilities(tools=True),
    )
    assert found.next == {"page": "2"}
    image = {
        **entry,
        "task": {"name": "Text-to-Image"},
        "properties": [{"property_id": "price", "value": [{"unit": "per step"}]}],
    }
    drawn = model("cloudflare", image, "result")
    assert (drawn.price, drawn.output_modalities) == (None, ())


def test_cohere() -> None:
    """docs.cohere.com/reference/list-models; a model's name is its id, and a page names the next one."""
    found = page(
        "cohere",
        {
            "models": [
                {
                    "name": "command-a-plus-05-2026",
                    "is_deprecated": False,
                    "endpoints": ["generate", "chat"],
                    "finetuned": False,
                    "context_length": 256000.0,
                    "tokenizer_url": "https://storage.googleapis.com/cohere-public/tokenizers/x.json",
                    "default_endpoints": [],
                    "features": ["json_mode", "json_schema", "safety_modes", "strict_tools", "tools", "vision"],
                },
                {"name": "embed-v4.0", "endpoints": ["embed", "classify"], "context_length": 128000},
                {"name": "rerank-v4.0-pro", "endpoints": ["rerank"], "context_length": 32768},
                {"name": "north-mini", "endpoints": [], "features": None},
            ],
            "next_page_token": "bW9kZWxz",
        },
    )
    assert found.next == {"page_token": "bW9kZWxz"}
    models = {each.model.id: each.model for each in found.models}
    assert models["command-a-plus-05-2026"] == RemoteModel(
        id="command-a-plus-05-2026",
        context_tokens=256_000,
        input_modalities=("text", "image"),
        output_modalities=("text",),
        capabilities=Capabilities(tools=True, json_schema=True),
    )
    assert models["embed-v4.0"].output_modalities == ("embedding",)
    assert models["rerank-v4.0-pro"].output_modalities == ()
    assert models["north-mini"] == RemoteModel(id="north-mini")


def test_pluggably() -> None:
    """Another gateway's own list (docs/reference/api.md), which a cursor continues."""
    can = {"streaming": True, "tools": True, "json_schema": False, "reasoning": None}
    rates = {"input_per_million": "0.25", "cached_input_per_million": None, "output_per_million": "2"}
    found = page(
        "pluggably",
        {
            "data": [
                {
                    "id": "openai/gpt-5-mini", "name": "GPT-5 mini", "location": "remote", "free": False,
                    "input_modalities": ["text", "image"], "output_modalities": ["text"], "capabilities": can,
                    "context_tokens": 400000, "max_output_tokens": 128000, "price": rates, "backends": ["openai"],
                    "status": "available",
                },
                {"id": "demo", "location": "local", "free": True, "price": None, "status": "loaded"},
                {"id": "strange", "free": "yes", "capabilities": ["tools"], "price": {"input_per_million": "NaN"}},
            ],
            "next_cursor": "b3BlbmFp",
        },
    )  # fmt: skip
    assert found.next == {"cursor": "b3BlbmFp"}
    mini, demo, strange = (each.model for each in found.models)
    assert mini == RemoteModel(
        id="openai/gpt-5-mini",
        name="GPT-5 mini",
        price=price("0.25", "2"),
        free=False,
        context_tokens=400_000,
        max_output_tokens=128_000,
        input_modalities=("text", "image"),
        output_modalities=("text",),
        capabilities=Capabilities(streaming=True, tools=True, json_schema=False),
    )
    assert demo == RemoteModel(id="demo", free=True)
    assert strange == RemoteModel(id="strange")


def test_anthropic() -> None:
    """Anthropic (platform.claude.com/docs/en/api/models/list, 2026-11): each capability says whether it is supported,
    and the next page begins after the last id."""
    entry = {
        "type": "model",
        "id": "claude-opus-4-6",
        "display_name": "Claude Opus 4.6",
        "created_at": "2026-02-04T00:00:00Z",
        "max_input_tokens": 1000000,
        "max_tokens": 128000,
        "capabilities": {
            "image_input": {"supported": True},
            "pdf_input": {"supported": True},
            "structured_outputs": {"supported": True},
            "thinking": {"supported": True, "types": {"enabled": {"supported": True}}},
        },
    }
    found = page("anthropic", {"data": [entry], "has_more": True, "first_id": "x", "last_id": "claude-opus-4-6"})
    assert found.models[0].model == RemoteModel(
        id="claude-opus-4-6",
        name="Claude Opus 4.6",
        context_tokens=1000000,
        max_output_tokens=128000,
        input_modalities=("text", "image", "file"),
        capabilities=Capabilities(json_schema=True, reasoning=True),
    )
    assert found.next == {"after_id": "claude-opus-4-6"}
    assert page("anthropic", {"data": [entry], "has_more": False, "last_id": "claude-opus-4-6"}).next == {}


def test_google() -> None:
    """Google (ai.google.dev/api/models, 2026-11): requests take the name without `models/`."""
    entry = {
        "name": "models/gemini-2.5-pro",
        "version": "2.5",
        "displayName": "Gemini 2.5 Pro",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": True,
    }
    found = page("google", {"models": [entry], "nextPageToken": "t"})
    assert found.models[0].model == RemoteModel(
        id="gemini-2.5-pro",
        name="Gemini 2.5 Pro",
        context_tokens=1048576,
        max_output_tokens=65536,
        output_modalities=("text",),
        capabilities=Capabilities(reasoning=True),
    )
    assert found.next == {"pageToken": "t"}


CLAUDE_ON_BEDROCK = {
    "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
    "modelId": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "modelName": "Claude Sonnet 4.5",
    "providerName": "Anthropic",
    "inputModalities": ["TEXT", "IMAGE"],
    "outputModalities": ["TEXT"],
    "responseStreamingSupported": True,
    "customizationsSupported": [],
    "inferenceTypesSupported": ["INFERENCE_PROFILE"],
    "modelLifecycle": {"status": "ACTIVE"},
}
CLAUDES_PROFILE = {
    "inferenceProfileName": "US Anthropic Claude Sonnet 4.5",
    "description": "Routes requests to Anthropic Claude Sonnet 4.5 in us-east-1, us-east-2 and us-west-2.",
    "createdAt": "2025-09-29T00:00:00Z",
    "inferenceProfileArn": "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5",
    "models": [
        {"modelArn": CLAUDE_ON_BEDROCK["modelArn"]},
        {"modelArn": "arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0"},
    ],
    "inferenceProfileId": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "status": "ACTIVE",
    "type": "SYSTEM_DEFINED",
}


def test_bedrock() -> None:
    """Amazon (docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html, 2026-11): what a model
    takes and makes, and whether it streams."""
    entry = {
        **CLAUDE_ON_BEDROCK,
        "modelId": "amazon.nova-lite-v1:0",
        "modelName": "Nova Lite",
        "inputModalities": ["TEXT", "IMAGE", "VIDEO"],
        "inferenceTypesSupported": ["ON_DEMAND", "INFERENCE_PROFILE"],
    }
    assert only("bedrock", entry, "modelSummaries") == Listed(
        RemoteModel(
            id="amazon.nova-lite-v1:0",
            name="Nova Lite",
            input_modalities=("text", "image"),
            output_modalities=("text",),
            capabilities=Capabilities(streaming=True),
        )
    )


@pytest.mark.parametrize(
    ("model_id", "takes", "makes", "expected"),
    [
        ("amazon.titan-embed-text-v2:0", ["TEXT"], ["EMBEDDING"], ("embedding",)),
        ("cohere.embed-v4:0", ["TEXT", "IMAGE"], ["EMBEDDING"], ("embedding",)),
        ("amazon.titan-embed-image-v1", ["TEXT", "IMAGE"], ["EMBEDDING"], ()),
        ("cohere.rerank-v3-5:0", ["TEXT"], ["TEXT"], ()),
        ("amazon.nova-sonic-v1:0", ["SPEECH"], ["SPEECH", "TEXT"], ()),
        ("amazon.nova-canvas-v1:0", ["TEXT", "IMAGE"], ["IMAGE"], ()),
        ("maker.unknown-v1:0", None, None, None),
    ],
)
def test_bedrocks_models_make_what_can_be_asked_of_them(
    model_id: str, takes: list[str] | None, makes: list[str] | None, expected: tuple[str, ...] | None
) -> None:
    """What takes a body of its own, or speech alone, makes nothing here."""
    entry = {**CLAUDE_ON_BEDROCK, "modelId": model_id, "inputModalities": takes, "outputModalities": makes}
    assert model("bedrock", entry, "modelSummaries").output_modalities == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "publishers/google/models/gemini-2.5-flash", "versionId": "default"}, "gemini-2.5-flash"),
        ({"name": "publishers/google/models/text-embedding-005", "versionId": "20240101"}, "text-embedding-005"),
        ({"name": "publishers/anthropic/models/claude-opus-4-6", "versionId": "default"}, "claude-opus-4-6"),
        (
            {"name": "publishers/anthropic/models/claude-haiku-4-5", "versionId": "20251001"},
            "claude-haiku-4-5@20251001",
        ),
    ],
)
def test_vertex_ai_lists_its_publishers_models(entry: dict[str, Any], expected: str) -> None:
    """Google (docs.cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/publishers.models, 2026-11): others' models
    are asked with their version, where that is a date."""
    entry = {**entry, "openSourceCategory": "PROPRIETARY", "launchStage": "GA", "supportedActions": {}}
    assert only("vertex", entry, "publisherModels") == Listed(RemoteModel(id=expected))


def test_vertex_ai_has_more_pages_and_models_to_deploy() -> None:
    """Weights that have to be deployed first are left out; no list is empty because of them."""
    weights = {
        "name": "publishers/google/models/gemma3",
        "versionId": "gemma-3-1b-it",
        "supportedActions": {"deploy": {"modelDisplayName": "Gemma 3"}},
    }
    found = page("vertex", {"publisherModels": [weights], "nextPageToken": "t"})
    assert (found.lost, found.next) == (0, {"pageToken": "t"})
    assert joined({one.model.id: one for one in found.models}) == {}


def test_bedrocks_profiles_share_the_facts_of_their_model() -> None:
    """A model that is not to be had on demand is asked by its profile's id; by its own it is not listed."""
    models = page("bedrock", {"modelSummaries": [CLAUDE_ON_BEDROCK]})
    profiles = page("bedrock-profiles", {"inferenceProfileSummaries": [CLAUDES_PROFILE], "nextToken": "t"})
    assert profiles.next == {"nextToken": "t"}
    both = joined({one.model.id: one for one in [*models.models, *profiles.models]})
    assert list(both.values()) == [
        Listed(
            RemoteModel(
                id="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                name="US Anthropic Claude Sonnet 4.5",
                input_modalities=("text", "image"),
                output_modalities=("text",),
                capabilities=Capabilities(streaming=True),
            )
        )
    ]
    alone = joined({one.model.id: one for one in profiles.models})
    assert [one.model.output_modalities for one in alone.values()] == [None]


def test_a_profile_of_the_account_itself_is_not_listed() -> None:
    """Its ARN names the account, so the operator names it."""
    entry = {**CLAUDES_PROFILE, "inferenceProfileId": "abc123def456", "type": "APPLICATION"}
    (found,) = page("bedrock-profiles", {"inferenceProfileSummaries": [entry]}).models
    assert joined({found.model.id: found}) == {}


def test_ollama() -> None:
    """Ollama (docs.ollama.com/api/tags, 2026-11)."""
    entry = {
        "name": "gemma3",
        "model": "gemma3:latest",
        "modified_at": "2025-10-03T23:34:03.409490317-07:00",
        "size": 3338801804,
        "digest": "a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a",
        "details": {"format": "gguf", "family": "gemma", "families": ["gemma"], "parameter_size": "4.3B"},
    }
    assert model("ollama", entry, "models").id == "gemma3:latest"
    assert model("ollama", {"name": "gemma3"}, "models").id == "gemma3"


def test_openrouters_next_page_is_a_query_only() -> None:
    """A link to another host cannot take the credential there: nothing of it but its query is used."""
    found = page("openrouter", {"data": [], "links": {"next": "https://evil.example/steal?offset=500&limit=500"}})
    assert found.next == {"offset": "500", "limit": "500"}


# ── whatever comes ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff\xfe", b'["\xff"]', b"[" * 10**5, b"1e999", b"{}", b"1", b'"a"', b'{"data": {"id": "a"}}'],
)  # fmt: skip
def test_what_is_no_list_is_told(content: bytes) -> None:
    """An answer that is no list is the provider's fault, and said so."""
    with pytest.raises(BackendInvalidResponse):
        read("openai", content)


def test_a_broken_entry_loses_only_itself() -> None:
    """Entries without an id that could be asked for are counted; the others stand, the first of twins."""
    broken: list[Any] = [
        None,
        1,
        "gpt-4",
        [],
        {},
        {"id": 5},
        {"id": ""},
        {"id": " a"},
        {"id": "a\nb"},
        {"id": "x" * 513},
    ]
    found = page("openai", {"data": [*broken, {"id": "good", "name": "First"}, {"id": "good", "name": "Second"}]})
    assert [(one.model.id, one.model.name) for one in found.models] == [("good", "First")]
    assert found.lost == len(broken)


def test_a_list_has_an_end() -> None:
    """What lies beyond the greatest number of models is left out, and counted."""
    found = page("openai", {"data": [{"id": f"m{number}"} for number in range(MAX_MODELS + 3)]})
    assert len(found.models) == MAX_MODELS
    assert found.lost == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.000001", "1"), (0.000001, "1"), (1e-06, "1"), ("1e-6", "1"), (0, "0"), ("0.0", "0"), ("-0", "0"),
        ("-0.1", None), (True, None), ("", None), ("free", None), ("NaN", None), ("Infinity", None), (None, None),
        # Dollars a million where dollars a token are due: not believed.
        (0.5, None), ("1e999999999", None), ("1e-999999999", None), ("1" * 50, None), (10**25, None),
    ],
)  # fmt: skip
def test_a_rate_is_plain_digits_or_unknown(value: Any, expected: str | None) -> None:
    """A rate comes out exact, without an exponent; what can be none is no rate."""
    found = model("openrouter", {"id": "a", "pricing": {"prompt": value, "completion": "0.000001"}}).price
    assert found is not None
    assert found.input_per_million == expected


@pytest.mark.parametrize("value", [0, -1, True, "4096", 1.5, 2**60, 10**30, None, [], {}])
def test_a_context_that_is_no_number_of_tokens_is_unknown(value: Any) -> None:
    """Zero, and whatever is no whole number, is not known."""
    assert model("openai", {"id": "a", "context_length": value}).context_tokens is None


def test_the_next_known_name_of_a_fact_is_tried() -> None:
    """A fact that says nothing under one name may say something under another; `4096.0` is a whole number."""
    assert model("openai", {"id": "a", "context_length": None, "max_model_len": 4096.0}).context_tokens == 4096


# Every name that a form looks for, so that the values below it are of every wrong type.
SOURCES = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (list_forms, list_prices))
NAMES = sorted(set(re.findall(r'"(\w+)"', SOURCES)) | {"data", "metadata"})
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.parametrize("form", sorted(FORMS))
@settings(max_examples=60, deadline=None)
@given(entry=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6), rest=VALUES)
def test_nothing_that_is_json_breaks_a_form(form: str, entry: dict[str, Any], rest: Any) -> None:
    """Whatever stands beside an id, the model is read, and its numbers are numbers."""
    named = {**entry, "id": "m", "name": "m", "model": "m", "active": True}
    named |= {"modelId": "m", "inferenceProfileId": "m"}
    document = {**(rest if isinstance(rest, dict) else {}), "data": [named, rest]}
    found = page(form, document)
    assert found.models
    for one in found.models:
        assert one.model.context_tokens is None or one.model.context_tokens > 0
