"""Our messages taken apart, as every wire does it: what a tool's call and result come to, and how what a client says to
one provider alone joins it.

What surprises: on many wires the results of tools are text alone, so that what a tool shows is said by the user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import UnsetType

from pluggably.domain.generation import (
    MEDIA,
    Audio,
    File,
    Image,
    JsonObject,
    Media,
    Message,
    Part,
    ProviderOptions,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from pluggably.errors import InvalidRequest, UnsupportedParameter
from pluggably.wire.omissions import Omissions

_TEXT_TYPES = ("text", "input_text")
# Where a call's arguments go that are no JSON object: platform.claude.com/docs/en/agents-and-tools/tool-use/
# fine-grained-tool-streaming, "Handling invalid JSON" (2026-11).
INVALID_JSON = "INVALID_JSON"
# How deep the arguments of a call may be nested that goes back to a vendor; models write a handful of levels.
MOST_NESTED = 128
# Where the wires have the content of a message or a part: what it is and who says it, and its words or bytes.
_CONTENT = {
    *("type", "role", "content", "parts", "text", "refusal", "data", "bytes", "url", "uri", "source", "document"),
    *("file", "file_id", "file_url", "file_data", "fileUri", "fileData", "inlineData"),
    *("image", "images", "image_url", "audio", "input_audio", "video", "video_url"),
}
# What a client says beside the results of tools.
UserPart: TypeAlias = Text | Media


def told_apart(parts: Sequence[Part], pointer: str) -> tuple[list[tuple[ToolResult, str]], list[tuple[UserPart, str]]]:
    """The results of tools in a message of the system, the user or a tool, and everything else in it, each with the
    pointer to its place."""
    results: list[tuple[ToolResult, str]] = []
    others: list[tuple[UserPart, str]] = []
    for index, part in enumerate(parts):
        place = f"{pointer}/content/{index}"
        if isinstance(part, ToolResult):
            results.append((part, place))
        elif isinstance(part, (Text, Image, File, Audio)):
            others.append((part, place))
    return results, others


def nothing_said(backend: str) -> UnsupportedParameter:
    """The error for a conversation in which, once what is empty or another's is left out, only the system speaks."""
    return UnsupportedParameter(
        f"{backend} needs a message with something in it, besides those of the system.", pointer="/input"
    )


def called_tools(messages: Sequence[Message]) -> list[Tool]:
    """The tools that a conversation calls, for a wire that takes calls only together with tools, where the request has
    none. What they take is not known here."""
    names = dict.fromkeys(
        part.name
        for message in messages
        if message.role == "assistant" and not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ToolCall)
    )
    return [Tool(name=name, input_schema={"type": "object", "properties": {}}) for name in names]


class ResultMedia:
    """What results of tools hold beside text, for a wire that takes nothing else there: in its place the result says
    what follows, and when all results of a turn are told, a message of the user brings it."""

    def __init__(self, omissions: Omissions) -> None:
        self._omissions = omissions
        self.waiting: list[JsonObject] = []

    def texts(
        self,
        part: ToolResult,
        call: str,
        pointer: str,
        told: Callable[[Text | Media, str], JsonObject],
        stays: Callable[[Media], bool] = lambda _: False,
    ) -> list[str]:
        """The texts of a result; everything else of it waits, but for what `stays` in it. `call` is how the wire names
        its call; `told` makes a part of a user's message, and raises for what the wire does not take from the user
        either.

        Raises: UnsupportedParameter, InvalidRequest."""
        if isinstance(part.content, str):
            return [part.content]
        texts: list[str] = []
        counts = dict.fromkeys(MEDIA, 0)
        for index, piece in enumerate(part.content):
            if isinstance(piece, Text):
                texts.append(piece.text)
                continue
            if stays(piece):
                continue
            place = f"{pointer}/content/{index}"
            block = told(piece, place)
            self._omissions.result_moved(place)
            kind = type(piece)
            counts[kind] += 1
            name = f"{kind.__name__} {counts[kind]} of the result of {call}"
            texts.append(f"({name} follows.)")
            self.waiting += (told(Text(f"({name}:)"), place), block)
        return texts

    def put(self, built: list[JsonObject], origins: list[int]) -> None:
        """Puts what waits behind the last result, on a wire with messages of roles; of parallel calls all results must
        stand together, so not before."""
        if self.waiting:
            built.append({"role": "user", "content": self.waiting})
            origins.append(origins[-1])
            self.waiting = []


