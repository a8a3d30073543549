"""A conversation that changes its provider in its midst, for every two wires: A thinks and calls tools, B gets what A
said with the results and answers, A gets all of it and goes on.

What is sent is held against the vendor's own description of its API (the types of its SDK, botocore's model, our own
OpenAPI document for another gateway), and against what it says about ids. What surprises: the matrix (`test_matrix.py`)
asks whether the wires agree; here it is asked whether each vendor would take what another one made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import botocore.session
import cohere
import jsonschema_rs
import msgspec
import ollama._types
import pydantic
import pytest
from anthropic.types import message_create_params
from botocore.validate import ParamValidator
from google.genai import types as genai
from hypothesis import given, settings
from hypothesis import strategies as st
from mistralai.client import models as mistral
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from test_matrix import ASKED, HANDED_BACK, PIXEL, TOOL, address, answered, begun, ids_in
from vendor_forms import WIRES, Told, refused

from pluggably.domain.generation import ToolCall, with_own_ids
from pluggably.errors import PluggablyError, UnsupportedParameter
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codecs.openai.codec import OpenAICodec

Json = dict[str, Any]
TOOLS = [TOOL, {**TOOL, "name": "clock"}]
# As models of each wire write them; then forms that no other vendor would take, and two that differ only where a
# careless mapping would make them one.
USUAL = {"mistral": ("Ab3dE6gh1", "Ab3dE6gh2"), "anthropic": ("toolu_01A09q90qw90lq917835lq9", "toolu_02")}
IDS = {
    "usual": None,
    "of Kimi": ("functions.weather:0", "functions.clock:1"),
    "long": ("x" * 99 + "1", "x" * 99 + "2"),
    "other letters": ("ä b/1", "ä b/2"),
}
ID_RULES = {
    # "String should match pattern '^[a-zA-Z0-9_-]+$'": the error of its API.
    "anthropic": r"[a-zA-Z0-9_-]+",
    # The pattern and the length of ToolUseBlock.toolUseId in its API reference.
    "bedrock": r"[a-zA-Z0-9_.:-]{1,64}",
    # "Expected a string with maximum length 64": the error of its API, for `call_id`.
    "openai_responses": r".{1,64}",
    # "must be a-z, A-Z, 0-9, with a length of 9": its error 3280.
    "mistral": r"[a-zA-Z0-9]{9}",
}
# Their tool messages hold text alone; a message of the user behind them has the rest.
TEXT_RESULTS = ("cohere", "huggingface", "openai")


def strictly(kind: Any, value: Any) -> None:
    """By an SDK's TypedDict or model. Fields that it does not know are not its concern: presets add some."""
    pydantic.TypeAdapter(kind).validate_python(value)


def gemini(body: Json) -> None:
    """Its SDK's models, which know every field and refuse others."""
    for content in body["contents"]:
        genai.Content.model_validate(content)
    for tool in body["tools"]:
        genai.Tool.model_validate(tool)
    genai.GenerationConfig.model_validate(body.get("generationConfig", {}))


def bedrock(body: Json) -> None:
    shape = botocore.session.Session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape
    report = ParamValidator().validate({"modelId": "m", **body}, shape)
    assert not report.has_errors(), report.generate_report()


