"""The same conversations over every wire: what a client gets does not depend on who answers.

Usage, ids and what only its own provider understands (`provider_state`, options of a part) are aside, and the arguments
of calls are compared as the JSON that they are. What a wire cannot say stands in `CANNOT`, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any

import msgspec
import pytest
from vendor_forms import VENDORS, WIRES, Told, fault, refused

from pluggably.domain.generation import Fold, GenerationRequest, Item, Reasoning, ToolCall
from pluggably.errors import PluggablyError
from pluggably.plugins import CODECS, Plugins
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.testing.fake_anthropic import signature_of
from pluggably.testing.fake_gemini import SIGNATURE
from pluggably.wire.codec import Address, Codec, HttpCall, HttpReply
from pluggably.wire.framing import FRAMERS

Json = dict[str, Any]
CODEC = Plugins(CODECS)
# Wires on which nobody can say anything.
WITHOUT_TEXT = ("vertex_embeddings",)
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALLS = [("call_0000a", "weather", '{"city":"Rome"}'), ("call_0000b", "weather", '{"city":"Oslo"}')]
ASKED = [{"role": "user", "content": "How warm is it in Rome and Oslo?"}]
CALLED = [{"type": "tool_call", "id": id_, "name": name, "arguments": given} for id_, name, given in CALLS]
RESULTS = [
    {"type": "tool_result", "tool_call_id": "call_0000a", "content": "22 degrees"},
    {"type": "tool_result", "tool_call_id": "call_0000b", "content": "no such city", "is_error": True},
]
ANSWER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass(frozen=True)
class Conversation:
    """What is asked, what of it must be found in the call, and what is answered."""

    request: Json
    told: Told
    sent: Sequence[str] = ()


CONVERSATIONS = {
    "plain": Conversation({"input": "Say hi"}, Told(words=["Hi", " there", "."]), ["Say hi"]),
    "system and turns": Conversation(
        {
            "input": [
                {"role": "system", "content": "Speak Latin."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Salve!"},
                {"role": "user", "content": "Again"},
            ]
        },
        Told(words=["Salve", " iterum!"]),
        ["Speak Latin.", "Hello", "Salve!", "Again"],
    ),
    "a tool call": Conversation(
        {"input": ASKED, "tools": [TOOL]},
        Told(calls=CALLS[:1], ends="tool_calls"),
        ["weather", "The weather of a city"],
    ),
    "parallel tool calls": Conversation({"input": ASKED, "tools": [TOOL]}, Told(calls=CALLS, ends="tool_calls")),
    "results of tools": Conversation(
        {
            "input": [*ASKED, {"role": "assistant", "content": CALLED}, {"role": "tool", "content": RESULTS}],
            "tools": [TOOL],
        },
        Told(words=["22", " in Rome."]),
        ["22 degrees", "no such city"],
    ),
    "structured output": Conversation(
        {
            "input": "A number",
            "response_format": {"type": "json_schema", "name": "answer", "schema": ANSWER, "strict": False},
        },
        Told(words=['{"n":', "42}"]),
        ["integer"],
    ),
    "reasoning": Conversation({"input": "Think"}, Told(thoughts=["I", " think."], words=["It", " is 42."])),
    "content filter": Conversation({"input": "Say it"}, Told(words=["Well", " then"], ends="content_filter")),
    "nothing but a filter": Conversation({"input": "Say it"}, Told(ends="content_filter")),
    "cut short": Conversation(
        {"input": "Say much", "parameters": {"max_output_tokens": 1234}},
        Told(words=["As", " follows"], ends="length"),
        ["1234"],
    ),
    "a stop sequence": Conversation(
        {"input": "Count", "parameters": {"stop": ["END"]}}, Told(words=["1", " 2"]), ['["END"]']
    ),
    "an image": Conversation(
        {
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image", "data": PIXEL, "media_type": "image/png"},
                    ],
                }
            ]
        },
        Told(words=["A", " dot."]),
        [PIXEL, "What is it?"],
    ),
}
# Where a wire cannot say it: the code of the error that is raised before any call, or, for a reason to stop that the
# wire does not have, the table in which its codec has all of them.
CANNOT = {
    # It has no stop sequences.
    ("openai_responses", "a stop sequence"): "unsupported_parameter",
    # No filter of theirs is told as a reason to stop.
    ("cohere", "content filter"): "pluggably.wire.codecs.cohere.reply:FINISH_REASONS",
    ("mistral", "content filter"): "pluggably.wire.codecs.mistral.reply:FINISH_REASONS",
    ("ollama", "content filter"): "pluggably.wire.codecs.ollama.codec:_FINISH_REASONS",
}
CANNOT |= {(wire, "nothing but a filter"): where for (wire, name), where in CANNOT.items() if name == "content filter"}
CELLS = [pytest.param(wire, name, id=f"{wire}: {name}") for name in CONVERSATIONS for wire in WIRES]


def address(wire: str, *, stream: bool) -> Address:
    return Address(base_url="https://vendor.test", model=VENDORS[wire][1], backend=wire, stream=stream)


def begun(wire: str, request: GenerationRequest, *, stream: bool) -> tuple[Codec, Fold, HttpCall]:
    preset = PRESETS[VENDORS[wire][0]]
    codec = codecs.make(CODEC[wire], preset.options if preset.codec == wire else {})
    step = codec.begin(request, address(wire, stream=stream))
    assert step.next is not None
    fold = Fold()
    fold.add(step.events)
    return codec, fold, step.next


def answered(wire: str, request: GenerationRequest, told: Told, stream: bool) -> Fold:
    """The answer, after the whole way through the codec and the fold."""
    codec, fold, call = begun(wire, request, stream=stream)
    plain, streamed = WIRES[wire](told)
    if not stream:
        events = list(codec.receive(HttpReply(status=200, headers={}, body=msgspec.json.encode(plain))).events)
    else:
        assert call.framing is not None
        framer = FRAMERS[call.framing]()
        events = [event for frame in (*framer.feed(streamed), *framer.end()) for event in codec.feed(frame).events]
        events += codec.finish().events
    codecs.check_events(events)
    fold.add(events)
    return fold


def common(items: Sequence[Item]) -> list[Json]:
    """Items without what is aside."""
    found: list[Json] = []
    for item in items:
        value: Json = msgspec.to_builtins(item)
        if isinstance(item, ToolCall):
            assert item.id
            value["arguments"] = json.loads(item.arguments)
        aside = ("id", "provider_options", "provider_state")
        found.append({name: given for name, given in value.items() if name not in aside})
    return found


def expected(told: Told) -> list[Json]:
    items: list[Json] = []
    if told.thoughts:
        items.append({"type": "reasoning", "text": "".join(told.thoughts)})
    if told.words:
        items.append({"type": "text", "text": "".join(told.words), "annotations": [], "logprobs": None})
    return [
        *items,
        *({"type": "tool_call", "name": name, "arguments": json.loads(given)} for _, name, given in told.calls),
    ]


def test_every_codec_of_the_house_is_in_the_matrix() -> None:
    """A new one cannot be forgotten."""
    ours = {point.name for point in entry_points(group=CODECS) if point.value.startswith("pluggably.")}
    assert ours == {*WIRES, *WITHOUT_TEXT}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("wire", "name"), CELLS)
def test_a_conversation_is_the_same_on_every_wire(wire: str, name: str, stream: bool) -> None:
    """What is asked arrives, and the items, their order, the reason to stop and the warnings are the same."""
    conversation = CONVERSATIONS[name]
    request = codecs.generation_request(conversation.request)
    cannot = CANNOT.get((wire, name), "")
    if ":" in cannot:
        assert conversation.told.ends not in resolve_name(cannot).values()
        return
    if cannot:
        with pytest.raises(PluggablyError) as raised:
            begun(wire, request, stream=stream)
        assert raised.value.code == cannot
        return
    _, _, call = begun(wire, request, stream=stream)
    sent = json.dumps(json.loads(call.body), separators=(",", ":"), ensure_ascii=False)
    assert [part for part in conversation.sent if part not in sent] == []
    fold = answered(wire, request, conversation.told, stream)
    assert common(fold.output()) == expected(conversation.told)
    assert fold.warnings == []
    assert fold.finish_reason == conversation.told.ends


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("wire", "ends"), [("openai", "stop"), ("openai_responses", "stop"), ("anthropic", "content_filter")]
)
def test_a_refusal_in_words_is_an_item_of_its_own(wire: str, ends: str, stream: bool) -> None:
    """On the wires that have one. At OpenAI the model says it and stops by itself; at Anthropic a filter does
    (docs/finish-reasons.md)."""
    fold = answered(wire, codecs.generation_request({"input": "Say it"}), Told(refusal=["I", " will not."]), stream)
    assert common(fold.output()) == [{"type": "refusal", "text": "I will not."}]
    assert fold.finish_reason == ends


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "backend_authentication_failed"),
        (404, "model_not_found"),
        (429, "backend_rate_limited"),
        (503, "backend_error"),
    ],
)
@pytest.mark.parametrize("wire", WIRES)
def test_a_failure_is_the_same_on_every_wire(wire: str, status: int, code: str) -> None:
    """In the words of each vendor, and to be tried again where the others are."""
    codec, _, _ = begun(wire, codecs.generation_request({"input": "Hi"}), stream=False)
    problem = codec.fault(fault(wire, status)).problem()
    assert (problem.code, problem.retryable) == (code, status in (429, 503))


# What of the thoughts of each wire's own model goes back to it.
HANDED_BACK = {
    "anthropic": f'"signature":"{signature_of("I think.")}"',
    "bedrock": '"signature":"c2ln"',
    "cohere": '"tool_plan":"I think."',
    "gemini": f'"thoughtSignature":"{SIGNATURE}"',
    "huggingface": '"signature":"c2ln"',
    "mistral": '"thinking":[{"type":"text","text":"I think."}]',
    "native": '"provider_state":{"provider":"somebody","data":{"signature":"c2ln"}}',
    "ollama": '"thinking":"I think."',
    "openai": '"signature":"c2ln"',
    "openai_responses": '"encrypted_content":"gAAAA',
}
# Ids as models give them; one of them is of no form that another vendor would take.
IDS = {"openai": "functions.f:", "anthropic": "toolu_01A09q90qw90lq9178", "mistral": "Ab3dE6gh"}


@pytest.mark.parametrize("after", WIRES)
@pytest.mark.parametrize("before", WIRES)
def test_a_conversation_goes_on_at_another_provider(before: str, after: str) -> None:
    """Thoughts go back to their own provider word for word and to no other, and each result has the id of its call."""
    name = IDS.get(before, "call_000000")
    calls = [(f"{name}{number}", tool, '{"city":"Rome"}') for number, tool in enumerate(("weather", "clock"))]
    told = Told(thoughts=["I", " think."], calls=calls, ends="tool_calls")
    tools = [TOOL, {**TOOL, "name": "clock"}]
    first = codecs.generation_request({"input": ASKED, "tools": tools})
    output = answered(before, first, told, True).output()
    results = [
        {"type": "tool_result", "tool_call_id": item.id, "content": f"it is {item.name}"}
        for item in output
        if isinstance(item, ToolCall)
    ]
    said = msgspec.json.decode(msgspec.json.encode(output))
    history = [*ASKED, {"role": "assistant", "content": said}, {"role": "tool", "content": results}]
    second = codecs.generation_request({"input": history, "tools": tools})

    _, fold, call = begun(after, second, stream=False)
    body = json.loads(call.body)
    sent = json.dumps(body, separators=(",", ":"))
    assert refused(after, body) is None
    called, answers = ids_in(body)
    assert len(called) == len(set(called)) == 2
    assert called == answers
    assert sent.index("it is weather") < sent.index("it is clock")
    state = next(item.provider_state for item in output if isinstance(item, Reasoning))
    codes = [warning.code for warning in fold.warnings]
    if before == after:
        assert HANDED_BACK[before] in sent
        assert codes == []
    elif after == "native":  # another gateway has providers of its own, so everything passes
        assert state is None or json.dumps(msgspec.to_builtins(state), separators=(",", ":")) in sent
        assert codes == []
    elif state is None:  # nothing of it is secret: its text goes where text is taken
        assert codes in ([], ["part_dropped"])
    else:
        assert HANDED_BACK[before] not in sent
        assert codes == ["provider_state_dropped"]


def ids_in(body: Json) -> tuple[list[Any], list[Any]]:
    """The ids of calls and those of results, whatever the wire calls them."""
    calls: list[Any] = []
    results: list[Any] = []
    for value in objects_in(body):
        kind = value.get("type")
        if kind in ("tool_use", "tool_call") or ("function" in value and "id" in value):
            calls.append(value["id"])
        elif "function" in value and kind != "function":  # Ollama's have none, and go by their order
            calls.append(value["function"]["name"])
        elif kind == "function_call":
            calls.append(value["call_id"])
        elif kind == "function_call_output":
            results.append(value["call_id"])
        results += [value[name] for name in ("tool_call_id", "tool_use_id", "tool_name") if name in value]
        for name, found in (("toolUse", calls), ("toolResult", results)):
            if name in value:
                found.append(value[name]["toolUseId"])
        for name, found in (("functionCall", calls), ("functionResponse", results)):
            if "name" in value.get(name, {}):
                found.append((value[name]["name"], value[name].get("id")))
    return calls, results


def objects_in(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects_in(inner)
