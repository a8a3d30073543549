"""How the services that speak Gemini's wire differ, and its models, as data that a preset or an operator sets.

Two services do: the Gemini API, and Google Cloud's (Vertex AI), where the same bodies go to another address. What
surprises: how a model is told to think is part of its family and not of the service, as a level, a number of tokens, or
not at all; a model that no rule names is taken to be newer than the rules, and asked as the newest are.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.embedding_calls import PerCall
from pluggably.wire.media import Input

# Our own names. Those up to `logprobs` are hints: dropped with a warning. `media_results`: what a tool's result holds
# beside text goes behind it. The others change what a request means, so one that needs them is refused; `prefill`: an
# assistant's message at the end, to be continued; `json_beside_tools`: an answer in JSON where there are functions.
GeminiLack: TypeAlias = Literal[
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "media_results",
    "prefill",
    "json_beside_tools",
    "embeddings",
]


class GeminiRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for a family of models; of several rules the first that matches counts, alone.

    `models` is a regular expression, matched from the start of the vendor's model id. A model thinks if it has `levels`
    or `budgets`: the efforts that it knows by name, or the tokens that stand for each."""

    models: str
    levels: tuple[Effort, ...] = ()
    budgets: dict[Effort, int] = {}
    # Whether a call of a function may go back only with the signature that came with it.
    signs_calls: bool = False
    lacks: tuple[GeminiLack, ...] = ()

    @property
    def thinks(self) -> bool:
        return bool(self.levels or self.budgets)


# What is assumed of a model that no rule names: nothing that would have to be sent unasked.
_UNKNOWN = GeminiRule(models="")
# Clients name the models, so there may be any number.
_MAX_RULES = 500


class GeminiOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """How a service differs from the others that speak this wire."""

    # Where a model stands behind the base URL. Vertex AI: `publishers/google/models/{model}`.
    resource: str = "models/{model}"
    # The collections that a client may name itself (`tunedModels/my-own`). Such a name stands there as it is.
    collections: tuple[str, ...] = ("models", "tunedModels")
    # Whether to ask models that think for a summary of their thoughts.
    thought_summaries: bool = True
    # Whether to ask for a call's arguments in pieces (`streamFunctionCallArguments`), which the Gemini API refuses.
    stream_arguments: bool = False
    # How many stop sequences are taken; None: no limit known.
    stop_limit: int | None = 5
    # How many texts one call for embeddings may bring; more become several calls. No page says it, the service does:
    # "BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch" (github.com/vercel/ai/pull/16575,
    # 2026-07; github.com/weaviate/weaviate/pull/11277, 2026-05).
    texts_per_call: PerCall | None = 100
    # Whether what is given by URL must come with its type.
    typed_urls: bool = False
    inputs: tuple[Input, ...] = ("image", "image_url", "file", "file_url", "audio")
    lacks: tuple[GeminiLack, ...] = ()
    model_rules: tuple[GeminiRule, ...] = ()
    # Fields that go into every body that asks for text, under those of the request and of its provider options:
    # `{"safetySettings": […]}`.
    extra_body: dict[str, Any] = {}

    @cached_property
    def _rules(self) -> dict[str, GeminiRule]:
        return {}

    def rule_for(self, model: str) -> GeminiRule:
        rule = self._rules.get(model)
        if rule is None:
            if len(self._rules) >= _MAX_RULES:
                self._rules.clear()
            name = model.rpartition("/")[2]
            rule = next((rule for rule in self.model_rules if re.match(rule.models, name)), _UNKNOWN)
            self._rules[model] = rule
        return rule

    def lacks_of(self, rule: GeminiRule) -> frozenset[GeminiLack]:
        return frozenset((*self.lacks, *rule.lacks))
