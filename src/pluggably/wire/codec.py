"""What a codec is: a pure translator between this house's requests and events and one wire.

A codec does no I/O and holds no secret. It turns a request into an `HttpCall`; `wire.transport` sends it, and hands
back what comes: a whole reply (`receive`), or frames (`feed`) and the end of the stream (`finish`). "Call that next"
is data too: `Step.next`. So a codec needs no network, no mock and no event loop in a test: bytes in, events out.

One instance lives for one attempt. A codec raises only house errors on purpose; any other exception over a reply is
caught by the transport and told as `backend_invalid_response`, so codecs write no `try`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pluggably.domain.generation import (
    Embedding,
    Event,
    FinishReason,
    GenerationRequest,
    GenerationWarning,
    Item,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    JsonObject,
    NamedTool,
    ProviderItem,
    ProviderOptions,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Warned,
)
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    PluggablyError,
)

# The id or the name of a tool call, in the structs of answers: without it, nobody could answer the call.
Named: TypeAlias = Annotated[str, Meta(min_length=1)]
Framing: TypeAlias = Literal["sse", "ndjson", "eventstream"]


class HttpCall(Struct, frozen=True, kw_only=True):
    """One HTTP request to a backend. With `framing` set, a good answer is cut into frames and fed; else it is read
    whole and received."""

    method: str = "POST"
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    framing: Framing | None = None


class HttpReply(Struct, frozen=True, kw_only=True):
    """A whole answer. The names of `headers` are to be looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Frame(Struct, frozen=True, gc=False):
    """A piece of a stream: an SSE event (`kind` is its name, "" where it has none), a line, or a message of AWS's event
    stream (`kind` is its type, `exception:` and its name, or `error:` and its code)."""

    kind: str
    data: bytes


class Step(Struct, frozen=True):
    """What a codec makes of what came: events, and the call to make next, if any; or the error in which the answer
    ended. A codec may as well raise that error; here it stands where events came with it, which still count: what a
    failed answer used is told."""

    events: Sequence[Event] = ()
    next: HttpCall | None = None
    error: PluggablyError | None = None


NOTHING = Step()


class Address(Struct, frozen=True, kw_only=True):
    """Where a call goes, as far as a codec may know: everything of the URL before the operation's own path, the
    backend's id for the model, its name here, and whether to ask for a stream."""

    base_url: str
    model: str
    backend: str
    stream: bool


class Codec(Protocol):
    """One wire. `Options` is the msgspec struct of the quirks that a preset or an operator may set as data. Its field
    `inputs` says which media the wire takes: `image`, `file`, `audio` as data, `image_url` and its like by URL too. A
    part that it does not take by URL comes as data; a codec never has to fetch."""

    Options: ClassVar[type[Struct]]

    def __init__(self, options: Any) -> None: ...

    def begin(self, request: GenerationRequest, address: Address) -> Step:
        """The first call, with warnings for every hint that this wire cannot carry.

        Raises: UnsupportedParameter, UnsupportedModality where the meaning would change."""
        ...

    def receive(self, reply: HttpReply) -> Step:
        """A whole good reply (status below 400)."""
        ...

    def feed(self, frame: Frame) -> Step:
        """One frame of a stream."""
        ...

    def finish(self) -> Step:
        """The stream has ended. Raises: BackendInvalidResponse if the wire's terminal mark never came."""
        ...

    def fault(self, reply: HttpReply) -> PluggablyError:
        """The error that a reply with a status of 400 or more means."""
        ...


# ── pieces that codecs share ────────────────────────────────────────────────────────────────────────────────────────


