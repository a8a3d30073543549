"""Requests on Mistral's wire: our parameters, tools and options as the bodies of chat completions and embeddings.

Messages are turned in `messages`; tools and formats have the form of OpenAI, and come from there. What surprises:
Mistral refuses every field that it does not document, so nothing goes out on the chance that it is known.

Source: docs.mistral.ai/api/endpoint/chat and …/endpoint/embeddings (2026-11); the types of mistralai 3.7.0.
"""

from __future__ import annotations

from pluggably.domain.generation import GenerationRequest, JsonObject, TextParameters
from pluggably.wire.codecs.mistral.messages import Messages
from pluggably.wire.codecs.mistral.options import MistralOptions
from pluggably.wire.codecs.openai.request import merge_own, put_response_format, put_tools
from pluggably.wire.lacks import Lack, check_stops, efforts_of, lacks_of
from pluggably.wire.omissions import Body, Omissions

# Our name and Mistral's; there is no min_p.
_SAMPLING = (
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("top_k", "top_k"),
    ("seed", "random_seed"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
)


def chat_body(request: GenerationRequest, model: str, backend: str, stream: bool, options: MistralOptions) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    omissions = Omissions(request, backend)
    asked = request.text.reasoning
    lacks = lacks_of(options.lacks, options.model_rules, model, asked.effort if asked else None)
    messages, origins = Messages(backend, options, omissions).build(request.messages)
    value: JsonObject = {**options.extra_body, "model": model, "messages": messages}
    if stream:
        value["stream"] = True
    _put_parameters(value, request.text, lacks, omissions, backend)
    if asked is not None:
        known = efforts_of(options.efforts, options.model_rules, model)
        if "reasoning" in lacks:
            if asked.effort != "none":
                omissions.no_effort()
        elif (effort := omissions.effort(asked.effort, known) if known else asked.effort) is not None:
            value["reasoning_effort"] = effort
    put_tools(value, request, lacks, omissions, backend)
    put_response_format(value, request, lacks, backend)
    merge_own(value, _with_tools(request.provider_options.get(backend), value), backend)
    return Body(value, omissions, origins)


def _with_tools(own: JsonObject | None, value: JsonObject) -> JsonObject | None:
    """The request's own options, whose `tools`, connectors and the like, stand beside the functions."""
    if own and isinstance(own.get("tools"), list) and "tools" in value:
        return {**own, "tools": [*value["tools"], *own["tools"]]}
    return own


def _put_parameters(
    value: JsonObject, parameters: TextParameters, lacks: frozenset[Lack], omissions: Omissions, backend: str
) -> None:
    if parameters.max_output_tokens is not None:
        value["max_tokens"] = parameters.max_output_tokens
    for name, theirs in _SAMPLING:
        wanted = getattr(parameters, name)
        if wanted is not None and name in lacks:
            omissions.parameter(name)
        elif wanted is not None:
            value[theirs] = wanted
    if parameters.min_p is not None:
        omissions.parameter("min_p")
    stops = parameters.stops()
    check_stops(stops, lacks, None, backend)
    if stops:
        value["stop"] = stops
    if parameters.logprobs is not None and "logprobs" in lacks:
        omissions.parameter("logprobs")
    elif parameters.logprobs is not None:
        value["logprobs"] = True
        value["top_logprobs"] = parameters.logprobs
