"""Messages on Cohere's wire: our messages and parts as its.

What surprises: what a model thinks has two places. Before calls of tools it is the message's `tool_plan`, elsewhere a
block `thinking`; a reasoning item notes in its `provider_state` which one it was, to go back there. Text beside calls
is refused, so it goes into the plan; so does a block `thinking` where the model does not think. The result of a
tool is a list of documents, so that the model can cite it: an object of JSON is one, a list of objects several, and
other text goes as text. A message that says nothing is refused there, so it is left out.

Source: docs.cohere.com/reference/chat, `messages`, and …/docs/tool-use-usage-patterns (2026-11); the types of the
cohere package 7.3.1. "text content is not allowed when tool_calls are provided. If you wish to pass a tool plan, either
pass thinking content (with thinking enabled) or use 'tool_plan'": github.com/vercel/ai/issues/5794 (2025-04).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pluggably.domain.generation import (
    File,
    Image,
    JsonObject,
    Message,
    Part,
    ProviderItem,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from pluggably.errors import UnsupportedModality
from pluggably.wire.codecs.cohere.options import CohereOptions
from pluggably.wire.media import MediaRules
from pluggably.wire.omissions import Omissions
from pluggably.wire.parts import (
    ResultMedia,
    UserPart,
    merged,
    nothing_said,
    own_options,
    plain,
    result_text,
    told_apart,
)

# What a reasoning item's `provider_state` says of its place.
PLAN: JsonObject = {"type": "tool_plan"}
THINKING: JsonObject = {"type": "thinking"}

# Values stay as they were written, down to the digits of a number.
_decode_documents = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]]).decode


class Messages:
    """Turns messages into theirs. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: CohereOptions, omissions: Omissions, *, thinks: bool) -> None:
        self._backend = backend
        self._thinks = thinks
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)
        self._result_media = ResultMedia(omissions)

    def build(self, messages: Sequence[Message]) -> tuple[list[JsonObject], list[int]]:
        """Raises: UnsupportedParameter, InvalidRequest."""
        built: list[JsonObject] = []
        origins: list[int] = []
        for index, message in enumerate(messages):
            pointer = f"/input/{index}"
            for theirs in self._message(message, pointer):
                if self._result_media.waiting and theirs["role"] != "tool":
                    self._result_media.put(built, origins)
                own = own_options(message.provider_options, self._backend)
                if not own and not _says_anything(theirs):
                    self._omissions.empty_message(index)
                    continue
                built.append(merged(theirs, own) if own else theirs)
                origins.append(index)
        self._result_media.put(built, origins)
        if not built:
            raise nothing_said(self._backend)
        return built, origins

    def _message(self, message: Message, pointer: str) -> list[JsonObject]:
        content = message.content
        if isinstance(content, str):
            return [{"role": message.role, "content": content}]
        if message.role == "assistant":
            return [self._assistant(content, pointer)]
        results, others = told_apart(content, pointer)
        theirs = [self._result(part, place) for part, place in results]
        if others or not results:
            blocks = [self._content(part, place) for part, place in others]
            theirs.append({"role": message.role, "content": plain(blocks)})
        return theirs

    def _content(self, part: UserPart, pointer: str) -> JsonObject:
        own = own_options(part.provider_options, self._backend)
        if isinstance(part, Text):
            return merged({"type": "text", "text": part.text}, own)
        if isinstance(part, Image):
            return self._media_rules.image_part(part, own, pointer)
        kind = "files: put their text into `documents` of its provider options" if isinstance(part, File) else "audio"
        raise UnsupportedModality(f"{self._backend} takes no {kind}.", pointer=pointer)

    def _result(self, part: ToolResult, pointer: str) -> JsonObject:
        texts = self._result_media.texts(part, part.tool_call_id, pointer, self._content)
        if part.is_error:
            blocks = [_text_block(result_text(part, "\n".join(texts)))]
        else:
            blocks = [block for text in texts or [""] for block in _documents(text)]
        theirs: JsonObject = {"role": "tool", "tool_call_id": part.tool_call_id, "content": blocks}
        return merged(theirs, own_options(part.provider_options, self._backend))

    def _assistant(self, parts: Sequence[Part], pointer: str) -> JsonObject:
        blocks: list[JsonObject] = []
        calls: list[JsonObject] = []
        plans: list[str] = []
        has_calls = any(isinstance(part, ToolCall) for part in parts)
        for index, part in enumerate(parts):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text | Refusal) and has_calls:
                plans.append(part.text)
            elif isinstance(part, Text):
                own = own_options(part.provider_options, self._backend)
                blocks.append(merged({"type": "text", "text": part.text}, own))
            elif isinstance(part, Refusal):
                blocks.append(_text_block(part.text))
            elif isinstance(part, ToolCall):
                # Empty arguments are no JSON.
                function = {"name": part.name, "arguments": part.arguments or "{}"}
                call: JsonObject = {"id": part.id, "type": "function", "function": function}
                calls.append(merged(call, own_options(part.provider_options, self._backend)))
            elif isinstance(part, Reasoning):
                if not self._is_usable(part, place):
                    continue
                is_plan = part.provider_state is None or part.provider_state.data == PLAN
                if has_calls and (is_plan or not self._thinks):
                    plans.append(part.text or "")
                else:
                    blocks.append({"type": "thinking", "thinking": part.text or ""})
            elif isinstance(part, ProviderItem):
                blocks += self._omissions.own_item(part, place)
        message: JsonObject = {"role": "assistant"}
        if blocks or not calls:
            message["content"] = plain(blocks)
        if any(plans):
            message["tool_plan"] = "\n\n".join(filter(None, plans))
        if calls:
            message["tool_calls"] = calls
        return message

    def _is_usable(self, part: Reasoning, pointer: str) -> bool:
        state = part.provider_state
        if state is not None and (state.provider != self._backend or state.data not in (PLAN, THINKING)):
            self._omissions.foreign_reasoning(state, pointer)
            return False
        return bool(part.text)


def _text_block(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _documents(text: str) -> list[JsonObject]:
    """A text of a tool's result, as documents where it is made of JSON objects."""
    if text.lstrip()[:1] not in ("{", "["):
        return [_text_block(text)]
    try:
        found = _decode_documents(text)
    except (msgspec.DecodeError, RecursionError):
        return [_text_block(text)]
    documents = [found] if isinstance(found, dict) else found
    return [{"type": "document", "document": {"data": data}} for data in documents] or [_text_block(text)]


def _says_anything(message: JsonObject) -> bool:
    return message["role"] == "tool" or bool(message.get("content")) or bool(message.get("tool_calls"))
