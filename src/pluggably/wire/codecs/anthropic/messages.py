"""Messages on Anthropic's wire: our messages and parts as theirs.

What surprises: there are only two roles, and the system prompt stands outside of the conversation. The result of a tool
is the user's word, and must come first in it. Text that is empty or only space is refused there and says nothing, so it
is left out. What an answer brought (thinking with its signature, blocks of the vendor's own tools) goes back as it came
and in its order.

Source: platform.claude.com/docs/en/api/messages/create, `messages`; …/build-with-claude/vision, …/pdf-support,
…/thinking, …/mid-conversation-system-messages and …/agents-and-tools/tool-use/handle-tool-calls (2026-11); the types of
the anthropic package 2.12.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct

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
from pluggably.errors import InvalidRequest, UnsupportedModality, UnsupportedParameter
from pluggably.wire.codecs.anthropic.options import AnthropicOptions, Profile
from pluggably.wire.media import MediaRules
from pluggably.wire.omissions import OPENING, Omissions
from pluggably.wire.parts import (
    arguments_of,
    merged,
    no_part_of_an_answer,
    nothing_said,
    own_options,
    plain,
    told_apart,
)

# …/build-with-claude/vision, "Which image formats are supported"
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
# Text in all but its name: sent as text, which is what a document of the type `text` holds.
_TEXTS = frozenset(("application/json", "application/xml", "application/yaml", "application/x-yaml"))
# The API refuses other ids: "String should match pattern '^[a-zA-Z0-9_-]+$'".
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
# What a model says itself; any other block is of the vendor's tools, and a turn that holds one may have been paused.
_OF_THE_MODEL = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))
# The fields of a citation that are taken back (anthropic 2.12.0, TextCitationParam), by its type.
_SPAN = ("type", "cited_text")
_CITATIONS: dict[str, tuple[str, ...]] = {
    "char_location": (*_SPAN, "document_index", "document_title", "start_char_index", "end_char_index"),
    "page_location": (*_SPAN, "document_index", "document_title", "start_page_number", "end_page_number"),
    "content_block_location": (*_SPAN, "document_index", "document_title", "start_block_index", "end_block_index"),
    "search_result_location": (
        *(*_SPAN, "search_result_index", "source", "title"),
        *("start_block_index", "end_block_index"),
    ),
    "web_search_result_location": (*_SPAN, "encrypted_index", "title", "url"),
}


class Conversation(Struct):
    """`prompt` is what the system says; `origins` has for each of their messages the index of the one of ours that it
    came from."""

    prompt: str | list[JsonObject]
    messages: list[JsonObject]
    origins: list[int]

    @property
    def is_prefilled(self) -> bool:
        """Whether the answer is to continue an assistant's message."""
        return bool(self.messages[-1]["role"] == "assistant")


class _Said(Struct):
    """One of our messages that says something, as blocks of theirs; `role` is theirs, too."""

    index: int
    role: str
    blocks: list[JsonObject]
    message: Message


