"""One generation: what is asked, the events in which it is answered, and the answer that they fold to.

A struct here is at once the type of the domain, of the wire and of the published schema: the parts and the items are
the JSON of the API, and the events that a client may see are framed as they stand. What surprises: an item of an
answer is also a legal part of an assistant message, so the two share their classes; a field that only an input has
is `UNSET`, not `None`, in an answer, and so does not appear in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pluggably.errors import FailedAttempt, Problem

Modality: TypeAlias = Literal["text", "embedding"]
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Status: TypeAlias = Literal["queued", "running", "completed", "failed", "cancelled"]
Location: TypeAlias = Literal["local", "remote"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error"]
JsonObject: TypeAlias = dict[str, Any]

# Python's `$` also matches before a last newline, ECMA's (the published schema's) does not; the look-ahead makes them
# one.
FUNCTION_NAME = r"^[a-zA-Z0-9_-]{1,64}$(?!\n)"

# provider name → what is passed to it as it is
ProviderOptions: TypeAlias = dict[str, JsonObject]


# ── parts and items ─────────────────────────────────────────────────────────────────────────────────────────────────


class AlternativeToken(Struct, frozen=True):
    token: str
    logprob: float


class TokenLogprob(Struct, frozen=True):
    """The log probability of one token of an answer, and of the likeliest tokens in its place."""

    token: str
    logprob: float
    top: list[AlternativeToken] = []


class Text(Struct, tag="text", forbid_unknown_fields=True):
    text: str
    annotations: list[JsonObject] = []
    logprobs: list[TokenLogprob] | None = None
    provider_options: ProviderOptions | UnsetType = UNSET


class Reasoning(Struct, tag="reasoning", forbid_unknown_fields=True):
    """What a model thought. `provider_state` is opaque: handed back unchanged to its maker, dropped for another."""

    text: str | None = None
    provider_state: ProviderState | None = None
    provider_options: ProviderOptions | UnsetType = UNSET


class ProviderState(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str
    data: Any


class ToolCall(Struct, tag="tool_call", forbid_unknown_fields=True):
    """`arguments` is the JSON text as the model wrote it; it may be wrong JSON."""

    id: str
    name: str
    arguments: str = ""
    provider_options: ProviderOptions | UnsetType = UNSET


class Refusal(Struct, tag="refusal", forbid_unknown_fields=True):
    text: str
    provider_options: ProviderOptions | UnsetType = UNSET


class ProviderItem(Struct, tag="provider_item", forbid_unknown_fields=True):
    """A vendor's block that has no common form, kept so that it can be handed back."""

    provider: str
    data: Any


class Embedding(Struct, tag="embedding"):
    """An item only: a vector, and which input (from 0) it belongs to."""

    vector: list[float]
    input_index: int


class Image(Struct, tag="image", forbid_unknown_fields=True, kw_only=True):
    """A part only, given by `url` or by `data` (base64) with its `media_type`."""

    url: str | UnsetType = UNSET
    data: str | UnsetType = UNSET
    media_type: str | UnsetType = UNSET
    provider_options: ProviderOptions | UnsetType = UNSET


class File(Struct, tag="file", forbid_unknown_fields=True, kw_only=True):
    """A part only, such as a PDF, given by `url` or by `data` (base64) with its `media_type`."""

    url: str | UnsetType = UNSET
    data: str | UnsetType = UNSET
    media_type: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    provider_options: ProviderOptions | UnsetType = UNSET


class Audio(Struct, tag="audio", forbid_unknown_fields=True, kw_only=True):
    """A part only, given by `url` or by `data` (base64) with its `media_type`."""

    url: str | UnsetType = UNSET
    data: str | UnsetType = UNSET
    media_type: str | UnsetType = UNSET
    provider_options: ProviderOptions | UnsetType = UNSET


class ToolResult(Struct, tag="tool_result", forbid_unknown_fields=True):
    tool_call_id: str
    content: str | list[Text | Image | File | Audio]
    is_error: bool = False
    provider_options: ProviderOptions | UnsetType = UNSET


