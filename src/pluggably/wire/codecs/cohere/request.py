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
from pluggably.wire.lacks import Lack, check_format, check_stops, check_tool_choice, lacks_of
from pluggably.wire.omissions import Body, Omissions
from pluggably.wire.parts import merged, own_options, own_pointer, pointer_step, refuse_own

_MAX_STOPS = 5

_NOT_OVERRIDABLE = ("model", "messages", "stream", "texts", "images", "inputs")
# Our name, Cohere's, and the range that it takes. Of `temperature` and `seed` no range is told.
_SAMPLING: tuple[tuple[str, str, float, float], ...] = (
    ("top_p", "p", 0.01, 0.99),
    ("top_k", "k", 0, 500),
    ("frequency_penalty", "frequency_penalty", 0.0, 1.0),
    ("presence_penalty", "presence_penalty", 0.0, 1.0),
)
# …/docs/structured-outputs, "Unsupported schema features" and, for `uniqueItems`, "Supported schema features";
# `pattern` is taken, but for anchors and look-aheads.
_UNSUPPORTED_KEYWORDS = frozenset(
    {
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
            "An embedding is one vector: ask for one type.", pointer=own_pointer(backend, "embedding_types")
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
    check_stops(stops, (), _MAX_STOPS, backend)
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
        dialect = _Dialect(backend)
        # "missing required field 'type'": github.com/koharu-rs/koharu/issues/1128 (2026-09).
        schema = {"type": "object", **wanted.schema}
        value["response_format"]["json_schema"] = dialect.of(schema, "/response_format/schema")
        omissions.keywords("/response_format/schema", dialect.cut)


class _Dialect:
    """Makes a schema one that Cohere takes; `cut` is what it does not, and was left out."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self.cut: set[str] = set()

    def of(self, schema: Any, place: str) -> Any:
        """Raises: UnsupportedParameter for an object of which nothing is required ("Schema constraints")."""
        if not isinstance(schema, dict):
            return schema
        if _is_of_an_object(schema) and not schema.get("required"):
            raise UnsupportedParameter(
                f"{self._backend} takes an object in a JSON Schema only where at least one field is `required`.",
                pointer=place,
            )
        kept: JsonObject = {}
        for key, inner in schema.items():
            at = f"{place}/{pointer_step(key)}"
            if self._is_foreign(key, inner):
                self.cut.add(key)
                if key == "oneOf" and "anyOf" not in schema:  # one of them, if not one alone
                    kept["anyOf"] = self._each(inner, at)
            elif key in _SCHEMA_MAPS and isinstance(inner, dict):
                kept[key] = {name: self.of(each, f"{at}/{pointer_step(name)}") for name, each in inner.items()}
            elif key == "anyOf":
                kept[key] = self._each(inner, at)
            else:
                kept[key] = inner if key in _VALUES else self.of(inner, at)
        return kept

    def _each(self, schemas: Any, place: str) -> Any:
        if not isinstance(schemas, list):
            return schemas
        return [self.of(each, f"{place}/{index}") for index, each in enumerate(schemas)]

    def _is_foreign(self, key: str, inner: Any) -> bool:
        return (
            key in _UNSUPPORTED_KEYWORDS
            or (key == "format" and inner not in _FORMATS)
            or (key == "pattern" and any(sign in str(inner) for sign in _UNSUPPORTED_IN_PATTERNS))
        )


def _is_of_an_object(schema: JsonObject) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema
