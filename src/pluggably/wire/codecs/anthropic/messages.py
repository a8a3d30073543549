"""Messages on Anthropic's wire: our messages and parts as theirs.

What surprises: there are only two roles, and the system prompt stands outside of the conversation. The result of a tool
is the user's word, and must come first in it. Text that is empty or only space is refused there and says nothing, so it
is left out. What an answer brought (thinking with its signature, blocks of the vendor's own tools) goes back as it came
and in its order; newer models refuse thinking unless all that came before it is as it was, so what the system says
later is not put before the conversation if there is any other place for it.

Source: platform.claude.com/docs/en/api/messages/create, `messages`; …/build-with-claude/vision, …/pdf-support,
…/thinking, …/preserved-thinking, …/mid-conversation-system-messages, …/agents-and-tools/tool-use/handle-tool-calls and
…/agents-and-tools/tool-use/programmatic-tool-calling (2026-11); the types of the anthropic package 2.12.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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
from pluggably.wire.media import MediaRules, plain_type
from pluggably.wire.omissions import OPENING, Omissions
from pluggably.wire.parts import (
    UserPart,
    arguments_of,
    merged,
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
_THINKING = frozenset(("thinking", "redacted_thinking"))
# The sandbox of an answer, as an item of it: no block of theirs.
CONTAINER = "container"
# "The API rejects an is_error result with empty content": lib/tools/_toolsets/_runnable.py of anthropic 2.12.0.
_NO_MESSAGE = "The tool failed without a message."
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
    came from; `container` is the id of the sandbox that the last answer ran code in."""

    prompt: str | list[JsonObject]
    messages: list[JsonObject]
    origins: list[int]
    container: str | None = None

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


class _Order(Struct):
    """Where the messages go: into the prompt, or among the turns. Of those of the system, `early` were moved into the
    prompt, and `late` behind what the user says next."""

    prompt: list[_Said] = []
    turns: list[_Said] = []
    early: list[_Said] = []
    late: list[_Said] = []

    def take(self, waiting: list[_Said]) -> list[_Said]:
        """Puts what the system says at the end of the turns, if it may stand there; what may not waits on."""
        if not waiting or not _may_precede_the_system(self.turns[-1]):
            return waiting
        self.late += [one for one in waiting if one.index < self.turns[-1].index]
        self.turns += waiting
        return []