Media: TypeAlias = Image | File | Audio
MediaKind: TypeAlias = Literal["image", "file", "audio"]
MEDIA: tuple[type[Media], ...] = (Image, File, Audio)
MEDIA_KINDS: tuple[MediaKind, ...] = ("image", "file", "audio")
Part: TypeAlias = Text | Image | File | Audio | ToolCall | ToolResult | Reasoning | Refusal | ProviderItem
Item: TypeAlias = Text | Reasoning | ToolCall | Refusal | Embedding | ProviderItem
# Which parts may stand in a message of which role. The API refuses any other, so none comes to a codec.
PARTS_OF: dict[Role, tuple[type[Part], ...]] = {
    "system": (Text,),
    "user": (Text, *MEDIA),
    "assistant": (Text, ToolCall, Reasoning, Refusal, ProviderItem),
    "tool": (ToolResult,),
}


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


class Message(Struct, forbid_unknown_fields=True):
    role: Role
    content: str | list[Part]
    provider_options: ProviderOptions | UnsetType = UNSET


def with_own_ids(messages: list[Message]) -> list[Message]:
    """The messages with an id of its own for every tool call. Some models count their calls from zero in each answer,
    and some vendors want no id twice in a conversation. The first call keeps its id; a result belongs to the earliest
    call of its id that has none yet, else to the last one that has."""
    ids = [
        part.id
        for message in messages
        if message.role == "assistant" and not isinstance(message.content, str)
        for part in message.content
        if type(part) is ToolCall
    ]
    if len(ids) == len(set(ids)):
        return messages
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # the last one that was put behind an id
    waiting: dict[str, deque[str]] = {}
    answered: dict[str, str] = {}

    def renamed(part: Part) -> Part:
        if isinstance(part, ToolCall):
            id_ = part.id
            while id_ in taken:
                count = numbers[part.id] = numbers.get(part.id, 1) + 1
                id_ = f"{part.id}-{count}"
            taken.add(id_)
            waiting.setdefault(part.id, deque()).append(id_)
            return msgspec.structs.replace(part, id=id_)
        if isinstance(part, ToolResult):
            calls = waiting.get(part.tool_call_id)
            id_ = calls.popleft() if calls else answered.get(part.tool_call_id, part.tool_call_id)
            answered[part.tool_call_id] = id_
            return msgspec.structs.replace(part, tool_call_id=id_)
        return part

    return [
        message
        if isinstance(message.content, str)
        else msgspec.structs.replace(message, content=[renamed(part) for part in message.content])
        for message in messages
    ]


class Tool(Struct, tag="function", forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(pattern=FUNCTION_NAME)]
    description: str = ""
    input_schema: JsonObject = {}
    provider_options: ProviderOptions | UnsetType = UNSET


class NamedTool(Struct, forbid_unknown_fields=True):
    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool


class TextFormat(Struct, tag="text", forbid_unknown_fields=True):
    """Free text, the default."""


class JsonFormat(Struct, tag="json", forbid_unknown_fields=True):
    """Any valid JSON."""


class JsonSchemaFormat(Struct, tag="json_schema", forbid_unknown_fields=True):
    """JSON that obeys `schema`; with `strict`, guaranteed by the backend."""

    name: Annotated[str, Meta(pattern=FUNCTION_NAME)]
    schema: JsonObject
    strict: bool = True


ResponseFormat: TypeAlias = TextFormat | JsonFormat | JsonSchemaFormat

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ReasoningParameters(Struct, frozen=True, forbid_unknown_fields=True):
    effort: Effort


# More than any model has, and what engines hold in a signed number of 32 bits, where a larger one becomes another.
MOST_TOKENS = 2**31 - 1
StopSequence: TypeAlias = Annotated[str, Meta(min_length=1)]