@cache
def our_own() -> Any:
    path = Path(__file__).parent.parent.parent / "docs" / "reference" / "openapi.json"
    document = json.loads(path.read_text())
    operation = document["paths"]["/v1/generations"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema_rs.validator_for({**schema, "components": document["components"]})


def cohere_chat(body: Json) -> None:
    strictly(list[cohere.ChatMessageV2], body["messages"])
    strictly(list[cohere.ToolV2], body["tools"])


def responses(body: Json) -> None:
    """A refusal that goes back is not in the SDK's types; the API itself says that an assistant's message holds
    `output_text` or `refusal`."""
    items = [
        {**item, "content": ""} if item.get("role") == "assistant" and isinstance(item["content"], list) else item
        for item in body["input"]
    ]
    strictly(response_create_params.ResponseCreateParamsNonStreaming, {**body, "input": items})


ACCEPTS: Mapping[str, Callable[[Json], Any]] = {
    "anthropic": partial(strictly, message_create_params.MessageCreateParamsNonStreaming),
    "bedrock": bedrock,
    "cohere": cohere_chat,
    "gemini": gemini,
    "huggingface": partial(strictly, completion_create_params.CompletionCreateParamsNonStreaming),
    "mistral": mistral.ChatCompletionRequest.model_validate,
    "native": lambda body: our_own().validate(body),
    "ollama": ollama._types.ChatRequest.model_validate,
    "openai": partial(strictly, completion_create_params.CompletionCreateParamsNonStreaming),
    "openai_responses": responses,
}


def said(wire: str, told: Told, history: list[Json]) -> list[Json]:
    """What a wire's model answers, as the client gets it."""
    request = codecs.generation_request({"input": history, "tools": TOOLS})
    output: list[Json] = json.loads(msgspec.json.encode(answered(wire, request, told, True).output()))
    return output


def results_of(output: list[Json]) -> list[Json]:
    """An error for the first call; for the second a text and an image."""
    first, second = [item["id"] for item in output if item["type"] == "tool_call"]
    content = [{"type": "text", "text": "a map"}, {"type": "image", "data": PIXEL, "media_type": "image/png"}]
    return [
        {"type": "tool_result", "tool_call_id": first, "content": "no such city", "is_error": True},
        {"type": "tool_result", "tool_call_id": second, "content": content},
    ]


def sent(wire: str, history: list[Json]) -> tuple[Json, list[str]]:
    """The body that goes to a wire, which its vendor would take, and the codes of the warnings."""
    request = codecs.generation_request({"input": history, "tools": TOOLS})
    request.messages = with_own_ids(request.messages)  # as the API does it
    _, fold, call = begun(wire, request, stream=False)
    body: Json = json.loads(call.body)
    ACCEPTS[wire](body)
    assert refused(wire, body) is None
    calls, results = ids_in(body)
    assert calls == results
    if wire in ID_RULES:
        assert all(re.fullmatch(ID_RULES[wire], id_) for id_ in calls)
    if wire not in ("gemini", "ollama"):  # these go by names, and by the order
        assert len(calls) == len(set(calls))
    return body, [warning.code for warning in fold.warnings]


def compact(body: Json) -> str:
    return json.dumps(body, separators=(",", ":"))


@pytest.mark.parametrize("form", IDS)
@pytest.mark.parametrize("b", WIRES)
@pytest.mark.parametrize("a", WIRES)
def test_there_and_back(a: str, b: str, form: str) -> None:
    """Each vendor would take what it gets, though another one made it; what is A's own is with A again, byte for byte,
    and B's is not."""
    ids = IDS[form] or USUAL.get(a, ("call_000000", "call_000001"))
    calls = [(id_, name, '{"city":"Rome"}') for id_, name in zip(ids, ("weather", "clock"), strict=True)]
    first = said(a, Told(thoughts=["I", " think."], calls=calls, ends="tool_calls"), ASKED)
    history = [*ASKED, {"role": "assistant", "content": first}]
    there = [*history, {"role": "tool", "content": results_of(first)}]
    body, codes = sent(b, there)
    assert len(ids_in(body)[0]) == 2
    is_foreign = any(item.get("provider_state") for item in first)
    moved = ["parameter_changed"] if b in TEXT_RESULTS else []
    if b == a or b == "native":
        assert codes == moved
    else:
        assert HANDED_BACK[a] not in compact(body) or not is_foreign
        left = [code for code in codes if code not in moved]
        assert left == ["provider_state_dropped"] if is_foreign else set(left) <= {"part_dropped"}
        assert len(codes) == len(left) + len(moved)

    # B calls tools of its own, by the ids that A gave: models that count theirs begin anew.
    second = said(b, Told(thoughts=["So", "."], calls=calls, ends="tool_calls"), there)
    back = [
        *history,
        {"role": "tool", "content": results_of(first)},
        {"role": "assistant", "content": second},
        {"role": "tool", "content": results_of(second)},
        {"role": "user", "content": "And tomorrow?"},
    ]
    body, codes = sent(a, back)
    assert len(ids_in(body)[0]) == 4
    assert HANDED_BACK[a] in compact(body)
    own = [item["id"] for item in first if item["type"] == "tool_call"]
    if (a not in ID_RULES and a not in ("gemini", "ollama")) or (form == "usual" and a != "ollama"):
        assert [id_ if isinstance(id_, str) else id_[1] for id_ in ids_in(body)[0][:2]] == own
    if b not in (a, "native") and a != "native":
        assert set(codes) <= {"provider_state_dropped", "part_dropped", "parameter_changed"}


WORDS = st.sampled_from(["hi", "", " ", "\n\n", "é🌍", "{}", '[{"a": 1}]', "\0"])
TEXTS = st.builds(lambda text: {"type": "text", "text": text}, WORDS)
MEDIA = st.sampled_from(
    [
        {"type": "image", "data": PIXEL, "media_type": "image/png"},
        {"type": "file", "data": "JVBERi0xLjQ=", "media_type": "application/pdf", "name": "a.pdf"},
        {"type": "file", "data": "aGVsbG8=", "media_type": "text/plain"},
        {"type": "audio", "data": "UklGRg==", "media_type": "audio/wav"},
    ]
)
STATES = st.sampled_from([None, {"provider": "elsewhere", "data": {"type": "thinking"}}])
SAID = st.one_of(
    TEXTS,
    st.builds(lambda text: {"type": "refusal", "text": text}, WORDS),
    st.builds(lambda text, state: {"type": "reasoning", "text": text, "provider_state": state}, WORDS, STATES),
    st.just({"type": "provider_item", "provider": "elsewhere", "data": {"type": "web_search_call"}}),
    st.builds(
        lambda id_, name, arguments: {"type": "tool_call", "id": id_, "name": name, "arguments": arguments},
        st.sampled_from(["call_1", "functions.f:0", "x" * 70, "", "Ab3dE6gh1"]),
        st.sampled_from(["weather", "unknown_tool"]),
        st.sampled_from(['{"city":"Rome"}', "", "{}", "[1]", "{bad"]),
    ),
)
RESULTS = st.one_of(WORDS, st.lists(TEXTS, max_size=2), st.lists(st.one_of(TEXTS, MEDIA), max_size=2))


@st.composite
def histories(draw: st.DrawFn) -> list[Json]:
    """Any conversation that the API takes and whose calls all have a result, up to a last word of the user's."""
    history: list[Json] = []
    for role in draw(st.lists(st.sampled_from(["system", "user", "assistant", "assistant"]), max_size=6)):
        if role == "assistant":
            said_parts = draw(st.lists(SAID, max_size=4))
            history.append({"role": role, "content": said_parts})
            results = [
                {
                    "type": "tool_result",
                    "tool_call_id": part["id"],
                    "content": draw(RESULTS),
                    "is_error": draw(st.booleans()),
                }
                for part in said_parts
                if part["type"] == "tool_call"
            ]
            history += [{"role": "tool", "content": results}] if results else []
        else:
            parts = st.lists(TEXTS if role == "system" else st.one_of(TEXTS, MEDIA), max_size=3)
            history.append({"role": role, "content": draw(st.one_of(WORDS, parts))})
    return [*history, {"role": "user", "content": "Go on."}]


@pytest.mark.parametrize("wire", WIRES)
def test_any_conversation_is_refused_before_a_call_or_taken(wire: str) -> None:
    """Empty words, roles in any order, ids that come twice, thoughts and items of others: nothing of it is left to the
    vendor to refuse."""

    @settings(max_examples=120, derandomize=True, deadline=None, database=None)
    @given(histories())
    def goes_on(history: list[Json]) -> None:
        with suppress(PluggablyError):
            sent(wire, history)

    goes_on()


def pictured(wire: str, on_unsupported: str = "warn") -> tuple[Json, list[str], list[str | None]]:
    """A conversation in which both of two calls were answered with an image: the body that goes to a wire, and the
    codes and places of the warnings."""
    calls = [(f"call_{n:06}", "camera", json.dumps({"n": n})) for n in (1, 2)]
    output = said(wire, Told(calls=calls, ends="tool_calls"), ASKED)
    ids = [item["id"] for item in output if item["type"] == "tool_call"]
    shots = [{"type": "image", "data": f"AAA{n}", "media_type": "image/png"} for n in (1, 2)]
    results = [
        {"type": "tool_result", "tool_call_id": id_, "content": [{"type": "text", "text": f"gate {n}"}, shot]}
        for n, (id_, shot) in enumerate(zip(ids, shots, strict=True), 1)
    ]
    history = [*ASKED, {"role": "assistant", "content": output}, {"role": "tool", "content": results[:1]}]
    history += [{"role": "tool", "content": results[1:]}, {"role": "user", "content": "Who is it?"}]
    request = codecs.generation_request({"input": history, "tools": TOOLS, "on_unsupported": on_unsupported})
    _, fold, call = begun(wire, request, stream=False)
    body: Json = json.loads(call.body)
    ACCEPTS[wire](body)
    assert refused(wire, body) is None
    assert ids_in(body)[0] == ids_in(body)[1]
    return body, [warning.code for warning in fold.warnings], [warning.parameter for warning in fold.warnings]


@pytest.mark.parametrize("wire", WIRES)
def test_images_in_results_go_to_any_provider(wire: str) -> None:
    """Each behind the words of its own result and before the user's next ones, and all where images are taken."""
    body, codes, places = pictured(wire)
    whole = compact(body)
    order = [whole.index(words) for words in ("gate 1", "gate 2", "Who is it?")]
    assert order == sorted(order)
    shots = [whole.index("AAA1"), whole.index("AAA2")]
    assert shots == sorted(shots)
    if wire in TEXT_RESULTS:
        assert codes == ["parameter_changed"] * 2
        assert places == ["/input/2/content/0/content/1", "/input/3/content/0/content/1"]
        assert order[1] < shots[0] < shots[1] < order[2]
        names = re.findall(r"Image 1 of the result of (call_\w+)", whole)
        assert names[:2] == names[2:] == ids_in(body)[1]
    elif wire == "mistral":  # a user's word after a result is what it does not take
        assert places == ["/input/4"]
        assert order[0] < shots[0] < order[1] < shots[1] < order[2]
    else:
        assert codes == []
        assert order[0] < shots[0] < order[1] or wire in ("ollama", "native")


@pytest.mark.parametrize("wire", TEXT_RESULTS)
def test_a_client_may_have_images_in_results_refused(wire: str) -> None:
    """`on_unsupported: error`, where they would go in another message."""
    with pytest.raises(UnsupportedParameter, match="only text as a tool's result") as raised:
        pictured(wire, "error")
    assert raised.value.pointer == "/input/2/content/0/content/1"


@pytest.mark.parametrize("wire", WIRES)
def test_the_last_request_of_a_conversation_with_calls_needs_no_tools(wire: str) -> None:
    """Where a vendor wants them declared, they are; and what may be called then is told."""
    calls = [("call_000001", "weather", "{}"), ("call_000002", "weather", "{}")]
    output = said(wire, Told(calls=calls, ends="tool_calls"), ASKED)
    results = [
        {"type": "tool_result", "tool_call_id": item["id"], "content": "22"}
        for item in output
        if item["type"] == "tool_call"
    ]
    history = [*ASKED, {"role": "assistant", "content": output}, {"role": "tool", "content": results}]
    _, fold, call = begun(wire, codecs.generation_request({"input": history}), stream=False)
    body: Json = json.loads(call.body)
    ACCEPTS[wire]({"tools": [], **body} if wire in ("cohere", "gemini") else body)
    assert refused(wire, body) is None
    told = [(warning.code, warning.parameter) for warning in fold.warnings]
    assert told == ([("parameter_changed", "/tools")] if wire == "bedrock" else [])
    assert ("tools" in body, "toolConfig" in body) == (wire == "anthropic", wire == "bedrock")


SYSTEM = {"role": "system", "content": "Be brief."}
FOREIGN = {"role": "assistant", "content": [{"type": "provider_item", "provider": "elsewhere", "data": {"type": "x"}}]}
# Nobody else speaks, or says nothing that goes there.
SILENT = {"system": [SYSTEM], "twice": [SYSTEM, SYSTEM], "empty": [SYSTEM, FOREIGN], "foreign": [FOREIGN]}
NEEDS_MORE = {
    "anthropic": set(SILENT),
    "bedrock": set(SILENT),
    "cohere": {"foreign"},
    "gemini": set(SILENT),
    "mistral": set(SILENT),
    "openai_responses": {"foreign"},
}


@pytest.mark.parametrize("silent", SILENT)
@pytest.mark.parametrize("wire", WIRES)
def test_a_conversation_in_which_only_the_system_speaks_is_refused_before_a_call_or_taken(
    wire: str, silent: str
) -> None:
    """With one error at every wire that cannot take it, on which another target is asked."""
    request = codecs.generation_request({"input": SILENT[silent]})
    if silent in NEEDS_MORE.get(wire, ()):
        with pytest.raises(UnsupportedParameter, match="needs a message with something in it") as raised:
            begun(wire, request, stream=False)
        assert (raised.value.pointer, raised.value.elsewhere) == ("/input", True)
        return
    body: Json = json.loads(begun(wire, request, stream=False)[2].body)
    assert refused(wire, body) is None


@pytest.mark.parametrize(
    "arguments", ['{"city": "Ro', "[1]", "7", "", " ", "[" * 5000, '{"a":' * 900 + "1" + "}" * 900]
)
@pytest.mark.parametrize("wire", WIRES)
def test_what_a_model_wrote_as_arguments_goes_to_any_other(wire: str, arguments: str) -> None:
    """Models write wrong JSON, and are told so in the result; the conversation goes on all the same."""
    call = {"type": "tool_call", "id": "call_000001", "name": "weather", "arguments": arguments}
    result = {"type": "tool_result", "tool_call_id": "call_000001", "content": "That is no JSON.", "is_error": True}
    body, _ = sent(wire, [*ASKED, {"role": "assistant", "content": [call]}, {"role": "tool", "content": [result]}])
    assert arguments.strip()[:5] in json.dumps(body).replace("\\", "")


@pytest.mark.parametrize("preset", ["openai", "azure", "azure-deployments"])
def test_a_long_id_is_cut_for_openai_itself(preset: str) -> None:
    """ "Expected a string with maximum length 40"; other servers of this wire get their own long ids back."""
    for length, options in ((40, PRESETS[preset].options), (41, PRESETS[preset].options), (99, {})):
        codec = codecs.make(OpenAICodec, options)
        call = {"type": "tool_call", "id": "i" * length, "name": "weather", "arguments": "{}"}
        result = {"type": "tool_result", "tool_call_id": "i" * length, "content": "x"}
        history = [*ASKED, {"role": "assistant", "content": [call]}, {"role": "tool", "content": [result]}]
        step = codec.begin(codecs.generation_request({"input": history}), address("openai", stream=False))
        assert step.next is not None
        [sent_id], [result_id] = ids_in(json.loads(step.next.body))
        assert sent_id == result_id
        assert (sent_id == "i" * length) == (length != 41)
        assert len(sent_id) <= 40 or not options


def test_two_calls_of_one_answer_that_share_an_id_are_told_apart() -> None:
    """text-generation-inference gives every call the id "0"."""
    told = Told(calls=[("0", "weather", '{"city":"Rome"}'), ("0", "clock", "{}")], ends="tool_calls")
    for wire in ("huggingface", "openai", "mistral"):
        calls = [item for item in said(wire, told, ASKED) if item["type"] == "tool_call"]
        assert [call["name"] for call in calls] == ["weather", "clock"]
        assert len({call["id"] for call in calls}) == 2


def test_results_find_their_calls_where_ids_come_twice() -> None:
    """In their order; the first call keeps its id, and one that is free already is not given again."""

    def call(id_: str) -> Json:
        return {"type": "tool_call", "id": id_, "name": "weather", "arguments": "{}"}

    def result(id_: str) -> Json:
        return {"type": "tool_result", "tool_call_id": id_, "content": "x"}

    history = [
        {"role": "assistant", "content": [call("a"), call("b-2")]},
        {"role": "tool", "content": [result("b-2"), result("a")]},
        {"role": "assistant", "content": [call("b"), call("b"), call("a")]},
        {"role": "tool", "content": [result("b"), result("b"), result("a"), result("a"), result("c")]},
    ]
    messages = with_own_ids(codecs.generation_request({"input": history}).messages)
    called = [part.id for message in messages for part in message.content if isinstance(part, ToolCall)]
    assert called == ["a", "b-2", "b", "b-3", "a-2"]
    answered_ids = [part["tool_call_id"] for part in msgspec.to_builtins(messages[3].content)]
    assert answered_ids == ["b", "b-3", "a-2", "a-2", "c"]
