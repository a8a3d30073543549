"""What vendors document of their own models, where neither their list nor the price list tells it.

A list that holds nothing but ids would leave it open whether a model takes tools or makes embeddings. Here is only what
a page says, with that page and the month; a model that no rule names stays unknown. No prices: they change too often.
"""

from __future__ import annotations

import re

from msgspec import Struct

from pluggably.domain.catalog import Capabilities, InputModality, RemoteModel
from pluggably.domain.generation import Modality

_DATE = r"(-\d{4}-\d\d-\d\d)?"
_IMAGES: tuple[InputModality, ...] = ("text", "image")
_ALL = Capabilities(tools=True, json_schema=True, reasoning=True)
_PLAIN = Capabilities(tools=True, json_schema=True, reasoning=False)


class Rule(Struct, frozen=True, kw_only=True):
    """Facts of the models whose whole id matches."""

    models: str
    inputs: tuple[InputModality, ...] | None = None
    outputs: tuple[Modality, ...] | None = ("text",)
    capabilities: Capabilities = Capabilities()


# platform.claude.com/docs/en/agents-and-tools/tool-use/overview (2026-11): all current models.
_CLAUDE = Rule(models=r"claude-.+", capabilities=Capabilities(tools=True))
# ai.google.dev/gemini-api/docs/function-calling and …/structured-output, "Model support" (2026-11)
_GEMINI = Rule(
    models=r"gemini-[23](\.\d)?-(pro|flash|flash-lite)(-\d{3}|-preview(-\d\d-\d{2,4})?)?",
    capabilities=Capabilities(tools=True, json_schema=True),
)

# By preset. The first rule that matches counts.
_RULES: dict[str, tuple[Rule, ...]] = {
    # developers.openai.com/api/docs/models, each model's page, "Features" and "Modalities"; structured outputs:
    # …/guides/structured-outputs, "gpt-4o-2024-08-06 and later" (2026-11)
    "openai": (
        Rule(models=rf"gpt-5(\.\d+)?(-mini|-nano)?{_DATE}", inputs=_IMAGES, capabilities=_ALL),
        Rule(models=rf"(o1|o3|o4-mini){_DATE}", inputs=_IMAGES, capabilities=_ALL),
        Rule(models=rf"o3-mini{_DATE}", inputs=("text",), capabilities=_ALL),
        Rule(models=rf"gpt-4\.1(-mini|-nano)?{_DATE}", inputs=_IMAGES, capabilities=_PLAIN),
        Rule(models=r"gpt-4o-2024-05-13", inputs=_IMAGES, capabilities=Capabilities(tools=True, reasoning=False)),
        Rule(models=rf"gpt-4o(-mini)?{_DATE}", inputs=_IMAGES, capabilities=_PLAIN),
        Rule(models=r"text-embedding-.+", inputs=("text",), outputs=("embedding",)),
        Rule(models=r"(whisper|tts|dall-e|gpt-image|sora|omni-moderation|text-moderation)-.+", outputs=()),
    ),
    # The list tells the rest of them.
    "anthropic": (_CLAUDE,),
    "google": (_GEMINI,),
    # docs.cloud.google.com/vertex-ai/generative-ai/docs/learn/models and …/docs/embeddings/get-text-embeddings
    # (2026-11): its lists tell nothing but ids, of much that is made for images, video and sound.
    "vertex": (
        _CLAUDE,
        _GEMINI,
        Rule(
            models=r"(text(-multilingual)?-embedding|gemini-embedding)-.+|textembedding-gecko.*",
            inputs=("text",),
            outputs=("embedding",),
        ),
        Rule(models=r"(imagen|imagegeneration|veo|lyria|chirp|multimodalembedding|virtual-try-on)\b.*", outputs=()),
    ),
    # Read 2026-11 at docs.mistral.ai/capabilities/embeddings: the list does not say what these make.
    "mistral": (Rule(models=r"(mistral|codestral)-embed(-\d{4})?", inputs=("text",), outputs=("embedding",)),),
}


def known(vendor: str | None, model: str) -> RemoteModel | None:
    """What is documented of a vendor's model; `vendor` is the preset's name."""
    for rule in _RULES.get(vendor or "", ()):
        if re.fullmatch(rule.models, model):
            return RemoteModel(
                id=model,
                input_modalities=rule.inputs,
                output_modalities=rule.outputs,
                capabilities=rule.capabilities,
            )
    return None