class TextParameters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    max_output_tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: StopSequence | list[StopSequence] | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    reasoning: ReasoningParameters | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    def stops(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop


class EmbeddingParameters(Struct, frozen=True, forbid_unknown_fields=True):
    dimensions: Annotated[int, Meta(ge=1)] | None = None


Parameters: TypeAlias = TextParameters | EmbeddingParameters


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds; None is the operator's own limit. Waiting in a queue and loading a model do not count."""

    first_event_s: Annotated[float, Meta(gt=0)] | None = None
    idle_s: Annotated[float, Meta(gt=0)] | None = None
    total_s: Annotated[float, Meta(gt=0)] | None = None


class Routing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which targets may serve, and in which order: names of providers, runners or local models, or the classes `local`,
    `remote` and `free` (known to cost nothing). `fallbacks: false` tries the first target only."""

    only: Annotated[list[str], Meta(max_length=64)] | None = None
    ignore: Annotated[list[str], Meta(max_length=64)] = []
    order: Annotated[list[str], Meta(max_length=64)] = []
    sort: Literal["price", "latency"] | None = None
    fallbacks: bool = True


class GenerationRequest(Struct, kw_only=True):
    """One request, checked and resolved: `modality` is settled, `parameters` are of its type, and `messages` is
    filled for text, `texts` for embeddings."""

    model: str
    modality: Modality
    messages: list[Message] = []
    texts: list[str] = []
    parameters: Parameters
    tools: list[Tool] = []
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    routing: Routing | None = None
    timeouts: Timeouts = Timeouts()
    provider_options: ProviderOptions = {}
    on_unsupported: Literal["warn", "error"] = "warn"
    stream: bool = False
    keep_alive_s: float | None = None
    metadata: dict[str, str] = {}
    # How many gateways the request has passed before this one.
    hops: int = 0

    @property
    def text(self) -> TextParameters:
        """The parameters of a text generation."""
        assert isinstance(self.parameters, TextParameters)
        return self.parameters


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class GenerationWarning(Struct, frozen=True, kw_only=True):
    """Something that was asked for and not done, or done in another form: what, and why."""

    code: Literal[
        "parameter_dropped",
        "parameter_changed",
        "part_dropped",
        "provider_state_dropped",
        "tool_choice_ignored",
        "finish_reason_unknown",
        "media_type_corrected",
    ]
    parameter: str | None = None
    detail: str


class ServedBy(Struct, frozen=True):
    """`behind` is who served it at a backend that is a gateway itself, as that one says."""

    backend: str
    model: str
    location: Location
    behind: ServedBy | UnsetType = UNSET


class Progress(Struct, frozen=True, kw_only=True, tag="generation.progress"):
    """`fraction` is from 0 to 1; `stage` is one of `queued`, `loading`, or a runner's own word."""

    stage: str
    fraction: float | None = None
    step: int | None = None
    steps: int | None = None
    position: int | None = None
    eta_s: float | None = None
    detail: str | None = None


class Started(Struct, frozen=True, tag="generation.started"):
    """The target is final; the first output follows."""

    served_by: ServedBy


class ItemStarted(Struct, frozen=True, tag="output.started"):
    index: int
    item: Item


class ItemDelta(Struct, frozen=True, tag="output.delta"):
    """More of item `index`: `text` of a text, reasoning or refusal item, `arguments` of a tool call."""

    index: int
    item_type: str
    text: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    logprobs: list[TokenLogprob] | UnsetType = UNSET


class ItemCompleted(Struct, frozen=True, tag="output.completed"):
    """The whole of item `index`, which the deltas before it add up to."""

    index: int
    item: Item


class Leased(Struct, frozen=True):
    """The wait for a free slot or a loading model is over, after `queued_s` seconds."""

    queued_s: float


class Breakdown(Struct, frozen=True, kw_only=True):
    """Of what a backend counted, the tokens that may have a rate of their own. Clients see it only in the cost."""

    # Of the input: written into a cache, and of these, for an hour and not for minutes.
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    # Of the input, of its cached part, and of the output.
    audio_input_tokens: int = 0
    cached_audio_tokens: int = 0
    audio_output_tokens: int = 0


class UsageReported(Struct, frozen=True, kw_only=True):
    """What the backend says it used, so far: told as it is known, so that a failure keeps it. The latest stands."""

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    # Where the backend tells its price for this one answer.
    cost_usd: str | None = None
    # None: nothing of it has another rate than its kind.
    breakdown: Breakdown | None = None


class Warned(Struct, frozen=True):
    warning: GenerationWarning


class Completed(Struct, frozen=True):
    """The end of a good stream: sent exactly once, and nothing comes after it."""

    finish_reason: FinishReason


# What clients see of a running generation; each is framed as it stands.
VisibleEvent: TypeAlias = Progress | Started | ItemStarted | ItemDelta | ItemCompleted
Event: TypeAlias = VisibleEvent | Leased | UsageReported | Warned | Completed


# ── the answer ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Usage(Struct, kw_only=True):
    """Counts are null where nobody knows them, never 0. `estimated` says that a count is ours, not the backend's."""

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    images: int = 0
    cost_usd: str | None = None
    estimated: bool = False
    duration_s: float | None = None
    time_to_first_event_s: float | None = None
    queued_s: float = 0.0


class Generation(Struct, kw_only=True):
    """The answer, for every modality; also what `generation.created` and the last event of a stream carry."""

    id: str
    object: Literal["generation"] = "generation"
    status: Status
    modality: Modality
    model: str
    served_by: ServedBy | None = None
    attempts: list[FailedAttempt] = []
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    output: list[Item] = []
    finish_reason: FinishReason | None = None
    usage: Usage
    warnings: list[GenerationWarning] = []
    error: Problem | None = None
    metadata: dict[str, str] = {}


# What JSON's readers, and the floats of metrics, know exactly.
_MOST_COUNTED = 2**53


class Fold:
    """Folds events into what an answer holds. At any moment it holds all that has come so far, so a stream that
    fails keeps its output up to there."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.breakdown: Breakdown | None = None
        self.warnings: list[GenerationWarning] = []
        self.served_by: ServedBy | None = None
        self.finish_reason: FinishReason | None = None
        self._items: dict[int, Item] = {}
        self._open: dict[int, list[str]] = {}

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if type(event) is ItemDelta:
                self._open[event.index].append(event.text or event.arguments or "")
            elif type(event) is ItemStarted:
                self._items[event.index] = event.item
                self._open[event.index] = []
            elif type(event) is ItemCompleted:
                self._items[event.index] = event.item
                self._open.pop(event.index, None)
            elif type(event) is UsageReported:
                self.usage.input_tokens = _counted(event.input_tokens)
                self.usage.cached_input_tokens = _counted(event.cached_input_tokens)
                self.usage.output_tokens = _counted(event.output_tokens)
                self.usage.reasoning_tokens = _counted(event.reasoning_tokens)
                self.usage.cost_usd = event.cost_usd
                self.breakdown = _believable(event.breakdown)
            elif type(event) is Warned:
                self.warnings.append(event.warning)
            elif type(event) is Started:
                self.served_by = event.served_by
            elif type(event) is Leased:
                self.usage.queued_s = event.queued_s
            elif type(event) is Completed:
                self.finish_reason = event.finish_reason

    def output(self) -> list[Item]:
        """The items in order; one that is still open has the text that came so far."""
        items = []
        for index in sorted(self._items):
            item = self._items[index]
            pieces = self._open.get(index)
            items.append(_with_text(item, "".join(pieces)) if pieces else item)
        return items


def _counted(count: int | None) -> int | None:
    """A backend that counts below zero, or more than any number of tokens, knows nothing; metrics and prices would
    break on it."""
    return count if count is None or 0 <= count <= _MOST_COUNTED else None


def _believable(breakdown: Breakdown | None) -> Breakdown | None:
    if breakdown is None or all(_counted(count) is not None for count in msgspec.structs.astuple(breakdown)):
        return breakdown
    return None


def _with_text(item: Item, text: str) -> Item:
    if isinstance(item, ToolCall):
        return msgspec.structs.replace(item, arguments=text)
    if isinstance(item, Text | Reasoning | Refusal):
        return msgspec.structs.replace(item, text=text)
    return item
