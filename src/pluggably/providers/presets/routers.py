"""Services that pass a request on to one of many other services."""

from __future__ import annotations

from pluggably.providers.presets.preset import Preset

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
}
