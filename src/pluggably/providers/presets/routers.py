"""Services that pass a request on to one of many other services."""

from __future__ import annotations

from pluggably.providers.presets.preset import ModelList, Preset, Variable

ROUTERS: dict[str, Preset] = {
    # huggingface.co/docs/inference-providers/tasks/chat-completion, …/tasks/feature-extraction and
    # …/inference-providers/index (2026-11). What a model really takes is up to the provider behind the router.
    "huggingface": Preset(
        title="Hugging Face Inference Providers",
        checked="2026-11-23",
        codec="huggingface",
        base_url="https://router.huggingface.co/v1",
        docs="https://huggingface.co/docs/inference-providers/tasks/chat-completion",
        key_env="HF_TOKEN",
        needs_entry=True,
        models=ModelList(form="huggingface"),
        # …/inference-providers/pricing: credits every month.
        free_tier=True,
        options={
            # "Up to 4 sequences": `stop`.
            "stop_limit": 4,
            "inputs": ("image", "image_url"),
            # Not among the parameters.
            "lacks": ("top_k", "min_p", "parallel_tool_calls", "dimensions"),
            # Novita's, passed through: novita.ai/docs/api-reference/basic-error-code
            "error_codes": {"not_enough_balance": "quota"},
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
        models=ModelList(form="openrouter"),
        # …/docs/api/reference/limits: models whose id ends so cost nothing, within limits a minute and a day.
        free_tier=True,
        free_models=r":free$",
        options={
            # "You can control reasoning tokens in your requests using the reasoning parameter", and they are handed
            # back in `reasoning`, or as they came in `reasoning_details`.
            "effort_field": "reasoning",
            # …/docs/use-cases/reasoning-tokens and the types of openrouter 1.3.84: all, and what a model lacks is
            # translated there.
            "efforts": (),
            "reasoning_back": "reasoning",
            "embedding_encoding": "base64",
            # …/docs/use-cases/usage-accounting: "cost: The total amount charged to your account", in credits, which
            # are US dollars.
            "cost_in_usd": True,
            # …/docs/features/multimodal/pdfs: a file by URL or as base64.
            "inputs": ("image", "image_url", "file", "file_url", "audio"),
            "lacks": (),
        },
    ),
    # docs/reference/api.md of this project. Only a stream tells that a model loads, so it is always asked for one.
    "pluggably": Preset(
        title="Another Pluggably",
        checked="2026-11-23",
        codec="native",
        base_url="https://{host}/v1",
        docs="https://pluggably.dev/docs/api",
        variables={"host": Variable(means="the host name of the other gateway, where its address is as above")},
        key_env="PLUGGABLY_UPSTREAM_KEY",
        needs_entry=True,
        models=ModelList(form="pluggably"),
        always_streams=True,
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
