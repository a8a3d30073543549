"""How the models behind Bedrock's Converse differ, as data that a preset or an operator sets.

What surprises: Claude differs from model to model as it does at its maker's, so its rules are of the same form. And an
ARN may hide which model it leads to: `stands_for` says so.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.codecs.anthropic.options import AnthropicLack, AnthropicOptions, AnthropicRule
from pluggably.wire.codecs.anthropic.options import Profile as ClaudeProfile
from pluggably.wire.media import Input

# Where an effort is asked for, below `additionalModelRequestFields`: Claude's `thinking`; Nova's
# `{"reasoningConfig": {"maxReasoningEffort": …}}`; OpenAI's `{"reasoning": {"effort": …}}` or `"reasoning_effort"`.
EffortField: TypeAlias = Literal["thinking", "reasoningConfig", "reasoning", "reasoning_effort"]
# Whose reasoning it is that a model takes back: another's would be refused.
Maker: TypeAlias = Literal["anthropic", "openai"]


class BedrockRule(AnthropicRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for a family of models; of several rules all that match count, as at Claude's maker.

    `models` is a regular expression, searched in the model's id, since a region or an ARN may stand before it."""

    effort_field: EffortField | None = None
    reasoning_back: Maker | None = None
    # Converse has no field for `top_k`: the names of fields below `additionalModelRequestFields`.
    top_k: tuple[str, ...] | None = None
    # Whether a PDF is looked at, and not only its text read, where citations are asked for.
    pdf_citations: bool | None = None


class Profile(ClaudeProfile, frozen=True, kw_only=True):
    """What holds for one model: the rules that match, added up."""

    effort_field: EffortField | None = None
    reasoning_back: Maker | None = None
    top_k: tuple[str, ...] = ()
    pdf_citations: bool = False


def profile_of(rules: tuple[BedrockRule, ...], model: str) -> Profile:
    said: dict[str, Any] = {}
    lacks: set[AnthropicLack] = set()
    for rule in rules:
        if re.search(rule.models, model):
            lacks.update(rule.lacks)
            said.update((name, value) for name, value in msgspec.structs.asdict(rule).items() if value is not None)
    said.pop("models", None)
    return Profile(**{**said, "lacks": frozenset(lacks)})


# Clients name the models, so there may be any number.
_MAX_PROFILES = 500


class BedrockOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The quirks of Bedrock, or of a server that speaks as it does."""

    # What may stand in a message beside text. Bedrock fetches nothing by URL but from S3.
    inputs: tuple[Input, ...] = ("image", "file", "audio")
    model_rules: tuple[BedrockRule, ...] = ()
    # For ARNs that do not say which model they lead to, such as those of application inference profiles: its id.
    stands_for: dict[str, str] = {}
    # Where Claude is asked to think by a number of tokens: how many an effort means.
    budgets: dict[Effort, int] = msgspec.field(default_factory=lambda: AnthropicOptions().budgets)
    # As at Claude's maker: whether thinking comes back as a summary, where it is asked for by effort.
    thinking_display: Literal["summarized", "omitted"] | None = None
    # Fields that go into every body of Converse, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}

    @cached_property
    def _profiles(self) -> dict[str, Profile]:
        return {}

    def profile_for(self, model: str) -> Profile:
        profile = self._profiles.get(model)
        if profile is None:
            if len(self._profiles) >= _MAX_PROFILES:
                self._profiles.clear()
            name = self.stands_for.get(model, model)
            profile = self._profiles[model] = profile_of(self.model_rules, name)
        return profile
