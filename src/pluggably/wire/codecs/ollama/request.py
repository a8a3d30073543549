"""Requests to Ollama: our messages, parameters and tools as the body of `/api/chat`, and texts as that of `/api/embed`.

What surprises: a message is one text with its images beside it, so where in the text an image stood is lost. Calls of
tools have no ids: results are told by the tool's name and, where one tool was called twice, by their order, so they are
put into the order of the calls. Longer inputs than a model takes are cut without a word unless told otherwise; here
that is an error, except where the request's own options say `truncate`.

Source: docs.ollama.com/api/chat, …/api/embed, …/capabilities/thinking, …/capabilities/tool-calling and
…/modelfile, "Valid Parameters and Values" (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from msgspec import UNSET, Struct

from pluggably.domain.generation import (
    Audio,
    EmbeddingParameters,
    File,
    GenerationRequest,
    Image,
    JsonFormat,
    JsonObject,
    JsonSchemaFormat,
    Message,
    Part,
    ProviderItem,
    Reasoning,
    Refusal,
    Text,
    TextParameters,
    Tool,
    ToolCall,
    ToolResult,
)
from pluggably.errors import InvalidRequest, UnsupportedModality, UnsupportedParameter
from pluggably.wire.lacks import ModelRule, check_tool_choice, efforts_of
from pluggably.wire.media import Input, MediaRules
from pluggably.wire.omissions import Body, Omissions
from pluggably.wire.parts import (
    UserPart,
    arguments_of,
    merged,
    own_options,
    refuse_own,
    result_text,
    told_apart,
)

# Of a request's own provider options, what would break the translation.
_NOT_OVERRIDABLE = ("model", "messages", "input", "stream")
# …/capabilities/thinking: the values of `think` "vary by model". Those of gpt-oss stand there; that DeepSeek V4 and
# Qwen3.8 have levels, `max` among them, in github.com/ollama/ollama/pull/15787 (2026-04) and …/issues/18091 (2026-08).
# Where a model has no levels, one is refused or ignored, so all others are only told to think or not.
_MODEL_RULES = (
    ModelRule(models=r"(?:[\w.-]+/)*gpt-oss", efforts=("low", "medium", "high")),
    ModelRule(models=r"(?:[\w.-]+/)*qwen3\.8", efforts=("none", "low", "medium", "high", "max")),
    ModelRule(models=r"(?:[\w.-]+/)*deepseek-v4", efforts=("none", "high", "max")),
)


class OllamaOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one Ollama, or what speaks as one, differs from another."""

    inputs: tuple[Input, ...] = ("image",)
    # The models that think at levels, as `efforts`; of a rule nothing else counts here. All others think or do not.
    model_rules: tuple[ModelRule, ...] = _MODEL_RULES
    # Fields that go into every body, under those of the request and of its provider options, such as
    # `{options: {num_ctx: 8192}}`.
    extra_body: dict[str, Any] = {}


def chat_body(request: GenerationRequest, model: str, backend: str, stream: bool, options: OllamaOptions) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    omissions = Omissions(request, backend)
    messages, origins = Messages(backend, options, omissions).build(request.messages)
    value: JsonObject = {"model": model, "messages": messages, "stream": stream}
    parameters = request.text
    runtime = _runtime_options(parameters)
    if runtime:
        value["options"] = runtime
    _put_thinking(value, parameters, model, options, omissions)
    if parameters.logprobs is not None:
        value["logprobs"] = True
        value["top_logprobs"] = parameters.logprobs
    _put_tools(value, request, omissions, backend)
    if isinstance(request.response_format, JsonFormat):
        value["format"] = "json"
    elif isinstance(request.response_format, JsonSchemaFormat):
        value["format"] = request.response_format.schema
    _put_keep_alive(value, request)
    return Body(merged(merged(_copied(options.extra_body), value), own), omissions, origins)


