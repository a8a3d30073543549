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
from msgspec import Meta, Struct

from pluggably.domain.generation import (
    Event,
    GenerationRequest,
    JsonObject,
)
from pluggably.errors import (
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
