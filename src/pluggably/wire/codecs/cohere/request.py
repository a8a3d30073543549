"""Requests on Cohere's wire: our parameters, tools and options as the bodies of `/v2/chat` and `/v2/embed`.

Messages are turned in `messages`. What surprises: some ranges are narrower than ours, and a number outside is sent as
the nearest one that Cohere takes, with a warning; to drop `top_p: 1` would mean 0.75 there. Any tool can be demanded,
but no certain one, and a form of answer cannot be demanded beside tools.

Source: docs.cohere.com/reference/chat, …/reference/embed and …/docs/structured-outputs (2026-11); the types of the
cohere package 7.3.1.
"""

from __future__ import annotations

from typing import Any

from pluggably.domain.generation import (
    EmbeddingParameters,
    GenerationRequest,
    JsonFormat,
    JsonObject,
    JsonSchemaFormat,
    TextParameters,
    Tool,
)
from pluggably.errors import InvalidRequest, UnsupportedModality, UnsupportedParameter
from pluggably.wire.codecs.cohere.messages import Messages
from pluggably.wire.codecs.cohere.options import CohereOptions
from pluggably.wire.lacks import Lack, check_format, check_tool_choice, lacks_of
from pluggably.wire.omissions import Body, Omissions
from pluggably.wire.parts import merged, own_options, refuse_own

_MAX_STOPS = 5

_NOT_OVERRIDABLE = ("model", "messages", "stream", "texts", "images", "inputs")
# Our name, Cohere's, and the range that it takes. Of `temperature` and `seed` no range is told.
_SAMPLING: tuple[tuple[str, str, float, float], ...] = (
    ("top_p", "p", 0.01, 0.99),
    ("top_k", "k", 0, 500),
    ("frequency_penalty", "frequency_penalty", 0.0, 1.0),
    ("presence_penalty", "presence_penalty", 0.0, 1.0),
)
# …/docs/structured-outputs, "Unsupported schema features"; `pattern` is taken, but for anchors and look-aheads.
_UNSUPPORTED_KEYWORDS = frozenset(
    {
        "anyOf",
        "allOf",
        "oneOf",
        "not",
        "maximum",
        "minimum",
        "minItems",
        "maxItems",
        "maxLength",
        "minLength",
        "uniqueItems",
        "additionalProperties",
    }
)
_UNSUPPORTED_IN_PATTERNS = ("^", "$", "?=", "?!")
_FORMATS = frozenset({"date-time", "uuid", "date", "time"})
_SCHEMA_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_VALUES = frozenset({"enum", "const", "default", "examples", "required"})


def chat_body(request: GenerationRequest, model: str, backend: str, stream: bool, options: CohereOptions) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    omissions = Omissions(request, backend)
    lacks = lacks_of(options.lacks, options.model_rules, model, None)
    asked = request.text.reasoning
    thinks = "reasoning" not in lacks and (asked is None or asked.effort != "none")
    messages, origins = Messages(backend, options, omissions, thinks=thinks).build(request.messages)
    value: JsonObject = {**options.extra_body, "model": model, "messages": messages}
    if stream:
        value["stream"] = True
    _put_parameters(value, request.text, lacks, omissions, backend)
    _put_tools(value, request, lacks, omissions, backend)
    _put_format(value, request, lacks, omissions, backend)
    value.update(own)
    return Body(value, omissions, origins)


def embeddings_form(request: GenerationRequest, model: str, backend: str, options: CohereOptions) -> JsonObject:
    """A body without its texts. Raises: UnsupportedModality, InvalidRequest."""
    if "embeddings" in options.lacks:
        raise UnsupportedModality(f"{backend} makes no embeddings.", pointer="/modality")
    own = request.provider_options.get(backend) or {}
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    kinds = own.get("embedding_types", ["float"])
    if not isinstance(kinds, list) or len(kinds) != 1:
        raise InvalidRequest(
            "An embedding is one vector: ask for one type.", pointer=f"/provider_options/{backend}/embedding_types"
        )
    value: JsonObject = {"model": model, "input_type": options.input_type, "embedding_types": ["float"]}
    parameters = request.parameters
    if isinstance(parameters, EmbeddingParameters) and parameters.dimensions is not None:
        value["output_dimension"] = parameters.dimensions
    return {**value, **own}


# ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _put_parameters(
    value: JsonObject, parameters: TextParameters, lacks: frozenset[Lack], omissions: Omissions, backend: str
) -> None:
    if parameters.max_output_tokens is not None:
        value["max_tokens"] = parameters.max_output_tokens
    if parameters.temperature is not None:
        value["temperature"] = parameters.temperature
    for name, theirs, low, high in _SAMPLING:
        wanted = getattr(parameters, name)
        if wanted is None:
            continue
        value[theirs] = omissions.within(name, wanted, low, high)
    if parameters.presence_penalty is not None and parameters.frequency_penalty is not None:
        # "only one of 'presence_penalty' and 'frequency_penalty' can be specified for this model"
        del value["presence_penalty"]
        omissions.hint("/parameters/presence_penalty", "takes no presence_penalty beside a frequency_penalty")
    if parameters.seed is not None:
        value["seed"] = parameters.seed
    if parameters.min_p is not None:
        omissions.parameter("min_p")
    stops = parameters.stops()
    if len(stops) > _MAX_STOPS:
        raise UnsupportedParameter(f"{backend} takes at most {_MAX_STOPS} stop sequences.", pointer="/parameters/stop")
    if stops:
        value["stop_sequences"] = stops
    if parameters.logprobs is not None:
        value["logprobs"] = True
        if parameters.logprobs:
            omissions.change("/parameters/logprobs", "tells the token that it chose, and no others")
    if parameters.reasoning is not None:
        _put_thinking(value, parameters.reasoning.effort, lacks, omissions)


def _put_thinking(value: JsonObject, effort: str, lacks: frozenset[Lack], omissions: Omissions) -> None:
    """Thinking is on or off. A bound in tokens (`token_budget`) is no effort: the vendor advises against it."""
    if "reasoning" in lacks:
        if effort != "none":
            omissions.no_effort()
        return
    value["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
    if effort != "none":
        omissions.effort_is_a_switch()


def _put_tools(
    value: JsonObject, request: GenerationRequest, lacks: frozenset[Lack], omissions: Omissions, backend: str
) -> None:
    if not request.tools:
        return
    check_tool_choice(request.tool_choice, lacks | {"named_tool"}, backend)
    if "tool_choice" in lacks and request.tool_choice == "none":
        return
    value["tools"] = [_tool(tool, backend) for tool in request.tools]
    if isinstance(request.tool_choice, str) and request.tool_choice != "auto":
        value["tool_choice"] = request.tool_choice.upper()
    if request.parallel_tool_calls is False:
        omissions.one_call_at_a_time()


def _tool(tool: Tool, backend: str) -> JsonObject:
    function: JsonObject = {
        "name": tool.name,
        "parameters": tool.input_schema or {"type": "object", "properties": {}},
    }
    if tool.description:
        function["description"] = tool.description
    return merged({"type": "function", "function": function}, own_options(tool.provider_options, backend))


# ── the form of the answer ──────────────────────────────────────────────────────────────────────────────────────────


def _put_format(
    value: JsonObject, request: GenerationRequest, lacks: frozenset[Lack], omissions: Omissions, backend: str
) -> None:
    wanted = request.response_format
    check_format(wanted, lacks, backend)
    if not isinstance(wanted, JsonFormat | JsonSchemaFormat):
        return
    if request.tools or "documents" in request.provider_options.get(backend, {}):
        # "The parameter is not supported when used in combinations with the `documents` or `tools` parameters."
        raise UnsupportedParameter(
            f"{backend} takes no form of answer beside tools or documents.", pointer="/response_format"
        )
    value["response_format"] = {"type": "json_object"}
    if isinstance(wanted, JsonSchemaFormat):
        if wanted.schema.get("type", "object") != "object":
            raise UnsupportedParameter(
                f"{backend} takes only schemas of an object.", pointer="/response_format/schema/type"
            )
        cut: set[str] = set()
        value["response_format"]["json_schema"] = _in_dialect(wanted.schema, cut)
        omissions.keywords("/response_format/schema", cut)


def _in_dialect(schema: Any, cut: set[str]) -> Any:
    """A schema without what Cohere does not take; `cut` is told what that was."""
    if not isinstance(schema, dict):
        return schema
    kept: JsonObject = {}
    for key, inner in schema.items():
        is_foreign = (
            key in _UNSUPPORTED_KEYWORDS
            or (key == "format" and inner not in _FORMATS)
            or (key == "pattern" and any(sign in str(inner) for sign in _UNSUPPORTED_IN_PATTERNS))
        )
        if is_foreign:
            cut.add(key)
            if key in ("anyOf", "oneOf") and isinstance(inner, list):
                # Most often "this or null", and then the first one is what is meant.
                chosen = next((each for each in inner if each != {"type": "null"}), None)
                kept = {**_in_dialect(chosen, cut), **kept} if isinstance(chosen, dict) else kept
        elif key in _SCHEMA_MAPS and isinstance(inner, dict):
            kept[key] = {name: _in_dialect(each, cut) for name, each in inner.items()}
        elif key not in _VALUES and isinstance(inner, dict):
            kept[key] = _in_dialect(inner, cut)
        else:
            kept[key] = inner
    return kept
