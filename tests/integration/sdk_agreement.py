"""What the tests of the vendors' own SDKs share: our side of a conversation, and the transport in memory over which an
SDK holds the same one.

What surprises: the SDKs speak through two libraries with the same names, `httpx` and its successor `httpx2`, so each
test says which.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import msgspec

from pluggably.domain.generation import Fold
from pluggably.testing import codecs
from pluggably.wire.codec import Codec, HttpCall, HttpReply
from pluggably.wire.framing import FRAMERS

EVENTS = "text/event-stream"
JSON = "application/json"


class OurSide:
    """A codec with what its preset sets, where the vendor's ways are in there."""

    def __init__(self, codec: type[Codec], options: dict[str, Any] | None = None) -> None:
        self._codec = codec
        self._options = msgspec.to_builtins(options or {})

    def call(self, conversation: codecs.Conversation) -> HttpCall:
        return self._begun(conversation)[1]

    def sent(self, conversation: codecs.Conversation) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.call(conversation).body)
        return body

    def understood(self, conversation: codecs.Conversation) -> Fold:
        codec, call = self._begun(conversation)
        assert conversation.reply is not None
        body = conversation.reply.body()
        fold = Fold()
        if call.framing is None:
            fold.add(codec.receive(HttpReply(status=200, headers={}, body=body)).events)
        else:
            for frame in FRAMERS[call.framing]().feed(body):
                fold.add(codec.feed(frame).events)
            fold.add(codec.finish().events)
        return fold

    def _begun(self, conversation: codecs.Conversation) -> tuple[Codec, HttpCall]:
        codec = codecs.make(self._codec, {**self._options, **conversation.options})
        call = codec.begin(conversation.generation_request(), conversation.address()).next
        assert call is not None
        return codec, call


class Recorder:
    """A client of HTTP in memory: it keeps what an SDK sends, and answers what it is told to."""

    def __init__(self, library: ModuleType, content: bytes = b"{}", kind: str = JSON) -> None:
        self.sent: Any = None
        self.url = ""
        self.headers: dict[str, str] = {}
        self.content = content
        self.kind = kind
        self._library = library
        self.transport: Any = library.MockTransport(self._answer)

    def client(self) -> Any:
        return self._library.Client(transport=self.transport)

    def _answer(self, request: Any) -> Any:
        self.sent, self.url, self.headers = json.loads(request.content), str(request.url), dict(request.headers)
        return self._library.Response(200, headers={"content-type": self.kind}, content=self.content)
