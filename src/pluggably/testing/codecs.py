"""The contract that every codec keeps, as checks that any test runner can call.

A wire is tested by conversations: JSON files that say what is asked of us, what must be sent, what comes back, and
what a client must get. No network, no event loop, nothing patched. A plugin's whole test may be:

    from functools import partial
    import pytest
    from pluggably.testing import codecs
    from my_plugin import MyCodec

    CONVERSATIONS = codecs.load_conversations("tests/conversations")

    @pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
    def test_my_codec(conversation):
        codecs.check(partial(codecs.make, MyCodec), conversation)

A conversation (every field but `request` may be left out):

    {"title": "…", "source": "the vendor's page and its date",
     "backend": "vendor", "model": "their-model", "stream": true, "options": {…of the codec},
     "request": {…the body of POST /v1/generations, `model` may be left out},
     "refused": {…an error as below, raised before any call},
     "call": {"method": "POST", "url": "https://vendor.test/v1/…", "headers": {…}, "body": {…}},
     "reply": {"status": 200, "headers": {…}, "json": {…} | "text": "…" | "sse": [{…}, "[DONE]"]
               | "eventstream": [{"messageStart": {…}}, …] | "ndjson": [{…}, …], "after": "…" | […]},
     "then": [{"call": {…}, "reply": {…}}, …],
     "answer": {"output": […], "finish_reason": "stop", "usage": {…}, "breakdown": {…}, "warnings": […]},
     "error": {"code": "backend_rate_limited", "retry_after_s": 2, "detail_has": "…", "detail_lacks": "…"},
     "used": {…as `usage` above, which may name `cost_usd`}, "complete_after": 7}

An `sse` entry is the data of one event: an object, or a text as it stands; `after` are the bytes behind the last one.
Lists of lines are joined by newlines in `text` and `after`. An `eventstream` entry is a message: its type and its
payload; `exception:` or `error:` may stand before a name. Where a stream is asked for and the reply's `Content-Type` is
JSON, it is received whole. `then` are the calls that follow a whole reply, each as `call` and `reply` above. In what is
expected, `"<any>"` stands for any value, an error and a warning are compared in the fields given, headers likewise;
everything else is compared whole. `breakdown` has the counts of `Breakdown` that are not 0. `used` is what an answer
that ends in `error` has told of its usage until then. `complete_after` is for a wire without an end mark: the number of
events after which the answer is complete (otherwise: all)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    Completed,
    EmbeddingParameters,
    Event,
    Fold,
    GenerationRequest,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    Message,
    Reasoning,
    Refusal,
    Text,
    TextParameters,
    ToolCall,
)
from pluggably.errors import BackendError, PluggablyError
from pluggably.testing import eventstream
from pluggably.wire.codec import Address, Codec, Frame, Framing, HttpCall, HttpReply, Step
from pluggably.wire.framing import FRAMERS, Framer, SseFramer, comes_whole, ended, received

BASE_URL = "https://vendor.test/v1"
ANY = "<any>"
# Objects that a codec hands on as they are, so an unknown field in them rightly shows in the answer.
OPAQUE = frozenset(
    {"annotations", "reasoning_details", "audio", "images", "arguments", "args", "error", "input", "search_results"}
)

Json: TypeAlias = dict[str, Any]
CodecFactory: TypeAlias = Callable[[Json], Codec]


class Reply(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the backend sends; with `sse` or a `text` in answer to a streaming call, its bytes are framed."""

    status: int = 200
    headers: dict[str, str] = {}
    value: Any = msgspec.field(default=None, name="json")
    text: str | list[str] | None = None
    sse: list[Any] | None = None
    after: str | list[str] = ""
    eventstream: list[dict[str, Any]] | None = None
    ndjson: list[Any] | None = None

    def body(self) -> bytes:
        if self.ndjson is not None:
            return b"".join(_as_data(entry) + b"\n" for entry in self.ndjson)
        if self.eventstream is not None:
            return b"".join(
                eventstream.message(kind, value) for entry in self.eventstream for kind, value in entry.items()
            )
        if self.sse is not None:
            return b"".join(b"data: " + _as_data(entry) + b"\n\n" for entry in self.sse) + _joined(self.after)
        if self.text is not None:
            return _joined(self.text)
        return msgspec.json.encode(self.value)


class Exchange(Struct, forbid_unknown_fields=True, kw_only=True):
    """A further call and what comes back of it."""

    call: Json
    reply: Reply


