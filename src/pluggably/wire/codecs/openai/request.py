"""Requests on OpenAI's wire: our parameters, tools and options as the bodies of Chat Completions and Embeddings.

Messages are turned in `messages`, what comes back is read in `reply`; how vendors differ is data, in `options`. What
surprises: a hint that the vendor or the model lacks is dropped with a warning, but what would change the answer (a stop
sequence, a forced tool) is refused, so that another target may serve it.

Source: developers.openai.com/api/reference/resources/chat, "Create chat completion", and …/resources/embeddings,
"Create embeddings" (2026-11), and the types of the openai package 3.54.0.
"""

from __future__ import annotations

from collections.abc import Collection

from pluggably.domain.generation import (
    EmbeddingParameters,
    GenerationRequest,
    JsonFormat,
    JsonObject,
    JsonSchemaFormat,
    NamedTool,
    TextParameters,
    Tool,
)
from pluggably.errors import UnsupportedModality
from pluggably.wire.codecs.openai.messages import Messages
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.lacks import (
    Lack,
    check_dimensions,
    check_format,
    check_stops,
    check_tool_choice,
    check_tools,
    effort_told,
    efforts_of,
    lacks_of,
    rules_for,
)
from pluggably.wire.omissions import Body, Omissions
from pluggably.wire.parts import merged, own_options, refuse_own

# Of a request's own provider options, what would break the translation.
_NOT_OVERRIDABLE = ("model", "messages", "input", "stream")
_PENALTIES_AND_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
)


def chat_body(request: GenerationRequest, model: str, backend: str, stream: bool, options: OpenAIOptions) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    omissions = Omissions(request, backend)
    asked = request.text.reasoning
    own = request.provider_options.get(backend)
    effort = effort_told(own, asked.effort if asked else None, options.extra_body)
    lacks = lacks_of(options.lacks, options.model_rules, model, effort)
    messages, origins = Messages(backend, options, omissions).build(request.messages)
    value: JsonObject = {**options.extra_body, "model": model, "messages": messages}
    if stream:
        value["stream"] = True
    _put_text_parameters(value, request.text, options, lacks, omissions, backend)
    _put_effort(value, request.text, model, options, lacks, omissions)
    put_tools(value, request, lacks, omissions, backend)
    put_response_format(value, request, lacks, backend)
    merge_own(value, own, backend)
    if stream and options.stream_options:
        given = value.get("stream_options")
        value["stream_options"] = {**(given if isinstance(given, dict) else {}), "include_usage": True}
    return Body(value, omissions, origins)


def embeddings_body(
    request: GenerationRequest,
    model: str,
    backend: str,
    lacks: Collection[Lack],
    *,
    encoding: str = "float",
    size_field: str = "dimensions",
) -> Body:
    """Raises: UnsupportedParameter, UnsupportedModality, InvalidRequest."""
    if "embeddings" in lacks:
        raise UnsupportedModality(f"{backend} makes no embeddings.", pointer="/modality")
    value: JsonObject = {"model": model, "input": request.texts, "encoding_format": encoding}
    parameters = request.parameters
    if isinstance(parameters, EmbeddingParameters) and parameters.dimensions is not None:
        check_dimensions(lacks, backend)
        value[size_field] = parameters.dimensions
    merge_own(value, request.provider_options.get(backend), backend)
    return Body(value, Omissions(request, backend))


# ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _put_text_parameters(
    value: JsonObject,
    parameters: TextParameters,
    options: OpenAIOptions,
    lacks: frozenset[Lack],
    omissions: Omissions,
    backend: str,
) -> None:
    if parameters.max_output_tokens is not None:
        value[options.max_tokens_field] = parameters.max_output_tokens
    for name in _PENALTIES_AND_SAMPLING:
        wanted = getattr(parameters, name)
        if wanted is None:
            continue
        if name in lacks:
            omissions.parameter(name)
        else:
            value[name] = wanted
    stops = parameters.stops()
    check_stops(stops, lacks, options.stop_limit, backend)
    if stops:
        value["stop"] = stops
    if parameters.logprobs is not None:
        if "logprobs" in lacks:
            omissions.parameter("logprobs")
        else:
            value["logprobs"] = True
            value["top_logprobs"] = max(parameters.logprobs, options.least_top_logprobs)


