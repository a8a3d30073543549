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

from msgspec import UNSET, UnsetType

from pluggably.domain.generation import (
    Audio,
    File,
    Image,
    JsonObject,
    Message,
    Part,
    ProviderItem,
    ProviderOptions,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from pluggably.errors import InvalidRequest, UnsupportedParameter
from pluggably.wire.codec import Omissions
from pluggably.wire.codecs.openai_media import MediaRules, file_name, result_text
from pluggably.wire.codecs.openai_options import OpenAIOptions

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
_RESPONSES_ONLY = frozenset({"phase", "namespace", "caller", "async"})


class Messages:
    """Turns messages into theirs. One object a request; it only holds what every step needs to know."""

    def __init__(self, backend: str, options: OpenAIOptions, omissions: Omissions) -> None:
        self._backend = backend
        self._options = options
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)

    def build(self, messages: Sequence[Message]) -> tuple[list[JsonObject], list[int]]:
        built: list[JsonObject] = []
        origins: list[int] = []
        for index, message in enumerate(messages):
            for theirs in self._message(message, f"/input/{index}"):
                own = own_options(message.provider_options, self._backend)
                built.append(merged(theirs, own) if own else theirs)
                origins.append(index)
        return _in_turns(built, origins) if self._options.taking_turns else (built, origins)

    def _message(self, message: Message, pointer: str) -> list[JsonObject]:
        role: str = self._options.system_role if message.role == "system" else message.role
        content = message.content
        if message.role == "assistant" and not isinstance(content, str):
            return [self._assistant(content, pointer)]
        if isinstance(content, str):
            if role == "tool":
                raise InvalidRequest(
                    "A message of the role `tool` holds `tool_result` parts, which name the call they answer.",
                    pointer=f"{pointer}/content",
                )
            return [{"role": role, "content": content}]
        # Tool results first: the answers to calls must follow the message that made the calls.
        theirs = [
            self._tool_result(part, f"{pointer}/content/{index}")
            for index, part in enumerate(content)
            if isinstance(part, ToolResult)
        ]
        if len(theirs) < len(content) or not content:
            theirs.append({"role": role, "content": self._content(content, message.role, pointer)})
        return theirs

    def _content(self, parts: Sequence[Part], role: str, pointer: str) -> str | list[JsonObject]:
        """The parts of a system or user message that are no tool results."""
        if role == "tool":
            raise InvalidRequest(
                "A message of the role `tool` holds only `tool_result` parts.", pointer=f"{pointer}/content"
            )
        content: list[JsonObject] = []
        for index, part in enumerate(parts):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text):
                content.append(self._text(part))
            elif isinstance(part, Image | File | Audio):
                if role == "system":
                    raise UnsupportedParameter("A system message holds only text on this wire.", pointer=place)
                content.append(self._media(part, place))
            elif isinstance(part, ProviderItem):
                self._drop_item(part, place)
            elif not isinstance(part, ToolResult):
                raise InvalidRequest("This part belongs in a message of the role `assistant`.", pointer=place)
        return _plain(content)

    def _text(self, part: Text) -> JsonObject:
        return merged({"type": "text", "text": part.text}, own_options(part.provider_options, self._backend))

    def _media(self, part: Image | File | Audio, pointer: str) -> JsonObject:
        own = dict(own_options(part.provider_options, self._backend))
        if isinstance(part, Image):
            image: JsonObject = {"url": self._media_rules.image_url(part, pointer)}
            if "detail" in own:  # the one option that clients know stands inside (openai 3.54.0, ImageURL)
                image["detail"] = own.pop("detail")
            return merged({"type": "image_url", "image_url": image}, own)
        if isinstance(part, File):
            return merged({"type": "file", "file": self._file(part, pointer)}, own)
        return merged({"type": "input_audio", "input_audio": self._audio(part, pointer)}, own)

    def _file(self, part: File, pointer: str) -> JsonObject:
        url = self._media_rules.file_url(part, pointer)
        return {"filename": file_name(part), "file_data": url}

    def _audio(self, part: Audio, pointer: str) -> JsonObject:
        self._media_rules.require("audio", pointer, "takes no audio")
        media_type, data = part.media_type or "", part.data
        if part.url is not UNSET and part.url.startswith("data:"):
            head, _, data = part.url.removeprefix("data:").partition(",")
            media_type = head.partition(";")[0]
        if data is UNSET:
            raise UnsupportedParameter(
                f"{self._backend} takes audio only as `data`, not by URL: fetch it and send its bytes.",
                pointer=pointer,
            )
        format_ = _AUDIO_FORMATS.get(media_type)
        if format_ is None:
            raise UnsupportedParameter(
                f"{self._backend} takes audio as audio/wav or audio/mpeg.", pointer=f"{pointer}/media_type"
            )
        return {"data": data, "format": format_}

    def _tool_result(self, part: ToolResult, pointer: str) -> JsonObject:
        if isinstance(part.content, str):
            text = part.content
        else:
            for index, piece in enumerate(part.content):
                if not isinstance(piece, Text):
                    # Moving it into a user message would put words into the user's mouth.
                    raise UnsupportedParameter(
                        f"{self._backend} takes only text as a tool's result; "
                        "send the rest in a message of the role `user`.",
                        pointer=f"{pointer}/content/{index}",
                    )
            text = "\n".join(piece.text for piece in part.content if isinstance(piece, Text))
        theirs: JsonObject = {
            "role": "tool",
            "tool_call_id": part.tool_call_id,
            "content": result_text(part, text),
        }
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
                calls.append(self._call(part))
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
                    self._drop_item(part, place)
            else:
                raise UnsupportedParameter(
                    "An assistant message holds only text and tool calls on this wire.", pointer=place
                )
        message: JsonObject = {"role": "assistant", "content": _plain(content) if content else None}
        if not content and not calls:
            message["content"] = ""  # null is allowed only beside tool calls
        if self._options.reasoning_back and (thoughts or (calls and self._options.reasoning_beside_calls)):
            message[self._options.reasoning_back] = "".join(thoughts)
        if states:
            message["reasoning_details"] = states
        if calls:
            message["tool_calls"] = calls
        return merged(message, extras)

    def _call(self, part: ToolCall) -> JsonObject:
        # Empty arguments are no JSON, and servers parse them.
        function = {"name": part.name, "arguments": part.arguments or "{}"}
        theirs: JsonObject = {"id": part.id, "type": "function", "function": function}
        return merged(theirs, self._own_of_answer(part))

    def _own_of_answer(self, part: Text | ToolCall) -> Mapping[str, Any]:
        own = own_options(part.provider_options, self._backend)
        return {key: value for key, value in own.items() if key not in _RESPONSES_ONLY} if own else own

    def _take_reasoning(self, part: Reasoning, pointer: str, thoughts: list[str], states: list[Any]) -> None:
        state = part.provider_state
        if state is not None and state.provider != self._backend:
            self._omissions.note(
                "provider_state_dropped",
                pointer,
                f"this reasoning belongs to {state.provider}; {self._backend} cannot use it",
            )
            return
        if state is not None and not isinstance(state.data, list):
            self._omissions.note(
                "provider_state_dropped",
                pointer,
                f"this reasoning is of another wire of {self._backend}; this model cannot use it",
            )
            return
        if state is not None:
            states.extend(state.data)
        if self._options.reasoning_back is None:
            if state is None:
                self._omissions.note("part_dropped", pointer, f"{self._backend} takes no reasoning back")
        elif part.text:
            thoughts.append(part.text)

    def _drop_item(self, part: ProviderItem, pointer: str) -> None:
        detail = f"this item belongs to {part.provider}; {self._backend} cannot use it"
        if part.provider == self._backend:
            detail = f"this item is of another wire of {self._backend}; this model cannot use it"
        self._omissions.note("part_dropped", pointer, detail)


