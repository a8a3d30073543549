"""What a wire cannot carry: how that is settled, and in which words a client is told.

One of three things happens. What would make another answer of it is refused, by the codec itself. A hint is dropped
(`hint`), or sent in another form (`change`), and told in `warnings`; a client that says `on_unsupported: error` has
both refused. What no client could have said in another way, such as another provider's state, is told and never
refused (`note`).

What happens at several providers has a method of its own here, so that it is the same code, place and sentence at each.
A sentence goes on where the provider's name has begun it: "groq" + "takes no top_k for this model".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeVar

from msgspec import Struct

from pluggably.domain.generation import (
    Effort,
    Event,
    GenerationRequest,
    GenerationWarning,
    JsonObject,
    ProviderItem,
    ProviderState,
    Reasoning,
    Warned,
)
from pluggably.errors import UnsupportedParameter

# What stands before a conversation that the assistant begins, at a provider that wants the user to.
OPENING = "(The conversation begins with your answer.)"
EFFORT = "/parameters/reasoning/effort"
_EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh", "max")

_Number = TypeVar("_Number", int, float)


class Omissions:
    """What one request loses on its way to one provider. What its methods are given is a JSON pointer into the request,
    or its last step where the rest is plain."""

    def __init__(self, request: GenerationRequest, backend: str) -> None:
        self._strict = request.on_unsupported == "error"
        self._backend = backend
        self.warned: list[Event] = []

    def hint(self, pointer: str, why: str) -> None:
        """A hint that is dropped. Raises: UnsupportedParameter where the request says `on_unsupported: error`."""
        self._lose("parameter_dropped", pointer, why)

    def change(self, pointer: str, why: str) -> None:
        """Something that is sent in another form, so that its effect is another. Raises as `hint`."""
        self._lose("parameter_changed", pointer, why)

    def note(
        self, code: Literal["part_dropped", "provider_state_dropped", "parameter_changed"], pointer: str, why: str
    ) -> None:
        """Something of a conversation that says nothing to this provider, or that a model wrote so."""
        self.warned.append(Warned(GenerationWarning(code=code, parameter=pointer, detail=f"{self._backend} {why}")))

    def _lose(self, code: Literal["parameter_dropped", "parameter_changed"], pointer: str, why: str) -> None:
        detail = f"{self._backend} {why}"
        if self._strict:
            raise UnsupportedParameter(f"{detail}.", pointer=pointer)
        self.warned.append(Warned(GenerationWarning(code=code, parameter=pointer, detail=detail)))

    # ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────────

    def parameter(self, name: str) -> None:
        """A parameter that the provider or the model does not have."""
        self.hint(f"/parameters/{name}", f"takes no {name} for this model")

    def within(self, name: str, wanted: _Number, least: _Number, most: _Number) -> _Number:
        """A number, or the nearest one that is taken."""
        sent = min(max(wanted, least), most)
        if sent != wanted:
            self.change(f"/parameters/{name}", f"takes {name} from {least:g} to {most:g}; {sent:g} was sent")
        return sent

    def effort(self, asked: Effort, known: Collection[Effort]) -> Effort | None:
        """The effort to ask for where the model has only those `known`: the nearest one below, or else its least. None:
        nothing is to be asked for."""
        if asked in known:
            return asked
        if asked == "none":
            self.hint(EFFORT, "cannot turn reasoning off for this model")
            return None
        has = [effort for effort in _EFFORTS if effort in known]
        if not has:
            self.no_effort()
            return None
        below = [effort for effort in has if _EFFORTS.index(effort) < _EFFORTS.index(asked)]
        nearest = below[-1] if below else has[0]
        self.change(EFFORT, f"has no effort {asked} for this model and was asked for {nearest}")
        return nearest

    def no_effort(self) -> None:
        self.hint(EFFORT, "takes no reasoning effort for this model")

    def effort_is_a_switch(self) -> None:
        self.change(EFFORT, "only turns reasoning on or off for this model, and it is on")

    def one_call_at_a_time(self) -> None:
        """`parallel_tool_calls: false`; to allow several is to ask for nothing."""
        self.hint("/parallel_tool_calls", "decides itself how many tools are called at once")

    def tools_declared(self, names: Collection[str]) -> None:
        """Tools that only the conversation names. That they may be called is what a client would not expect."""
        listed = ", ".join(f"`{name}`" for name in names)
        self.change(
            "/tools",
            "takes a conversation with calls of tools only together with tools; those that it calls were declared "
            f"({listed}), with any arguments, and may be called again",
        )

    def keywords(self, pointer: str, lost: Collection[str]) -> None:
        """What of a JSON Schema was cut from it."""
        if lost:
            words = ", ".join(f"`{word}`" for word in sorted(lost))
            self.change(pointer, f"enforces no {words} in a JSON Schema; the rest of it holds")

    # ── messages and their parts ────────────────────────────────────────────────────────────────────────────────────

    def system_moved(self, index: int) -> None:
        self.change(f"/input/{index}", "takes no system message at this place; it was put before the conversation")

    def opened(self, index: int) -> None:
        self.change(
            f"/input/{index}",
            "takes only conversations that the user begins; a short message of the user was put before this one",
        )

    def empty_message(self, index: int) -> None:
        self.note("part_dropped", f"/input/{index}", "takes no message without content")

    def result_moved(self, pointer: str) -> None:
        self.change(
            pointer,
            "takes only text as a tool's result for this model; this was put into a message of the user after it",
        )

    def wrapped_arguments(self, pointer: str, key: str) -> None:
        self.note(
            "parameter_changed",
            f"{pointer}/arguments",
            f"takes the arguments of a call only as a JSON object; these went as the `{key}` of one",
        )

    def stateless_reasoning(self, pointer: str) -> None:
        self.note("part_dropped", pointer, "takes reasoning back only with its `provider_state`")

    def foreign_reasoning(self, state: ProviderState, pointer: str) -> None:
        self.note("provider_state_dropped", pointer, f"cannot use this reasoning, which is of {self._of(state)}")

    def reasoning_of_another_model(self, pointer: str) -> None:
        self.note("provider_state_dropped", pointer, "cannot use this reasoning, which this model does not take back")

    def reasoning_cut_off(self, pointer: str) -> None:
        self.note(
            "provider_state_dropped",
            pointer,
            "takes reasoning back only with the prompt and the tools that it was made with, "
            "and this request has others",
        )

    def foreign_item(self, item: ProviderItem, pointer: str) -> None:
        self.note("part_dropped", pointer, f"cannot use this item, which is of {self._of(item)}")

    def own_reasoning(self, part: Reasoning, pointer: str) -> list[JsonObject]:
        """What a wire whose blocks all have a `type` gets back of reasoning: its own block word for word, else nothing,
        which is told."""
        state = part.provider_state
        if state is None:
            self.stateless_reasoning(pointer)
        elif state.provider != self._backend or not is_typed_block(state.data):
            self.foreign_reasoning(state, pointer)
        else:
            return [state.data]
        return []

    def own_item(self, part: ProviderItem, pointer: str) -> list[JsonObject]:
        """The same of a vendor's own item; in a copy, since marks and a message's options may be put into it."""
        if part.provider == self._backend and is_typed_block(part.data):
            return [dict(part.data)]
        self.foreign_item(part, pointer)
        return []

    def _of(self, made: ProviderState | ProviderItem) -> str:
        return made.provider if made.provider != self._backend else f"another wire of {self._backend}"


def is_typed_block(value: object) -> bool:
    """Whether something is a block of a wire on which they all have a type. What OpenAI's Chat wire keeps has none, so
    the states of two wires of one provider are told apart."""
    return isinstance(value, dict) and isinstance(value.get("type"), str)


class Body(Struct):
    """A body, the warnings for what it leaves out, and for each of its messages the index of the one it came from."""

    value: JsonObject
    omissions: Omissions
    origins: list[int] = []