def _put_effort(
    value: JsonObject,
    parameters: TextParameters,
    model: str,
    options: OpenAIOptions,
    lacks: frozenset[Lack],
    omissions: Omissions,
) -> None:
    if parameters.reasoning is None:
        return
    asked = parameters.reasoning.effort
    if "reasoning" in lacks:
        omissions.no_effort()
        return
    if asked == "none" and options.effort_none:
        value.update(options.effort_none)
        return
    field = options.effort_field
    for rule in rules_for(options.model_rules, model):
        field = rule.effort_field or field
    if field in ("thinking", "enable_thinking"):
        on = asked != "none"
        if on:
            omissions.effort_is_a_switch()
        value[field] = on if field == "enable_thinking" else {"type": "enabled" if on else "disabled"}
        return
    known = efforts_of(options.efforts, options.model_rules, model)
    effort = omissions.effort(asked, known) if known else asked
    if effort is not None:
        value[field] = effort if field == "reasoning_effort" else {"effort": effort}


def put_tools(
    value: JsonObject, request: GenerationRequest, lacks: frozenset[Lack], omissions: Omissions, backend: str
) -> None:
    if not request.tools:
        return
    check_tools(lacks, backend)
    value["tools"] = [_tool(tool, backend) for tool in request.tools]
    choice = request.tool_choice
    check_tool_choice(choice, lacks, backend)
    if "tool_choice" in lacks:
        if choice == "none":
            del value["tools"]
            return
    elif isinstance(choice, NamedTool):
        value["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice != "auto":  # the vendors' default where there are tools
        value["tool_choice"] = choice
    put_parallel_calls(value, request, lacks, omissions)


def put_parallel_calls(
    value: JsonObject, request: GenerationRequest, lacks: frozenset[Lack], omissions: Omissions
) -> None:
    if request.parallel_tool_calls is None:
        return
    if "parallel_tool_calls" not in lacks:
        value["parallel_tool_calls"] = request.parallel_tool_calls
    elif not request.parallel_tool_calls:
        omissions.one_call_at_a_time()


def _tool(tool: Tool, backend: str) -> JsonObject:
    # Without a schema: `{}` is refused by DeepSeek and Groq, which want the type `object`.
    function: JsonObject = {"name": tool.name, "parameters": tool.input_schema or {"type": "object", "properties": {}}}
    if tool.description:
        function["description"] = tool.description
    own = dict(own_options(tool.provider_options, backend))
    if "strict" in own:  # belongs to the function, as OpenAI has it, but is an option of the tool for everybody else
        function["strict"] = own.pop("strict")
    return merged({"type": "function", "function": function}, own)


def put_response_format(value: JsonObject, request: GenerationRequest, lacks: frozenset[Lack], backend: str) -> None:
    wanted = request.response_format
    check_format(wanted, lacks, backend)
    if isinstance(wanted, JsonFormat):
        value["response_format"] = {"type": "json_object"}
    elif isinstance(wanted, JsonSchemaFormat):
        schema = {"name": wanted.name, "schema": wanted.schema, "strict": wanted.strict}
        value["response_format"] = {"type": "json_schema", "json_schema": schema}


# ── provider options ────────────────────────────────────────────────────────────────────────────────────────────────


def merge_own(value: JsonObject, own: JsonObject | None, backend: str) -> None:
    """Puts the request's options for this backend into the body, over what stands there."""
    if own:
        refuse_own(own, _NOT_OVERRIDABLE, backend)
        value.update(own)
