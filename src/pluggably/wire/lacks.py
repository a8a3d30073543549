"""What a vendor or one of its models lacks, as data that a preset or an operator sets, and the refusal of a request
that cannot do without it.

What surprises: a lack is either a hint, which the codec drops with a warning, or changes what the request means; only
the latter is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from pluggably.domain.generation import Effort, JsonFormat, JsonSchemaFormat, NamedTool, ResponseFormat, ToolChoice
from pluggably.errors import UnsupportedParameter

# Our own names. Those up to `reasoning` and `parallel_tool_calls` are hints: dropped with a warning. `stop`, `tools`,
# `tool_choice`, `named_tool`, `required_tool`, `json`, `json_schema`, `dimensions` and `embeddings` change what the
# request means, so a request that needs them is refused. `named_tool`: a call of any tool can be demanded, but not of a
# certain one; `required_tool`: the other way round. `json`: any JSON, without a schema.
Lack: TypeAlias = Literal[
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "reasoning",
    "parallel_tool_calls",
    "stop",
    "tools",
    "tool_choice",
    "named_tool",
    "required_tool",
    "json",
    "json_schema",
    "dimensions",
    "embeddings",
]

# How the effort is asked for: `"reasoning_effort": "low"`, OpenRouter's `"reasoning": {"effort": "low"}`, or where it
# can only be turned on and off, `"thinking": {"type": "enabled"}` and `"enable_thinking": true`.
EffortField: TypeAlias = Literal["reasoning_effort", "reasoning", "thinking", "enable_thinking"]
_EFFORT_FIELDS: tuple[EffortField, ...] = ("reasoning_effort", "reasoning", "thinking", "enable_thinking")

# Where nothing else is known of a vendor: all but `max`, which only some have, and others refuse.
COMMON_EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh")


class ModelRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a family of models lacks, or how it differs; of several rules all that match count.

    `models` is a regular expression, matched from the start of the vendor's model id. With one of `unless_effort` as
    the reasoning effort its `lacks` do not apply; `default_effort` is the vendor's own where the request names none.
    `effort_field` and `efforts` stand in place of the vendor's own."""

    models: str
    lacks: tuple[Lack, ...] = ()
    unless_effort: tuple[Effort, ...] = ()
    default_effort: Effort | None = None
    effort_field: EffortField | None = None
    efforts: tuple[Effort, ...] = ()


def lacks_of(always: Iterable[Lack], rules: tuple[ModelRule, ...], model: str, effort: str | None) -> frozenset[Lack]:
    """What a model lacks where it is asked to reason with `effort` (None: as much as it likes)."""
    lacks = set(always)
    for rule in rules_for(rules, model):
        if (effort or rule.default_effort) not in rule.unless_effort:
            lacks.update(rule.lacks)
    return frozenset(lacks)


def efforts_of(always: tuple[Effort, ...], rules: tuple[ModelRule, ...], model: str) -> tuple[Effort, ...]:
    """The efforts that a model understands; empty: all."""
    known = always
    for rule in rules_for(rules, model):
        known = rule.efforts or known
    return known


def effort_told(
    own: Mapping[str, Any] | None, asked: Effort | None, under: Mapping[str, Any] | None = None
) -> str | None:
    """The effort that a body will tell, which is what the rules go by: a request's options for the provider stand over
    the effort that it asks for, and this over the fields that go into every body (`under`). None: it tells none."""
    return (_effort_in(own) if own else None) or asked or (_effort_in(under) if under else None)


def _effort_in(body: Mapping[str, Any]) -> str | None:
    for field in _EFFORT_FIELDS:
        said = body.get(field)
        if isinstance(said, dict):
            said = said.get("effort") or said.get("type") or said.get("enabled")
        if said in (False, "disabled"):
            return "none"
        if said in (True, "enabled"):
            return "high"  # no rule asks how much, only whether
        if isinstance(said, str):
            return said
    return None


@lru_cache(maxsize=512)
def rules_for(rules: tuple[ModelRule, ...], model: str) -> tuple[ModelRule, ...]:
    return tuple(rule for rule in rules if re.match(rule.models, model))


def check_stops(stops: Collection[str], lacks: Collection[str], limit: int | None, backend: str) -> None:
    """Raises: UnsupportedParameter. A stop sequence that is not obeyed changes the answer, so it is no hint."""
    if stops and "stop" in lacks:
        detail = f"{backend} takes no stop sequences for this model."
    elif limit is not None and len(stops) > limit:
        detail = f"{backend} takes at most {limit} stop sequences."
    else:
        return
    raise UnsupportedParameter(detail, pointer="/parameters/stop")


def check_dimensions(lacks: Collection[str], backend: str) -> None:
    """For a request that names a size. Raises: UnsupportedParameter where there is but one."""
    if "dimensions" in lacks:
        raise UnsupportedParameter(
            f"{backend} makes embeddings of one size only; leave `dimensions` out.", pointer="/parameters/dimensions"
        )


def check_tools(lacks: Collection[str], backend: str) -> None:
    """For a request with tools. Raises: UnsupportedParameter where they cannot be offered."""
    if "tools" in lacks:
        raise UnsupportedParameter(
            f"{backend} takes no tools for this model while it reasons; use the effort `none` where the model has it, "
            "or leave `tools` out.",
            pointer="/tools",
        )


def check_tool_choice(choice: ToolChoice, lacks: Collection[str], backend: str) -> None:
    """Raises: UnsupportedParameter for a call that cannot be demanded."""
    if choice in ("auto", "none"):
        return
    if "tool_choice" in lacks:
        detail = f"{backend} cannot be made to call a tool; leave `tool_choice` at `auto`."
    elif isinstance(choice, NamedTool) and "named_tool" in lacks:
        detail = f"{backend} cannot be made to call a certain tool; use `required` and give that tool alone."
    elif choice == "required" and "required_tool" in lacks:
        detail = f"{backend} cannot be made to call just any tool; name one, or leave `tool_choice` at `auto`."
    else:
        return
    raise UnsupportedParameter(detail, pointer="/tool_choice")


def check_format(wanted: ResponseFormat | None, lacks: Collection[str], backend: str) -> None:
    """Raises: UnsupportedParameter for a form of answer that is not to be had."""
    if isinstance(wanted, JsonFormat) and "json" in lacks:
        detail = f"{backend} takes no `json` without a schema; use `json_schema`."
    elif isinstance(wanted, JsonSchemaFormat) and "json_schema" in lacks:
        instead = "" if "json" in lacks else "ask for `json` and "
        detail = f"{backend} takes no JSON Schema for this model; {instead}describe the form in the prompt."
    else:
        return
    raise UnsupportedParameter(detail, pointer="/response_format")