class Conversation(Struct, forbid_unknown_fields=True, kw_only=True):
    """One conversation; the module's text explains the fields."""

    request: Json
    title: str = ""
    source: str = ""
    backend: str = "vendor"
    model: str = "their-model"
    stream: bool = False
    options: Json = {}
    refused: Json | None = None
    call: Json | None = None
    reply: Reply | None = None
    then: list[Exchange] = []
    answer: Json | None = None
    error: Json | None = None
    used: Json | None = None
    complete_after: int | None = None

    def __str__(self) -> str:
        return self.title

    def generation_request(self) -> GenerationRequest:
        return generation_request(self.request)

    def address(self) -> Address:
        return Address(base_url=BASE_URL, model=self.model, backend=self.backend, stream=self.stream)


def load_conversations(folder: str | Path) -> list[Conversation]:
    """The conversations of a folder and its subfolders, in the order of their names, which are their titles."""
    root = Path(folder)
    conversations = []
    for path in sorted(root.rglob("*.json")):
        conversation = msgspec.json.decode(path.read_bytes(), type=Conversation)
        conversation.title = path.relative_to(root).with_suffix("").as_posix()
        conversations.append(conversation)
    assert conversations, f"no conversations in {root}"
    return conversations


def make(codec: type[Codec], options: Json) -> Codec:
    """A codec with options from JSON."""
    return codec(msgspec.convert(options, codec.Options))


def generation_request(body: Json) -> GenerationRequest:
    """A request from the JSON of the API, with the defaults that the API would give it."""
    fields = {"model": "any", "modality": "text", "parameters": {}, **body}
    given = fields.pop("input", [])
    texts = [given] if isinstance(given, str) else given
    if fields["modality"] == "embedding":
        kind: type[Any] = EmbeddingParameters
        fields["texts"] = texts
    else:
        kind = TextParameters
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
        fields["messages"] = msgspec.convert(messages, list[Message])
    fields["parameters"] = msgspec.convert(fields["parameters"], kind)
    plain = {name: value for name, value in fields.items() if name not in ("messages", "parameters")}
    request = msgspec.convert({**plain, "parameters": None}, _Request)
    return GenerationRequest(
        **{name: getattr(request, name) for name in plain},
        **{name: fields[name] for name in ("messages", "parameters") if name in fields},
    )


class _Request(GenerationRequest, kw_only=True):
    """Without the one union that msgspec cannot tell apart by itself."""

    parameters: Any


# ── the checks ──────────────────────────────────────────────────────────────────────────────────────────────────────


def check(factory: CodecFactory, conversation: Conversation, opaque: frozenset[str] = OPAQUE) -> None:
    """Everything that can be asked of one conversation. `opaque`: as in `check_unknown_fields`."""
    check_request(factory, conversation)
    if conversation.reply is None:
        return
    check_reply(factory, conversation)
    check_faults(factory, conversation)
    is_framed = conversation.reply.status < 300 and _is_framed(factory, conversation)
    if is_framed:
        check_every_cut(factory, conversation)
    if conversation.reply.status < 300 and conversation.answer is not None:
        check_unknown_fields(factory, conversation, opaque)
        check_garbage(factory, conversation)
        if is_framed:
            check_truncation(factory, conversation)


def check_request(factory: CodecFactory, conversation: Conversation) -> None:
    """The first call is the one that the conversation says, or is refused as it says."""
    if conversation.refused is not None:
        error = _raised(lambda: _begin(factory, conversation)[1], f"{conversation.title}: was not refused")
        _same_error(conversation.refused, error)
        return
    _, step = _begin(factory, conversation)
    if conversation.call is not None:
        assert step.next is not None, "no call was made"
        _same_call(conversation.call, step.next)


def check_reply(factory: CodecFactory, conversation: Conversation) -> None:
    """What comes back is understood as the conversation says, in events that hang together."""
    events: list[Event] = []

    def read() -> None:
        for event in _answer(factory, conversation):
            events.append(event)  # noqa: PERF402  what came before an error is kept

    if conversation.error is not None:
        error = _raised(read, "no error was raised")
        _same_error(conversation.error, error)
        if conversation.used is not None:
            _same_usage(conversation.used, _folded(events))
        return
    read()
    check_events(events)
    if conversation.answer is not None:
        _same_answer(conversation.answer, events)


