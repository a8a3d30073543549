"""The items of an answer, built from the pieces in which a vendor tells it, and the reason for which it ended."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

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