class Messages:
    """Turns messages into theirs. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: AnthropicOptions, profile: Profile, omissions: Omissions) -> None:
        self._backend = backend
        self._profile = profile
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)
        # Of the calls of a toolset's members, by their ids: the name of the toolset.
        self._toolsets: dict[str, Any] = {}
        self._container: str | None = None

    def build(self, messages: Sequence[Message], *, has_other_tools: bool = False) -> Conversation:
        """`has_other_tools`: those that are declared are not the ones with which the answers were made.

        Raises: InvalidRequest, UnsupportedParameter."""
        said = [
            _Said(index, "user" if message.role == "tool" else message.role, blocks, message)
            for index, message in enumerate(messages)
            if (blocks := self._blocks(message, index))
        ]
        order = self._order(said)
        if self._profile.preserved_thinking and (has_other_tools or order.early):
            changed = len(messages) if has_other_tools else order.early[-1].index
            order = self._order(self._without_thinking(said, changed))
        self._tell_of(order)
        prompt: list[JsonObject] = []
        turns: list[JsonObject] = []
        options: list[tuple[JsonObject, Mapping[str, Any]]] = []
        origins: list[int] = []
        last: JsonObject | None = None
        for one in order.prompt:
            _own_of(one, self._backend)
            prompt += one.blocks
        for one in order.turns:
            own = _own_of(one, self._backend)
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
        return Conversation(plain(prompt), turns, origins, self._container)

    def _order(self, said: Sequence[_Said]) -> _Order:
        """In the midst of a conversation the system must follow the user, or the result of a tool of the vendor's, and
        nothing but the assistant may follow. So what it says elsewhere waits until the user has spoken; where it may
        not stand among the turns at all, it is put before them."""
        order = _Order()
        waiting: list[_Said] = []
        for one in said:
            if one.role != "system":
                if one.role == "assistant":
                    waiting = order.take(waiting)
                order.turns.append(one)
            elif not order.turns:
                order.prompt.append(one)
            elif self._profile.system_messages:
                waiting.append(one)
            else:
                order.early.append(one)
        order.early += order.take(waiting)
        order.prompt += order.early
        return order

    def _tell_of(self, order: _Order) -> None:
        for one in order.early:
            self._omissions.system_moved(one.index)
        for one in order.late:
            self._omissions.change(
                f"/input/{one.index}",
                "takes no system message at this place; it was put behind what the user says next",
            )

    def _without_thinking(self, said: Sequence[_Said], changed: int) -> list[_Said]:
        """For a model that takes thinking back only behind the very prompt and tools that it was made with, where these
        changed with the message `changed`. What was thought before it goes, and what was thought later was made without
        that: "remove thinking blocks from the front of the history, oldest first" (…/preserved-thinking)."""
        kept: list[_Said] = []
        for one in said:
            is_left = one.index > changed
            blocks = [block for block in one.blocks if is_left or block["type"] not in _THINKING]
            if len(blocks) < len(one.blocks):
                self._omissions.note(
                    "provider_state_dropped",
                    f"/input/{one.index}",
                    "takes reasoning back only with the prompt and the tools that it was made with, "
                    "and this request has others",
                )
            if blocks:
                kept.append(_Said(one.index, one.role, blocks, one.message))
        return kept

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
        if isinstance(content, str):
            blocks: list[JsonObject] = [{"type": "text", "text": content}] if content.strip() else []
        elif message.role == "assistant":
            blocks = self._answer(content, f"/input/{index}")
        else:
            results, others = told_apart(content, f"/input/{index}")
            blocks = [self._result(part, place) for part, place in results]
            for part, place in others:
                blocks += self._content(part, place)
        if not blocks:
            self._omissions.empty_message(index)
        return blocks

    def _content(self, part: UserPart, pointer: str) -> list[JsonObject]:
        """One block, or none for a text that says nothing."""
        if isinstance(part, Text):
            if not part.text.strip():
                return []
            block: JsonObject = {"type": "text", "text": part.text}
        elif isinstance(part, Audio):
            raise UnsupportedModality(f"{self._backend} takes no audio.", pointer=pointer)
        else:
            self._media_rules.check(part, pointer)
            block = self._image(part, pointer) if isinstance(part, Image) else self._document(part, pointer)
        return [merged(block, own_options(part.provider_options, self._backend))]

    def _image(self, part: Image | File, pointer: str) -> JsonObject:
        if part.url is not UNSET:
            return {"type": "image", "source": {"type": "url", "url": part.url}}
        media_type = plain_type(part)
        if media_type not in _IMAGES:
            raise UnsupportedParameter(f"{self._backend} takes images as {', '.join(_IMAGES)}.", pointer=pointer)
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": part.data}}

    def _document(self, part: File, pointer: str) -> JsonObject:
        if part.url is not UNSET:
            if part.media_type and part.media_type != "application/pdf":
                raise UnsupportedParameter(
                    f"{self._backend} takes only PDFs by URL; send other files as `data`.", pointer=pointer
                )
            return _titled({"type": "document", "source": {"type": "url", "url": part.url}}, part)
        media_type = plain_type(part)
        if media_type.startswith("image/"):
            return self._image(part, pointer)
        if media_type == "application/pdf":
            source = {"type": "base64", "media_type": media_type, "data": part.data}
        elif media_type.startswith("text/") or media_type in _TEXTS:
            source = {"type": "text", "media_type": "text/plain", "data": _text_in(part.data or "", pointer)}
        else:
            raise UnsupportedParameter(
                f"{self._backend} takes files that are PDFs, text or images.", pointer=f"{pointer}/media_type"
            )
        return _titled({"type": "document", "source": source}, part)

    def _result(self, part: ToolResult, pointer: str) -> JsonObject:
        result: JsonObject = {"type": "tool_result", "tool_use_id": _call_id(part.tool_call_id)}
        if part.tool_call_id in self._toolsets:  # "required on a member result": lib/tools/_toolsets/_runnable.py
            result["toolset_name"] = self._toolsets[part.tool_call_id]
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
            result.setdefault("content", _NO_MESSAGE)
        return merged(result, own_options(part.provider_options, self._backend))

    # ── what an answer said ─────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, parts: Sequence[Part], pointer: str) -> list[JsonObject]:
        blocks: list[JsonObject] = []
        for index, part in enumerate(parts):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text):
                blocks += self._said(part)
            elif isinstance(part, Refusal):
                # On this wire it explains why classifiers stopped the model, and is none of the model's own words.
                self._omissions.note("part_dropped", place, "takes no refusals back")
            elif isinstance(part, ToolCall):
                blocks.append(self._call(part, place))
            elif isinstance(part, Reasoning):
                blocks += self._omissions.own_reasoning(part, place)
            elif isinstance(part, ProviderItem):
                blocks += self._own_item(part, place)
        return blocks

    def _own_item(self, part: ProviderItem, pointer: str) -> list[JsonObject]:
        """A block of theirs, or none for a container, which has a field of its own in a request."""
        blocks = self._omissions.own_item(part, pointer)
        if blocks and blocks[0]["type"] == CONTAINER:
            self._container = _live_container(blocks[0])
            return []
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
        own = own_options(part.provider_options, self._backend)
        if "toolset_name" in own:
            self._toolsets[part.id] = own["toolset_name"]
        return merged(call, own)


def _may_precede_the_system(turn: _Said) -> bool:
    """A turn of the user, or "ending in a server tool result": …/mid-conversation-system-messages, "Limitations"."""
    return turn.role == "user" or turn.blocks[-1]["type"].endswith("_tool_result")


def _own_of(one: _Said, backend: str) -> Mapping[str, Any]:
    """What a message says to this backend alone; its cache mark goes where the wire has it."""
    own = own_options(one.message.provider_options, backend)
    if "cache_control" not in own:
        return own
    _mark(one.blocks, own["cache_control"])
    return {name: value for name, value in own.items() if name != "cache_control"}


def _live_container(block: JsonObject) -> str | None:
    """The id of a container that has not run out: code that is to run in an old one fails, and without its id a new one
    is made (…/agents-and-tools/tool-use/code-execution-tool, "Errors": `container_expired`)."""
    given, ends = block.get("id"), block.get("expires_at")
    if not isinstance(given, str):
        return None
    try:
        until = datetime.fromisoformat(ends) if isinstance(ends, str) else None
    except ValueError:
        until = None
    return given if until is None or until.replace(tzinfo=until.tzinfo or UTC) > datetime.now(UTC) else None


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


def _text_in(data: str, pointer: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidRequest("This file is not text in UTF-8, in base64.", pointer=pointer) from None