def check_events(events: Sequence[Event]) -> None:
    """Items open, grow and close, and their pieces add up; `Completed` comes once, and last."""
    pieces: dict[int, list[str]] = {}
    closed: set[int] = set()
    for place, event in enumerate(events):
        if isinstance(event, ItemStarted):
            assert event.index == len(pieces), f"item {event.index} does not follow item {len(pieces) - 1}"
            pieces[event.index] = []
        elif isinstance(event, ItemDelta):
            assert event.index in pieces, f"a piece of item {event.index}, which is not open"
            assert event.index not in closed, f"a piece of item {event.index}, which is closed"
            pieces[event.index].append(event.text or event.arguments or "")
        elif isinstance(event, ItemCompleted):
            assert event.index in pieces, f"item {event.index} closes before it opens"
            assert event.index not in closed, f"item {event.index} closes twice"
            closed.add(event.index)
            whole = _text_of(event.item)
            assert whole is None or whole == "".join(pieces[event.index]), f"item {event.index}: pieces and whole"
        elif isinstance(event, Completed):
            assert place == len(events) - 1, "something follows `Completed`"
    assert events, "no events at all"
    assert isinstance(events[-1], Completed), "`Completed` did not come"
    assert closed == pieces.keys(), f"items {pieces.keys() - closed} never closed"


def check_every_cut(factory: CodecFactory, conversation: Conversation) -> None:
    """However the network cuts the bytes, the frames and what they mean are the same."""
    body = _reply(conversation).body()
    whole = _frames(_framer(factory, conversation), [body])
    for cut in range(len(body) + 1):
        frames = _frames(_framer(factory, conversation), [body[:cut], body[cut:]])
        assert frames == whole, f"cut at byte {cut}: other frames"
    single = [body[place : place + 1] for place in range(len(body))]
    assert _frames(_framer(factory, conversation), single) == whole, "byte by byte: other frames"


def check_truncation(factory: CodecFactory, conversation: Conversation) -> None:
    """A stream that ends early, between two frames or in one, is an error and never an answer."""
    body = _reply(conversation).body()
    frames = _frames(_framer(factory, conversation), [body])
    enough = len(frames) if conversation.complete_after is None else conversation.complete_after
    for count in range(enough):
        _check_incomplete(factory, conversation, frames[:count], f"after {count} of {len(frames)} frames")
    for cut in {len(body) // 7 * part for part in range(1, 7)}:
        seen = _frames(_framer(factory, conversation), [body[:cut]])
        if len(seen) < enough:
            _check_incomplete(factory, conversation, seen, f"after {cut} of {len(body)} bytes")


GARBAGE: tuple[bytes, ...] = (
    b"",
    b"null",
    b"{}",
    b"[]",
    b'"text"',
    b"<html><body>502 Bad Gateway</body></html>",
    b"\xff\xfe\x00",
    b'{"choices": 7, "data": 7, "output": 7}',
    b'{"choices": [null], "data": [null]}',
    b"[" * 20_000,
    '{"error": {"message": "clé"}, "message": "clé"}'.encode("latin-1"),
)


def check_garbage(factory: CodecFactory, conversation: Conversation, garbage: Iterable[bytes] = GARBAGE) -> None:
    """What is not of the wire's form never becomes an answer. Any exception will do: over a reply, the transport
    catches them all."""
    framed = _is_framed(factory, conversation)
    for body in garbage:
        codec, _ = _begin(factory, conversation)
        events: list[Event] = []
        fails = False
        try:
            if framed:
                events += _events(codec.feed(Frame("", body)))
                events += _events(codec.finish())
            else:
                events += _events(codec.receive(HttpReply(status=200, headers={}, body=body)))
        except Exception:  # noqa: BLE001  see above
            fails = True
        completed = any(isinstance(event, Completed) for event in events)
        assert fails and not completed, f"{body[:60]!r} became {[type(event).__name__ for event in events]}"


def check_faults(factory: CodecFactory, conversation: Conversation, garbage: Iterable[bytes] = GARBAGE) -> None:
    """Whatever a server answers in place of its errors, what its status says is told."""
    for status in (300, 401, 404, 429, 500):
        for body in garbage:
            codec, _ = _begin(factory, conversation)
            error = codec.fault(HttpReply(status=status, headers={"retry-after": ODD_WAIT}, body=body))
            expected = BackendError if status in (401, 429, 500) else PluggablyError
            assert isinstance(error, expected), f"{status} {body[:60]!r} became {error!r}"


# A year that no calendar has.
ODD_WAIT = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"


def check_error_in_200(
    factory: CodecFactory, conversation: Conversation, error: bytes, code: str | None = None
) -> None:
    """The wire's error object, inside a 200 or in the middle of a stream, raises an error of the house at once."""
    if not _is_framed(factory, conversation):
        codec, _ = _begin(factory, conversation)
        raised = _raised(
            lambda: list(_events(codec.receive(HttpReply(status=200, headers={}, body=error)))),
            "an error became an answer",
        )
        assert code is None or raised.code == code, f"{raised.code}: {raised.detail}"
        return
    frames = _frames(_framer(factory, conversation), [_reply(conversation).body()])
    for count in range(len(frames)):
        codec, _ = _begin(factory, conversation)
        for frame in frames[:count]:
            assert not _completes(codec.feed(frame)), "it completes before its last frame"
        raised = _raised(lambda codec=codec: list(_events(codec.feed(Frame("", error)))), "an error was not told")  # type: ignore[misc]
        assert code is None or raised.code == code, f"{raised.code}: {raised.detail}"


def check_unknown_fields(factory: CodecFactory, conversation: Conversation, opaque: frozenset[str] = OPAQUE) -> None:
    """Fields that are not documented change nothing. They are put into every object but those that the answer hands on
    as they came, which are known by their name, or because the answer holds the very same object."""
    reply = _reply(conversation)
    handed_on = list(_objects_in(conversation.answer))

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(entry) for entry in value]
        if not isinstance(value, dict) or value in handed_on:
            return value
        known = {key: entry if key in opaque else changed(entry) for key, entry in value.items()}
        return {"x_new": {"deep": [1, None]}, **known, "x_newer": "later"}

    if reply.sse is not None:
        entries = [changed(entry) if isinstance(entry, dict) else entry for entry in reply.sse]
        reply = msgspec.structs.replace(reply, sse=entries)
    elif reply.eventstream is not None:
        messages = [{kind: changed(value) for kind, value in entry.items()} for entry in reply.eventstream]
        reply = msgspec.structs.replace(reply, eventstream=messages)
    elif reply.ndjson is not None:
        reply = msgspec.structs.replace(reply, ndjson=[changed(entry) for entry in reply.ndjson])
    elif reply.text is None:
        reply = msgspec.structs.replace(reply, value=changed(reply.value))
    else:
        return
    check_reply(factory, msgspec.structs.replace(conversation, reply=reply))


