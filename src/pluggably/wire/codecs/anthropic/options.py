"""The quirks of the models and servers that speak Anthropic's Messages wire, as data that a preset or an operator sets.

Anthropic's models differ from each other more than most vendors do: in how thinking is asked for, turned off or cannot
be, in sampling, in prefills. So nearly all of it is in rules for models. What surprises: what no rule says is as at a
server that is only shaped like Anthropic, since that is what `codec: anthropic` with a `base_url` means; Anthropic
itself is a preset.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from pluggably.domain.generation import Effort
from pluggably.wire.media import Input

# Those up to `parallel_tool_calls` are hints: dropped with a warning. `prefill` (an assistant's message at the end, to
# be continued), `tool_choice` (a demanded call), `stop` and `json_schema` change what the request means, so a request
# that needs them is refused.
AnthropicLack: TypeAlias = Literal[
    "temperature",
    "top_p",
    "top_k",
    "reasoning",
    "parallel_tool_calls",
    "stop",
    "tool_choice",
    "json_schema",
    "prefill",
]

MODEL_GAP = "{model}"

# How thinking is asked for: by a number of tokens, or by an effort.
Thinking: TypeAlias = Literal["budget", "adaptive"]
# The type of `thinking` that turns it off; `never`: the model always thinks.
ThinkingOff: TypeAlias = Literal["disabled", "between_tools", "never"]


class AnthropicRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for a family of models; of several rules all that match count.

    Their `lacks` add up, of everything else the last that says it stands. `models` is a regular expression, matched
    from the start of the vendor's model id."""

    models: str
    lacks: tuple[AnthropicLack, ...] = ()
    # What the wire demands and a request may leave out.
    max_tokens: int | None = None
    thinking: Thinking | None = None
    thinking_off: ThinkingOff | None = None
    # Whether the model thinks where nothing is said of it.
    thinks: bool | None = None
    # The efforts that `output_config.effort` takes.
    efforts: tuple[Effort, ...] | None = None
    # Whether a system message may stand in the midst of a conversation.
    system_messages: bool | None = None
    # Whether a thought holds only behind the prompt, the tools and the messages that it was made with.
    preserved_thinking: bool | None = None
    # Whether only one of `temperature` and `top_p` is taken.
    one_of_sampling: bool | None = None


class Profile(Struct, frozen=True, kw_only=True):
    """What holds for one model: the rules that match, added up."""

    lacks: frozenset[AnthropicLack] = frozenset()
    max_tokens: int = 4096
    thinking: Thinking = "budget"
    thinking_off: ThinkingOff = "disabled"
    thinks: bool = False
    efforts: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
    system_messages: bool = False
    preserved_thinking: bool = False
    one_of_sampling: bool = False


def profile_of(rules: tuple[AnthropicRule, ...], model: str, lacking: tuple[AnthropicLack, ...] = ()) -> Profile:
    """`lacking`: what no model of the server has."""
    said: dict[str, Any] = {}
    lacks: set[AnthropicLack] = set(lacking)
    for rule in rules:
        if re.match(rule.models, model):
            lacks.update(rule.lacks)
            said.update(
                {
                    name: value
                    for name, value in msgspec.structs.asdict(rule).items()
                    if value is not None and name not in ("models", "lacks")
                }
            )
    return Profile(lacks=frozenset(lacks), **said)


# Clients name the models, so there may be any number.
_MAX_PROFILES = 500

_BUDGETS: dict[Effort, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 65536,
}


class AnthropicOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """How a server or its models differ from the others that speak this wire."""

    inputs: tuple[Input, ...] = ("image", "image_url", "file", "file_url")
    # What none of the models has. For Anthropic's API version 2026-10-21: temperature, top_p and top_k.
    lacks: tuple[AnthropicLack, ...] = ()
    model_rules: tuple[AnthropicRule, ...] = ()
    # Where thinking is asked for by a number of tokens: how many an effort means. Anthropic takes 1,024 and more.
    budgets: dict[Effort, int] = msgspec.field(default_factory=lambda: dict(_BUDGETS))
    # Whether thinking comes back as a summary or only as its signature, where thinking is asked for by effort; None: as
    # the model has it.
    thinking_display: Literal["summarized", "omitted"] | None = None
    # The operation behind the base URL, plain and streamed. Where the model stands in it (`…/{model}:rawPredict`, at
    # Vertex AI), it does not stand in the body.
    path: str = "messages"
    stream_path: str = "messages"
    # Fields that go into every body, under those of the request and of its provider options.
    extra_body: dict[str, Any] = {}

    @cached_property
    def _profiles(self) -> dict[str, Profile]:
        return {}

    def profile_for(self, model: str) -> Profile:
        profile = self._profiles.get(model)
        if profile is None:
            if len(self._profiles) >= _MAX_PROFILES:
                self._profiles.clear()
            profile = self._profiles[model] = profile_of(self.model_rules, model, self.lacks)
        return profile
