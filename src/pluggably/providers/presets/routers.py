"""Services that pass a request on to one of many other services."""

from __future__ import annotations

from pluggably.providers.presets.preset import ModelList, Preset

ROUTERS: dict[str, Preset] = {
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
    # vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions and …/openai-chat-completions/reasoning (2026-11)
    "vercel": Preset(
        title="Vercel AI Gateway",
        checked="2026-11-22",
        base_url="https://ai-gateway.vercel.sh/v1",
        docs="https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions",
        key_env="AI_GATEWAY_API_KEY",
        models=ModelList(form="vercel"),
        # vercel.com/ai-gateway: "Free users … get $5 of credits every 30 days".
        free_tier=True,
        options={
            # The `reasoning` object; it comes back in `reasoning`, or as blocks in `reasoning_details`.
            "effort_field": "reasoning",
            "reasoning_back": "reasoning",
            # …/openai-chat-completions/images. Its part `file` has fields of its own, which are not ours.
            "inputs": ("image", "image_url"),
        },
    ),
}
