"""Requests to another Pluggably: the body of `POST /v1/generations`, from our own request.

What surprises: not everything passes. `routing` names our backends and `metadata` is for our log, so they stay here;
the provider options of others pass, since the other gateway may have providers of these names, and those under our name
for the other gateway join its body: `{"home": {"routing": {"only": ["local"]}}}`. Images and files by URL pass as URLs:
the other gateway decides whether it fetches them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pluggably.domain.generation import (
    GenerationRequest,
    JsonObject,
    Message,
    ProviderItem,
    Timeouts,
    Tool,
)
from pluggably.wire.codecs.native.reply import UNKNOWN_ITEM
from pluggably.wire.media import Input
from pluggably.wire.parts import merged, refuse_own

# Of the provider options for the other gateway, what this one must decide itself.
_NOT_OVERRIDABLE = ("model", "input", "modality", "stream", "background")


class NativeOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the other gateway is given as it is."""

    inputs: tuple[Input, ...] = ("image", "image_url", "file", "file_url", "audio")


def generation_body(
    request: GenerationRequest, model: str, backend: str, stream: bool
) -> tuple[JsonObject, frozenset[str]]:
    """The body, and which of its fields the client set through provider options. Raises: InvalidRequest."""
    own = request.provider_options.get(backend, {})
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    body: JsonObject = {"model": model, "modality": request.modality}
    if request.modality == "embedding":
        body["input"] = request.texts
    else:
        body["input"] = [_message(message, backend) for message in request.messages]
    parameters = _told(msgspec.to_builtins(request.parameters))
    if parameters:
        body["parameters"] = parameters
    if request.tools:
        body["tools"] = [_tool(tool, backend) for tool in request.tools]
    if request.tool_choice != "auto":
        body["tool_choice"] = msgspec.to_builtins(request.tool_choice)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        body["response_format"] = msgspec.to_builtins(request.response_format)
    if request.timeouts != Timeouts():
        body["timeouts"] = _told(msgspec.to_builtins(request.timeouts))
    others = {name: options for name, options in request.provider_options.items() if name != backend}
    if others:
        body["provider_options"] = others
    if request.on_unsupported != "warn":
        body["on_unsupported"] = request.on_unsupported
    if stream:
        body["stream"] = True
    if request.keep_alive_s is not None:
        body["keep_alive_s"] = request.keep_alive_s
    return merged(body, own), frozenset(own)


def _message(message: Message, backend: str) -> JsonObject:
    content = message.content
    if not isinstance(content, str):
        parts = [_part(part, backend) for part in content]
        return _with_own({"role": message.role, "content": parts}, message.provider_options, backend)
    return _with_own({"role": message.role, "content": content}, message.provider_options, backend)


def _part(part: Any, backend: str) -> JsonObject:
    if isinstance(part, ProviderItem):
        if part.provider == backend and isinstance(part.data, dict) and part.data.keys() == {UNKNOWN_ITEM}:
            unknown: JsonObject = part.data[UNKNOWN_ITEM]
            return unknown
        return {"type": "provider_item", "provider": part.provider, "data": part.data}
    value: JsonObject = msgspec.to_builtins(part)
    options = value.pop("provider_options", {})
    told = _told(value)
    if isinstance(told.get("content"), list):
        told["content"] = [_part(inner, backend) for inner in part.content]
    return _with_own(told, options, backend)


def _tool(tool: Tool, backend: str) -> JsonObject:
    value: JsonObject = msgspec.to_builtins(tool)
    options = value.pop("provider_options", {})
    return _with_own(value, options, backend)


def _with_own(value: JsonObject, options: Any, backend: str) -> JsonObject:
    """`value` with its options for others as they are, and with those for this backend in it."""
    others = {name: given for name, given in (options or {}).items() if name != backend}
    if others:
        value["provider_options"] = others
    return merged(value, (options or {}).get(backend, {}))


def _told(value: JsonObject) -> JsonObject:
    """Without the fields that say nothing."""
    return {key: entry for key, entry in value.items() if entry is not None and (entry != [] or key == "content")}
