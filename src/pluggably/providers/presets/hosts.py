"""Companies that serve the open models of many makers."""

from __future__ import annotations

from pluggably.providers.presets.preset import ModelList, Preset, Variable

HOSTS: dict[str, Preset] = {
    # inference-docs.cerebras.ai/resources/openai, …/capabilities/image-inputs, …/support/error and the types of
    # cerebras_cloud_sdk 1.91.0 (2026-11)
    "cerebras": Preset(
        title="Cerebras",
        checked="2026-11-30",
        base_url="https://api.cerebras.ai/v1",
        docs="https://inference-docs.cerebras.ai/resources/openai",
        price_list="cerebras",
        key_env="CEREBRAS_API_KEY",
        options={
            # "Deprecated in favor of max_completion_tokens": `max_tokens`.
            "max_tokens_field": "max_completion_tokens",
            # "Up to 4 sequences": `stop`.
            "stop_limit": 4,
            # `reasoning_effort` is one of these.
            "efforts": ("none", "low", "medium", "high"),
            # `reasoning` is a field of assistant messages.
            "reasoning_back": "reasoning",
            # "The image must be base64-encoded and passed as a data URI".
            "inputs": ("image",),
            "lacks": ("top_k", "min_p", "embeddings"),
        },
    ),
    # developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility and …/platform/errors (2026-11)
    "cloudflare": Preset(
        title="Cloudflare Workers AI",
        checked="2026-11-22",
        base_url="https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
        variables={"account": Variable(means="the id of the account", env="CLOUDFLARE_ACCOUNT_ID")},
        docs="https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility",
        price_list="cloudflare",
        key_env="CLOUDFLARE_API_TOKEN",
        # "GET not supported for requested URI": …/ai/v1/models.
        models=ModelList(
            path="https://api.cloudflare.com/client/v4/accounts/{account}/ai/models/search", form="cloudflare"
        ),
        # "Daily free allocation of 10,000 neurons".
        free_tier=True,
        options={
            # The schemas of the models (…/workers-ai/models): "image uri with data … HTTP URL will not be accepted".
            "inputs": ("image",),
            # Above 100 texts the embedding models answer with an error: github.com/cloudflare/cloudflare-docs/issues/
            # 11316 (2023-10).
            "texts_per_call": 100,
            # …/models/glm-4.7-flash: `reasoning_effort` is one of these.
            "efforts": ("low", "medium", "high"),
            "lacks": ("min_p",),
            "error_codes": {
                # "You have used up your daily free allocation".
                "3036": "quota",
                # "No such model … or task", "The model name is invalid".
                "5007": "model",
                "3042": "model",
                # "Could not route to …", with the account's id, which is wrong.
                "7003": "credential",
            },
        },
    ),
    # As of 2026-11, read at docs.fireworks.ai/tools-sdks/openai-compatibility and in the types of fireworks_ai 1.2.30.
    "fireworks": Preset(
        title="Fireworks AI",
        checked="2026-11-30",
        base_url="https://api.fireworks.ai/inference/v1",
        docs="https://docs.fireworks.ai/tools-sdks/openai-compatibility",
        price_list="fireworks",
        key_env="FIREWORKS_API_KEY",
        models=ModelList(path="https://api.fireworks.ai/v1/accounts/fireworks/models", form="fireworks"),
        options={
            # Not named; the last chunk tells the usage unasked.
            "stream_options": False,
            # "Up to 4 sequences": `stop`.
            "stop_limit": 4,
            # `reasoning_effort` is one of these, …
            "efforts": ("none", "low", "medium", "high"),
            "model_rules": (
                # … "does not support 'none'", "reasoning is required (always on)".
                {"models": r".*(gpt-oss|minimax-m2)", "efforts": ("low", "medium", "high")},
                # github.com/anomalyco/models.dev/pull/6237, measured in 2026-09.
                {"models": r".*glm-5p3", "efforts": ("low", "high", "max")},
            ),
            # `reasoning_history` says what a model makes of it.
            "reasoning_back": "reasoning_content",
            "inputs": ("image", "image_url"),
            # top_k and min_p are among the parameters.
            "lacks": (),
        },
    ),
    # console.groq.com/docs/openai, "Currently Unsupported OpenAI Features", …/docs/api-reference and the types of groq
    # 1.7.0 (2026-11)
    "groq": Preset(
        title="Groq",
        checked="2026-11-30",
        base_url="https://api.groq.com/openai/v1",
        docs="https://console.groq.com/docs/openai",
        price_list="groq",
        key_env="GROQ_API_KEY",
        # …/docs/rate-limits, "Free plan limits".
        free_tier=True,
        options={
            # "Deprecated in favor of max_completion_tokens": `max_tokens`.
            "max_tokens_field": "max_completion_tokens",
            # "Up to 4 sequences": `stop`.
            "stop_limit": 4,
            # …/docs/vision: images by URL or as base64. Text and images only.
            "inputs": ("image", "image_url"),
            # Of ours; there is `default` beside them.
            "efforts": ("none", "low", "medium", "high"),
            "model_rules": (
                # `reasoning_effort`: "support 'low', 'medium', or 'high'"; "qwen3 models support `none`", …
                {"models": r"openai/gpt-oss", "efforts": ("low", "medium", "high")},
                {"models": r"qwen/qwen3", "efforts": ("none",)},
                # … and this one the others, too.
                {"models": r"qwen/qwen3\.8", "efforts": ("none", "low", "medium", "high")},
            ),
            # …/docs/reasoning: `reasoning_format` is `raw` unless it says another, and then Qwen's reasoning stands
            # within <think> tags in the text. The GPT-OSS models take no `reasoning_format`.
            "think_tags": True,
            # `reasoning` is a field of assistant messages.
            "reasoning_back": "reasoning",
            # logprobs and top_logprobs "will result in a 400 error (yikes) if they are supplied"; the penalties are
            # "not yet supported by any of our models".
            "lacks": ("top_k", "min_p", "logprobs", "presence_penalty", "frequency_penalty"),
        },
    ),
    # As of 2026-11, read at docs.hyperbolic.ai/inference/text-apis.
    "hyperbolic": Preset(
        title="Hyperbolic",
        checked="2026-11-22",
        base_url="https://api.hyperbolic.xyz/v1",
        docs="https://docs.hyperbolic.ai/inference/text-apis",
        key_env="HYPERBOLIC_API_KEY",
        options={
            # Text models, and models that look at images: by URL or as a `data:` URL.
            "inputs": ("image", "image_url"),
        },
    ),
    # docs.tokenfactory.nebius.com/api-reference/examples/text-generation, "all supported fields", and
    # …/api-reference/inference/create-chat-completion (2026-11); once Nebius AI Studio
    "nebius": Preset(
        title="Nebius Token Factory",
        checked="2026-11-22",
        base_url="https://api.tokenfactory.nebius.com/v1",
        docs="https://docs.tokenfactory.nebius.com/api-reference/introduction",
        key_env="NEBIUS_API_KEY",
        models=ModelList(path="/models?verbose=true", form="openrouter"),
        options={
            "inputs": ("image", "image_url"),
            # Not among the fields; top_k is.
            "lacks": ("min_p", "seed", "parallel_tool_calls"),
        },
    ),
    # As of 2026-11, read at novita.ai/docs/api-reference/model-apis-llm-create-chat-completion.
    "novita": Preset(
        title="Novita AI",
        checked="2026-11-22",
        base_url="https://api.novita.ai/openai/v1",
        docs="https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion",
        price_list="novita",
        key_env="NOVITA_API_KEY",
        models=ModelList(form="novita"),
        options={
            # `enable_thinking`, and no levels.
            "effort_field": "enable_thinking",
            # Parts `image_url` and `input_audio`.
            "inputs": ("image", "image_url", "audio"),
            # top_k and min_p are among the parameters.
            "lacks": (),
            # …/docs/guides/error tells of a 403 without permission; this one is about credit, and names itself.
            "error_codes": {"not_enough_balance": "quota", "failed_to_auth": "credential"},
        },
    ),
    # As of 2026-11, read at docs.api.nvidia.com/nim/reference/llm-apis and docs.nvidia.com/nim/large-language-models.
    "nvidia": Preset(
        title="NVIDIA NIM",
        checked="2026-11-22",
        base_url="https://integrate.api.nvidia.com/v1",
        docs="https://docs.api.nvidia.com/nim/reference/llm-apis",
        key_env="NVIDIA_API_KEY",
        # build.nvidia.com: free for development, within limits a minute.
        free_tier=True,
        options={"inputs": ("image", "image_url")},
    ),
    # docs.sambanova.ai/docs/api-reference/chat-completions/create-chat-based-completion (2026-11), with more words in
    # the types of its own package (github.com/sambanova/sambanova-python)
    "sambanova": Preset(
        title="SambaNova Cloud",
        checked="2026-11-30",
        base_url="https://api.sambanova.ai/v1",
        docs="https://docs.sambanova.ai/docs/en/features/openai-compatibility",
        key_env="SAMBANOVA_API_KEY",
        models=ModelList(form="openrouter"),
        # docs.sambanova.ai/docs/en/models/rate-limits: "Applied when there is no payment method linked".
        free_tier=True,
        options={
            # "Specifies up to four sequences".
            "stop_limit": 4,
            # docs.sambanova.ai/docs/en/build/reasoning: DeepSeek-R1 thinks "within the <think> tags".
            "think_tags": True,
            # "base64 encoded string of image".
            "inputs": ("image",),
            # top_k is taken; the penalties are "not currently implemented; accepted for API compatibility".
            "lacks": ("min_p", "presence_penalty", "frequency_penalty"),
        },
    ),
    # docs.together.ai/reference/chat-completions-1 and the types of together 3.1.1 (2026-11)
    "together": Preset(
        title="Together AI",
        checked="2026-11-30",
        base_url="https://api.together.ai/v1",
        docs="https://docs.together.ai/reference/chat-completions-1",
        price_list="together",
        key_env="TOGETHER_API_KEY",
        models=ModelList(form="together"),
        options={
            # `reasoning_effort` is one of these; `reasoning` turns it off.
            "efforts": ("low", "medium", "high"),
            "effort_none": {"reasoning": {"enabled": False}},
            # docs.together.ai/docs/glm-5.3-quickstart: that one has `max`, too.
            "model_rules": ({"models": r"zai-org/GLM-5\.3", "efforts": ("low", "medium", "high", "max")},),
            # docs.together.ai/docs/deepseek-r1: its thoughts stand between <think> tags.
            "think_tags": True,
            # `reasoning` is a field of assistant messages.
            "reasoning_back": "reasoning",
            # Audio as WAV only; the codec would send MP3, too.
            "inputs": ("image", "image_url"),
            # top_k and min_p are among the parameters, these are not. Its log probabilities have a form of their own.
            "lacks": ("logprobs", "parallel_tool_calls", "dimensions"),
        },
    ),
}
