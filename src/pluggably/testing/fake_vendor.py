"""What small fakes of vendors share: an HTTP server that records what arrives, and says what a vendor's class tells it.

A fake knows its vendor's documented form and nothing else: what is not documented is refused, so that a codec which
invents things is caught. As in `fake_openai`, the name of the model says what to answer: `echo`, `say-3`, `slow-50-9`
(milliseconds, tokens), `tools`, `tools-parallel`, `reasoning`, `length`, `status-429`, `error-in-stream`, `cut` (a
stream that ends early). `Said` is that, without a wire. Of texts to embed, one that is called `status-429` has its
call refused (`refuse_broken`).

    with running(FakeCohere("key")) as fake:
        ...                                   # point a provider at fake.base_url
        fake.requests[-1].body                # what arrived, and whether the client stayed to the end
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

Json = dict[str, Any]


@dataclass
class Arrived:
    """One request as it came. What stands below `body` changes until `finished` is set."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: Any
    disconnected: bool = False
    finished: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Said:
    """What a model says: thoughts, words and calls (their ids, names and arguments); `pause_s` stands before each
    word, and `fails` is the error that comes after the first one. A `cut` stream lacks its end."""

    words: Sequence[str] = ()
    thoughts: Sequence[str] = ()
    calls: Sequence[tuple[str, str, str]] = ()
    is_cut_short: bool = False
    pause_s: float = 0.0
    fails: str | None = None
    is_cut: bool = False


class Refused(Exception):
    """An answer with a status of its own. `where` is the part of the request that it blames."""

    def __init__(self, status: int, message: str, where: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.where = status, message, where


def said_by(model: str, asked: str, tools: Sequence[str], limit: int | None, ids: str) -> Said:
    """What the model of this name says to `asked`; `ids` begins the ids of calls. Raises: Refused."""
    name, *numbers = re.split(r"-(?=\d)", model)
    given = [int(number) for number in numbers]
    if name == "status":
        raise Refused(given[0], f"the model said {given[0]}")
    words = asked.split()
    pause_s = 0.0
    if name in ("say", "slow"):
        words = [f"w{number}" for number in range(given[-1] if given else 3)]
        pause_s = given[0] / 1000 if name == "slow" else 0.0
    elif name in ("tools", "tools-parallel") and tools:
        count = 2 if name == "tools-parallel" else 1
        calls = [(f"{ids}{number}", tools[0], f'{{"city": "c{number}"}}') for number in range(count)]
        return Said(thoughts=["I", " will", " call."], calls=calls)
    elif name not in ("echo", "reasoning", "length", "error-in-stream", "cut", "tools", "tools-parallel"):
        raise Refused(404, f"model '{model}' not found", ("model",))
    pieces = [word if not place else f" {word}" for place, word in enumerate(words)]
    kept = pieces[:limit]
    return Said(
        words=kept,
        thoughts=["Let", " me", " think."] if name == "reasoning" else (),
        is_cut_short=name == "length" or len(kept) < len(pieces),
        pause_s=pause_s,
        fails="the model broke" if name == "error-in-stream" else None,
        is_cut=name == "cut",
    )


def refuse_broken(texts: Sequence[str]) -> None:
    """Raises: Refused where one of the texts to embed is called like a model that refuses."""
    for text in texts:
        if re.fullmatch(r"status-\d{3}", text):
            raise Refused(int(text[-3:]), f"a text said {text[-3:]}")


class FakeVendor:
    """A vendor's server. A subclass answers `post`, and gives its errors their form."""

    stream_type = "text/event-stream"

    def __init__(self, key: str) -> None:
        self.key = key
        self.base_url = ""
        self.requests: list[Arrived] = []

    def post(self, path: str, body: Json) -> Json | list[Any] | Iterator[bytes]:
        """A whole answer, or the bytes of a stream, piece by piece. Raises: Refused."""
        raise NotImplementedError

    def listed(self, path: str) -> Json:
        """The answer to a GET. Raises: Refused."""
        raise Refused(404, f"{path} not found")

    def error(self, refused: Refused) -> Json:
        raise NotImplementedError


def refuse_unknown(value: Json, known: str, where: Sequence[str | int] = ()) -> None:
    """Raises: Refused for a field that is not documented."""
    for name in value:
        if name not in known.split():
            raise Refused(422, f"unknown field: {name}", (*where, name))


def sse(event: Any, name: str = "") -> bytes:
    data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
    return f"{f'event: {name}' + chr(10) if name else ''}data: {data}\n\n".encode()


Vendor = TypeVar("Vendor", bound=FakeVendor)


@contextmanager
def running(vendor: Vendor) -> Iterator[Vendor]:
    """Serves a fake on a free port until the block ends."""

    class Exchange(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(lambda: vendor.listed(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            arrived = Arrived(self.path, headers, body)
            vendor.requests.append(arrived)
            try:
                self._answer(lambda: vendor.post(self.path, body))
            except OSError:  # the client has left
                arrived.disconnected, self.close_connection = True, True
            arrived.finished.set()

        def _answer(self, said: Any) -> None:
            try:
                if self.headers.get("authorization") != f"Bearer {vendor.key}":
                    raise Refused(401, "invalid api token")
                answer, status = said(), 200
            except Refused as refused:
                answer, status = vendor.error(refused), refused.status
            if isinstance(answer, dict | list):
                self._send(json.dumps(answer).encode(), status)
                return
            self.send_response(200)
            self.send_header("Content-Type", vendor.stream_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in answer:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        def _send(self, body: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    server.daemon_threads = True
    vendor.base_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def paced(pieces: Iterator[bytes], pause_s: float) -> Iterator[bytes]:
    """The pieces, with a pause before each."""
    for piece in pieces:
        if pause_s:
            time.sleep(pause_s)
        yield piece
