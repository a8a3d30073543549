"""Requests to Bedrock: our tools and options as the body of Converse, and texts as those of InvokeModel. Sampling and
reasoning are in `parameters`.

What surprises: a conversation that has calls of tools in it is taken only together with tools ("The toolConfig field
must be defined when using toolUse and toolResult content blocks"), so those that it calls are declared where the
request has none; and calls cannot be forbidden. And embeddings have no API of their own here: each maker's models take
bodies of their own form, Titan's one text at a time.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, …/userguide/structured-output.html,
…/userguide/model-parameters-titan-embed-text.html and …/model-parameters-embed.html (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from pluggably.domain.generation import (
    EmbeddingParameters,
    GenerationRequest,
    JsonObject,
    JsonSchemaFormat,
    NamedTool,
    Tool,
)
from pluggably.errors import InvalidRequest, ModelNotFound, UnsupportedModality, UnsupportedParameter
from pluggably.wire.codecs.bedrock.media import Media
from pluggably.wire.codecs.bedrock.messages import Conversation
from pluggably.wire.codecs.bedrock.options import BedrockOptions, Profile
from pluggably.wire.codecs.bedrock.parameters import Parameters
from pluggably.wire.lacks import check_format, check_tool_choice
from pluggably.wire.omissions import Body, Omissions
from pluggably.wire.parts import called_tools, merged, own_options, refuse_own

# Of a request's own provider options, what would break the translation.
_NOT_OVERRIDABLE = ("modelId", "messages", "system")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/_-]{0,2047}")
# "JSON Schema Draft 2020-12 subset": …/userguide/structured-output.html
_CUT = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)
COHERE_TEXTS = 96


@lru_cache(maxsize=500)
def quoted_model(model: str, backend: str) -> str:
    """A model's id or ARN as a part of a path. Raises: ModelNotFound for a name that can be neither."""
    if not _MODEL.fullmatch(model) or not all(step.strip(".") for step in model.split("/")):
        raise ModelNotFound(f"{backend}: no model there can have this name.", pointer="/model")
    return model.replace(":", "%3A").replace("/", "%2F")


def converse_body(request: GenerationRequest, model: str, backend: str, options: BedrockOptions) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    profile = options.profile_for(model)
    added = _added_tools(own)
    omissions = Omissions(request, backend)
    conversation = _conversation(request, backend, options, profile, omissions)
    is_rewritten = conversation.is_prefix_changed or _changes_tools(request, added, conversation.has_tool_blocks)
    if profile.preserved_thinking and is_rewritten and conversation.has_thoughts:
        omissions = Omissions(request, backend)
        conversation = _conversation(request, backend, options, profile, omissions, is_rewritten=True)
    value: JsonObject = {"messages": conversation.messages}
    if conversation.prompts:
        value["system"] = conversation.prompts
    fields = own.get("additionalModelRequestFields")
    choice = request.tool_choice
    Parameters(
        backend=backend,
        wanted=request.text,
        profile=profile,
        options=options,
        omissions=omissions,
        demands_call=bool(request.tools or added) and (choice == "required" or isinstance(choice, NamedTool)),
        is_prefilled=conversation.is_prefilled,
        own_fields=fields if isinstance(fields, dict) else {},
    ).put(value)
    own_tools = _put_tools(value, request, conversation.has_tool_blocks, own, omissions, backend, profile)
    _put_format(value, request, omissions, backend, profile)
    if options.extra_body:
        value = merged(dict(options.extra_body), value)
    if own:
        value = merged(value, {key: entry for key, entry in own.items() if key != "toolConfig"} | own_tools)
    return Body(value, omissions, conversation.origins)


def _conversation(
    request: GenerationRequest,
    backend: str,
    options: BedrockOptions,
    profile: Profile,
    omissions: Omissions,
    *,
    is_rewritten: bool = False,
) -> Conversation:
    media = Media(backend, options.inputs)
    conversation = Conversation(backend, media, omissions, profile, is_rewritten=is_rewritten)
    conversation.build(request.messages)
    if profile.pdf_citations:
        # "Citations cannot be used together with structured outputs": …/build-with-claude/citations
        is_cited = not isinstance(request.response_format, JsonSchemaFormat) and media.cite_pdfs()
        conversation.is_prefix_changed = conversation.is_prefix_changed or (media.has_open_pdfs and not is_cited)
    return conversation


def _added_tools(own: Mapping[str, Any]) -> list[JsonObject]:
    """Those of the vendor's own kinds, of the provider options."""
    given = own.get("toolConfig")
    tools: list[JsonObject] = given.get("tools", []) if isinstance(given, dict) else []
    return tools


def _changes_tools(request: GenerationRequest, added: list[JsonObject], has_tool_blocks: bool) -> bool:
    """Whether the tools that are sent are not those that are given."""
    if request.tools or added:
        return request.tool_choice == "none"
    return has_tool_blocks