class Messages:
    """Turns messages into theirs. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: AnthropicOptions, profile: Profile, omissions: Omissions) -> None:
        self._backend = backend
        self._profile = profile
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)

    def build(self, messages: Sequence[Message]) -> Conversation:
        """Raises: InvalidRequest, UnsupportedParameter."""
        said = [
            _Said(index, "user" if message.role == "tool" else message.role, blocks, message)
            for index, message in enumerate(messages)
            if (blocks := self._blocks(message, index))
        ]
        prompt: list[JsonObject] = []
        turns: list[JsonObject] = []
        options: list[tuple[JsonObject, Mapping[str, Any]]] = []
        origins: list[int] = []
        last: JsonObject | None = None
        for place, one in enumerate(said):
            own = own_options(one.message.provider_options, self._backend)
            if "cache_control" in own:
                own = dict(own)
                _mark(one.blocks, own.pop("cache_control"))
            if one.role == "system" and not self._stays(one, last, said[place + 1 :]):
                prompt += one.blocks
                continue
            # The results of several calls belong in one message, with what the user says then behind them.
            if last is not None and last["role"] == one.role and _takes_more(last):
                last["content"] += one.blocks
            else:
                last = {"role": one.role, "content": one.blocks}
                turns.append(last)
                origins.append(one.index)
            if own:
                options.append((last, own))
        if not turns:
            raise nothing_said(self._backend)
        if turns[0]["role"] == "assistant":
            self._omissions.opened(origins[0])
            turns.insert(0, {"role": "user", "content": OPENING})
            origins.insert(0, origins[0])
        if turns[-1]["role"] == "assistant":
            self._check_end(turns[-1], f"/input/{origins[-1]}")
        for turn in turns:
            turn["content"] = plain(turn["content"])
        for turn, own in options:
            merged(turn, own)
        return Conversation(plain(prompt), turns, origins)

    def _stays(self, one: _Said, last: JsonObject | None, later: Sequence[_Said]) -> bool:
        """Whether a system message stays where it is. It must follow the user, and nothing but the assistant may
        follow."""
        if last is None:
            return False
        after = next((follower.role for follower in later if follower.role != "system"), "assistant")
        if self._profile.system_messages and last["role"] != "assistant" and after == "assistant":
            return True
        self._omissions.system_moved(one.index)
        return False

    def _check_end(self, last: JsonObject, pointer: str) -> None:
        """What holds for an assistant's message at the end."""
        if any(block["type"] not in _OF_THE_MODEL for block in last["content"]):
            return  # a turn that was paused: handed back, it goes on
        if "prefill" in self._profile.lacks:
            raise UnsupportedParameter(
                f"{self._backend} does not continue an assistant's message with this model; end with one of the user.",
                pointer=pointer,
            )
        block = last["content"][-1]
        if isinstance(block.get("text"), str):  # "final assistant content cannot end with trailing whitespace"
            block["text"] = block["text"].rstrip()

    # ── what a client says ──────────────────────────────────────────────────────────────────────────────────────────

    def _blocks(self, message: Message, index: int) -> list[JsonObject]:
        content = message.content
        if isinstance(content, str) and message.role != "tool":
            blocks: list[JsonObject] = [{"type": "text", "text": content}] if content.strip() else []
        elif message.role == "assistant" and not isinstance(content, str):
            blocks = self._answer(content, f"/input/{index}")
        else:
            results, others = told_apart(message, f"/input/{index}")
            blocks = [self._result(part, place) for part, place in results]
            for part, place in others:
                if isinstance(part, ProviderItem):  # such as a search result, or a file that the vendor has
                    blocks += self._omissions.own_item(part, place)
                else:
                    blocks += self._content(part, place)
        if not blocks:
            self._omissions.empty_message(index)
        return blocks

    def _content(self, part: Text | Image | File | Audio, pointer: str) -> list[JsonObject]:
        """One block, or none for a text that says nothing."""
        if isinstance(part, Text):
            if not part.text.strip():
                return []
            block: JsonObject = {"type": "text", "text": part.text}
        elif isinstance(part, Image):
            block = {"type": "image", "source": self._image(part, pointer)}
        elif isinstance(part, File):
            block = self._document(part, pointer)
        else:
            raise UnsupportedModality(f"{self._backend} takes no audio.", pointer=pointer)
        return [merged(block, own_options(part.provider_options, self._backend))]

    def _image(self, part: Image | File, pointer: str) -> JsonObject:
        url = self._media_rules.image_url(part, pointer) if isinstance(part, Image) else _url_of(part)
        if not url.startswith("data:"):
            return {"type": "url", "url": url}
        media_type, data = _data_in(url, pointer)
        if media_type not in _IMAGES:
            raise UnsupportedParameter(f"{self._backend} takes images as {', '.join(_IMAGES)}.", pointer=pointer)
        return {"type": "base64", "media_type": media_type, "data": data}

    def _document(self, part: File, pointer: str) -> JsonObject:
        url = self._media_rules.file_url(part, pointer)
        if not url.startswith("data:"):
            if part.media_type and part.media_type != "application/pdf":
                raise UnsupportedParameter(
                    f"{self._backend} takes only PDFs by URL; send other files as `data`.", pointer=pointer
                )
            return _titled({"type": "document", "source": {"type": "url", "url": url}}, part)
        media_type, data = _data_in(url, pointer)
        if media_type.startswith("image/"):
            return {"type": "image", "source": self._image(part, pointer)}
        if media_type == "application/pdf":
            source = {"type": "base64", "media_type": media_type, "data": data}
        elif media_type.startswith("text/") or media_type in _TEXTS:
            source = {"type": "text", "media_type": "text/plain", "data": _text_in(data, pointer)}
        else:
            raise UnsupportedParameter(
                f"{self._backend} takes files that are PDFs, text or images.", pointer=f"{pointer}/media_type"
            )
        return _titled({"type": "document", "source": source}, part)

    def _result(self, part: ToolResult, pointer: str) -> JsonObject:
        result: JsonObject = {"type": "tool_result", "tool_use_id": _call_id(part.tool_call_id)}
        if isinstance(part.content, str):
            if part.content:
                result["content"] = part.content
        else:
            blocks: list[JsonObject] = []
            for index, piece in enumerate(part.content):
                blocks += self._content(piece, f"{pointer}/content/{index}")
            if blocks:
                result["content"] = plain(blocks)
        if part.is_error:
            result["is_error"] = True
        return merged(result, own_options(part.provider_options, self._backend))

    # ── what an answer said ─────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, parts: Sequence[Part], pointer: str) -> list[JsonObject]:
        blocks: list[JsonObject] = []
        for index, part in enumerate(parts):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text):
                blocks += self._said(part)
            elif isinstance(part, Refusal):
                blocks += self._content(Text(part.text, provider_options=part.provider_options), place)
            elif isinstance(part, ToolCall):
                blocks.append(self._call(part, place))
            elif isinstance(part, Reasoning):
                blocks += self._omissions.own_reasoning(part, place)
            elif isinstance(part, ProviderItem):
                blocks += self._omissions.own_item(part, place)
            else:
                raise no_part_of_an_answer(part, self._backend, place)
        return blocks

    def _said(self, part: Text) -> list[JsonObject]:
        if not part.text.strip():
            return []
        block: JsonObject = {"type": "text", "text": part.text}
        citations = [
            {name: given.get(name) for name in _CITATIONS[given["type"]]}
            for given in part.annotations
            if isinstance(given.get("type"), str) and given["type"] in _CITATIONS
        ]
        if citations:
            block["citations"] = citations
        return [merged(block, own_options(part.provider_options, self._backend))]

    def _call(self, part: ToolCall, pointer: str) -> JsonObject:
        given = arguments_of(part, self._omissions, pointer)
        call = {"type": "tool_use", "id": _call_id(part.id), "name": part.name, "input": given}
        return merged(call, own_options(part.provider_options, self._backend))


