"""The contract of a framer: what a stream of bytes means, in whatever pieces it comes.

    from pluggably.testing import framers
    from pluggably.wire.framing import SseFramer

    def test_my_framer():
        framers.check_framer(MySseFramer, framers.SSE_CASES)

`SSE_CASES` hold the rules of WHATWG HTML, §9.2.5 to §9.2.6
(https://html.spec.whatwg.org/multipage/server-sent-events.html, 2026-11), `BARE_JSON_CASES` what is told although they
would have it skipped, `NDJSON_CASES` those of
https://github.com/ndjson/ndjson-spec (1.0.0), `EVENTSTREAM_CASES` those of
https://smithy.io/2.0/aws/amazon-eventstream.html (2026-11); each case stands for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from pluggably.errors import BackendInvalidResponse
from pluggably.testing import eventstream
from pluggably.wire.codec import Frame
from pluggably.wire.framing import Framer


class Case(Struct, frozen=True):
    """A rule, a stream, and its frames as (name, data)."""

    rule: str
    stream: bytes
    frames: tuple[tuple[str, bytes], ...]


SSE_CASES: tuple[Case, ...] = (
    Case("nothing", b"", ()),
    Case("one event", b"data: one\n\n", (("", b"one"),)),
    Case("several events in one read", b"data: 1\n\ndata: 2\n\ndata: 3\n\n", (("", b"1"), ("", b"2"), ("", b"3"))),
    Case("CRLF ends a line", b"data: a\r\n\r\ndata: b\r\n\r\n", (("", b"a"), ("", b"b"))),
    Case("CR ends a line", b"data: a\r\rdata: b\r\r", (("", b"a"), ("", b"b"))),
    Case("line ends may be mixed", b"data: a\r\ndata: b\rdata: c\n\r\n", (("", b"a\nb\nc"),)),
    Case("a byte order mark is dropped", b"\xef\xbb\xbfdata: a\n\n", (("", b"a"),)),
    Case("only the first one is", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", (("", b"a"),)),
    Case("data of several lines are joined by LF", b"data: a\ndata: b\n\n", (("", b"a\nb"),)),
    Case("one space after the colon belongs to it", b"data:a\n\ndata:  b\n\n", (("", b"a"), ("", b" b"))),
    Case("a tab does not", b"data:\ta\n\n", (("", b"\ta"),)),
    Case("a line without a colon is a field without a value", b"data\n\ndata\ndata\n\n", (("", b""), ("", b"\n"))),
    Case("empty data are data", b"data:\n\ndata: \n\n", (("", b""), ("", b""))),
    Case("an event may have a name", b"event: ping\ndata: x\n\n", (("ping", b"x"),)),
    Case("the last name counts", b"event: a\ndata: x\nevent:b\n\n", (("b", b"x"),)),
    Case("a name ends with its event", b"event: a\ndata: x\n\ndata: y\n\n", (("a", b"x"), ("", b"y"))),
    Case("without data there is no event", b"event: a\n\ndata: y\n\n", (("", b"y"),)),
    Case("comments are skipped", b": hello\n\n:\ndata: a\n: x\n\n", (("", b"a"),)),
    Case("unknown fields are skipped", b"id: 7\nretry: 10\nfoo: bar\ndata: a\n\n", (("", b"a"),)),
    Case("field names are not trimmed", b" data: a\ndata : b\nDATA: c\n\n", ()),
    Case("further empty lines mean nothing", b"\n\n\ndata: a\n\n\n\ndata: b\n\n\n", (("", b"a"), ("", b"b"))),
    Case("an event without its empty line is discarded", b"data: a\n\ndata: b\n", (("", b"a"),)),
    Case("so is a line without its end", b"data: a\n\ndata: [DONE]", (("", b"a"),)),
    Case("data are bytes", "data: é€😀\n\n".encode(), (("", "é€😀".encode()),)),
    Case("a colon in the data is data", b'data: {"a": "b: c"}\n\n', (("", b'{"a": "b: c"}'),)),
)

# What the specification would skip: errors that backends write into their streams outside of every event.
_ERROR = b'{"error":{"code":503,"message":"It is {[\\"over\\"]"}}'
_LINES = b'{\n  "error": {\n    "code": 503,\n    "message": "It is {[\\"over\\"]"\n  }\n}'
_TOLD = (("error", _ERROR),)

BARE_JSON_CASES: tuple[Case, ...] = (
    Case("an error in a line of its own is told", _ERROR + b"\n", _TOLD),
    Case("it may lack its end", _ERROR, _TOLD),
    Case("it may stand in many lines", _LINES + b"\n", _TOLD),
    Case("with other ends of lines", _LINES.replace(b"\n", b"\r\n"), _TOLD),
    Case("it may stand in a list", b"[" + _LINES + b"\n]\n", _TOLD),
    Case("not at its beginning", b"[{}\n,\n" + _LINES + b"\n]", _TOLD),
    Case("the first one of several is told", b"[" + _ERROR + b"\n,\n" + b'{"error": "another"}' + b"\n]", _TOLD),
    Case("it may follow events", b"data: a\n\n" + _LINES + b"\n", (("", b"a"), *_TOLD)),
    Case("events may follow it", _LINES + b"\ndata: a\n\n", (*_TOLD, ("", b"a"))),
    Case("it may stand between the lines of an event", b"data: a\n" + _ERROR + b"\n\n", (*_TOLD, ("", b"a"))),
    Case("two errors are two", (_ERROR + b"\n") * 2, _TOLD * 2),
    Case("it may be a text", b'{"error": "boom"}\n', (("error", b'{"error":"boom"}'),)),
    Case("it may be a message alone", b'{"message": "boom"}\n', (("error", b'{"message":"boom"}'),)),
    Case("an error that is none is skipped", b'{"error": null}\ndata: a\n\n', (("", b"a"),)),
    Case("other JSON is skipped", b'{"note": 1}\n[1, 2]\n{"message": {"error": 1}}\ndata: a\n\n', (("", b"a"),)),
    Case("so is what is no JSON", b"{error}\n[}\n{'error': 1}\ndata: a\n\n", (("", b"a"),)),
    Case("what does not end tells nothing", _LINES[:-1] + b"\n", ()),
    Case("and hides no event", b"{\ndata: a\n\n[\n", (("", b"a"),)),
)

NDJSON_CASES: tuple[Case, ...] = (
    Case("nothing", b"", ()),
    Case("a line is a frame", b'{"a":1}\n{"b":2}\n', (("", b'{"a":1}'), ("", b'{"b":2}'))),
    Case("CRLF ends a line too", b'{"a":1}\r\n{"b":2}\r\n', (("", b'{"a":1}'), ("", b'{"b":2}'))),
    Case("empty lines are skipped", b'\n{"a":1}\n\n\r\n{"b":2}\n', (("", b'{"a":1}'), ("", b'{"b":2}'))),
    Case("the last line may lack its end", b'{"a":1}\n{"b":2}', (("", b'{"a":1}'), ("", b'{"b":2}'))),
)


_EVERY_TYPE = b"".join(
    eventstream.header(name, kind, value)
    for name, kind, value in (
        ("true", 0, b""),
        ("false", 1, b""),
        ("byte", 2, b"\x01"),
        ("short", 3, b"\x00\x01"),
        ("integer", 4, b"\x00\x00\x00\x01"),
        ("long", 5, b"\x00" * 8),
        ("bytes", 6, b"\x00\x03abc"),
        (":event-type", 7, b"\x00\x01e"),
        ("time", 8, b"\x00" * 8),
        ("uuid", 9, b"\x00" * 16),
    )
)

EVENTSTREAM_CASES: tuple[Case, ...] = (
    Case("nothing", b"", ()),
    Case("a message is a frame", eventstream.message("ping", {"a": 1}), (("ping", b'{"a":1}'),)),
    Case(
        "several messages in one read",
        eventstream.message("a", {}) + eventstream.message("b", [1]),
        (("a", b"{}"), ("b", b"[1]")),
    ),
    Case(
        "an exception has its name",
        eventstream.message("exception:throttlingException", {"message": "slow"}),
        (("exception:throttlingException", b'{"message":"slow"}'),),
    ),
    Case(
        "an error has its code and its text in headers",
        eventstream.message("error:InternalFailure", {"message": "boom"}),
        (("error:InternalFailure", b'{"message":"boom"}'),),
    ),
    Case("a message without headers is an event without a type", eventstream.with_headers(b"", b"x"), (("", b"x"),)),
    Case("a payload may be empty", eventstream.encoded({":event-type": "e"}, b""), (("e", b""),)),
    Case("headers of every type are skipped", eventstream.with_headers(_EVERY_TYPE, b"x"), (("e", b"x"),)),
    Case(
        "payloads are bytes", eventstream.encoded({":event-type": "e"}, b"\x00\xff\n\r\n"), (("e", b"\x00\xff\n\r\n"),)
    ),
    Case(
        "a message that is cut off is discarded",
        eventstream.message("a", {}) + eventstream.message("b", {})[:-1],
        (("a", b"{}"),),
    ),
)


def check_framer(factory: Callable[[], Framer], cases: Iterable[Case]) -> None:
    """Each case means the same whole, cut at every byte, cut at every two bytes, and byte by byte."""
    for case in cases:
        expected = [Frame(kind, data) for kind, data in case.frames]
        for chunks in cuts(case.stream):
            frames = frames_of(factory(), chunks)
            assert frames == expected, f"{case.rule}, cut as {chunks}: {frames}"


def cuts(stream: bytes) -> Iterable[Sequence[bytes]]:
    """A stream in the pieces that a network might make of it."""
    size = len(stream)
    yield [stream]
    for first in range(size + 1):
        yield [stream[:first], stream[first:]]
    for first in range(size):
        for second in range(first + 1, min(first + 8, size)):
            yield [stream[:first], stream[first:second], stream[second:]]
    yield [stream[place : place + 1] for place in range(size)]
    yield [b"", stream, b""]


def frames_of(framer: Framer, chunks: Iterable[bytes]) -> list[Frame]:
    frames: list[Frame] = []
    for chunk in chunks:
        frames += framer.feed(chunk)
    return frames + framer.end()


def check_limit(framer: Framer, limit_bytes: int, opening: bytes) -> None:
    """A frame that does not end is given up before it fills the memory."""
    framer.feed(opening)
    try:
        for _ in range(limit_bytes // 1000 + 2):
            framer.feed(b"x" * 1000)
    except BackendInvalidResponse:
        return
    raise AssertionError(f"more than {limit_bytes} bytes were held for one frame")
