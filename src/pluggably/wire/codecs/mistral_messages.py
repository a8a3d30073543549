"""Messages on Mistral's wire: our messages and parts as its.

What surprises: Mistral is strict about who follows whom and what a call is named. A message of the user may not
follow the result of a tool, so the assistant is made to say a word between them; the id of a call has nine letters
and digits, so another vendor's becomes one, the same in each place; and a last word of the assistant's is the
beginning of its answer only where the message says so. Documents and audio go by URL, also where they are data.

Source: docs.mistral.ai/api/endpoint/chat and …/capabilities/reasoning, …/vision, …/audio, …/document_ai (2026-11);
the types of mistralai 3.7.0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from pluggably.domain.generation import (
    Audio,
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
from pluggably.errors import InvalidRequest, UnsupportedParameter
from pluggably.wire.codec import Omissions
from pluggably.wire.codecs.mistral_options import MistralOptions
from pluggably.wire.codecs.openai_media import MediaRules, file_name, result_text
from pluggably.wire.codecs.openai_messages import merged, own_options

# "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9": its error 3280.
_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")
# "Unexpected role 'user' after role 'tool'": its error 3230. These are the words of Mistral's own command line there
# (github.com/mistralai/mistral-vibe, `_ensure_assistant_after_tools`).
_AFTER_TOOLS = "Understood."


class Messages:
    """Turns messages into theirs. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: MistralOptions, omissions: Omissions) -> None:
        self._backend = backend
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)

    def build(self, messages: Sequence[Message]) -> tuple[list[JsonObject], list[int]]:
        """Theirs, and for each the index of the message that it came from."""
        built: list[JsonObject] = []
        origins: list[int] = []
        for index, message in enumerate(messages):
            for theirs in self._message(message, f"/input/{index}"):
                if theirs["role"] == "assistant" and not theirs["content"] and "tool_calls" not in theirs:
                    # "Assistant message must have either content or tool_calls": its error 3240.
                    detail = f"{self._backend} takes no message of the assistant's without content"
                    self._omissions.note("part_dropped", f"/input/{index}", detail)
                    continue
                if theirs["role"] == "user" and built and built[-1]["role"] == "tool":
                    built.append({"role": "assistant", "content": _AFTER_TOOLS})
                    origins.append(index)
                built.append(merged(theirs, own_options(message.provider_options, self._backend)))
                origins.append(index)
        if built and built[-1]["role"] == "assistant" and "tool_calls" not in built[-1]:
            built[-1].setdefault("prefix", True)  # "expected last role User or Tool (or Assistant with prefix True)"
        return built, origins

    def _message(self, message: Message, pointer: str) -> list[JsonObject]:
        content = message.content
        if isinstance(content, str):
            if message.role == "tool":
                raise InvalidRequest(
                    "A message of the role `tool` holds `tool_result` parts, which name the call they answer.",
                    pointer=f"{pointer}/content",
                )
            return [{"role": message.role, "content": content}]
        if message.role == "assistant":
            return [self._assistant(content, pointer)]
        theirs: list[JsonObject] = []
        chunks: list[JsonObject] = []
        for index, part in enumerate(content):
            place = f"{pointer}/content/{index}"
            if isinstance(part, ToolResult):
                theirs.append(self._result(part, place))
            elif message.role == "tool":
                raise InvalidRequest(
                    "A message of the role `tool` holds only `tool_result` parts.", pointer=f"{pointer}/content"
                )
            elif isinstance(part, ProviderItem):
                chunks += self._handed_back(part, place)
            elif isinstance(part, Text | Image | File | Audio):
                if message.role == "system" and not isinstance(part, Text):
                    raise UnsupportedParameter("A system message holds only text on this wire.", pointer=place)
                chunks.append(self._chunk(part, place))
            else:
                raise InvalidRequest("This part belongs in a message of the role `assistant`.", pointer=place)
        if chunks or not theirs:  # results first: they must follow the message that made the calls
            theirs.append({"role": message.role, "content": _plain(chunks)})
        return theirs

    def _chunk(self, part: Text | Image | File | Audio, pointer: str) -> JsonObject:
        own = dict(own_options(part.provider_options, self._backend))
        if isinstance(part, Text):
            return merged({"type": "text", "text": part.text}, own)
        if isinstance(part, Image):
            image: JsonObject = {"url": self._media_rules.image_url(part, pointer)}
            if "detail" in own:  # stands inside, as at OpenAI
                image["detail"] = own.pop("detail")
            return merged({"type": "image_url", "image_url": image}, own)
        if isinstance(part, File):
            document: JsonObject = {"type": "document_url", "document_url": self._media_rules.file_url(part, pointer)}
            if part.name is not UNSET:
                document["document_name"] = file_name(part)
            return merged(document, own)
        return merged({"type": "input_audio", "input_audio": self._audio(part, pointer)}, own)

    def _audio(self, part: Audio, pointer: str) -> str:
        """Base64 without a head, or the URL, which Mistral fetches."""
        self._media_rules.require("audio", pointer, "takes no audio")
        if part.url is UNSET:
            return part.data or ""
        return part.url.partition(",")[2] if part.url.startswith("data:") else part.url

    def _result(self, part: ToolResult, pointer: str) -> JsonObject:
        content: str | list[JsonObject]
        if isinstance(part.content, str):
            content = result_text(part, part.content)
        elif all(isinstance(piece, Text) for piece in part.content):
            text = "\n".join(piece.text for piece in part.content if isinstance(piece, Text))
            content = result_text(part, text)
        else:
            content = [self._chunk(each, f"{pointer}/content/{index}") for index, each in enumerate(part.content)]
            if part.is_error:
                content.insert(0, {"type": "text", "text": result_text(part, "")})
        theirs: JsonObject = {"role": "tool", "tool_call_id": call_id(part.tool_call_id), "content": content}
        return merged(theirs, own_options(part.provider_options, self._backend))

    def _assistant(self, parts: Sequence[Part], pointer: str) -> JsonObject:
        chunks: list[JsonObject] = []
        calls: list[JsonObject] = []
        for index, part in enumerate(parts):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text):
                own = own_options(part.provider_options, self._backend)
                chunks.append(merged({"type": "text", "text": part.text}, own))
            elif isinstance(part, Refusal):
                chunks.append({"type": "text", "text": part.text})
            elif isinstance(part, Reasoning):
                chunks += self._thoughts(part, place)
            elif isinstance(part, ToolCall):
                # Empty arguments are no JSON, and they are parsed.
                function = {"name": part.name, "arguments": part.arguments or "{}"}
                call: JsonObject = {"id": call_id(part.id), "type": "function", "function": function}
                calls.append(merged(call, own_options(part.provider_options, self._backend)))
            elif isinstance(part, ProviderItem):
                chunks += self._handed_back(part, place)
            else:
                raise UnsupportedParameter(
                    "An assistant message holds only text and tool calls on this wire.", pointer=place
                )
        message: JsonObject = {"role": "assistant", "content": _plain(chunks) if chunks or not calls else None}
        if calls:
            message["tool_calls"] = calls
        return message

    def _thoughts(self, part: Reasoning, pointer: str) -> list[JsonObject]:
        state = part.provider_state
        if state is None:
            return [{"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}] if part.text else []
        if state.provider == self._backend and _is_chunk(state.data, "thinking"):
            return [state.data]
        owner = state.provider if state.provider != self._backend else f"another wire of {self._backend}"
        self._omissions.note(
            "provider_state_dropped", pointer, f"this reasoning belongs to {owner}; {self._backend} cannot use it"
        )
        return []

    def _handed_back(self, part: ProviderItem, pointer: str) -> list[JsonObject]:
        if part.provider == self._backend and _is_chunk(part.data):
            return [part.data]
        owner = part.provider if part.provider != self._backend else f"another wire of {self._backend}"
        self._omissions.note("part_dropped", pointer, f"this item belongs to {owner}; {self._backend} cannot use it")
        return []


def call_id(given: str) -> str:
    """The id of a tool call as Mistral wants it; the same id becomes the same in each place."""
    return given if _CALL_ID.fullmatch(given) else hashlib.sha256(given.encode()).hexdigest()[:9]


def _is_chunk(value: Any, kind: str | None = None) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str) and kind in (None, value["type"])


def _plain(chunks: list[JsonObject]) -> str | list[JsonObject]:
    """A single text as a string."""
    if len(chunks) == 1 and chunks[0].keys() == {"type", "text"}:
        text: str = chunks[0]["text"]
        return text
    return chunks or ""
