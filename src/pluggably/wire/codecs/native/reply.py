"""Answers of another Pluggably, as far as we read them: its generation, and the events of its stream.

What surprises: these are not the structs of `domain.generation`, though they look alike. Those refuse a field that they
do not know, and another version of this gateway may well have one. An item of an unknown type is kept as a
`provider_item`, and goes back as it came.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pluggably.domain.generation import (
    AlternativeToken,
    Embedding,
    FinishReason,
    GenerationWarning,
    Item,
    JsonObject,
    Location,
    Progress,
    ProviderItem,
    ProviderOptions,
    ProviderState,
    Reasoning,
    Refusal,
    ServedBy,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    UsageReported,
)
from pluggably.errors import BackendInvalidResponse

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}
# The key under which an item of an unknown type is kept.
UNKNOWN_ITEM = "item"
_COST = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?")


class AlternativeSaid(Struct):
    token: str
    logprob: float


class LogprobSaid(Struct):
    token: str
    logprob: float
    top: list[AlternativeSaid] = []


class StateSaid(Struct):
    provider: str
    data: Any = None


class ItemSaid(Struct, kw_only=True):
    """Every type of item; `type` says which fields count."""

    type: str
    text: str | None = None
    annotations: list[JsonObject] = []
    logprobs: list[LogprobSaid] | None = None
    provider_state: StateSaid | None = None
    provider_options: ProviderOptions | UnsetType = UNSET
    id: str = ""
    name: str = ""
    arguments: str = ""
    provider: str = ""
    data: Any = None
    vector: list[float] = []
    input_index: int = 0


class ServedBySaid(Struct):
    backend: str
    model: str
    location: str = "remote"
    behind: ServedBySaid | None = None

    def told(self) -> ServedBy:
        """From here only what is local there and local here is local, so the location is no more than its word."""
        location: Location = "local" if self.location == "local" else "remote"
        return ServedBy(self.backend, self.model, location, self.behind.told() if self.behind is not None else UNSET)


class UsageSaid(Struct):
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: str | None = None
    queued_s: float = 0.0

    def reported(self) -> UsageReported:
        cost = self.cost_usd
        return UsageReported(
            input_tokens=self.input_tokens,
            cached_input_tokens=self.cached_input_tokens,
            output_tokens=self.output_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cost_usd=cost if cost is not None and _COST.fullmatch(cost) else None,
        )


class WarningSaid(Struct):
    code: str
    detail: str = ""
    parameter: str | None = None

    def told(self) -> GenerationWarning:
        # A later version may warn of more; clients are told to expect values that they do not know.
        return GenerationWarning(code=cast(Any, self.code), parameter=self.parameter, detail=self.detail)


class ViolationSaid(Struct):
    pointer: str
    detail: str = ""


class ProblemSaid(Struct, kw_only=True):
    """An error: `application/problem+json`, or a failed generation's `error`."""

    code: str
    detail: str = ""
    status: int | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    pointer: str | None = None
    errors: list[ViolationSaid] = []
    backend: str | None = None
    backend_status: int | None = None
    backend_code: str | None = None


class GenerationSaid(Struct, kw_only=True):
    status: str | None = None
    served_by_said: ServedBySaid | None = msgspec.field(default=None, name="served_by")
    output: list[JsonObject] = []
    finish_reason: str | None = None
    usage: UsageSaid | None = None
    warnings: list[WarningSaid] = []
    error: ProblemSaid | None = None

    @property
    def served_by(self) -> Started | None:
        return Started(self.served_by_said.told()) if self.served_by_said is not None else None


class Said(Struct, kw_only=True, gc=False):
    """Any event of a stream; `type` says which. A problem in its place has a code."""

    type: str = ""
    index: int = -1
    item_type: str = ""
    text: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    logprobs: list[LogprobSaid] | None = None
    item: JsonObject | None = None
    served_by_said: ServedBySaid | None = msgspec.field(default=None, name="served_by")
    generation: GenerationSaid | None = None
    code: str | None = None
    stage: str = ""
    fraction: float | None = None
    step: int | None = None
    steps: int | None = None
    position: int | None = None
    eta_s: float | None = None
    detail: str | None = None

    @property
    def served_by(self) -> Started | None:
        return Started(self.served_by_said.told()) if self.served_by_said is not None else None

    def progress(self) -> Progress:
        return Progress(
            stage=self.stage,
            fraction=self.fraction,
            step=self.step,
            steps=self.steps,
            position=self.position,
            eta_s=self.eta_s,
            detail=self.detail,
        )


decode_event = msgspec.json.Decoder(Said).decode
decode_generation = msgspec.json.Decoder(GenerationSaid).decode
decode_problem = msgspec.json.Decoder(ProblemSaid).decode


def item_of(value: JsonObject | None, backend: str) -> Item:
    """Raises: BackendInvalidResponse, msgspec.ValidationError."""
    if value is None:
        raise BackendInvalidResponse(f"{backend} sent an event without its item.")
    said = msgspec.convert(value, ItemSaid)
    options = said.provider_options
    if said.type == "text":
        logprobs = logprobs_of(said.logprobs) if said.logprobs is not None else None
        return Text(said.text or "", said.annotations, logprobs, options)
    if said.type == "reasoning":
        state = said.provider_state
        kept = ProviderState(state.provider, state.data) if state is not None else None
        return Reasoning(said.text, kept, options)
    if said.type == "tool_call":
        if not said.id or not said.name:
            raise BackendInvalidResponse(f"{backend} sent a tool call without an id or a name.")
        return ToolCall(said.id, said.name, said.arguments, options)
    if said.type == "refusal":
        return Refusal(said.text or "", options)
    if said.type == "provider_item":
        return ProviderItem(said.provider, said.data)
    if said.type == "embedding":
        return Embedding(said.vector, said.input_index)
    return ProviderItem(backend, {UNKNOWN_ITEM: value})


def logprobs_of(said: list[LogprobSaid]) -> list[TokenLogprob]:
    return [
        TokenLogprob(token.token, token.logprob, [AlternativeToken(top.token, top.logprob) for top in token.top])
        for token in said
    ]
