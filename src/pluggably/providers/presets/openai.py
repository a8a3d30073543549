"""OpenAI, and those who serve its models under its own names."""

from __future__ import annotations

from typing import Any

from pluggably.providers.presets.preset import CodecRule, Preset, Variable

# developers.openai.com/api/docs/guides/reasoning and …/guides/latest-model, "Parameter compatibility" (2026-11): the
# o-series and GPT-5 take none of these; from GPT-5.1 on they take the first three with the effort `none`, which up to
# GPT-5.4 is the default.
_SAMPLING = ("temperature", "top_p", "logprobs")
_PENALTIES = ("presence_penalty", "frequency_penalty")
# GPT-5.4 and what came after it, without the variants that Chat Completions alone serves.
_VARIANTS = r"-(chat|search|audio|realtime)"
_GPT_5_4 = rf"(ft:)?gpt-5\.4(?!\d|{_VARIANTS})"
_SINCE_GPT_5_5 = rf"(ft:)?gpt-(5\.[5-9]|5\.\d\d|[6-9])(?![\d.]*{_VARIANTS})"

# The efforts of a family stand in its models' pages, …/api/docs/models/<model>, and a wrong one is refused with those
# that are right, which github.com/anomalyco/opencode/pull/26268 asked for, model by model (2026-11). The last rule that
# matches counts.
_OPENAI_MODEL_RULES: tuple[dict[str, Any], ...] = (
    {
        "models": r"(ft:)?o\d",
        # "Unsupported parameter: 'parallel_tool_calls' is not supported with this model":
        # github.com/tensorzero/tensorzero/issues/2805, and at Azure github.com/UKGovernmentBEIS/inspect_ai/issues/1460.
        "lacks": (*_SAMPLING, *_PENALTIES, "parallel_tool_calls"),
        "efforts": ("low", "medium", "high"),
    },
    {"models": r"o\d(-mini)?-deep-research", "efforts": ("medium",)},
    # "Not supported with latest reasoning models o3 and o4-mini": "Create chat completion", `stop` (2026-11).
    {"models": r"(ft:)?(o3($|-20|-pro)|o4-mini)", "lacks": ("stop",)},
    {
        "models": r"(ft:)?gpt-5(?![.\d]|-chat)",
        "lacks": (*_SAMPLING, *_PENALTIES),
        "efforts": ("minimal", "low", "medium", "high"),
    },
    {
        "models": r"(ft:)?gpt-5\.[1-4](?!\d|-chat)",
        "lacks": (*_SAMPLING, *_PENALTIES),
        "unless_effort": ("none",),
        "default_effort": "none",
        "efforts": ("none", "low", "medium", "high", "xhigh"),
    },
    # `xhigh` came with GPT-5.1 Codex Max.
    {"models": r"(ft:)?gpt-5\.1(?!\d|-chat)", "efforts": ("none", "low", "medium", "high")},
    {
        "models": _SINCE_GPT_5_5,
        "lacks": (*_SAMPLING, *_PENALTIES),
        "unless_effort": ("none",),
        "default_effort": "medium",
        "efforts": ("none", "low", "medium", "high", "xhigh", "max"),
    },
    # `max` came with GPT-5.6.
    {"models": r"(ft:)?gpt-5\.5(?!\d|-chat)", "efforts": ("none", "low", "medium", "high", "xhigh")},
    # These cannot be asked without reasoning: "GPT-6 Astra and GPT-6.1 Sol" take no `none`, neither do Pro and Codex.
    {
        "models": r"(ft:)?gpt-(\d[\d.]*-(pro|codex|astra)|6\.1-sol)",
        "lacks": (*_SAMPLING, *_PENALTIES),
        "efforts": ("low", "medium", "high", "xhigh"),
    },
    {"models": r"gpt-5(\.1)?-codex(?!-max)", "efforts": ("low", "medium", "high")},
    {"models": r"gpt-5\.\d+-pro", "efforts": ("medium", "high", "xhigh")},
    # "Defaults to (and only supports) high reasoning effort": "Create chat completion", `reasoning_effort` (2026-11).
    {"models": r"gpt-5-pro", "efforts": ("high",)},
    {"models": r"gpt-(\d[\d.]*-astra|6\.1-sol)", "efforts": ("low", "medium", "high", "xhigh", "max")},
    {"models": r"gpt-\d\.\d+-chat", "efforts": ("medium",)},
    # "Constrains effort on reasoning for reasoning models", which these are not.
    {"models": r"(ft:)?(gpt-3|gpt-4|chatgpt-4|gpt-5-chat)", "lacks": ("reasoning",)},
)
_RESPONSES_OPTIONS: dict[str, Any] = {
    "system_role": "developer",
    # github.com/BerriAI/litellm/pull/9419
    "unstreamed": r"o1-pro",
    "model_rules": _OPENAI_MODEL_RULES,
}
_BY_RESPONSES = (
    # The models that the Responses API has beside those of Chat Completions (types/shared/responses_model.py of openai
    # 3.54.0), and their families: "This model is only supported in v1/responses and not in v1/chat/completions."
    CodecRule(
        models=r"(o\d-pro|o\d(-mini)?-deep-research|computer-use-|codex-|gpt-\d[\d.]*-(pro|codex|cyber|rosalind|astra-law)"
        r"|gpt-(daybreak|rosalind)-)",
        codec="openai_responses",
        options=_RESPONSES_OPTIONS,
    ),
    # "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. Please use
    # /v1/responses instead" (github.com/openai/openai-openapi/issues/541, at Azure
    # github.com/can1357/oh-my-pi/issues/11052), and from GPT-5.5 on also without the field. "Use the Responses API for
    # reasoning with tools": developers.openai.com/api/docs/guides/deployment-checklist (2026-11).
    CodecRule(models=rf"{_GPT_5_4}|{_SINCE_GPT_5_5}", codec="openai_responses", options=_RESPONSES_OPTIONS),
)