def _takes_more(turn: JsonObject) -> bool:
    return bool(turn["role"] == "system" or turn["content"][0]["type"] == "tool_result")


def _mark(blocks: list[JsonObject], mark: object) -> None:
    """Puts a message's cache mark where the wire has it: on the last block that can bear one, which thinking cannot."""
    for block in reversed(blocks):
        if block["type"] not in ("thinking", "redacted_thinking"):
            block["cache_control"] = mark
            return


def _call_id(given: str) -> str:
    """The id of a tool call. Another vendor's may not fit, and the same id must become the same in each place."""
    return given if _CALL_ID.fullmatch(given) else f"toolu_{hashlib.sha256(given.encode()).hexdigest()[:24]}"


def _titled(block: JsonObject, part: File) -> JsonObject:
    return {**block, "title": part.name} if part.name is not UNSET else block


def _url_of(part: File) -> str:
    return part.url if part.url is not UNSET else f"data:{part.media_type};base64,{part.data or ''}"


def _data_in(url: str, pointer: str) -> tuple[str, str]:
    """The media type and the base64 of a data URL."""
    head, comma, data = url.removeprefix("data:").partition(",")
    media_type, *parameters = head.lower().split(";")
    if not comma or "base64" not in (parameter.strip() for parameter in parameters):
        raise InvalidRequest("A `data:` URL must hold base64.", pointer=pointer)
    return media_type, data


def _text_in(data: str, pointer: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidRequest("This file is not text in UTF-8, in base64.", pointer=pointer) from None
