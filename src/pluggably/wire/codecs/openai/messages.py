"""Messages on OpenAI's wire: our parts as theirs.

What surprises: one of our messages may become several of theirs, since they have a message of its own for each tool
result. So `Messages.build` tells which of ours each one came from: a vendor's error names theirs, a client knows its
own. And what a wire has no place for is refused where it carries meaning, and dropped with a warning where it belongs
to somebody else.

Source: developers.openai.com/api/reference/resources/chat, "Create chat completion", `messages` (2026-11), and the
types of the openai package 3.54.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from pluggably.errors import UnsupportedParameter
from pluggably.wire.codec import short_id
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.media import MediaRules, file_name
from pluggably.wire.omissions import Omissions
from pluggably.wire.parts import (
    ResultMedia,
    UserPart,
    arguments_text,
    merged,
    own_options,
    plain,
    result_text,
    told_apart,
)

# "Currently supports "wav" and "mp3"": the input_audio part (openai 3.54.0, chat_completion_content_part_input_audio).
_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
# What the Responses wire leaves on a text or a tool call, to have it back (`openai_responses`). The conversation may go
# on with a model of the same provider that speaks this wire, which would refuse it.
_RESPONSES_ONLY = frozenset({"phase", "namespace", "caller", "async", "thought_signature"})


class Messages:
    """Turns messages into theirs. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: OpenAIOptions, omissions: Omissions) -> None:
        self._backend = backend
        self._options = options
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)
        self._result_media = ResultMedia(omissions)

    def build(self, messages: Sequence[Message]) -> tuple[list[JsonObject], list[int]]:
        built: list[JsonObject] = []
        origins: list[int] = []
        for index, message in enumerate(messages):
            for theirs in self._message(message, f"/input/{index}"):
                if self._result_media.waiting and theirs["role"] != "tool":
                    self._result_media.put(built, origins)
                own = own_options(message.provider_options, self._backend)
                built.append(merged(theirs, own) if own else theirs)
                origins.append(index)
        self._result_media.put(built, origins)
        return self._in_turns(built, origins) if self._options.taking_turns else (built, origins)

    def _message(self, message: Message, pointer: str) -> list[JsonObject]:
        role: str = self._options.system_role if message.role == "system" else message.role
        content = message.content
        if isinstance(content, str):
            return [{"role": role, "content": content}]
        if message.role == "assistant":
            return [self._assistant(content, pointer)]
        results, others = told_apart(content, pointer)
        theirs = [self._tool_result(part, place) for part, place in results]
        if others or not results:
            theirs.append({"role": role, "content": plain([self._part(part, place) for part, place in others])})
        return theirs

    def _part(self, part: UserPart, pointer: str) -> JsonObject:
        own = own_options(part.provider_options, self._backend)
        if isinstance(part, Text):
            return merged({"type": "text", "text": part.text}, own)
        if isinstance(part, Image):
            return self._media_rules.image_part(part, own, pointer)
        if isinstance(part, File):
            return merged({"type": "file", "file": self._file(part, pointer)}, own)
        return merged({"type": "input_audio", "input_audio": self._audio(part, pointer)}, own)

    def _file(self, part: File, pointer: str) -> JsonObject:
        url = self._media_rules.url(part, pointer)
        return {"filename": file_name(part), "file_data": url}

    def _audio(self, part: Audio, pointer: str) -> JsonObject:
        self._media_rules.require("audio", pointer, "takes no audio")
        if part.data is UNSET:
            raise UnsupportedParameter(
                f"{self._backend} takes audio only as `data`, not by URL: fetch it and send its bytes.",
                pointer=pointer,
            )
        format_ = _AUDIO_FORMATS.get(part.media_type or "")
        if format_ is None:
            raise UnsupportedParameter(
                f"{self._backend} takes audio as audio/wav or audio/mpeg.", pointer=f"{pointer}/media_type"
            )
        return {"data": part.data, "format": format_}

    def _tool_result(self, part: ToolResult, pointer: str) -> JsonObject:
        call = short_id(part.tool_call_id, self._options.call_id_limit)
        text = "\n".join(self._result_media.texts(part, call, pointer, self._part))
        theirs: JsonObject = {"role": "tool", "tool_call_id": call, "content": result_text(part, text)}
        return merged(theirs, own_options(part.provider_options, self._backend))

    def _assistant(self, parts: Sequence[Part], pointer: str) -> JsonObject:
        content: list[JsonObject] = []
        calls: list[JsonObject] = []
        thoughts: list[str] = []
        states: list[Any] = []
        extras: JsonObject = {}
        for index, part in enumerate(parts):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text):
                content.append(merged({"type": "text", "text": part.text}, self._own_of_answer(part)))
            elif isinstance(part, ToolCall):
                calls.append(self._call(part, place))
            elif isinstance(part, Refusal):
                kind = "refusal" if self._options.refusal_parts else "text"
                content.append({"type": kind, kind: part.text})
            elif isinstance(part, Reasoning):
                self._take_reasoning(part, place, thoughts, states)
            elif isinstance(part, ProviderItem):
                # An item of the Responses wire has a type; what this wire keeps has none.
                if part.provider == self._backend and isinstance(part.data, dict) and "type" not in part.data:
                    extras.update(_handed_back(part.data))
                else:
                    self._omissions.foreign_item(part, place)
        message: JsonObject = {"role": "assistant", "content": plain(content) if content else None}
        if not content and not calls:
            message["content"] = ""  # null is allowed only beside tool calls
        reasoning = "".join(thoughts) or (self._options.reasoning_filler if calls else None)
        if self._options.reasoning_back and reasoning is not None:
            message[self._options.reasoning_back] = reasoning
        if states:
            message["reasoning_details"] = states
        needed = self._options.foreign_calls
        if needed and calls and not any(call.keys() & needed for call in calls):
            merged(calls[0], needed)
        calls += extras.pop("tool_calls", ())
        if calls:
            message["tool_calls"] = calls
        return merged(message, extras)

    def _call(self, part: ToolCall, pointer: str) -> JsonObject:
        if self._options.any_arguments and part.arguments:
            arguments = part.arguments
        else:
            arguments = arguments_text(part, self._omissions, pointer)
        function = {"name": part.name, "arguments": arguments}
        id_ = short_id(part.id, self._options.call_id_limit)
        theirs: JsonObject = {"id": id_, "type": "function", "function": function}
        return merged(theirs, self._own_of_answer(part))

    def _own_of_answer(self, part: Text | ToolCall) -> Mapping[str, Any]:
        own = own_options(part.provider_options, self._backend)
        return {key: value for key, value in own.items() if key not in _RESPONSES_ONLY} if own else own

    def _take_reasoning(self, part: Reasoning, pointer: str, thoughts: list[str], states: list[Any]) -> None:
        state = part.provider_state
        if state is not None:
            if state.provider != self._backend or not isinstance(state.data, list):
                self._omissions.foreign_reasoning(state, pointer)
                return
            states.extend(state.data)
        if self._options.reasoning_back is None:
            if state is None:
                self._omissions.note("part_dropped", pointer, "takes no reasoning back")
        elif part.text:
            thoughts.append(part.text)

    def _in_turns(self, messages: list[JsonObject], origins: list[int]) -> tuple[list[JsonObject], list[int]]:
        """Puts system messages first and joins messages of one role that follow each other; the results of tools stay
        each its own."""
        turns: list[JsonObject] = []
        kept: list[int] = []
        prompts = 0
        for message, origin in zip(messages, origins, strict=True):
            role = message["role"]
            if role == self._options.system_role:
                if len(turns) > prompts:
                    self._omissions.system_moved(origin)
                turns.insert(prompts, message)
                kept.insert(prompts, origin)
                prompts += 1
            elif role in ("user", "assistant") and turns and turns[-1]["role"] == role:
                _join(turns[-1], message)
            else:
                turns.append(dict(message))
                kept.append(origin)
        return turns, kept


def _handed_back(data: JsonObject) -> JsonObject:
    """A provider's own item as fields of an assistant message. Of spoken audio the wire wants nothing but its id."""
    audio = data.get("audio")
    return {**data, "audio": {"id": audio["id"]}} if isinstance(audio, dict) and "id" in audio else data


def _join(last: JsonObject, message: JsonObject) -> None:
    """Puts a message of the same role into the one before it."""
    last["content"] = _joined(last.get("content"), message.get("content"))
    for key, value in message.items():
        if key == "tool_calls":
            last[key] = [*last.get(key, ()), *value]
        elif key not in ("role", "content"):
            last[key] = value


def _joined(first: Any, second: Any) -> Any:
    """The contents of two messages as that of one."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}" if first and second else first or second
    parts = [
        *(first if isinstance(first, list) else [{"type": "text", "text": first}] if first else ()),
        *(second if isinstance(second, list) else [{"type": "text", "text": second}] if second else ()),
    ]
    return parts or None