# learn.microsoft.com/en-us/azure/foundry/openai/how-to/reasoning (2026-11): "Reasoning models will only work with the
# max_completion_tokens parameter"; the latest of them take system messages, and no others take developer messages.
# The rules for models hold where a deployment bears its model's name.
_AZURE_OPTIONS: dict[str, Any] = {
    "max_tokens_field": "max_completion_tokens",
    "refusal_parts": True,
    "embedding_encoding": "base64",
    # …/foundry/openai/how-to/embeddings: "the max array size is 2048"; the tokens are those of the same models below.
    "texts_per_call": 2048,
    "tokens_per_call": 300_000,
    "tokens_per_text": 8192,
    "call_id_limit": 40,
    "stop_limit": 4,
    "inputs": ("image", "image_url", "audio"),
    "lacks": ("top_k", "min_p"),
    "model_rules": _OPENAI_MODEL_RULES,
    # "The API deployment for this resource does not exist".
    "error_codes": {"deploymentnotfound": "model"},
}
# Azure's own tools have the whole address in AZURE_OPENAI_ENDPOINT; this one is read by @ai-sdk/azure.
_AZURE_RESOURCE = Variable(means="the name of the Azure OpenAI resource", env="AZURE_RESOURCE_NAME")

OPENAI: dict[str, Preset] = {
    # learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle, "v1 API" (2026-11). A model is a deployment.
    "azure": Preset(
        title="Azure OpenAI",
        checked="2026-11-22",
        base_url="https://{resource}.openai.azure.com/openai/v1",
        docs="https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle",
        variables={"resource": _AZURE_RESOURCE},
        key_env="AZURE_OPENAI_API_KEY",
        key_header="api-key",
        codec_rules=_BY_RESPONSES,
        # Its list is of what could be deployed, not of what is.
        models=None,
        options=_AZURE_OPTIONS,
    ),
    # learn.microsoft.com/en-us/azure/foundry/openai/reference (2026-11): the address of the dated API versions.
    "azure-deployments": Preset(
        title="Azure OpenAI, dated API versions",
        checked="2026-11-22",
        base_url="https://{resource}.openai.azure.com/openai/deployments/{model}",
        docs="https://learn.microsoft.com/en-us/azure/foundry/openai/reference",
        variables={
            "resource": _AZURE_RESOURCE,
            "version": Variable(means="the API version, such as `2024-10-21`", env="OPENAI_API_VERSION"),
        },
        query={"api-version": "{version}"},
        key_env="AZURE_OPENAI_API_KEY",
        # The key means the row above.
        needs_entry=True,
        key_header="api-key",
        models=None,
        # There is no path to the Responses API below a deployment, so what only it can do is refused.
        options={
            **_AZURE_OPTIONS,
            "model_rules": (
                *_OPENAI_MODEL_RULES,
                {"models": _GPT_5_4, "lacks": ("tools",), "unless_effort": ("none",), "default_effort": "none"},
                {"models": _SINCE_GPT_5_5, "lacks": ("tools",), "unless_effort": ("none",), "default_effort": "medium"},
                {"models": r"gpt-(\d[\d.]*-astra|6\.1-sol)", "lacks": ("tools",)},
            ),
        },
    ),
    # developers.openai.com/api/reference/resources/chat and …/resources/embeddings (2026-11)
    "openai": Preset(
        title="OpenAI",
        checked="2026-11-30",
        base_url="https://api.openai.com/v1",
        docs="https://developers.openai.com/api/reference/resources/chat",
        price_list="openai",
        key_env="OPENAI_API_KEY",
        codec_rules=_BY_RESPONSES,
        options={
            # "With o1 models and newer, use developer messages for this purpose instead": the system message.
            "system_role": "developer",
            # "This value is now deprecated in favor of max_completion_tokens": `max_tokens`.
            "max_tokens_field": "max_completion_tokens",
            "refusal_parts": True,
            "embedding_encoding": "base64",
            # …/resources/embeddings/methods/create, `input`: arrays of 1 to 2048 texts, "8192 tokens for all embedding
            # models", and "a maximum of 300,000 tokens summed across all inputs in a single request" (2026-11).
            "texts_per_call": 2048,
            "tokens_per_call": 300_000,
            "tokens_per_text": 8192,
            # Of an id: "string too long. Expected a string with maximum length 40"
            # (github.com/openclaw/openclaw/pull/875, github.com/microsoft/autogen/issues/6377; 2026-11).
            "call_id_limit": 40,
            # "Up to 4 sequences": `stop`.
            "stop_limit": 4,
            "inputs": ("image", "image_url", "file", "audio"),
            "lacks": ("top_k", "min_p"),
            # developers.openai.com/api/reference/resources/chat, `arguments`: "the model does not always generate
            # valid JSON" (2026-11); what it wrote is taken back.
            "any_arguments": True,
            "model_rules": _OPENAI_MODEL_RULES,
        },
    ),
}
