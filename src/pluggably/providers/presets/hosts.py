"""Companies that serve the open models of many makers."""

from __future__ import annotations

from pluggably.providers.presets.preset import Preset

HOSTS: dict[str, Preset] = {
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
}