def _put_tools(
    value: JsonObject,
    request: GenerationRequest,
    has_tool_blocks: bool,
    own: Mapping[str, Any],
    omissions: Omissions,
    backend: str,
    profile: Profile,
) -> JsonObject:
    """Puts the request's tools into the body, together with the vendor's own kinds of the provider options, and gives
    what of the provider options is left to say of tools."""
    given = own.get("toolConfig")
    extra = {key: entry for key, entry in given.items() if key != "tools"} if isinstance(given, dict) else {}
    added = _added_tools(own)
    choice = request.tool_choice
    if request.tools or added:
        check_tool_choice(choice, profile.lacks, backend)
    if choice == "none" or not (request.tools or added):
        if not has_tool_blocks:
            return {}
        if choice == "none":
            raise UnsupportedParameter(
                f"{backend} cannot be kept from calling tools in a conversation that has calls of tools.",
                pointer="/tool_choice",
            )
    tools = [block for tool in request.tools for block in _tool(tool, backend)]
    if not tools and not added:
        declared = called_tools(request.messages)
        if not declared:
            raise InvalidRequest("A tool's result answers a call, and there is none.", pointer="/input")
        omissions.tools_declared([tool.name for tool in declared])
        tools = [block for tool in declared for block in _tool(tool, backend)]
    config: JsonObject = {"tools": [*tools, *added]}
    if choice == "required":
        config["toolChoice"] = {"any": {}}
    elif isinstance(choice, NamedTool):
        config["toolChoice"] = {"tool": {"name": choice.name}}
    value["toolConfig"] = config
    if request.parallel_tool_calls is False:
        omissions.one_call_at_a_time()
    return {"toolConfig": extra} if extra else {}


def _tool(tool: Tool, backend: str) -> list[JsonObject]:
    spec: JsonObject = {
        "name": tool.name,
        "inputSchema": {"json": tool.input_schema or {"type": "object", "properties": {}}},
    }
    if tool.description.strip():  # a blank one is refused
        spec["description"] = tool.description
    own = dict(own_options(tool.provider_options, backend))
    point = own.pop("cachePoint", None)
    return [{"toolSpec": merged(spec, own)}, *([{"cachePoint": point}] if point is not None else [])]


def _put_format(
    value: JsonObject, request: GenerationRequest, omissions: Omissions, backend: str, profile: Profile
) -> None:
    wanted = request.response_format
    check_format(wanted, {"json", *profile.lacks}, backend)
    if not isinstance(wanted, JsonSchemaFormat):
        return
    cut: set[str] = set()
    schema = _cut(wanted.schema, cut)
    omissions.keywords("/response_format/schema", cut)
    definition = {"name": wanted.name, "schema": msgspec.json.encode(schema).decode()}
    text_format = {"type": "json_schema", "structure": {"jsonSchema": definition}}
    value["outputConfig"] = {**value.get("outputConfig", {}), "textFormat": text_format}


def _cut(schema: Any, cut: set[str], *, is_map: bool = False) -> Any:
    """A schema without what the vendor's dialect lacks; `cut` gets the names. Objects must be closed. `is_map`: the
    keys are names of properties or definitions, not of the dialect."""
    if isinstance(schema, list):
        return [_cut(entry, cut) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if is_map:
        return {key: _cut(entry, cut) for key, entry in schema.items()}
    kept: JsonObject = {}
    for key, entry in schema.items():
        if key in _CUT or (key == "minItems" and entry not in (0, 1)):
            cut.add(key)
        elif key in ("properties", "$defs", "definitions"):
            kept[key] = _cut(entry, cut, is_map=True)
        else:
            kept[key] = entry if key in ("enum", "const", "default", "examples", "required") else _cut(entry, cut)
    if "properties" in kept or kept.get("type") == "object":
        if kept.get("additionalProperties") not in (None, False):
            cut.add("additionalProperties")
        kept["additionalProperties"] = False
    return kept


# ── embeddings ──────────────────────────────────────────────────────────────────────────────────────────────────────


class EmbeddingForm(msgspec.Struct, frozen=True):
    """Bodies for embeddings: their other fields, the field of the texts, and how many it takes. Titan's takes one, and
    not as a list."""

    value: JsonObject
    field: str
    texts_per_call: int

    def body(self, texts: list[str]) -> JsonObject:
        return {**self.value, self.field: texts[0] if self.texts_per_call == 1 else texts}


def embedding_form(request: GenerationRequest, model: str, backend: str) -> EmbeddingForm:
    """Raises: UnsupportedModality, UnsupportedParameter, InvalidRequest."""
    own = request.provider_options.get(backend) or {}
    parameters = request.parameters
    dimensions = parameters.dimensions if isinstance(parameters, EmbeddingParameters) else None
    if re.search(r"amazon\.titan-embed-text", model):
        refuse_own(own, ("inputText",), backend)
        if dimensions is not None and "titan-embed-text-v1" in model:
            raise UnsupportedParameter(f"{backend}: {model} has one length only.", pointer="/parameters/dimensions")
        wanted = {"dimensions": dimensions} if dimensions is not None else {}
        return EmbeddingForm({**wanted, **own}, "inputText", 1)
    if re.search(r"cohere\.embed", model):
        refuse_own(own, ("texts", "images", "embedding_types"), backend)
        if dimensions is not None and not re.search(r"embed-v4", model):
            raise UnsupportedParameter(f"{backend}: {model} has one length only.", pointer="/parameters/dimensions")
        wanted = {"output_dimension": dimensions} if dimensions is not None else {}
        # Required; whoever looks something up says `search_query` in the provider options.
        purpose = {"input_type": "search_document"}
        return EmbeddingForm({**purpose, "embedding_types": ["float"], **wanted, **own}, "texts", COHERE_TEXTS)
    raise UnsupportedModality(
        f"{backend} makes embeddings by its Titan Text and Cohere Embed models; {model} is none of them.",
        pointer="/model",
    )
