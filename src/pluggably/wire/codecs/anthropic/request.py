"""Requests on Anthropic's wire: our parameters, tools and options as the body of `POST /messages`.

Messages are turned in `messages`; how models differ is data, in `options`. What surprises: the wire demands a limit of
tokens, so one is sent where the request names none; and thinking, sampling, a demanded tool call and a prefill exclude
each other in ways that the models refuse with an error, so what is only a hint gives way.

Source: platform.claude.com/docs/en/api/messages/create; …/build-with-claude/thinking, …/effort and
…/structured-outputs; …/agents-and-tools/tool-use/define-tools (2026-11); the types of the anthropic package 2.12.0.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from pluggably.domain.generation import (
    Effort,
    GenerationRequest,
    JsonObject,
    JsonSchemaFormat,
    NamedTool,
    TextParameters,
    Tool,
)
from pluggably.errors import InvalidRequest, ModelNotFound, UnsupportedParameter
from pluggably.wire.codecs.anthropic.messages import Conversation, Messages
from pluggably.wire.codecs.anthropic.options import AnthropicOptions, Profile
from pluggably.wire.codecs.anthropic.schema import cut
from pluggably.wire.lacks import check_format, check_stops
from pluggably.wire.omissions import EFFORT, Omissions
from pluggably.wire.parts import called_tools, merged, own_options, own_pointer, refuse_own

# A model's name that can stand in an address.
_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]*")
# Of a request's own provider options, what would break the translation.
_NOT_OVERRIDABLE = ("model", "messages", "system", "stream")
# …/api/messages/create has no such fields.
_NO_FIELD = ("min_p", "seed", "presence_penalty", "frequency_penalty", "logprobs")
Sampling: TypeAlias = Literal["temperature", "top_p", "top_k"]
_SAMPLING: tuple[Sampling, ...] = ("temperature", "top_p", "top_k")
_BETA = re.compile(r"[A-Za-z0-9._-]+")
# "Must be ≥1024 and less than `max_tokens`": `budget_tokens`.
_LEAST_BUDGET = 1024


class Body(Struct):
    """A body, the warnings for what it leaves out, and for each of its messages the index of the one it came from.
    `betas` are the features that the request switches on, which is done by a header."""

    value: JsonObject
    omissions: Omissions
    origins: list[int]
    betas: list[str]


def messages_body(
    request: GenerationRequest, model: str, backend: str, stream: bool, options: AnthropicOptions
) -> Body:
    """Raises: UnsupportedParameter, InvalidRequest."""
    own = dict(request.provider_options.get(backend) or {})
    refuse_own(own, _NOT_OVERRIDABLE, backend)
    betas = _betas(own.pop("betas"), backend) if "betas" in own else []
    omissions = Omissions(request, backend)
    profile = options.profile_for(model)
    called = [] if request.tools or own.get("tools") else called_tools(request.messages)
    messages = Messages(backend, options, profile, omissions)
    conversation = messages.build(request.messages, has_other_tools=bool(called))
    limit = request.text.max_output_tokens or profile.max_tokens
    value: JsonObject = {"model": model, "max_tokens": limit, "messages": conversation.messages}
    if conversation.prompt:
        value["system"] = conversation.prompt
    if conversation.container is not None:
        value["container"] = conversation.container
    if stream:
        value["stream"] = True
    parts = _Parts(request, request.text, backend, options, profile, omissions)
    parts.put_thinking(value, conversation)
    thinking = own.get("thinking") or value.get("thinking")
    parts.put_sampling(value, thinking if isinstance(thinking, dict) else {})
    parts.put_stops(value)
    parts.put_tools(value, called)
    parts.put_format(value)
    if options.extra_body:
        value = {**options.extra_body, **value}
    return Body(_joined(value, own) if own else value, omissions, conversation.origins, betas)


def model_step(model: str, backend: str) -> str:
    """A model as a step of an address. Raises: ModelNotFound."""
    if not _STEP.fullmatch(model):
        raise ModelNotFound(f"{backend}: no model there can have this name.", pointer="/model")
    return model


def _betas(given: Any, backend: str) -> list[str]:
    """Raises: InvalidRequest for what may not stand in a header."""
    names: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(name, str) and _BETA.fullmatch(name) for name in names):
        raise InvalidRequest(
            "`betas` is a list of names, such as `context-1m-2025-08-07`.",
            pointer=own_pointer(backend, "betas"),
        )
    return names


class _Parts(Struct):
    """What every part of a body needs to know."""

    request: GenerationRequest
    parameters: TextParameters
    backend: str
    options: AnthropicOptions
    profile: Profile
    omissions: Omissions

    @property
    def demands_call(self) -> bool:
        choice = self.request.tool_choice
        return bool(self.request.tools) and (choice == "required" or isinstance(choice, NamedTool))

    # ── thinking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def put_thinking(self, value: JsonObject, conversation: Conversation) -> None:
        """Where a call is demanded or an answer continued, thinking is an error, unless the model always thinks."""
        asked = self.parameters.reasoning
        effort = asked.effort if asked is not None else None
        if effort is None and not self.profile.thinks:
            return
        always = self.profile.thinking_off == "never"
        off: JsonObject = {"type": self.profile.thinking_off}
        is_in_the_way = not always and (self.demands_call or conversation.is_prefilled)
        if effort is not None and "reasoning" in self.profile.lacks:
            self.omissions.no_effort()
        elif effort == "none" and always:
            self.omissions.effort(effort, self.profile.efforts)
        elif effort == "none" or (is_in_the_way and self.profile.thinks):
            if effort not in (None, "none"):
                self._give_way()
            value["thinking"] = off
        elif effort is not None and is_in_the_way:
            self._give_way()
        elif effort is not None and self.profile.thinking == "budget":
            self._put_budget(value, effort)
        elif effort is not None:
            value["thinking"] = {"type": "adaptive"}
            if self.options.thinking_display is not None:
                value["thinking"]["display"] = self.options.thinking_display
            value["output_config"] = {"effort": self.omissions.effort(effort, self.profile.efforts)}

    def _give_way(self) -> None:
        self.omissions.hint(EFFORT, "cannot reason where a call is demanded or an assistant's message is continued")

    def _put_budget(self, value: JsonObject, effort: Effort) -> None:
        limit = value["max_tokens"]
        if limit <= _LEAST_BUDGET:
            self.omissions.hint(EFFORT, f"reasons only with more than {_LEAST_BUDGET} tokens in all")
            return
        # At least half of what a client allows is left for the answer, where the least budget leaves it.
        budget = min(self.options.budgets.get(effort, _LEAST_BUDGET), max(limit // 2, _LEAST_BUDGET))
        value["thinking"] = {"type": "enabled", "budget_tokens": budget}

    # ── sampling ────────────────────────────────────────────────────────────────────────────────────────────────────

    def put_sampling(self, value: JsonObject, thinking: JsonObject) -> None:
        wanted = self.parameters
        thinks = thinking.get("type") in ("enabled", "adaptive")
        for name in _NO_FIELD:
            if getattr(wanted, name) is not None:
                self.omissions.parameter(name)
        for name in _SAMPLING:
            given = getattr(wanted, name)
            if given is None:
                continue
            if name in self.profile.lacks:
                self.omissions.parameter(name)
            elif (clash := self._clash_of(name, given, value, thinks)) is not None:
                self.omissions.hint(f"/parameters/{name}", f"takes no {name} {clash}")
            else:
                value[name] = self.omissions.within(name, given, 0, 1) if name == "temperature" else given

    def _clash_of(self, name: Sampling, given: float, value: JsonObject, thinks: bool) -> str | None:
        """Why a sampling parameter cannot be sent with the others; None if it can."""
        if name == "top_p" and self.profile.one_of_sampling and "temperature" in value:
            return "beside a temperature for this model"
        # "Isn't compatible with `temperature` or `top_k` modifications"; "`top_p` between 1 and 0.95".
        if thinks and (name == "top_k" or (name == "top_p" and given < 0.95) or (name == "temperature" and given != 1)):
            return "of this value while the model reasons"
        return None

    def put_stops(self, value: JsonObject) -> None:
        """Raises: UnsupportedParameter."""
        stops = self.parameters.stops()
        if not stops:
            return
        check_stops(stops, self.profile.lacks, None, self.backend)
        if any(not stop.strip() for stop in stops):  # "each stop sequence must contain non-whitespace"
            raise UnsupportedParameter(
                f"{self.backend} takes no stop sequences of white space alone.", pointer="/parameters/stop"
            )
        value["stop_sequences"] = stops

    # ── tools and the form of the answer ────────────────────────────────────────────────────────────────────────────

    def put_tools(self, value: JsonObject, called: list[Tool]) -> None:
        """`called` are those of the conversation where the request has none: "Requests which include `tool_use` or
        `tool_result` blocks must define tools", the error of the API. They may not be called again, so the answer is
        what it would be without them; what is lost is only the reasoning that was made with other tools."""
        request, choice = self.request, self.request.tool_choice
        if not request.tools:
            if called:
                value["tools"] = [self._tool(tool, "/tools") for tool in called]
                value["tool_choice"] = {"type": "none"}
            return
        if "tool_choice" in self.profile.lacks and self.demands_call:
            raise UnsupportedParameter(
                f"{self.backend} cannot be made to call a tool with this model; leave `tool_choice` at `auto`.",
                pointer="/tool_choice",
            )
        value["tools"] = [self._tool(tool, f"/tools/{index}") for index, tool in enumerate(request.tools)]
        theirs: JsonObject = {}
        if isinstance(choice, NamedTool):
            theirs = {"type": "tool", "name": choice.name}
        elif choice != "auto":  # the default
            theirs = {"type": "any" if choice == "required" else "none"}
        if request.parallel_tool_calls is False and choice != "none":
            if "parallel_tool_calls" in self.profile.lacks:
                self.omissions.one_call_at_a_time()
            else:
                theirs = {"type": "auto", **theirs, "disable_parallel_tool_use": True}
        if theirs:
            value["tool_choice"] = theirs

    def put_format(self, value: JsonObject) -> None:
        wanted = self.request.response_format
        if wanted is None:
            return
        check_format(wanted, {"json", *self.profile.lacks}, self.backend)
        if not isinstance(wanted, JsonSchemaFormat):
            return
        schema = self._cut(wanted.schema, "/response_format/schema")
        value.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}

    def _tool(self, tool: Tool, pointer: str) -> JsonObject:
        own = own_options(tool.provider_options, self.backend)
        schema = tool.input_schema if "type" in tool.input_schema else {"type": "object", **tool.input_schema}
        if own.get("strict") is True:  # what is guaranteed must be in the dialect
            schema = self._cut(schema, f"{pointer}/input_schema")
        theirs: JsonObject = {"name": tool.name, "input_schema": schema}
        if tool.description:
            theirs["description"] = tool.description
        return merged(theirs, own)

    def _cut(self, schema: JsonObject, pointer: str) -> JsonObject:
        kept, lost = cut(schema)
        self.omissions.keywords(pointer, lost)
        return kept


def _joined(under: JsonObject, over: JsonObject) -> JsonObject:
    """`under` with a request's own options: tools join those that are there, the config of the output is merged key by
    key, everything else is replaced."""
    joined = {**under, **over}
    if isinstance(over.get("tools"), list):
        joined["tools"] = [*under.get("tools", ()), *over["tools"]]
    if isinstance(over.get("output_config"), dict):
        joined["output_config"] = {**under.get("output_config", {}), **over["output_config"]}
    return joined
