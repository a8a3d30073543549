"""Requests on the Responses wire: our parameters, tools and options as the body of `POST /responses`.

The conversation is turned in `input`. What surprises: functions are strict on this wire unless told
otherwise, which would rewrite a client's schema, so `strict` is always sent. And a request's provider options join what
stands in the body instead of replacing it: built-in tools stand beside functions, a summary beside the effort.

Source: developers.openai.com/api/reference/resources/responses, "Create a model response", and
…/docs/guides/migrate-to-responses (2026-11); the types of the openai package 3.54.0.
"""

from __future__ import annotations

import re

from pluggably.domain.generation import (
    GenerationRequest,
    JsonFormat,
    JsonObject,
    JsonSchemaFormat,
    NamedTool,
    TextParameters,
    Tool,
)
from pluggably.wire.codecs.openai.request import put_parallel_calls, put_response_format
from pluggably.wire.codecs.openai_responses.input import InputItems
from pluggably.wire.codecs.openai_responses.options import ResponsesOptions
from pluggably.wire.lacks import (
    Lack,
    check_format,
    check_stops,
    check_tool_choice,
    check_tools,
    effort_told,
    efforts_of,
    lacks_of,
)
from pluggably.wire.omissions import Body, Omissions
from pluggably.wire.parts import merged, own_options, refuse_own

# Of a request's own provider options, what would break the translation; `background` would be answered at once, by an
# answer that has yet to be made.
_NOT_OVERRIDABLE = ("model", "input", "stream", "background")
# "Create a model response" has no such fields.
_NO_FIELD = ("top_k", "min_p", "seed", "presence_penalty", "frequency_penalty")
_LISTS = ("include", "tools")


def is_streamed(model: str, options: ResponsesOptions) -> bool:
    return options.unstreamed is None or re.match(options.unstreamed, model) is None


def responses_body(
    request: GenerationRequest, model: str, backend: str, stream: bool, options: ResponsesOptions
) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    omissions = Omissions(request, backend)
    asked = request.text.reasoning
    effort = effort_told(own, asked.effort if asked else None, options.extra_body)
    lacks = lacks_of(options.lacks, options.model_rules, model, effort)
    items, origins = InputItems(backend, options, omissions).build(request.messages)
    value: JsonObject = {"model": model, "input": items, "store": options.store}
    if stream:
        value["stream"] = True
    _put_parameters(value, request.text, model, options, lacks, omissions, backend)
    _put_tools(value, request, lacks, omissions, backend)
    if options.format_field == "text":
        _put_format(value, request, lacks, backend)
    else:
        put_response_format(value, request, lacks, backend)
    return Body(_joined(_joined(dict(options.extra_body), value), own), omissions, origins)


def _put_parameters(
    value: JsonObject,
    parameters: TextParameters,
    model: str,
    options: ResponsesOptions,
    lacks: frozenset[Lack],
    omissions: Omissions,
    backend: str,
) -> None:
    check_stops(parameters.stops(), ("stop",), None, backend)
    include: list[str] = []
    if parameters.max_output_tokens is not None:
        value["max_output_tokens"] = parameters.max_output_tokens
    for name in ("temperature", "top_p", *_NO_FIELD):
        wanted = getattr(parameters, name)
        if wanted is None:
            continue
        if name in lacks or name in _NO_FIELD:
            omissions.parameter(name)
        else:
            value[name] = wanted
    effort = parameters.reasoning.effort if parameters.reasoning else None
    known = efforts_of(options.efforts, options.model_rules, model)
    if effort is not None and "reasoning" in lacks:
        omissions.no_effort()
    elif effort is not None and known:
        effort = omissions.effort(effort, known)
    if "reasoning" not in lacks:
        reasoning: JsonObject = {"effort": effort} if effort is not None else {}
        if options.reasoning_summary is not None:
            reasoning["summary"] = options.reasoning_summary
        if reasoning:
            value["reasoning"] = reasoning
        if options.encrypted_reasoning:
            include.append("reasoning.encrypted_content")
    if parameters.logprobs is not None:
        if "logprobs" in lacks:
            omissions.parameter("logprobs")
        else:
            value["top_logprobs"] = parameters.logprobs
            include.append("message.output_text.logprobs")
    if include:
        value["include"] = include


def _put_tools(
    value: JsonObject, request: GenerationRequest, lacks: frozenset[Lack], omissions: Omissions, backend: str
) -> None:
    if not request.tools:
        return
    check_tools(lacks, backend)
    choice = request.tool_choice
    check_tool_choice(choice, lacks, backend)
    if "tool_choice" in lacks and choice == "none":
        return
    value["tools"] = [_tool(tool, backend) for tool in request.tools]
    if isinstance(choice, NamedTool):
        value["tool_choice"] = {"type": "function", "name": choice.name}
    elif choice != "auto":  # the vendors' default
        value["tool_choice"] = choice
    put_parallel_calls(value, request, lacks, omissions)


def _tool(tool: Tool, backend: str) -> JsonObject:
    theirs: JsonObject = {
        "type": "function",
        "name": tool.name,
        "parameters": tool.input_schema or {"type": "object", "properties": {}},
        "strict": False,
    }
    if tool.description:
        theirs["description"] = tool.description
    return merged(theirs, own_options(tool.provider_options, backend))


def _put_format(value: JsonObject, request: GenerationRequest, lacks: frozenset[Lack], backend: str) -> None:
    wanted = request.response_format
    check_format(wanted, lacks, backend)
    if isinstance(wanted, JsonFormat):
        value["text"] = {"format": {"type": "json_object"}}
    elif isinstance(wanted, JsonSchemaFormat):
        schema = {"type": "json_schema", "name": wanted.name, "schema": wanted.schema, "strict": wanted.strict}
        value["text"] = {"format": schema}


def _joined(under: JsonObject, over: JsonObject) -> JsonObject:
    """`under` with `over` in it: its lists grow, objects are merged key by key, everything else is replaced."""
    lists = {
        key: [*under[key], *(entry for entry in over[key] if entry not in under[key])]
        for key in _LISTS
        if isinstance(under.get(key), list) and isinstance(over.get(key), list)
    }
    return {**merged(under, over), **lists}
