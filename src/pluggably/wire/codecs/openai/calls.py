"""Calls of tools as they come on OpenAI's wire and its sisters: whole, or in pieces.

What surprises: pieces are told apart by `index`; some servers leave that out, or give every call the same one, and then
a new `id` beside a name begins a call, or without ids a name does. A new `id` alone does not: some servers give each
piece of one call an id of its own (github.com/vllm-project/vllm/pull/23522 and github.com/poolsideai/pool/issues/9;
2026-11). An id that an earlier call of the answer has already is replaced:
text-generation-inference gives all of its calls the id "0", and nobody could tell their results apart.
"""

from __future__ import annotations

from uuid import uuid4

from msgspec import UNSET, Struct, UnsetType

from pluggably.domain.generation import Event, JsonObject, ProviderOptions
from pluggably.errors import BackendInvalidResponse
from pluggably.wire.codec import json_body
from pluggably.wire.codecs.openai.reply import CallPiece
from pluggably.wire.items import OutputItems


class OpenCalls:
    """The calls of one answer, as far as they have come."""

    def __init__(self, items: OutputItems) -> None:
        self._items = items
        self._calls: dict[int | None, _OpenCall] = {}
        self._count = 0
        self._ids: set[str] = set()
        # Calls of the vendor's own kinds of tools, as they came, by their index.
        self.custom: dict[int | None, JsonObject] = {}

    def take(self, piece: CallPiece, backend: str) -> list[Event]:
        """The events of a call, or of a piece of one. Raises: BackendInvalidResponse for a call without a name."""
        function = piece.function
        name = (function.name if function else None) or ""
        arguments = (function.arguments if function else None) or ""
        if not isinstance(arguments, str):
            arguments = json_body(arguments).decode()
        extra: ProviderOptions | UnsetType = UNSET
        if piece.extra_content:
            extra = {backend: {"extra_content": piece.extra_content}}
        call = self._calls.get(piece.index)
        if call is not None and not (name and self._is_another(piece, call)):
            return self._items.tool_call(call.key, arguments, provider_options=extra)
        if not name:
            raise BackendInvalidResponse(f"{backend} sent a tool call without a name.")
        call = self._calls[piece.index] = _OpenCall(self._count, piece.id or "")
        self._count += 1
        id_ = piece.id if piece.id and piece.id not in self._ids else f"call_{uuid4().hex[:24]}"
        self._ids.add(id_)
        return self._items.tool_call(call.key, arguments, id=id_, name=name, provider_options=extra)

    def take_custom(self, piece: CallPiece) -> None:
        """A call with free text in place of arguments, or a piece of one."""
        said = piece.custom or {}
        call = self.custom.setdefault(piece.index, {"id": "", "type": "custom", "custom": {"name": "", "input": ""}})
        call["id"] = piece.id or call["id"]
        call["custom"]["name"] = said.get("name") or call["custom"]["name"]
        call["custom"]["input"] += said.get("input") or ""

    @staticmethod
    def _is_another(piece: CallPiece, call: _OpenCall) -> bool:
        """Whether a piece with a name begins a call, where one of its index is known."""
        return piece.id != call.given_id if piece.id else piece.index is None


class _OpenCall(Struct, frozen=True):
    key: int
    given_id: str
