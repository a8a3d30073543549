"""Messages on Mistral's wire: our messages and parts as its.

What surprises: Mistral is strict about who follows whom and what a call is named. A message of the user may not
follow the result of a tool, so the assistant is made to say a word between them; the id of a call has nine letters
and digits, so another vendor's becomes one, the same in each place; and a last word of the assistant's is the
beginning of its answer only where the message says so. Documents and audio go by URL, also where they are data. What
Mistral's own tools did within an answer goes back as messages between what the answer says.

Source: docs.mistral.ai/api/endpoint/chat and …/capabilities/reasoning, …/vision, …/audio, …/document_ai (2026-11);
the types of mistralai 3.7.0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

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
from pluggably.wire.codecs.mistral.options import MistralOptions
from pluggably.wire.media import MediaRules, file_name
from pluggably.wire.omissions import Omissions, is_typed_block
from pluggably.wire.parts import (
    UserPart,
    merged,
    nothing_said,
    own_options,
    plain,
    result_text,
    told_apart,
)

# "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9": its error 3280.
_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")
# "Unexpected role 'user' after role 'tool'": its error 3230. These are the words of Mistral's own command line there
# (github.com/mistralai/mistral-vibe, `_ensure_assistant_after_tools`).
_AFTER_TOOLS = "Understood."
# "Unexpected role 'system' after role 'assistant'": the same error. After the user it may stand, but not at the end:
# "expected last role User or Tool (or Assistant with prefix True)".
_BEFORE_NO_SYSTEM = ("assistant", "tool")


class Messages:
    """Turns messages into theirs. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: MistralOptions, omissions: Omissions) -> None:
        self._backend = backend
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)

    def build(self, messages: Sequence[Message]) -> tuple[list[JsonObject], list[int]]:
        """Theirs, and for each the index of the message that it came from. Raises: UnsupportedParameter,
        InvalidRequest."""
        prompt: list[tuple[JsonObject, int]] = []  # the system messages that stand before the conversation
        turns: list[tuple[JsonObject, int]] = []
        last_said = max((index for index, message in enumerate(messages) if message.role != "system"), default=-1)
        for index, message in enumerate(messages):
            for theirs in self._message(message, f"/input/{index}"):
                role, last = theirs["role"], turns[-1][0]["role"] if turns else "system"
                if role == "assistant" and not theirs["content"] and "tool_calls" not in theirs:
                    # "Assistant message must have either content or tool_calls": its error 3240.
                    self._omissions.empty_message(index)
                    continue
                if role == "user" and last == "tool":
                    self._omissions.change(
                        f"/input/{index}",
                        "takes no message of the user right after a tool's result; "
                        "a short one of the assistant was put between them",
                    )
                    turns.append(({"role": "assistant", "content": _AFTER_TOOLS}, index))
                theirs = merged(theirs, own_options(message.provider_options, self._backend))
                # In the midst of the conversation it may stay only where something follows.
                stays = turns and last not in _BEFORE_NO_SYSTEM and index < last_said
                if role == "system" and not stays:
                    if turns:
                        self._omissions.system_moved(index)
                    prompt.append((theirs, index))
                else:
                    turns.append((theirs, index))
        if turns and turns[-1][0]["role"] == "system":  # what came behind it was left out
            moved = [turn for turn in turns if turn[0]["role"] == "system"]
            for _, index in moved:
                self._omissions.system_moved(index)
            prompt += moved
            turns = [turn for turn in turns if turn[0]["role"] != "system"]
        if not turns:  # "Expected last role User or Tool …"
            raise nothing_said(self._backend)
        final = turns[-1][0]
        if final["role"] == "assistant" and "tool_calls" not in final:
            final.setdefault("prefix", True)
        built = [*prompt, *turns]
        return [theirs for theirs, _ in built], [index for _, index in built]

    def _message(self, message: Message, pointer: str) -> list[JsonObject]:
        content = message.content
        if isinstance(content, str):
            return [{"role": message.role, "content": content}]
        if message.role == "assistant":
            return self._assistant(content, pointer)
        results, others = told_apart(content, pointer)
        theirs = [self._result(part, place) for part, place in results]
        if others or not results:
            chunks = [self._chunk(part, place) for part, place in others]
            theirs.append({"role": message.role, "content": plain(chunks)})
        return theirs

    def _chunk(self, part: UserPart, pointer: str) -> JsonObject:
        own = own_options(part.provider_options, self._backend)
        if isinstance(part, Text):
            return merged({"type": "text", "text": part.text}, own)
        if isinstance(part, Image):
            return self._media_rules.image_part(part, own, pointer)
        if isinstance(part, File):
            document: JsonObject = {"type": "document_url", "document_url": self._media_rules.url(part, pointer)}
            if part.name is not UNSET:
                document["document_name"] = file_name(part)
            return merged(document, own)
        return merged({"type": "input_audio", "input_audio": self._audio(part, pointer)}, own)

    def _audio(self, part: Audio, pointer: str) -> str:
        """Base64 without a head, or the URL, which Mistral fetches."""
        self._media_rules.require("audio", pointer, "takes no audio")
        return part.url or part.data or ""

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

    def _assistant(self, parts: Sequence[Part], pointer: str) -> list[JsonObject]:
        """One message, or several where Mistral's own tools were at work in it."""
        messages: list[JsonObject] = []
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
            elif isinstance(part, ProviderItem) and self._is_of_hosted_tools(part):
                if part.data["role"] == "assistant":
                    calls += part.data["tool_calls"]
                    continue
                if chunks or calls:
                    messages.append(_answer(chunks, calls))
                    chunks, calls = [], []
                messages.append(dict(part.data))
            elif isinstance(part, ProviderItem):
                chunks += self._omissions.own_item(part, place)
        return [*messages, _answer(chunks, calls)] if chunks or calls or not messages else messages

    def _is_of_hosted_tools(self, part: ProviderItem) -> bool:
        """Whether an item is of what `reply.HostedTools` tells: calls, or the result of one."""
        data = part.data
        if part.provider != self._backend or not isinstance(data, dict):
            return False
        return data.get("role") == "tool" or (
            data.get("role") == "assistant" and isinstance(data.get("tool_calls"), list)
        )

    def _thoughts(self, part: Reasoning, pointer: str) -> list[JsonObject]:
        state = part.provider_state
        if state is None:
            return [{"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}] if part.text else []
        if state.provider == self._backend and is_typed_block(state.data) and state.data["type"] == "thinking":
            return [state.data]
        self._omissions.foreign_reasoning(state, pointer)
        return []


def _answer(chunks: list[JsonObject], calls: list[JsonObject]) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": plain(chunks) if chunks or not calls else None}
    if calls:
        message["tool_calls"] = calls
    return message


def call_id(given: str) -> str:
    """The id of a tool call as Mistral wants it; the same id becomes the same in each place."""
    return given if _CALL_ID.fullmatch(given) else hashlib.sha256(given.encode()).hexdigest()[:9]