# ── running a codec ─────────────────────────────────────────────────────────────────────────────────────────────────


def _begin(factory: CodecFactory, conversation: Conversation) -> tuple[Codec, Step]:
    codec = factory(conversation.options)
    return codec, codec.begin(conversation.generation_request(), conversation.address())


def _call(factory: CodecFactory, conversation: Conversation) -> HttpCall:
    call = _begin(factory, conversation)[1].next
    assert call is not None, "no call was made"
    return call


def _answer(factory: CodecFactory, conversation: Conversation) -> Iterator[Event]:
    """The events of the whole conversation; raises what the codec raises, or makes of a fault."""
    codec, step = _begin(factory, conversation)
    reply = _reply(conversation)
    yield from step.events
    assert step.next is not None, "no call was made"
    if reply.status >= 300:
        raise codec.fault(_http_reply(reply))
    if step.next.framing is None or _comes_whole(step.next.framing, reply):
        step = received(codec, _http_reply(reply))
        yield from _events(step)
        for exchange in conversation.then:
            assert step.next is not None, "a further call was not made"
            _same_call(exchange.call, step.next)
            if exchange.reply.status >= 300:
                raise codec.fault(_http_reply(exchange.reply))
            step = received(codec, _http_reply(exchange.reply))
            yield from _events(step)
        assert step.next is None, f"a call too many: {step.next}"
        return
    framer = _framer(factory, conversation)
    for frame in _frames(framer, [reply.body()]):
        yield from _events(codec.feed(frame))
    yield from _events(ended(codec, framer))


def _http_reply(reply: Reply) -> HttpReply:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return HttpReply(status=reply.status, headers=headers, body=reply.body())


def _check_incomplete(factory: CodecFactory, conversation: Conversation, frames: Sequence[Frame], place: str) -> None:
    codec, _ = _begin(factory, conversation)
    for frame in frames:
        try:
            step = codec.feed(frame)
        except msgspec.DecodeError:  # half a line; over a reply, the transport catches what a codec lets slip
            return
        assert not _completes(step), f"completed {place}"
    error = _raised(lambda: list(_events(codec.finish())), f"a stream cut {place} became an answer")
    assert isinstance(error, BackendError), f"a stream cut {place} is blamed on the client: {error!r}"


def _events(step: Step) -> Iterator[Event]:
    """Its events. Raises: the error in which the answer ended, after them."""
    yield from step.events
    if step.error is not None:
        raise step.error


def _completes(step: Step) -> bool:
    return any(isinstance(event, Completed) for event in step.events)


def _is_framed(factory: CodecFactory, conversation: Conversation) -> bool:
    if conversation.refused is not None:
        return False
    framing = _call(factory, conversation).framing
    return framing is not None and not _comes_whole(framing, conversation.reply)


