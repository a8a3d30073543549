"""What can be asked for, and how it is served: models, their capabilities, and targets."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from pluggably.domain.generation import Location, Modality
from pluggably.errors import PluggablyError

Source: TypeAlias = Literal["file", "api", "discovered"]
ModelStatus: TypeAlias = Literal["registered", "available", "loading", "loaded", "error", "unavailable"]
InputModality: TypeAlias = Literal["text", "image", "file", "audio"]
# How a route chooses the target that comes first.
Choose: TypeAlias = Literal["order", "weight", "price", "latency"]
WorkerState: TypeAlias = Literal["starting", "ready", "stopping", "exited"]


# For the look-ahead see `generation.FUNCTION_NAME`.
MODEL_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*$(?!\n)"


class Capabilities(Struct, frozen=True, kw_only=True):
    """null is "not known": such a capability is tried, not refused."""

    streaming: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None


class Price(Struct, frozen=True, kw_only=True):
    """US dollars a million tokens, as decimal strings."""

    input_per_million: str | None = None
    cached_input_per_million: str | None = None
    output_per_million: str | None = None


FREE = Price(input_per_million="0", cached_input_per_million="0", output_per_million="0")


class Target(Struct, frozen=True, kw_only=True):
    """One way to serve a model: a backend and the backend's own id for the model."""

    backend: str
    model: str
    location: Location
    # What runs it, where that is this machine.
    runner: str | None = None


class Route(Struct, frozen=True, kw_only=True):
    """A model's name and the targets that may serve it, each once, as the operator ordered them. A name with one
    target is a route too.

    `weights` has one number a target where `choose` is `weight`. `location` is a promise that no fallback breaks.
    `first_event_s` is how long a stream waits for a target's first output before the next one is tried. The last two
    are what to try where the input is too long for a target, or its content filter refuses."""

    id: str
    targets: tuple[Target, ...]
    choose: Choose = "order"
    weights: tuple[float, ...] = ()
    location: Location | None = None
    first_event_s: float | None = None
    on_context_length: tuple[Target, ...] = ()
    on_content_filter: tuple[Target, ...] = ()


class Foresight(Struct, frozen=True):
    """What a target would make of a request, told without asking it: the error that it would answer with, or how many
    hints it would drop."""

    refusal: PluggablyError | None = None
    drops: int = 0


class RouteSpec(Struct, frozen=True, kw_only=True):
    """A route as the operator wrote it: models by name, with a weight each where `choose` is `weight`."""

    targets: tuple[str, ...]
    weights: tuple[float, ...] = ()
    choose: Choose = "order"
    location: Location | None = None
    first_event_s: float | None = None
    on_context_length: tuple[str, ...] = ()
    on_content_filter: tuple[str, ...] = ()


class Prospect(Struct, frozen=True, kw_only=True):
    """What would become of a target if the model were asked for now. `position` counts from 1; null: it would not be
    tried. `reason` says why it stands there, or why not. null elsewhere is "not known"."""

    backend: str
    model: str
    location: Location
    position: int | None
    reason: str
    free: bool | None = None
    price: Price | None = None
    latency_s: float | None = None


class RemoteModel(Struct, frozen=True, kw_only=True):
    """What is known of a model at a provider, under the provider's own id. None is "not known"."""

    id: str
    name: str | None = None
    price: Price | None = None
    free: bool | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_modalities: tuple[InputModality, ...] | None = None
    output_modalities: tuple[Modality, ...] | None = None
    capabilities: Capabilities = Capabilities()


class Model(Struct, kw_only=True):
    """A public name that a client may ask for, as the API lists it. null means not known."""

    id: str
    name: str | None = None
    kind: Literal["model", "route"] = "model"
    location: Location
    free: bool | None = None
    input_modalities: list[InputModality] | None = None
    output_modalities: list[Modality] | None = None
    capabilities: Capabilities = Capabilities()
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    parameters: list[str] | None = None
    price: Price | None = None
    backends: list[str] = []
    status: ModelStatus = "registered"
    source: Source = "file"
    bytes: int | None = None
    license: str | None = None
    quantization: str | None = None
    last_used_at: datetime | None = None
    detail: str | None = None
    # Only where one model is asked for.
    targets: list[Prospect] | None = None


class LocalModel(Struct, frozen=True, kw_only=True):
    """A model that a runner serves on this machine: the operator's or the API's registration of it.

    `options` is the runner's own, validated by it. `weights` is an absolute path, or None for a command that needs
    no file. `slots` bounds how many generations run at once, `queue` how many more may wait.
    """

    id: str
    runner: str
    weights: str | None = None
    source: Source = "file"
    slots: int = 2
    queue: int = 64
    context_tokens: int | None = None
    keep_alive_s: float | None = None
    options: dict[str, Any] = {}


class Description(Struct, frozen=True, kw_only=True):
    """What can be told of a local model without starting it; None is "not known".

    `context_tokens` is what one generation gets, `trained_context_tokens` what the weights were trained on. A model
    whose `output_modalities` are only `embedding` answers no chat.
    """

    name: str | None = None
    license: str | None = None
    quantization: str | None = None
    bytes: int | None = None
    parameter_count: int | None = None
    context_tokens: int | None = None
    trained_context_tokens: int | None = None
    has_chat_template: bool | None = None
    input_modalities: tuple[InputModality, ...] | None = None
    output_modalities: tuple[Modality, ...] | None = None
    capabilities: Capabilities = Capabilities()


class Standing(Struct, frozen=True, kw_only=True):
    """How a local model stands, as the list of models tells it; `for_operators` to those with the scope `admin`."""

    status: ModelStatus
    detail: str | None = None
    for_operators: str | None = None
    last_used_at: datetime | None = None


class WorkerReport(Struct, frozen=True, kw_only=True):
    """A running model process, as `GET /v1/workers` tells of it. `memory_bytes` is what it and its children hold in
    RAM, pages of the weights' file included; None where this system does not say."""

    model: str
    runner: str
    pid: int | None
    state: WorkerState
    slots: int
    slots_in_use: int
    queue_length: int
    started_at: datetime
    idle_s: float | None
    memory_bytes: int | None