def arguments_of(part: ToolCall, omissions: Omissions, pointer: str) -> JsonObject:
    """A call's arguments, for a wire that has them as an object and not as the text that a model wrote."""
    value = as_object(part.arguments)
    if INVALID_JSON in value and len(value) == 1:
        omissions.wrapped_arguments(pointer, INVALID_JSON)
    return value


def arguments_text(part: ToolCall, omissions: Omissions, pointer: str) -> str:
    """The same, for a wire that has them as text, of which the servers read it all the same."""
    value = arguments_of(part, omissions, pointer)
    if value and value != {INVALID_JSON: part.arguments}:
        return part.arguments  # word for word, as the model has it in its cache
    return msgspec.json.encode(value).decode()


def as_object(text: str) -> JsonObject:
    """What a model wrote as the arguments of a call, which must be an object. What is none is wrapped, so that the
    conversation, in which it was told of its mistake, can go on at any vendor."""
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {INVALID_JSON: text}
    return value if isinstance(value, dict) and not _is_nested_too_deeply(value, text) else {INVALID_JSON: text}


def _is_nested_too_deeply(value: Any, text: str) -> bool:
    """What could be read might still be too deep to be written again, inside a message."""
    if text.count("{") + text.count("[") <= MOST_NESTED:
        return False
    level = [value]
    for _ in range(MOST_NESTED):
        nested = [each for each in level if isinstance(each, dict | list)]
        level = [inner for each in nested for inner in (each.values() if isinstance(each, dict) else each)]
    return bool(level)


def result_text(part: ToolResult, text: str) -> str:
    """A tool's result as text. The wires have no flag for a failure; models are used to results that begin so."""
    return f"Error: {text}" if part.is_error and not text.lower().startswith("error") else text


def plain(blocks: list[JsonObject]) -> str | list[JsonObject]:
    """A single text as a string: the form that every server and every chat template knows."""
    if len(blocks) == 1 and len(blocks[0]) == 2 and blocks[0].get("type") in _TEXT_TYPES and "text" in blocks[0]:
        text: str = blocks[0]["text"]
        return text
    return blocks or ""


def own_options(options: ProviderOptions | UnsetType, backend: str) -> Mapping[str, Any]:
    """What a message, a part or a tool says to this backend alone."""
    return options.get(backend, {}) if options else {}


def pointer_step(name: str) -> str:
    """A name as a step of a JSON pointer (RFC 6901): a local model's may have a slash."""
    return name.replace("~", "~0").replace("/", "~1")


def own_pointer(backend: str, field: str) -> str:
    """Where a request has what it says to one backend alone."""
    return f"/provider_options/{pointer_step(backend)}/{pointer_step(field)}"


def merged(value: JsonObject, own: Mapping[str, Any]) -> JsonObject:
    """`value` with the options of a message, a part or a tool in it, objects merged key by key. Options stand beside
    the content, or within its object (an image's `detail`); what it is they never replace: it has been checked.

    Raises: InvalidRequest for options that would."""
    for key, wanted in own.items():
        given = value.get(key)
        if isinstance(given, dict) and isinstance(wanted, dict):
            join = merged if key in _CONTENT else _joined
            value[key] = join(dict(given), wanted)
        elif given is not None and key in _CONTENT and given != wanted:
            raise InvalidRequest(
                f"`{key}` holds what a message or a part says, which provider_options cannot replace; give it as "
                "the content itself."
            )
        else:
            value[key] = wanted
    return value


def _joined(value: JsonObject, own: Mapping[str, Any]) -> JsonObject:
    for key, wanted in own.items():
        given = value.get(key)
        value[key] = _joined(dict(given), wanted) if isinstance(given, dict) and isinstance(wanted, dict) else wanted
    return value


def refuse_own(own: JsonObject, keys: Sequence[str], backend: str) -> None:
    """Raises: InvalidRequest for options that the gateway itself must decide."""
    for key in keys if own else ():
        if key in own:
            raise InvalidRequest(
                f"`{key}` cannot be set through provider_options; use the request's own fields.",
                pointer=own_pointer(backend, key),
            )
