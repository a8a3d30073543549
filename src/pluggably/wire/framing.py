"""Cuts the bytes of a stream into frames: server-sent events, lines of JSON, and the messages of AWS's event stream.

Here bytes become frames; what a frame says is the codec's business. A framer holds the beginning of a frame until its
end has come, so it takes the bytes in whatever pieces the network made of them.

What surprises: this stands on the hot path, a few times for each token of every answer. So the bytes are never
looked at one by one nor decoded: one `split` finds the events of a read, and only an event that is not a single
`data: …` line is parsed line by line. And two things are read that the specification would skip: an error that a
backend writes into its stream as bare JSON, because nothing else would tell why the stream ends (`BareJson`), and a
whole answer that is a stream by its label alone.

Source: WHATWG HTML, "Server-sent events", §9.2.5 and §9.2.6, https://html.spec.whatwg.org/multipage/server-sent-events.html
(2026-11); NDJSON, https://github.com/ndjson/ndjson-spec (1.0.0);
https://smithy.io/2.0/aws/amazon-eventstream.html (2026-11).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from pluggably.domain.generation import Event
from pluggably.errors import BackendInvalidResponse
from pluggably.wire.codec import Codec, Frame, Framing, HttpReply, Step

# No wire that we speak sends more in one event; a backend that never ends one must not fill our memory.
FRAME_LIMIT_BYTES = 16 * 1024 * 1024
# An error in bare JSON is a kilobyte or two, a whole answer that is called a stream as long as answers are.
BARE_LIMIT_BYTES = 4 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
# As numbers: `13 in chunk` is a memchr and takes a fifth of the time of `b"\r" in chunk`.
_CR, _LF = 13, 10


class Framer(Protocol):
    """Cuts one stream; not used again for another."""

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes. Raises: BackendInvalidResponse for one that is longer than the limit."""
        ...

    def end(self) -> list[Frame]:
        """The stream has ended: the frame that its end completes, if the format has such a thing."""
        ...


