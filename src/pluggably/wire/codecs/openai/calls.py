"""Calls of tools as they come on OpenAI's wire and its sisters: whole, or in pieces.

What surprises: pieces are told apart by `index`; some servers leave that out, or give every call the same one, and then
a new `id` begins a call, or without ids a name does. An id that an earlier call of the answer has already is replaced:
text-generation-inference gives all of its calls the id "0", and nobody could tell their results apart.
"""

from __future__ import annotations

from uuid import uuid4

from msgspec import Struct

from pluggably.domain.generation import Event
from pluggably.errors import BackendInvalidResponse
from pluggably.wire.codec import OutputItems, json_body
from pluggably.wire.codecs.openai.reply import CallPiece


class OpenCalls:
    """The calls of one answer, as far as they have come."""

    def __init__(self, items: OutputItems) -> None:
        self._items = items
        self._calls: dict[int | None, _OpenCall] = {}
        self._count = 0
        self._ids: set[str] = set()

    def take(self, piece: CallPiece, backend: str) -> list[Event]:
        """The events of a call, or of a piece of one. Raises: BackendInvalidResponse for a call without a name."""
        function = piece.function
        name = (function.name if function else None) or ""
        arguments = (function.arguments if function else None) or ""
        if not isinstance(arguments, str):
            arguments = json_body(arguments).decode()
        call = self._calls.get(piece.index)
        if call is None or (piece.id and piece.id != call.given_id) or (piece.index is None and name and not piece.id):
            if not name:
                raise BackendInvalidResponse(f"{backend} sent a tool call without a name.")
            call = self._calls[piece.index] = _OpenCall(self._count, piece.id or "")
            self._count += 1
            id_ = piece.id if piece.id and piece.id not in self._ids else f"call_{uuid4().hex[:24]}"
            self._ids.add(id_)
            return self._items.tool_call(call.key, arguments, id=id_, name=name)
        return self._items.tool_call(call.key, arguments)


class _OpenCall(Struct, frozen=True):
    key: int
    given_id: str
