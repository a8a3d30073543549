"""`POST /v1/generations`: a body becomes a checked request, a request becomes a run, and a run is folded or framed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from pluggably.api.bodies import check_nesting, decode, invalid, may_nest
from pluggably.api.gate import Answer
from pluggably.api.http import HttpRequest, JsonAnswer
from pluggably.api.sse import EventStream
from pluggably.domain.generation import (
    PARTS_OF,
    Audio,
    EmbeddingParameters,
    File,
    GenerationRequest,
    Image,
    JsonFormat,
    JsonSchemaFormat,
    Message,
    Modality,
    NamedTool,
    Parameters,
    Part,
    ProviderItem,
    ProviderOptions,
    Reasoning,
    ResponseFormat,
    Routing,
    Text,
    TextParameters,
    Timeouts,
    Tool,
    ToolChoice,
    ToolResult,
    with_own_ids,
)
from pluggably.errors import GatewayError, NotAcceptable, UnsupportedModality, UnsupportedParameter, Violation
from pluggably.gateway.dispatch import Dispatch, Run
from pluggably.gateway.registry import Registry


class GenerationBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/generations`."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | list[Message | str]
    modality: Literal["text", "image", "3d", "embedding"] | None = None
    parameters: Raw = msgspec.field(default_factory=lambda: Raw(b"{}"))
    tools: Annotated[list[Tool], Meta(max_length=512)] = []
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    routing: Routing | None = None
    timeouts: Timeouts = Timeouts()
    provider_options: ProviderOptions = {}
    on_unsupported: Literal["warn", "error"] = "warn"
    stream: bool = False
    background: bool = False
    keep_alive_s: Annotated[float, Meta(ge=0)] | None = None
    metadata: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
    ] = {}


# Messages and parts in all. Each is looked at several times on its way to a backend.
MOST_PARTS = 20_000
# A request of at most this size is translated for each target beforehand, to find one that honours all of it.
SMALL_BYTES = 64 * 1024

_PARAMETERS: dict[Modality, type[Parameters]] = {"text": TextParameters, "embedding": EmbeddingParameters}

# RFC 9110, 8.3.1: a type, a subtype and perhaps parameters, on one line.
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+[ \t]*(;[^\x00-\x1f\x7f]*)?", re.ASCII)


class Generations:
    """The handlers of generations."""

    def __init__(self, registry: Registry, dispatch: Dispatch) -> None:
        self._registry = registry
        self._dispatch = dispatch

    async def create(self, http: HttpRequest) -> Answer:
        raw = await http.json()
        body: GenerationBody = decode(raw, GenerationBody)
        _check_acceptable(http)
        if may_nest(raw, http.limits.nesting):
            check_nesting(_free_forms(body), http.limits.nesting)
        try:
            run = await self._started(http, body, is_small=len(raw) <= SMALL_BYTES)
        except GatewayError as error:
            # There was no run to tell the log of it.
            http.line.model, http.line.detail = body.model, error.detail
            raise
        http.line = run.line
        if body.stream:
            return EventStream(run)
        async for _ in run.events():
            pass
        return JsonAnswer(run.generation())

    async def _started(self, http: HttpRequest, body: GenerationBody, *, is_small: bool) -> Run:
        route, made = await self._registry.meaning(body.model)
        # From here to the start of the run nothing is awaited: a reload would make the route that of another config.
        request = resolved(body, made, self._registry.usual_modality(route))
        request.hops = _hops(http)
        return self._dispatch.start(request, http.id, promise=http.caller.location, is_small=is_small)


def resolved(body: GenerationBody, made: Sequence[Modality] | None, usual: Modality = "text") -> GenerationRequest:
    """The request that a body means at a model that makes `made` (None: not known), and usually `usual`.

    Raises: InvalidRequest with all that is wrong; UnsupportedModality, UnsupportedParameter."""
    if body.background:
        raise UnsupportedParameter("Background generations are not part of this version.", pointer="/background")
    modality = _modality(body, made, usual)
    parameters: Parameters = decode(body.parameters, _PARAMETERS[modality], root="/parameters")
    messages, texts = _input(body, modality)
    _bound(messages)
    violations = [*_message_violations(messages), *_tool_violations(body), *_embedding_violations(body, modality)]
    if violations:
        raise invalid(*violations)
    return GenerationRequest(
        model=body.model,
        modality=modality,
        messages=with_own_ids(messages),
        texts=texts,
        parameters=parameters,
        tools=body.tools,
        tool_choice=body.tool_choice,
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=body.response_format,
        routing=body.routing,
        timeouts=body.timeouts,
        provider_options=body.provider_options,
        on_unsupported=body.on_unsupported,
        stream=body.stream,
        keep_alive_s=body.keep_alive_s,
        metadata=body.metadata,
    )


def _modality(body: GenerationBody, made: Sequence[Modality] | None, usual: Modality) -> Modality:
    if body.modality is None:
        return usual if made is None else "text" if "text" in made else made[0]
    if body.modality == "image" or body.modality == "3d" or (made is not None and body.modality not in made):
        makes = ", ".join(made) if made is not None else "text, embedding"
        raise UnsupportedModality(f"The model makes {makes}, not {body.modality}.", pointer="/modality")
    return body.modality


def _input(body: GenerationBody, modality: Modality) -> tuple[list[Message], list[str]]:
    """The messages of a text generation, or the texts to embed."""
    given = body.input
    if not given:
        raise invalid(Violation("/input", "must not be empty"))
    if modality == "embedding":
        texts = [given] if isinstance(given, str) else given
        wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str) or not text), None)
        if wrong is not None:
            raise invalid(
                Violation(f"/input/{wrong}", "must be a string that is not empty, since the model embeds texts")
            )
        return [], [text for text in texts if isinstance(text, str)]
    if isinstance(given, str):
        return [Message("user", given)], []
    wrong = next((i for i, message in enumerate(given) if not isinstance(message, Message)), None)
    if wrong is not None:
        detail = "must be a message, since the model makes text; a list of strings is for embeddings"
        raise invalid(Violation(f"/input/{wrong}", detail))
    return [message for message in given if isinstance(message, Message)], []


def _bound(messages: list[Message]) -> None:
    """Raises: InvalidRequest where there are too many messages and parts, at the message that is one too many."""
    count = len(messages)
    place = "/input" if count > MOST_PARTS else None
    for i, message in enumerate(messages if place is None else ()):
        if isinstance(message.content, str):
            continue
        inner = (part.content for part in message.content if isinstance(part, ToolResult))
        count += len(message.content) + sum(len(content) for content in inner if not isinstance(content, str))
        if count > MOST_PARTS:
            place = f"/input/{i}/content"
            break
    if place is not None:
        raise invalid(Violation(place, f"there are more than {MOST_PARTS} messages and parts in all; join some"))


def _message_violations(messages: list[Message]) -> Iterator[Violation]:
    for i, message in enumerate(messages):
        content = message.content
        if isinstance(content, str):
            if message.role == "tool":
                yield Violation(f"/input/{i}/content", "a tool message holds a list of tool_result parts")
            continue
        allowed = PARTS_OF[message.role]
        for j, part in enumerate(content):
            pointer = f"/input/{i}/content/{j}"
            if not isinstance(part, allowed):
                yield Violation(pointer, f"this part cannot stand in a message of role {message.role}")
            yield from _part_violations(part, pointer)


def _part_violations(part: Part, pointer: str) -> Iterator[Violation]:
    if isinstance(part, Image | File | Audio):
        yield from _media_violations(part, pointer)
    elif isinstance(part, ToolResult) and not isinstance(part.content, str):
        for k, inner in enumerate(part.content):
            yield from _part_violations(inner, f"{pointer}/content/{k}")


def _media_violations(part: Image | File | Audio, pointer: str) -> Iterator[Violation]:
    if (part.url is msgspec.UNSET) == (part.data is msgspec.UNSET):
        yield Violation(pointer, "needs either `url`, or `data` with `media_type`")
    elif isinstance(part.url, str):
        if not part.url[:8].lower().startswith(("https://", "http://")):
            yield Violation(f"{pointer}/url", "must be an http or https URL; give inline bytes as `data`")
    elif not part.media_type:
        yield Violation(f"{pointer}/media_type", "is required beside `data`")
    elif not _MEDIA_TYPE.fullmatch(part.media_type):
        yield Violation(f"{pointer}/media_type", "is not a media type such as `image/png`")


def _tool_violations(body: GenerationBody) -> Iterator[Violation]:
    names: set[str] = set()
    for i, tool in enumerate(body.tools):
        if tool.name in names:
            yield Violation(f"/tools/{i}/name", "is the name of an earlier tool")
        names.add(tool.name)
    if isinstance(body.tool_choice, NamedTool) and body.tool_choice.name not in names:
        yield Violation("/tool_choice/name", "is not the name of one of the tools")
    if body.tool_choice == "required" and not names:
        yield Violation("/tool_choice", "needs `tools`")


def _embedding_violations(body: GenerationBody, modality: Modality) -> Iterator[Violation]:
    """What has no meaning for vectors, and would change that of a text, is not passed over in silence."""
    if modality != "embedding":
        return
    if body.tools:
        yield Violation("/tools", "cannot be used where the model embeds texts")
    if isinstance(body.response_format, JsonFormat | JsonSchemaFormat):
        yield Violation("/response_format", "must be text where the model embeds texts")


def _free_forms(body: GenerationBody) -> Iterator[Any]:
    """What a client may nest as deep as it likes."""
    yield body.provider_options
    for tool in body.tools:
        yield tool.input_schema
        yield tool.provider_options
    if isinstance(body.response_format, JsonSchemaFormat):
        yield body.response_format.schema
    if not isinstance(body.input, str):
        for message in body.input:
            if isinstance(message, Message):
                yield message.provider_options
                yield from _free_forms_of(message.content)


def _free_forms_of(content: str | Sequence[Part]) -> Iterator[Any]:
    """The same, in the parts of a message."""
    if isinstance(content, str):
        return
    for part in content:
        if isinstance(part, ToolResult):
            yield from _free_forms_of(part.content)
        if isinstance(part, ProviderItem):
            yield part.data
            continue
        yield part.provider_options
        if isinstance(part, Text):
            yield part.annotations
        if isinstance(part, Reasoning) and part.provider_state is not None:
            yield part.provider_state.data


def _hops(http: HttpRequest) -> int:
    """How many gateways the request has passed. What is no small number was written by none of them."""
    told = http.header(b"pluggably-hops")
    return int(told) if len(told) <= 3 and told.isascii() and told.isdigit() else 0


def _check_acceptable(http: HttpRequest) -> None:
    accept = http.header(b"accept")
    if accept and not any(kind in accept for kind in ("*/*", "application/", "text/*", "text/event-stream")):
        raise NotAcceptable("Answers are application/json, or text/event-stream with `stream: true`.")