class SseFramer:
    """Server-sent events. `id:` and `retry:` say nothing to a gateway, which never reconnects to the middle of an
    answer; they are ignored as unknown fields are."""

    __slots__ = (
        "_after_cr",
        "_bare",
        "_data",
        "_has_given",
        "_kind",
        "_limit_bytes",
        "_line",
        "_pending_bytes",
        "_started",
        "_whole",
    )

    def __init__(self, limit_bytes: int = FRAME_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        # The beginning of a line, in pieces: joining them at each read would cost the square of a long line's length.
        self._line: list[bytes] = []
        self._kind = ""
        self._data: list[bytes] = []
        self._pending_bytes = 0
        self._after_cr = False
        self._started = False
        self._has_given = False
        self._bare: BareJson | None = None
        self._whole: bytes | None = None

    def feed(self, chunk: bytes) -> list[Frame]:
        if self._after_cr or not self._started or _CR in chunk:
            chunk = self._normalised(chunk)
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if not lines:
            self._wait(chunk)
            if chunk:
                self._line.append(chunk)
            return []
        if self._line:
            self._line.append(lines[0])
            lines[0] = b"".join(self._line)
            self._line.clear()
        frames: list[Frame] = []
        data = self._data
        for line in lines:
            if line[:6] == b"data: ":
                data.append(line[6:])
            elif line:
                self._field(line, frames)
            elif data:
                frames.append(Frame(self._kind, data.pop() if len(data) == 1 else self._joined()))
                self._kind = ""
            else:
                # An event without data is none (§9.2.6), whatever it is called.
                self._kind = ""
        if rest:
            self._line.append(rest)
        if not frames:
            self._wait(chunk)
        else:
            self._has_given = True
            self._pending_bytes = len(rest) + sum(map(len, data)) if data else len(rest)
            if len(chunk) > self._limit_bytes:
                self._check(frames)
        return frames

    def end(self) -> list[Frame]:
        """No event: the specification discards one whose blank line has not come (§9.2.6, "Once the end of the file is
        reached, any pending data must be discarded"), and what was cut off must never look complete. But an error in
        bare JSON may end without a line end."""
        frames: list[Frame] = []
        self._other_field(b"".join(self._line), frames)
        self._line.clear()
        self._data.clear()
        self._has_given = self._has_given or bool(frames)
        return frames

    @property
    def whole(self) -> bytes | None:
        """The JSON text that the stream was in place of events: some servers answer whole and call it a stream."""
        return None if self._has_given else self._whole

    def _field(self, line: bytes, frames: list[Frame]) -> None:
        """A line that does not begin with `data: `. A comment has an empty name, so it is an unknown field."""
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._kind = value.removeprefix(b" ").decode("utf-8", "replace")
        else:
            self._other_field(line, frames)

    def _other_field(self, line: bytes, frames: list[Frame]) -> None:
        """What is no field that we know is skipped, unless it is an error in bare JSON."""
        if self._bare is None:
            if line[:1] not in (b"{", b"["):
                return
            self._bare = BareJson()
        if self._bare.add(line):
            frames += self._bare.errors()
            if self._whole is None and not self._has_given:
                self._whole = self._bare.text()
            self._bare = None

    def _joined(self) -> bytes:
        whole = b"\n".join(self._data)
        self._data.clear()
        return whole

    def _normalised(self, chunk: bytes) -> bytes:
        """The chunk with each line end as one LF, and without the byte order mark that may open the stream. A CR
        ends its line at once, whether or not an LF is still to come: that LF is dropped then."""
        if not self._started:
            chunk = b"".join([*self._line, chunk])
            self._line.clear()
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                return chunk  # has no line end, so it is kept, and comes back here with more
            self._started = True
            chunk = chunk.removeprefix(_BOM)
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if _CR in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _wait(self, chunk: bytes) -> None:
        """Counts what was read since the last event ended: a little more than what is held, and cheaper to know."""
        self._pending_bytes += len(chunk)
        if self._pending_bytes > self._limit_bytes:
            raise _too_long(self._limit_bytes)

    def _check(self, frames: list[Frame]) -> None:
        if any(len(frame.data) > self._limit_bytes for frame in frames):
            raise _too_long(self._limit_bytes)


class BareJson:
    """A JSON text that stands in a stream of server-sent events outside of every event, line by line.

    To the specification its lines are unknown fields. Google's services end a stream that fails with such a text, often
    over several lines and at times in a list, and so do some proxies and servers of other wires. Only an error is
    handed on, as an event `error`; everything else stays what the specification says, unless it is all that came.

    Source: google-genai 3.4.0, _api_client.py, which puts such lines together until their braces are even; the
    clients of OpenAI and of Hugging Face skip them (openai 3.54.0, huggingface_hub 2.4.0; 2026-11)."""

    __slots__ = ("_depth", "_lines", "_size")

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._depth = 0

    def add(self, line: bytes) -> bool:
        """Whether the text is whole with this line."""
        self._size += len(line)
        if self._size > BARE_LIMIT_BYTES:
            self._lines.clear()
            return True
        self._lines.append(line)
        # No string of JSON goes over the end of a line, so each line can be looked at by itself.
        for found in _BRACKETS.findall(line):
            if found in b"{[":
                self._depth += 1
            elif found in b"}]":
                self._depth -= 1
        return self._depth <= 0

    def text(self) -> bytes:
        return b"\n".join(self._lines)

    def errors(self) -> list[Frame]:
        """The error that the text is, or that stands in its list, in a form that every codec reads."""
        try:
            told = msgspec.json.decode(self.text())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
        entries = told if isinstance(told, list) else [told]
        return [Frame("error", msgspec.json.encode(entry)) for entry in entries if _is_error(entry)][:1]


# A string of JSON, of which the brackets do not count, or a bracket.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]')


def _is_error(entry: object) -> bool:
    """`{"error": …}`, as nearly everybody says it, or `{"message": "…"}`, as Mistral, Cohere and AWS do, or a problem
    of RFC 9457, as this gateway itself does."""
    return isinstance(entry, dict) and (
        entry.get("error") is not None
        or isinstance(entry.get("message"), str)
        or (isinstance(entry.get("title"), str) and isinstance(entry.get("status"), int))
    )


class NdjsonFramer:
    """A JSON text a line. Empty lines are skipped, as a line may be a keep-alive."""

    __slots__ = ("_limit_bytes", "_parts", "_size")

    def __init__(self, limit_bytes: int = FRAME_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Frame]:
        if _LF not in chunk:
            self._keep(chunk)
            return []
        if self._parts:
            chunk = b"".join([*self._parts, chunk])
            self._parts = []
            self._size = 0
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if len(chunk) > self._limit_bytes and any(len(line) > self._limit_bytes for line in lines):
            raise _too_long(self._limit_bytes)
        if rest:
            self._keep(rest)
        # A CR before the LF is white space of JSON, and so is harmless; it is taken off for wires that are not JSON.
        return [Frame("", line) for line in map(_without_cr, lines) if line]

    def end(self) -> list[Frame]:
        """The last line, where its LF never came. Unlike half an event, half a JSON text cannot pass for a whole
        one: its decoding fails."""
        rest = _without_cr(b"".join(self._parts))
        self._parts = []
        self._size = 0
        return [Frame("", rest)] if rest else []

    def _keep(self, rest: bytes) -> None:
        self._size += len(rest)
        if self._size > self._limit_bytes:
            raise _too_long(self._limit_bytes)
        if rest:
            self._parts.append(rest)


class EventStreamFramer:
    """AWS's binary event stream: a message is its length, the length of its headers, a checksum of the two, headers, a
    payload, and a checksum of all that.

    An exception and an error are frames, too: what they mean is the codec's business. A message that is damaged ends
    the stream, but not before the whole ones ahead of it in the same read have been given."""

    __slots__ = ("_broken", "_held", "_limit_bytes")

    def __init__(self, limit_bytes: int = FRAME_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held = bytearray()
        self._broken: BackendInvalidResponse | None = None

    def feed(self, chunk: bytes) -> list[Frame]:
        if self._broken is not None:
            raise self._broken
        held = self._held
        held += chunk
        frames: list[Frame] = []
        place = 0
        try:
            while len(held) - place >= _PRELUDE.size:
                size, headers_size, checksum = _PRELUDE.unpack_from(held, place)
                if zlib.crc32(held[place : place + 8]) != checksum:
                    raise BackendInvalidResponse("The backend sent a message whose beginning is damaged.")
                if size > self._limit_bytes:
                    raise _too_long(self._limit_bytes)
                if size < _PRELUDE.size + headers_size + 4:
                    raise BackendInvalidResponse("The backend sent a message shorter than its own headers.")
                if len(held) - place < size:
                    break
                frames.append(_message(bytes(held[place : place + size]), headers_size))
                place += size
        except BackendInvalidResponse as error:
            if not frames:
                raise
            self._broken = error
        del held[:place]
        return frames

    def end(self) -> list[Frame]:
        """Nothing: what is left is a part of a message. Raises: BackendInvalidResponse for one that was damaged."""
        if self._broken is not None:
            raise self._broken
        return []


# Length, length of the headers, checksum of these two.
_PRELUDE = struct.Struct("!III")
# The sizes of header values by their type; a text and an array of bytes (7, 6) bring theirs.
_VALUE_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


def _message(message: bytes, headers_size: int) -> Frame:
    """Raises: BackendInvalidResponse."""
    (checksum,) = struct.unpack_from("!I", message, len(message) - 4)
    if zlib.crc32(message[:-4]) != checksum:
        raise BackendInvalidResponse("The backend sent a message that is damaged: its checksum is wrong.")
    headers = _headers(message[_PRELUDE.size : _PRELUDE.size + headers_size])
    payload = message[_PRELUDE.size + headers_size : -4]
    kind = headers.get(":message-type", "event")
    if kind == "exception":
        return Frame(f"exception:{headers.get(':exception-type', '')}", payload)
    if kind == "error":
        told = msgspec.json.encode({"message": headers.get(":error-message", "")})
        return Frame(f"error:{headers.get(':error-code', '')}", told)
    return Frame(headers.get(":event-type", ""), payload)


def _headers(block: bytes) -> dict[str, str]:
    """The headers that are texts. Raises: BackendInvalidResponse."""
    headers: dict[str, str] = {}
    place = 0
    try:
        while place < len(block):
            after = place + 1 + block[place]
            name = block[place + 1 : after].decode()
            kind = block[after]
            place = after + 1
            if kind in (6, 7):
                (size,) = struct.unpack_from("!H", block, place)
                place += 2
                if kind == 7:
                    headers[name] = block[place : place + size].decode()
            else:
                size = _VALUE_SIZES[kind]
            place += size
    except (IndexError, KeyError, UnicodeDecodeError, struct.error):
        place = len(block) + 1
    if place != len(block):
        raise BackendInvalidResponse("The backend sent a message whose headers cannot be read.")
    return headers


FRAMERS: Mapping[Framing, Callable[[], Framer]] = {
    "sse": SseFramer,
    "ndjson": NdjsonFramer,
    "eventstream": EventStreamFramer,
}


def _without_cr(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


def _too_long(limit_bytes: int) -> BackendInvalidResponse:
    return BackendInvalidResponse(f"The backend sent one event of more than {limit_bytes} bytes.")


def comes_whole(framing: Framing, content_type: str) -> bool:
    """Whether an answer that was asked for as a stream is to be read whole: some servers do not stream, and some say so
    why there is none. Lines of JSON are not meant: they are called JSON by some who stream them."""
    return framing != "ndjson" and (content_type == "application/json" or content_type.endswith("+json"))


# How a text begins that is no JSON but a stream of events: a field, or a comment.
_EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")


def received(codec: Codec, reply: HttpReply) -> Step:
    """What a codec makes of a whole answer. Some servers stream where nobody asked for it, and some call their stream
    JSON; what it is, its first bytes tell."""
    return _whole_stream(codec, reply.body) if _EVENTS.match(reply.body) else codec.receive(reply)


def ended(codec: Codec, framer: Framer) -> Step:
    """What a codec makes of the end of a stream, of which all frames have been fed to it."""
    whole = framer.whole if isinstance(framer, SseFramer) else None
    if whole is None:
        return codec.finish()
    return codec.receive(HttpReply(status=200, headers={"content-type": "application/json"}, body=whole))


def _whole_stream(codec: Codec, body: bytes) -> Step:
    """What a codec makes of a stream of server-sent events that came where a whole answer was asked for."""
    framer = SseFramer()
    events: list[Event] = []
    for frame in framer.feed(body) + framer.end():
        step = codec.feed(frame)
        events += step.events
        if step.error is not None:
            return Step(events, error=step.error)
    step = ended(codec, framer)
    return Step([*events, *step.events], step.next, step.error)
