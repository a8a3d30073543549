"""The table of docs/finish-reasons.md is true: each vendor's word ends an answer as it says there, on its whole way
through the codec, and no codec knows a word that is not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import msgspec
import pytest
from test_matrix import begun
from vendor_forms import WIRES, Told, events_of

from pluggably.domain.generation import Fold
from pluggably.errors import PluggablyError
from pluggably.testing import codecs
from pluggably.wire.codec import HttpReply

Json = dict[str, Any]
PAGE = Path(__file__).parents[2] / "docs" / "finish-reasons.md"
REASONS = ("stop", "length", "tool_calls", "content_filter", "error")
REQUEST = codecs.generation_request({"input": "Say it"})


def rows() -> dict[str, dict[str, list[str]]]:
    """The table: wire → reason → the vendor's words."""
    table = PAGE.read_text().partition("## What each wire says")[2]
    found: dict[str, dict[str, list[str]]] = {}
    for line in table.splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]
        if len(cells) == 1 + len(REASONS):
            for wire in cells[0]:
                found[wire] = dict(zip(REASONS, cells[1:], strict=True))
    return found


TABLE = rows()
WORDS = [(wire, reason, word) for wire, row in TABLE.items() for reason, words in row.items() for word in words]


def in_choice(answer: Json, word: str) -> None:
    answer["choices"][0]["finish_reason"] = word


def in_response(answer: Json, word: str) -> None:
    if word in ("completed", "failed", "cancelled"):
        answer["status"] = word
    else:
        answer.update(status="incomplete", incomplete_details={"reason": word})


# Where a whole answer of each wire has the word.
PUT: Mapping[str, Callable[[Json, str], None]] = {
    "anthropic": lambda answer, word: answer.update(stop_reason=word),
    "bedrock": lambda answer, word: answer.update(stopReason=word),
    "cohere": lambda answer, word: answer.update(finish_reason=word),
    "gemini": lambda answer, word: answer["candidates"][0].update(finishReason=word),
    "huggingface": in_choice,
    "mistral": in_choice,
    "native": lambda answer, word: answer.update(finish_reason=word),
    "ollama": lambda answer, word: answer.update(done_reason=word),
    "openai": in_choice,
    "openai_responses": in_response,
}
# Where a codec keeps the words that it knows.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("anthropic.reply:FINISH_REASONS",),
    "bedrock": ("bedrock.codec:FINISH_REASONS", "bedrock.codec:MALFORMED"),
    "cohere": ("cohere.reply:FINISH_REASONS",),
    "gemini": ("gemini.reply:FINISH_REASONS", "gemini.reply:BROKEN_OFF"),
    "huggingface": ("openai.reply:FINISH_REASONS", "openai.reply:BROKEN_OFF"),
    "mistral": ("mistral.reply:FINISH_REASONS",),
    "native": ("native.reply:FINISH_REASONS",),
    "ollama": ("ollama.codec:_FINISH_REASONS",),
    "openai": ("openai.reply:FINISH_REASONS", "openai.reply:BROKEN_OFF"),
    "openai_responses": ("openai_responses.reply:INCOMPLETE",),
}


def ended(wire: str, word: str, told: Told) -> Fold:
    answer, _ = WIRES[wire](told)
    PUT[wire](answer, word)
    codec, fold, _ = begun(wire, REQUEST, stream=False)
    fold.add(events_of(codec.receive(HttpReply(status=200, headers={}, body=msgspec.json.encode(answer)))))
    return fold


def test_every_wire_is_in_the_table() -> None:
    """And every word that its codec knows."""
    assert set(TABLE) == set(WIRES)
    for wire, places in KNOWN.items():
        known = {word for place in places for word in resolve_name(f"pluggably.wire.codecs.{place}")}
        assert known <= {word for words in TABLE[wire].values() for word in words}, wire


@pytest.mark.parametrize(("wire", "reason", "word"), WORDS)
def test_a_vendors_word_ends_an_answer_as_the_table_says(wire: str, reason: str, word: str) -> None:
    """What was said stands in the answer; an error is one, and no answer. A word for calls that never came: a stop."""
    told = Told(words=["Well", " then"])
    if reason == "error":
        with pytest.raises(PluggablyError):
            ended(wire, word, told)
        return
    fold = ended(wire, word, told)
    assert fold.finish_reason == ("stop" if reason == "tool_calls" and wire != "native" else reason)
    assert [item.text for item in fold.output()] == ["Well then"]  # type: ignore[union-attr]


@pytest.mark.parametrize(("wire", "reason", "word"), [each for each in WORDS if each[1] != "error"])
def test_calls_are_waited_for_unless_something_was_cut(wire: str, reason: str, word: str) -> None:
    """With calls of tools, what would be a stop is `tool_calls`; what was cut or filtered is told as that."""
    if (wire, word) == ("openai_responses", "steered"):
        return  # the model was told to do something else before its calls were made
    if (wire, word) == ("native", "stop"):
        return  # another gateway has settled that
    fold = ended(wire, word, Told(calls=[("call_0000a", "weather", '{"city":"Rome"}')], ends="tool_calls"))
    assert fold.finish_reason == ("tool_calls" if reason == "stop" else reason)
