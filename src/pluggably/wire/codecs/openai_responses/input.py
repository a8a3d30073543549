"""Messages on the Responses wire: our messages and parts as its input items.

What surprises: on this wire a conversation is a list of items, of which messages are one kind. Calls, their results and
reasoning stand beside the messages, not in them, so one of our messages may become many items. What an answer brought
goes back as it came and in its order: a reasoning item must stand before what followed from it.

Source: developers.openai.com/api/reference/resources/responses, "Create a model response", `input`, and
…/docs/guides/conversation-state (2026-11); the types of the openai package 3.54.0.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from pluggably.wire.codec import short_id
from pluggably.wire.codecs.openai_responses.options import ResponsesOptions
from pluggably.wire.media import MediaRules, file_name
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

# Of `call_id`: "string too long. Expected a string with maximum length 64"
# (github.com/openai/codex/issues/14355; 2026-11).
_ID_LIMIT = 64


class InputItems:
    """Turns messages into input items. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: ResponsesOptions, omissions: Omissions) -> None:
        self._backend = backend
        self._system_role = options.system_role
        self._is_plain = options.plain_input
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)
        self._result_media = ResultMedia(omissions)

    def build(self, messages: Sequence[Message]) -> tuple[list[JsonObject], list[int]]:
        """The items, and for each the index of the message that it came from. Raises: UnsupportedParameter,
        InvalidRequest."""
        built: list[JsonObject] = []
        origins: list[int] = []
        for index, message in enumerate(messages):
            own = own_options(message.provider_options, self._backend)
            for item in self._items(message, f"/input/{index}"):
                if self._result_media.waiting and item.get("type") != "function_call_output":
                    self._result_media.put(built, origins)
                # What a client says of an answer's message says nothing of the calls and the reasoning beside it.
                if own and ("role" in item or item["type"] == "function_call_output"):
                    merged(item, own)
                built.append(item)
                origins.append(index)
        self._result_media.put(built, origins)
        if self._is_plain:
            for item in built:
                item.setdefault("type", "message")
        if not built:  # "Missing required parameter: 'input'"
            raise nothing_said(self._backend)
        return built, origins

    def _items(self, message: Message, pointer: str) -> list[JsonObject]:
        role = self._system_role if message.role == "system" else message.role
        content = message.content
        if isinstance(content, str):
            return [{"role": role, "content": content}]
        if role == "assistant":
            return self._answer(content, pointer)
        results, others = told_apart(content, pointer)
        items = [self._result(part, place) for part, place in results]
        if others or not content:
            items.append({"role": role, "content": plain([self._content(part, place) for part, place in others])})
        return items

    # ── what a client says ──────────────────────────────────────────────────────────────────────────────────────────

    def _content(self, part: UserPart, pointer: str) -> JsonObject:
        own = own_options(part.provider_options, self._backend)
        if isinstance(part, Text):
            return merged({"type": "input_text", "text": part.text}, own)
        if isinstance(part, Image):
            url = self._media_rules.url(part, pointer)
            return merged({"type": "input_image", "image_url": url, "detail": "auto"}, own)
        if isinstance(part, File):
            return merged(self._file(part, pointer), own)
        raise UnsupportedModality(f"{self._backend} takes no audio.", pointer=pointer)

    def _file(self, part: File, pointer: str) -> JsonObject:
        url = self._media_rules.url(part, pointer)
        if part.url:
            return {"type": "input_file", "file_url": url}
        return {"type": "input_file", "filename": file_name(part), "file_data": url}

    def _result(self, part: ToolResult, pointer: str) -> JsonObject:
        output: str | list[JsonObject]
        call = short_id(part.tool_call_id, _ID_LIMIT)
        if self._is_plain:
            output = result_text(part, "\n".join(self._result_media.texts(part, call, pointer, self._content)))
        elif isinstance(part.content, str):
            output = result_text(part, part.content)
        else:
            output = [self._content(piece, f"{pointer}/content/{index}") for index, piece in enumerate(part.content)]
            if part.is_error:
                first = part.content[0].text if part.content and isinstance(part.content[0], Text) else None
                if first is None:
                    output.insert(0, {"type": "input_text", "text": result_text(part, "")})
                else:
                    output[0]["text"] = result_text(part, first)
            output = plain(output)
        theirs: JsonObject = {
            "type": "function_call_output",
            "call_id": call,
            "output": output,
        }
        return merged(theirs, own_options(part.provider_options, self._backend))

    # ── what an answer said ─────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, parts: Sequence[Part], pointer: str) -> list[JsonObject]:
        items: list[JsonObject] = []
        for index, part in enumerate(parts):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Reasoning):
                items += self._omissions.own_reasoning(part, place)
            elif isinstance(part, ProviderItem):
                items += self._own_item(part, place)
            elif isinstance(part, Text):
                own = own_options(part.provider_options, self._backend)
                items.append(merged({"role": "assistant", "content": part.text}, own))
            elif isinstance(part, Refusal):
                refusal = {"type": "refusal", "refusal": part.text}
                own = own_options(part.provider_options, self._backend)
                content = part.text if self._is_plain else [refusal]
                items.append(merged({"role": "assistant", "content": content}, own))
            elif isinstance(part, ToolCall):
                call: JsonObject = {"type": "function_call", "call_id": short_id(part.id, _ID_LIMIT), "name": part.name}
                call["arguments"] = part.arguments or "{}"  # empty arguments are no JSON
                items.append(merged(call, own_options(part.provider_options, self._backend)))
        return items

    def _own_item(self, part: ProviderItem, pointer: str) -> list[JsonObject]:
        if self._is_plain and part.provider == self._backend:
            self._omissions.note("part_dropped", pointer, "takes no such item back")
            return []
        return self._omissions.own_item(part, pointer)
