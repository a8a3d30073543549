"""Requests on Gemini's wire: our parameters, tools and options as the bodies of its methods, and their addresses.

Messages are turned in `contents`, schemas in `schema`; how services and models differ is data, in `options`. What
surprises: the model is no field of the body but a step of the address, so a client's word for it must not be able to
lead anywhere else. And a request's provider options join what stands in the body: the vendor's own tools stand beside
functions, safety settings beside a thinking level.

Source: ai.google.dev/api/generate-content, …/api/embeddings and …/gemini-api/docs/function-calling (2026-11); the types
of google-genai 3.4.0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from pluggably.domain.generation import (
    Effort,
    EmbeddingParameters,
    GenerationRequest,
    JsonFormat,
    JsonObject,
    JsonSchemaFormat,
    NamedTool,
    TextParameters,
    Tool,
)
from pluggably.errors import ModelNotFound, UnsupportedModality, UnsupportedParameter
from pluggably.wire.codec import Address
from pluggably.wire.codecs.gemini.contents import ContentBuilder
from pluggably.wire.codecs.gemini.options import GeminiOptions, GeminiRule
from pluggably.wire.codecs.gemini.schema import cut_schema
from pluggably.wire.lacks import check_stops
from pluggably.wire.omissions import Omissions
from pluggably.wire.parts import merged, own_options, refuse_own

# Of a request's own provider options, what would break the translation.
_NOT_OVERRIDABLE = ("model", "contents", "content", "requests", "systemInstruction")
_CONFIG = {
    "max_output_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
# A step of the address: nothing in it may end the step, go a step up, or name another method.
_STEP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@~-]{0,199}")
# "Must start with a letter or an underscore": FunctionDeclaration.
_FUNCTION_NAME = re.compile(r"[A-Za-z_]")
# google-genai 3.4.0, ThinkingLevel: all that there are.
_LEVELS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh")
_INT32 = range(-(2**31), 2**31)


class Body(Struct):
    """A body, the warnings for what it leaves out, and for each of its contents the index of the message it begins
    with."""

    value: JsonObject
    omissions: Omissions
    origins: list[int] = []


def resource_of(address: Address, options: GeminiOptions) -> str:
    """The model as a step of the address. Raises: ModelNotFound."""
    model = address.model
    if _STEP.fullmatch(model):
        return options.resource.replace("{model}", model)
    steps = model.split("/")
    if steps[0] in options.collections and all(map(_STEP.fullmatch, steps)):
        return model
    raise ModelNotFound(f"{address.backend}: no model there can have this name.", pointer="/model")


def text_body(request: GenerationRequest, address: Address, stream: bool, options: GeminiOptions) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    backend = address.backend
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    omissions = Omissions(request, backend)
    rule = options.rule_for(address.model)
    built = ContentBuilder(backend, options, rule, omissions).build(request.messages)
    value: JsonObject = {"contents": built.contents}
    if built.prompt:
        value["systemInstruction"] = {"parts": built.prompt}
    _put_tools(value, request, stream, options, omissions, backend)
    config = _config(request.text, options, rule, omissions, backend)
    _put_thinking(config, request.text, options, rule, omissions)
    _put_format(config, request, options, rule, omissions, backend)
    if config:
        value["generationConfig"] = config
    if options.extra_body:
        value = _joined(dict(options.extra_body), value)
    return Body(_joined(value, own) if own else value, omissions, built.origins)


def embedding_form(request: GenerationRequest, address: Address, resource: str, options: GeminiOptions) -> JsonObject:
    """What is asked for each text, without the text. Raises: UnsupportedModality, InvalidRequest."""
    backend = address.backend
    if "embeddings" in options.lacks_of(options.rule_for(address.model)):
        raise UnsupportedModality(f"{backend} makes no embeddings with this model.", pointer="/modality")
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    form: JsonObject = {"model": resource}
    parameters = request.parameters
    if isinstance(parameters, EmbeddingParameters) and parameters.dimensions is not None:
        form["outputDimensionality"] = parameters.dimensions
    return merged(form, own)


def embeddings_body(form: JsonObject, texts: Sequence[str]) -> JsonObject:
    """The body of `embedContent` for one text, else that of `batchEmbedContents`."""
    requests = [{**form, "content": {"parts": [{"text": text}]}} for text in texts]
    return requests[0] if len(requests) == 1 else {"requests": requests}


# ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _config(
    parameters: TextParameters, options: GeminiOptions, rule: GeminiRule, omissions: Omissions, backend: str
) -> JsonObject:
    config: JsonObject = {}
    lacks = options.lacks_of(rule)
    for ours, theirs in _CONFIG.items():
        wanted = getattr(parameters, ours)
        if wanted is not None and ours in lacks:
            omissions.parameter(ours)
        elif wanted is not None:
            config[theirs] = wanted
    if parameters.min_p is not None:
        omissions.parameter("min_p")
    if parameters.seed is not None:
        if parameters.seed in _INT32:
            config["seed"] = parameters.seed
        else:
            omissions.hint("/parameters/seed", "takes only a seed of 32 bits")
    stops = parameters.stops()
    check_stops(stops, (), options.stop_limit, backend)
    if stops:
        config["stopSequences"] = stops
    if parameters.logprobs is not None:
        if "logprobs" in lacks:
            omissions.parameter("logprobs")
        else:
            config["responseLogprobs"] = True
            if parameters.logprobs:
                config["logprobs"] = parameters.logprobs
    return config


def _put_thinking(
    config: JsonObject,
    parameters: TextParameters,
    options: GeminiOptions,
    rule: GeminiRule,
    omissions: Omissions,
) -> None:
    thinking: JsonObject = {}
    effort = parameters.reasoning.effort if parameters.reasoning else None
    if effort is not None:
        known = (*rule.levels, *rule.budgets)
        if rule.models and not known:
            if effort != "none":
                omissions.no_effort()
            effort = None
        else:
            effort = omissions.effort(effort, known or _LEVELS)
    if effort is not None and effort in rule.budgets:
        thinking["thinkingBudget"] = rule.budgets[effort]
    elif effort is not None:
        thinking["thinkingLevel"] = effort.upper()
    if rule.thinks and options.thought_summaries and thinking.get("thinkingBudget") != 0:
        thinking["includeThoughts"] = True
    if thinking:
        config["thinkingConfig"] = thinking


def _put_format(
    config: JsonObject,
    request: GenerationRequest,
    options: GeminiOptions,
    rule: GeminiRule,
    omissions: Omissions,
    backend: str,
) -> None:
    wanted = request.response_format
    if not isinstance(wanted, JsonFormat | JsonSchemaFormat):
        return
    if request.tools and "json_beside_tools" in options.lacks_of(rule):
        raise UnsupportedParameter(
            f"{backend} gives no JSON where there are tools, for this model.", pointer="/response_format"
        )
    config["responseMimeType"] = "application/json"
    if isinstance(wanted, JsonSchemaFormat):
        config["responseJsonSchema"] = _schema(wanted.schema, "/response_format/schema", omissions)


def _schema(schema: JsonObject, pointer: str, omissions: Omissions) -> JsonObject:
    cut, lost = cut_schema(schema)
    omissions.keywords(pointer, lost)
    return cut


def _put_tools(
    value: JsonObject,
    request: GenerationRequest,
    stream: bool,
    options: GeminiOptions,
    omissions: Omissions,
    backend: str,
) -> None:
    if not request.tools:
        return
    declared = [_declaration(tool, f"/tools/{index}", omissions, backend) for index, tool in enumerate(request.tools)]
    value["tools"] = [{"functionDeclarations": declared}]
    calling: JsonObject = {}
    choice = request.tool_choice
    if isinstance(choice, NamedTool):
        calling = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    elif choice != "auto":  # the vendor's default
        calling = {"mode": "ANY" if choice == "required" else "NONE"}
    if stream and options.stream_arguments:
        calling["streamFunctionCallArguments"] = True
    if calling:
        value["toolConfig"] = {"functionCallingConfig": calling}
    if request.parallel_tool_calls is False:
        omissions.one_call_at_a_time()


def _declaration(tool: Tool, pointer: str, omissions: Omissions, backend: str) -> JsonObject:
    if not _FUNCTION_NAME.match(tool.name):
        raise UnsupportedParameter(
            f"{backend} takes only names of tools that begin with a letter or an underscore.", pointer=f"{pointer}/name"
        )
    theirs: JsonObject = {"name": tool.name}
    if tool.description:
        theirs["description"] = tool.description
    if tool.input_schema:
        theirs["parametersJsonSchema"] = _schema(tool.input_schema, f"{pointer}/input_schema", omissions)
    return merged(theirs, own_options(tool.provider_options, backend))


def _joined(under: JsonObject, over: JsonObject) -> JsonObject:
    """`under` with `over` in it: objects are merged key by key, lists of tools grow, everything else is replaced."""
    tools = [*(under.get("tools") or ()), *(over.get("tools") or ())]
    joined = merged(under, over)
    if tools:
        joined["tools"] = tools
    return joined
