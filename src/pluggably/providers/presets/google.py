"""Google, and what it documents of its own models."""

from __future__ import annotations

from typing import Any

from pluggably.providers.presets.preset import ModelList, Preset

# ai.google.dev/gemini-api/docs/openai, "Thinking" (2026-11): what stands for an effort where a model counts tokens.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
# …/docs/function-calling, "Multimodal function responses", and …/docs/structured-output, "with tools": from Gemini 3
# on.
_BEFORE_GEMINI_3 = ("media_results", "json_beside_tools")
# "Penalty is not enabled for this model" and "Logprobs is not supported for this model" are a 400: at the Gemini API of
# all models since 2.5, at Vertex AI since Gemini 3 (github.com/google-gemini/cookbook/issues/1290, 2026-07, and
# github.com/GoogleCloudPlatform/generative-ai/issues/2947, 2026-06; that Vertex AI has log probabilities with 2.5:
# github.com/vercel/ai/issues/5418).
_GEMINI_3 = ("presence_penalty", "frequency_penalty", "logprobs")
# …/docs/latest-model and …/docs/generate-content/whats-new-gemini-3.6, "API changes" (2026-07): of these models "and
# all future Gemini model releases", sampling is ignored and a request that ends with the model's turn is a 400.
_NEWEST = (*_GEMINI_3, "temperature", "top_p", "top_k", "prefill")
_ALL_LEVELS = ("minimal", "low", "medium", "high")

# …/docs/thinking, "Thinking levels" and "Thinking budgets", and docs.cloud.google.com/gemini-enterprise-agent-platform/
# models/thinking (2026-11). …/docs/thought-signatures: from Gemini 3 on, a call without its signature is refused.
GEMINI_MODEL_RULES: tuple[dict[str, Any], ...] = (
    {"models": r"(gemini-(1|2\.0|2\.5-flash-image)|gemma-[1-3]|learnlm)", "lacks": _BEFORE_GEMINI_3},
    # "…cannot disable thinking".
    {"models": r"gemini-2\.5-pro", "budgets": _BUDGETS, "lacks": _BEFORE_GEMINI_3},
    {"models": r"gemini-2\.5-flash", "budgets": {"none": 0, **_BUDGETS}, "lacks": _BEFORE_GEMINI_3},
    # "minimal" and "high" are all that it takes (github.com/livekit/agents/pull/7080 and
    # github.com/simonw/llm-gemini/pull/130, 2026).
    {"models": r"gemma-4", "levels": ("minimal", "high"), "lacks": ("media_results",)},
    # Models that draw; others than these think as they like.
    {
        "models": r"gemini-3\.1-flash(-lite)?-image",
        "levels": ("minimal", "high"),
        "signs_calls": True,
        "lacks": _GEMINI_3,
    },
    {"models": r"gemini-3[\d.]*-(pro|flash|flash-lite)-image", "signs_calls": True, "lacks": _GEMINI_3},
    {"models": r"gemini-3-pro", "levels": ("low", "high"), "signs_calls": True, "lacks": _GEMINI_3},
    {"models": r"gemini-3\.(5-flash-lite|6-flash)", "levels": _ALL_LEVELS, "signs_calls": True, "lacks": _NEWEST},
    {"models": r"gemini-3(\.[0-5])?-flash", "levels": _ALL_LEVELS, "signs_calls": True, "lacks": _GEMINI_3},
    {
        "models": r"gemini-(3\.[0-5]-|pro-latest)",
        "levels": ("low", "medium", "high"),
        "signs_calls": True,
        "lacks": _GEMINI_3,
    },
    {
        "models": r"gemini-([3-9]|\d\d|flash(-lite)?-latest)",
        "levels": ("low", "medium", "high"),
        "signs_calls": True,
        "lacks": _NEWEST,
    },
)

GOOGLE: dict[str, Preset] = {
    # ai.google.dev/api/generate-content, …/api/embeddings and …/api/models (2026-11)
    "google": Preset(
        title="Gemini API",
        checked="2026-11-23",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        docs="https://ai.google.dev/api/generate-content",
        codec="gemini",
        price_list="google",
        # …/gemini-api/docs/api-key. Google's own tools also look in GOOGLE_API_KEY, which is set for other services,
        # too.
        key_env="GEMINI_API_KEY",
        key_header="x-goog-api-key",
        models=ModelList(path="/models?pageSize=1000", form="google"),
        # …/gemini-api/docs/pricing: "Free tier".
        free_tier=True,
        options={"lacks": _GEMINI_3, "model_rules": GEMINI_MODEL_RULES},
    ),
}