def _handed_back(data: JsonObject) -> JsonObject:
    """A provider's own item as fields of an assistant message. Of spoken audio the wire wants nothing but its id."""
    audio = data.get("audio")
    return {**data, "audio": {"id": audio["id"]}} if isinstance(audio, dict) and "id" in audio else data


def _in_turns(messages: list[JsonObject], origins: list[int]) -> tuple[list[JsonObject], list[int]]:
    """Joins messages of one role that follow each other; the results of tools stay each its own."""
    turns: list[JsonObject] = []
    kept: list[int] = []
    for message, origin in zip(messages, origins, strict=True):
        last = turns[-1] if turns else {}
        if message["role"] not in ("user", "assistant") or last.get("role") != message["role"]:
            turns.append(dict(message))
            kept.append(origin)
            continue
        last["content"] = _joined(last.get("content"), message.get("content"))
        for key, value in message.items():
            if key == "tool_calls":
                last[key] = [*last.get(key, ()), *value]
            elif key not in ("role", "content"):
                last[key] = value
    return turns, kept


def _joined(first: Any, second: Any) -> Any:
    """The contents of two messages as that of one."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}" if first and second else first or second
    parts = [
        *(first if isinstance(first, list) else [{"type": "text", "text": first}] if first else ()),
        *(second if isinstance(second, list) else [{"type": "text", "text": second}] if second else ()),
    ]
    return parts or None


def _plain(content: list[JsonObject]) -> str | list[JsonObject]:
    """A single text as a string: the form that every server and every chat template knows."""
    if len(content) == 1 and content[0].keys() == {"type", "text"} and content[0]["type"] == "text":
        text: str = content[0]["text"]
        return text
    return content


def own_options(options: ProviderOptions | UnsetType, backend: str) -> Mapping[str, Any]:
    """What a message, a part or a tool says to this backend alone."""
    return options.get(backend, {}) if options else {}


def merged(value: JsonObject, own: Mapping[str, Any]) -> JsonObject:
    """`value` with the options of a message, a part or a tool in it, objects merged key by key."""
    for key, wanted in own.items():
        given = value.get(key)
        value[key] = merged(dict(given), wanted) if isinstance(given, dict) and isinstance(wanted, dict) else wanted
    return value