def embed_body(request: GenerationRequest, model: str, backend: str, options: OllamaOptions) -> Body:
    """Raises: InvalidRequest."""
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    value: JsonObject = {"model": model, "input": request.texts, "truncate": False}
    parameters = request.parameters
    if isinstance(parameters, EmbeddingParameters) and parameters.dimensions is not None:
        value["dimensions"] = parameters.dimensions
    _put_keep_alive(value, request)
    extra = {key: entry for key, entry in _copied(options.extra_body).items() if key in ("options", "keep_alive")}
    return Body(merged(merged(extra, value), own), Omissions(request, backend), [])


def _copied(extra: JsonObject) -> JsonObject:
    """The objects in it are merged into, and the options are those of every request."""
    return {key: dict(entry) if isinstance(entry, dict) else entry for key, entry in extra.items()}


def _runtime_options(parameters: TextParameters) -> JsonObject:
    told = {
        "num_predict": parameters.max_output_tokens,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "top_k": parameters.top_k,
        "min_p": parameters.min_p,
        "seed": parameters.seed,
        "presence_penalty": parameters.presence_penalty,
        "frequency_penalty": parameters.frequency_penalty,
        "stop": parameters.stops() or None,
    }
    return {name: wanted for name, wanted in told.items() if wanted is not None}


def _put_thinking(
    value: JsonObject,
    parameters: TextParameters,
    model: str,
    options: OllamaOptions,
    omissions: Omissions,
) -> None:
    if parameters.reasoning is None:
        return
    asked = parameters.reasoning.effort
    known = efforts_of((), options.model_rules, model)
    effort = omissions.effort(asked, known) if known else asked
    if effort == "none":
        value["think"] = False
    elif known and effort is not None:
        value["think"] = effort
    elif effort is not None:
        omissions.effort_is_a_switch()
        value["think"] = True


def _put_tools(value: JsonObject, request: GenerationRequest, omissions: Omissions, backend: str) -> None:
    if not request.tools:
        return
    check_tool_choice(request.tool_choice, frozenset({"tool_choice"}), backend)
    if request.tool_choice == "none":
        return  # a tool that the model does not know of is not called
    value["tools"] = [_tool(tool, backend) for tool in request.tools]
    if request.parallel_tool_calls is False:
        omissions.one_call_at_a_time()


def _tool(tool: Tool, backend: str) -> JsonObject:
    function: JsonObject = {"name": tool.name, "parameters": tool.input_schema or {"type": "object", "properties": {}}}
    if tool.description:
        function["description"] = tool.description
    return merged({"type": "function", "function": function}, own_options(tool.provider_options, backend))


def _put_keep_alive(value: JsonObject, request: GenerationRequest) -> None:
    if request.keep_alive_s is not None:
        seconds = request.keep_alive_s
        value["keep_alive"] = int(seconds) if seconds == int(seconds) else seconds


