"""Google, and what it documents of its own models."""

from __future__ import annotations

from typing import Any

from pluggably.providers.presets.preset import ModelList, Preset

# ai.google.dev/gemini-api/docs/openai, "Thinking" (2026-11): what stands for an effort where a model counts tokens.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
# …/docs/function-calling, "Multimodal function responses", and …/docs/structured-output, "with tools": from Gemini 3
# on.
_BEFORE_GEMINI_3 = ("media_results", "json_beside_tools")

# …/docs/thinking, "Thinking levels" and "Thinking budgets", and docs.cloud.google.com/gemini-enterprise-agent-platform/
# models/thinking (2026-11). …/docs/thought-signatures: from Gemini 3 on, a call without its signature is refused.
GEMINI_MODEL_RULES: tuple[dict[str, Any], ...] = (
    {"models": r"(gemini-(1|2\.0|2\.5-flash-image)|gemma-[1-3]|learnlm)", "lacks": _BEFORE_GEMINI_3},
    # "…cannot disable thinking".
    {"models": r"gemini-2\.5-pro", "budgets": _BUDGETS, "lacks": _BEFORE_GEMINI_3},
    {"models": r"gemini-2\.5-flash", "budgets": {"none": 0, **_BUDGETS}, "lacks": _BEFORE_GEMINI_3},
    # Models that draw think as they like.
    {"models": r"gemini-3[\d.]*-(pro|flash)-image", "signs_calls": True},
    {"models": r"gemini-3-pro", "levels": ("low", "high"), "signs_calls": True},
    {"models": r"gemini-3\.([78]-flash|\d+-pro)", "levels": ("low", "medium", "high"), "signs_calls": True},
    {"models": r"gemini-3[\d.]*-flash", "levels": ("minimal", "low", "medium", "high"), "signs_calls": True},
    {
        "models": r"gemini-([3-9]|\d\d|(pro|flash|flash-lite)-latest)",
        "levels": ("low", "medium", "high"),
        "signs_calls": True,
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
        options={"model_rules": GEMINI_MODEL_RULES},
    ),
}