def _comes_whole(framing: Framing, reply: Reply | None) -> bool:
    content_type = "" if reply is None else _http_reply(reply).headers.get("content-type", "")
    return comes_whole(framing, content_type.partition(";")[0].strip().lower())


def _framer(factory: CodecFactory, conversation: Conversation) -> Framer:
    framing = _call(factory, conversation).framing
    return FRAMERS[framing]() if framing is not None else SseFramer()


def _frames(framer: Framer, chunks: Iterable[bytes]) -> list[Frame]:
    frames: list[Frame] = []
    for chunk in chunks:
        frames += framer.feed(chunk)
    return frames + framer.end()


def _reply(conversation: Conversation) -> Reply:
    assert conversation.reply is not None, f"{conversation.title} has no reply"
    return conversation.reply


def _joined(text: str | list[str]) -> bytes:
    return (text if isinstance(text, str) else "\n".join(text)).encode()


def _as_data(entry: Any) -> bytes:
    return entry.encode() if isinstance(entry, str) else msgspec.json.encode(entry)


def _objects_in(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects_in(entry)


def _text_of(item: object) -> str | None:
    if isinstance(item, ToolCall):
        return item.arguments
    return (item.text or "") if isinstance(item, Text | Reasoning | Refusal) else None


# ── comparing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _raised(run: Callable[[], object], otherwise: str) -> PluggablyError:
    try:
        run()
    except PluggablyError as error:
        return error
    raise AssertionError(otherwise)


def _same_call(expected: Json, call: HttpCall) -> None:
    assert call.method == expected.get("method", "POST"), call.method
    if "url" in expected:
        assert call.url == expected["url"], call.url
    headers = {name.lower(): value for name, value in call.headers.items()}
    for name, value in expected.get("headers", {}).items():
        assert headers.get(name.lower()) == value, f"header {name}: {headers.get(name.lower())}"
    if "body" in expected:
        _same(expected["body"], json.loads(call.body), "body")


def _same_answer(expected: Json, events: Iterable[Event]) -> None:
    fold = _folded(events)
    output = msgspec.to_builtins(fold.output())
    _same(expected.get("output", []), _without_defaults(output), "output")
    assert fold.finish_reason == expected.get("finish_reason", "stop"), f"finish_reason: {fold.finish_reason}"
    _same_usage(expected.get("usage", {}), fold)
    apart = {name: count for name, count in msgspec.to_builtins(fold.breakdown or {}).items() if count}
    _same(expected.get("breakdown", {}), apart, "breakdown")
    warnings = msgspec.to_builtins(fold.warnings)
    wanted = expected.get("warnings", [])
    assert len(warnings) == len(wanted), f"warnings: {warnings}"
    for number, (want, warning) in enumerate(zip(wanted, warnings, strict=True)):
        _same(want, {name: warning.get(name) for name in want}, f"warnings[{number}]")


def _folded(events: Iterable[Event]) -> Fold:
    fold = Fold()
    fold.add(events)
    return fold


def _same_usage(expected: Json, fold: Fold) -> None:
    counts = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    usage = {name: getattr(fold.usage, name) for name in {*counts, *expected}}
    _same({**dict.fromkeys(counts), **expected}, usage, "usage")


def _without_defaults(output: list[Json]) -> list[Json]:
    """Items without the fields that say nothing, so that a conversation need not name them."""
    return [{key: value for key, value in item.items() if value is not None and value != []} for item in output]


def _same_error(expected: Json, error: PluggablyError) -> None:
    problem = msgspec.to_builtins(error.problem())
    for name, value in expected.items():
        if name == "detail_has":
            assert value in error.detail, f"not in {error.detail!r}: {value!r}"
        elif name == "detail_lacks":
            assert value not in error.detail, f"in {error.detail!r}: {value!r}"
        else:
            _same(value, problem.get(name), name)


def _same(expected: Any, actual: Any, place: str) -> None:
    if expected == ANY and isinstance(expected, str):
        return
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        assert expected.keys() == actual.keys(), (
            f"{place}: missing {sorted(expected.keys() - actual.keys())}, too much "
            f"{sorted(actual.keys() - expected.keys())}"
        )
        for key, value in expected.items():
            _same(value, actual[key], f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list):
        assert len(expected) == len(actual), f"{place}: {len(actual)} instead of {len(expected)}: {actual}"
        for number, (want, have) in enumerate(zip(expected, actual, strict=True)):
            _same(want, have, f"{place}[{number}]")
    else:
        assert expected == actual, f"{place}: {actual!r} instead of {expected!r}"
