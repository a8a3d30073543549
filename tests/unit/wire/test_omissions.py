"""What a wire cannot carry is settled in one way and told in one form, whoever the provider is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pluggably.domain.generation import Effort, GenerationWarning, ProviderItem, ProviderState, Reasoning, Warned
from pluggably.errors import UnsupportedParameter
from pluggably.testing import codecs
from pluggably.wire.omissions import Omissions


def omissions(on_unsupported: str = "warn") -> Omissions:
    return Omissions(codecs.generation_request({"input": "x", "on_unsupported": on_unsupported}), "groq")


def told(lost: Omissions) -> list[tuple[str, str | None]]:
    return [(warning.code, warning.parameter) for warning in warnings(lost)]


def warnings(lost: Omissions) -> list[GenerationWarning]:
    return [event.warning for event in lost.warned if isinstance(event, Warned)]


@pytest.mark.parametrize(
    ("asked", "known", "sent", "code"),
    [
        ("low", ("low", "high"), "low", None),
        ("none", ("none", "high"), "none", None),
        ("medium", ("low", "high"), "low", "parameter_changed"),
        ("xhigh", ("high", "low"), "high", "parameter_changed"),
        ("minimal", ("medium", "high"), "medium", "parameter_changed"),
        ("low", ("none", "high"), "high", "parameter_changed"),
        ("none", ("low", "high"), None, "parameter_dropped"),
        ("low", ("none",), None, "parameter_dropped"),
        ("high", (), None, "parameter_dropped"),
    ],
)
def test_the_nearest_effort(asked: Effort, known: Sequence[Effort], sent: Effort | None, code: str | None) -> None:
    """Below the one that was asked for, else the least; a wish to reason never becomes `none`, nor the other way."""
    lost = omissions()
    assert lost.effort(asked, known) == sent
    assert told(lost) == ([(code, "/parameters/reasoning/effort")] if code else [])


@pytest.mark.parametrize(("wanted", "sent"), [(0.5, 0.5), (0, 0), (1, 1), (1.5, 1), (-0.5, 0)])
def test_a_number_out_of_range_becomes_the_nearest(wanted: float, sent: float) -> None:
    """And only such a one is told."""
    lost = omissions()
    assert lost.within("temperature", wanted, 0, 1) == sent
    assert told(lost) == ([("parameter_changed", "/parameters/temperature")] if wanted != sent else [])


LOSSES: dict[str, Callable[[Omissions], object]] = {
    "parameter": lambda lost: lost.parameter("top_k"),
    "within": lambda lost: lost.within("top_p", 2, 0, 1),
    "effort": lambda lost: lost.effort("low", ("high",)),
    "no effort": lambda lost: lost.no_effort(),
    "switch": lambda lost: lost.effort_is_a_switch(),
    "calls": lambda lost: lost.one_call_at_a_time(),
    "keywords": lambda lost: lost.keywords("/response_format/schema", ["pattern"]),
    "system": lambda lost: lost.system_moved(2),
    "opening": lambda lost: lost.opened(0),
}
NOTES: dict[str, Callable[[Omissions], object]] = {
    "empty": lambda lost: lost.empty_message(1),
    "arguments": lambda lost: lost.wrapped_arguments("/input/1/content/0", "INVALID_JSON"),
    "stateless": lambda lost: lost.own_reasoning(Reasoning("hm"), "/input/1/content/0"),
    "reasoning": lambda lost: lost.foreign_reasoning(ProviderState("openai", {}), "/input/1/content/0"),
    "item": lambda lost: lost.own_item(ProviderItem("openai", {"type": "x"}), "/input/1/content/0"),
}


@pytest.mark.parametrize("name", [*LOSSES, *NOTES])
def test_every_loss_is_one_sentence_of_the_provider_with_a_place(name: str) -> None:
    """It begins with the provider's name, as the error does where a client wants one."""
    lost = omissions()
    (LOSSES | NOTES)[name](lost)
    (warning,) = warnings(lost)
    assert warning.detail.startswith("groq ")
    assert not warning.detail.endswith(".")
    assert warning.parameter is not None
    assert warning.parameter.startswith("/")


@pytest.mark.parametrize("name", LOSSES)
def test_a_strict_client_is_refused_with_the_same_words(name: str) -> None:
    """`on_unsupported: error` is for what is dropped and for what is changed."""
    lax, strict = omissions(), omissions("error")
    LOSSES[name](lax)
    with pytest.raises(UnsupportedParameter) as raised:
        LOSSES[name](strict)
    (warning,) = warnings(lax)
    assert (raised.value.detail, raised.value.pointer) == (f"{warning.detail}.", warning.parameter)


@pytest.mark.parametrize("name", NOTES)
def test_what_says_nothing_here_is_never_refused(name: str) -> None:
    """A conversation goes on at another provider, also for a strict client."""
    strict = omissions("error")
    NOTES[name](strict)
    assert len(strict.warned) == 1


def test_the_keywords_of_a_schema_are_told_in_order_or_not_at_all() -> None:
    """A set has none of its own."""
    lost = omissions()
    lost.keywords("/tools/0/input_schema", set())
    lost.keywords("/tools/0/input_schema", {"pattern", "allOf", "not"})
    assert [warning.detail for warning in warnings(lost)] == [
        "groq enforces no `allOf`, `not`, `pattern` in a JSON Schema; the rest of it holds"
    ]


def test_what_is_of_another_wire_of_the_same_provider_is_named_so() -> None:
    """Else a client would read that its provider cannot use what is its own."""
    lost = omissions()
    lost.own_reasoning(Reasoning("hm", ProviderState("groq", ["no typed block"])), "/input/1/content/0")
    assert [warning.detail for warning in warnings(lost)] == [
        "groq cannot use this reasoning, which is of another wire of groq"
    ]