class Messages:
    """Turns the messages of one conversation."""

    def __init__(self, backend: str, options: OllamaOptions, omissions: Omissions) -> None:
        self._backend = backend
        self._omissions = omissions
        self._media_rules = MediaRules(backend, options.inputs)
        # id → the name of the called tool, and the call's place in the conversation
        self._calls: dict[str, tuple[str, int]] = {}

    def build(self, messages: Sequence[Message]) -> tuple[list[JsonObject], list[int]]:
        """Theirs, and for each the index of the message that it came from."""
        built: list[tuple[JsonObject, int]] = []
        results: list[tuple[int, JsonObject, int]] = []
        for index, message in enumerate(messages):
            pointer, own = f"/input/{index}", own_options(message.provider_options, self._backend)
            if isinstance(message.content, str):
                theirs: JsonObject = {"role": message.role, "content": message.content}
            elif message.role == "assistant":
                theirs = self._answer(message.content, pointer)
            else:
                told, others = told_apart(message.content, pointer)
                results += [
                    (place, merged(self._result(part, name, at), own), index)
                    for part, at in told
                    for name, place in (self._call_of(part, at),)
                ]
                if told and not others:
                    continue
                theirs = self._asked(message.role, others, pointer)
            built += _in_order(results)
            results = []
            built.append((merged(theirs, own), index))
        built += _in_order(results)
        return [theirs for theirs, _ in built], [origin for _, origin in built]

    def _asked(self, role: str, parts: Sequence[tuple[UserPart, str]], pointer: str) -> JsonObject:
        texts: list[str] = []
        images: list[str] = []
        for part, place in parts:
            if isinstance(part, Text):
                texts.append(part.text)
            else:
                images.append(self._image(part, place))
        if images and len(parts) > 2 and sum(one is not other for one, other in pairwise(_are_texts(parts))) > 1:
            self._omissions.change(
                f"{pointer}/content", "takes one text with its images beside it; where they stood between texts is lost"
            )
        theirs: JsonObject = {"role": role, "content": "\n\n".join(texts)}
        if images:
            theirs["images"] = images
        return theirs

    def _answer(self, content: Sequence[Part], pointer: str) -> JsonObject:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[JsonObject] = []
        images: list[str] = []
        for index, part in enumerate(content):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text | Refusal):
                texts.append(part.text)
            elif isinstance(part, ToolCall):
                calls.append(self._call(part, place))
            elif isinstance(part, Reasoning):
                thoughts += self._thoughts(part, place)
            elif isinstance(part, ProviderItem):
                images += self._own_images(part, place)
        theirs: JsonObject = {"role": "assistant", "content": "".join(texts)}
        for name, told in (("thinking", "".join(thoughts)), ("images", images), ("tool_calls", calls)):
            if told:
                theirs[name] = told
        return theirs

    def _call(self, part: ToolCall, pointer: str) -> JsonObject:
        """Their arguments are an object, and not its text."""
        arguments = arguments_of(part, self._omissions, pointer)
        self._calls[part.id] = (part.name, len(self._calls))
        theirs: JsonObject = {"function": {"name": part.name, "arguments": arguments}}
        return merged(theirs, own_options(part.provider_options, self._backend))

    def _call_of(self, part: ToolResult, pointer: str) -> tuple[str, int]:
        """The name and the place of the call that a result answers. Raises: InvalidRequest where there is none."""
        if part.tool_call_id not in self._calls:
            raise InvalidRequest(
                "No call before this result has its `tool_call_id`.", pointer=f"{pointer}/tool_call_id"
            )
        return self._calls[part.tool_call_id]

    def _result(self, part: ToolResult, name: str, pointer: str) -> JsonObject:
        pieces: Sequence[Any] = [Text(part.content)] if isinstance(part.content, str) else part.content
        text = "\n".join(piece.text for piece in pieces if isinstance(piece, Text))
        theirs: JsonObject = {"role": "tool", "tool_name": name, "content": result_text(part, text)}
        images = [
            self._image(piece, f"{pointer}/content/{index}")
            for index, piece in enumerate(pieces)
            if not isinstance(piece, Text)
        ]
        if images:
            theirs["images"] = images
        return merged(theirs, own_options(part.provider_options, self._backend))

    def _image(self, part: Image | File | Audio, pointer: str) -> str:
        """An image as base64. Raises: UnsupportedModality, UnsupportedParameter."""
        if not isinstance(part, Image):
            kind = "files" if isinstance(part, File) else "audio"
            raise UnsupportedModality(f"{self._backend} takes no {kind}.", pointer=pointer)
        self._media_rules.require("image", pointer, "takes no images")
        if part.url is not UNSET:
            raise UnsupportedParameter(f"{self._backend} takes images only as `data`, not by URL.", pointer=pointer)
        return part.data or ""

    def _thoughts(self, part: Reasoning, pointer: str) -> list[str]:
        state = part.provider_state
        if state is not None:
            self._omissions.foreign_reasoning(state, pointer)
            return []
        return [part.text] if part.text else []

    def _own_images(self, part: ProviderItem, pointer: str) -> list[str]:
        if part.provider == self._backend and isinstance(part.data, dict) and isinstance(part.data.get("images"), list):
            return [image for image in part.data["images"] if isinstance(image, str)]
        self._omissions.foreign_item(part, pointer)
        return []


def _are_texts(parts: Sequence[tuple[UserPart, str]]) -> Iterator[bool]:
    return (isinstance(part, Text) for part, _ in parts)


def _in_order(results: list[tuple[int, JsonObject, int]]) -> list[tuple[JsonObject, int]]:
    return [(theirs, origin) for _, theirs, origin in sorted(results, key=lambda result: result[0])]