class OutputItems:
    """Builds the items of an answer from pieces in the order in which they come, and the events that tell of it.

    A codec calls one method a piece; an item opens with its first piece. A text, reasoning or refusal item closes
    when an item of another kind opens, tool calls stay open until `close`, since wires may interleave them.
    """

    def __init__(self) -> None:
        self._count = 0
        self._prose: Text | Reasoning | Refusal | None = None
        self._prose_index = 0
        self._pieces: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        # Fields that the open text, reasoning or refusal has beside its text: annotations, a provider's state.
        self.attached: dict[str, Any] = {}
        self._calls: dict[Any, tuple[int, ToolCall, list[str]]] = {}

    @property
    def has_tool_calls(self) -> bool:
        return bool(self._calls)

    @property
    def is_empty(self) -> bool:
        """Whether no item has been opened yet."""
        return self._count == 0

    @property
    def open_length(self) -> int:
        """How many characters the open text, reasoning or refusal has so far."""
        return sum(map(len, self._pieces))

    def is_open(self, kind: type[Text] | type[Reasoning] | type[Refusal]) -> bool:
        return type(self._prose) is kind

    def text(self, piece: str, logprobs: list[TokenLogprob] | None = None) -> list[Event]:
        """More text; an empty piece only opens the item."""
        if logprobs:
            events = self._open(Text)
            self._pieces.append(piece)
            self._logprobs += logprobs
            events.append(ItemDelta(self._prose_index, "text", piece, logprobs=logprobs))
            return events
        if type(self._prose) is Text and piece:  # nearly every piece of nearly every answer
            self._pieces.append(piece)
            return [ItemDelta(self._prose_index, "text", piece)]
        return self._more(Text, "text", piece)

    def reasoning(self, piece: str) -> list[Event]:
        return self._more(Reasoning, "reasoning", piece)

    def refusal(self, piece: str) -> list[Event]:
        return self._more(Refusal, "refusal", piece)

    def tool_call(
        self,
        key: Any,
        arguments: str,
        *,
        id: str = "",  # noqa: A002
        name: str = "",
        provider_options: ProviderOptions | UnsetType = UNSET,
    ) -> list[Event]:
        """More of the tool call that the wire knows as `key`; its first piece brings the rest, but for options, which
        may come later."""
        events: list[Event] = []
        if key not in self._calls:
            events += self.close_prose()
            call = ToolCall(id, name, provider_options=provider_options)
            self._calls[key] = (self._count, call, [])
            events.append(ItemStarted(self._count, call))
            self._count += 1
        elif provider_options is not UNSET:
            place, begun, so_far = self._calls[key]
            self._calls[key] = (place, msgspec.structs.replace(begun, provider_options=provider_options), so_far)
        index, _, pieces = self._calls[key]
        if arguments:
            pieces.append(arguments)
            events.append(ItemDelta(index, "tool_call", arguments=arguments))
        return events

    def whole(self, item: Embedding | ProviderItem | Reasoning) -> list[Event]:
        """An item that comes in one piece."""
        events = self.close_prose()
        events += (ItemStarted(self._count, item), ItemCompleted(self._count, item))
        self._count += 1
        return events

    def close(self) -> list[Event]:
        """Completes every open item, in order."""
        events = self.close_prose()
        for index, call, pieces in self._calls.values():
            events.append(ItemCompleted(index, msgspec.structs.replace(call, arguments="".join(pieces))))
        self._calls = {}
        return events

    def _more(self, kind: type[Text] | type[Reasoning] | type[Refusal], item_type: str, piece: str) -> list[Event]:
        events = self._open(kind)
        if piece:
            self._pieces.append(piece)
            events.append(ItemDelta(self._prose_index, item_type, piece))
        return events

    def _open(self, kind: type[Text] | type[Reasoning] | type[Refusal]) -> list[Event]:
        if type(self._prose) is kind:
            return []
        events = self.close_prose()
        self._prose, self._prose_index = kind(""), self._count
        events.append(ItemStarted(self._count, self._prose))
        self._count += 1
        return events

    def close_prose(self) -> list[Event]:
        """Completes the open text, reasoning or refusal, so that more of the same kind is an item of its own."""
        if self._prose is None:
            return []
        whole: Item = msgspec.structs.replace(self._prose, text="".join(self._pieces), **self.attached)
        if isinstance(whole, Text) and self._logprobs:
            whole.logprobs = self._logprobs
        self._prose, self._pieces, self._logprobs, self.attached = None, [], [], {}
        return [ItemCompleted(self._prose_index, whole)]


# Of a call whose answer is read whole, and of one whose answer is a stream of server-sent events.
JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json", "Accept": "application/json"}
SSE_HEADERS: Mapping[str, str] = {"Content-Type": "application/json", "Accept": "text/event-stream"}


def json_body(value: JsonObject) -> bytes:
    return msgspec.json.encode(value)


def json_call(url: str, value: JsonObject, *, stream: bool = False) -> HttpCall:
    """A call whose body is JSON, and whose answer is JSON or server-sent events."""
    if stream:
        return HttpCall(url=url, headers=SSE_HEADERS, body=json_body(value), framing="sse")
    return HttpCall(url=url, headers=JSON_HEADERS, body=json_body(value))


def short_id(given: str, limit: int | None) -> str:
    """A tool call's id where a vendor takes so many characters, and at least one; the same becomes the same in each
    place."""
    if limit is None or 0 < len(given) <= limit:
        return given
    return f"call_{hashlib.sha256(given.encode()).hexdigest()[:32]}"


def settled_reason(reason: FinishReason, *, has_calls: bool) -> FinishReason:
    """`tool_calls` where there are calls, and nowhere else: vendors say that they stopped and call a tool, or the other
    way round, and a client would wait for calls that do not come."""
    if has_calls:
        return "tool_calls" if reason == "stop" else reason
    return "stop" if reason == "tool_calls" else reason


def ignored_tool_choice(request: GenerationRequest, backend: str) -> list[Event]:
    """The warning that an answer without a tool call earns, where the request demanded one."""
    choice = request.tool_choice
    if not request.tools or not (choice == "required" or isinstance(choice, NamedTool)):
        return []
    detail = f"{backend} was told to call a tool and did not"
    return [Warned(GenerationWarning(code="tool_choice_ignored", parameter="/tool_choice", detail=detail))]


def fault_by_status(
    reply: HttpReply, detail: str, *, code: str | None = None, retry_after_s: float | None = None
) -> BackendError:
    """The error that a status means where the vendor's own code says nothing closer."""
    kinds: dict[int, type[BackendError]] = {
        401: BackendAuthenticationFailed,
        402: BackendQuotaExhausted,
        403: BackendAuthenticationFailed,
        408: BackendTimeout,
        429: BackendRateLimited,
        504: BackendTimeout,
    }
    kind = kinds.get(reply.status, BackendRejected if 300 <= reply.status < 500 else BackendError)
    return kind(detail, retry_after_s=retry_after_s, backend_status=reply.status, backend_code=code)
