"""The parts of Gemini's codec that conversations cannot try in all their cases."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pluggably.domain.generation import Completed, Fold, Text, ToolCall
from pluggably.errors import BackendInvalidResponse, ModelNotFound, UnsupportedParameter
from pluggably.providers.presets import PRESETS
from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address, Frame, HttpReply
from pluggably.wire.codecs.gemini.codec import GeminiCodec
from pluggably.wire.codecs.gemini.options import GeminiOptions
from pluggably.wire.codecs.gemini.reply import GrowingArguments, PartialArg
from pluggably.wire.codecs.gemini.request import resource_of
from pluggably.wire.codecs.gemini.schema import cut_schema

GOOGLE = msgspec.convert(msgspec.to_builtins(PRESETS["google"].options), GeminiOptions)
VERTEX = GeminiOptions(resource="publishers/google/models/{model}", collections=("publishers", "endpoints"))


def address(model: str) -> Address:
    return Address(base_url="https://vendor.test", model=model, backend="google", stream=False)


def sent(body: dict[str, Any], model: str = "gemini-3.8-flash") -> dict[str, Any]:
    call = GeminiCodec(GOOGLE).begin(generation_request(body), address(model)).next
    assert call is not None
    value: dict[str, Any] = json.loads(call.body)
    return value


# ── the model in the address ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "model", "resource"),
    [
        (GOOGLE, "gemini-2.5-flash", "models/gemini-2.5-flash"),
        (GOOGLE, "models/gemini-2.5-flash", "models/gemini-2.5-flash"),
        (GOOGLE, "tunedModels/a-1", "tunedModels/a-1"),
        (VERTEX, "gemini-3.8-flash", "publishers/google/models/gemini-3.8-flash"),
        (VERTEX, "publishers/google/models/gemini-3.8-flash@001", "publishers/google/models/gemini-3.8-flash@001"),
        (VERTEX, "endpoints/123", "endpoints/123"),
    ],
)
def test_a_model_is_a_step_of_the_address(options: GeminiOptions, model: str, resource: str) -> None:
    """By its id, or by its whole name where it stands in a collection that clients may name."""
    assert resource_of(address(model), options) == resource


@pytest.mark.parametrize(
    "model",
    [
        *("", ".", "..", "a/b", "/a", "models/", "models/..", "models/../files", "models/a/../b", "tunedModels//a"),
        *("cachedContents/a", "a?alt=x", "a#b", "a%2fb", "a:embedContent", "a\\b", "a b", "a\n", "\u00e4"),
    ],
)
def test_a_name_that_would_lead_elsewhere_is_no_model(model: str) -> None:
    """Clients name the models, and must not reach another method, another file or another host with that."""
    with pytest.raises(ModelNotFound):
        resource_of(address(model), GOOGLE)


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-3.8-flash", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3.5-flash-lite", "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("gemini-3-flash-preview", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-4-hydrogen", "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("models/gemini-2.5-pro", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-2.5-pro", "none", {"includeThoughts": True}),
        ("gemini-2.5-flash-lite", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash-image", "low", None),
        ("gemini-2.0-flash", "low", None),
        ("gemma-3-27b-it", "high", None),
        ("gemini-3-pro-image-preview", "low", None),
        ("gemini-3.1-flash-image", "low", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("gemini-3.1-flash-lite-image", "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-3.6-flash-image", "high", None),
        ("gemma-4-31b-it", "medium", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("gemini-3.8-flash", "max", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-2.5-pro", "max", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("a-model-that-nobody-knows", "max", {"thinkingLevel": "XHIGH"}),
    ],
)
def test_each_family_is_told_to_think_in_its_own_way(model: str, effort: str, thinking: Any) -> None:
    """As a level, as a number of tokens, or not at all."""
    body = sent({"input": "Why?", "parameters": {"reasoning": {"effort": effort}}}, model)
    assert body.get("generationConfig", {}).get("thinkingConfig") == thinking


@pytest.mark.parametrize(("model", "signed"), [("gemini-3.8-flash", True), ("gemini-2.5-flash", False)])
def test_a_call_of_another_model_is_signed_where_it_must_be(model: str, signed: bool) -> None:
    """From Gemini 3 on."""
    call = {"type": "tool_call", "id": "call_1", "name": "f", "arguments": "{}"}
    result = {"type": "tool_result", "tool_call_id": "call_1", "content": "x"}
    turns = [{"role": "assistant", "content": [call]}, {"role": "tool", "content": [result]}]
    body = sent({"input": [{"role": "user", "content": "Hello"}, *turns]}, model)
    assert ("thoughtSignature" in body["contents"][1]["parts"][0]) is signed
    ids = [body["contents"][1]["parts"][0]["functionCall"].get("id")]
    ids.append(body["contents"][2]["parts"][0]["functionResponse"].get("id"))
    assert ids == (["call_1"] * 2 if signed else [None] * 2)


@pytest.mark.parametrize(
    ("model", "hints", "is_prefilled"),
    [
        ("gemini-2.5-flash", {"temperature", "topP", "topK"}, True),
        ("gemini-3.1-pro-preview", {"temperature", "topP", "topK"}, True),
        ("gemini-3.5-flash", {"temperature", "topP", "topK"}, True),
        ("gemini-pro-latest", {"temperature", "topP", "topK"}, True),
        ("gemini-3.5-flash-lite", set(), False),
        ("gemini-3.6-flash", set(), False),
        ("gemini-3.10-pro", set(), False),
        ("gemini-4-hydrogen", set(), False),
        ("gemini-flash-lite-latest", set(), False),
    ],
)
def test_what_a_family_takes_no_longer_is_not_sent(model: str, hints: set[str], is_prefilled: bool) -> None:
    """Sampling is dropped, an answer that is to be continued refused before any call."""
    asked: dict[str, Any] = dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), 0.5)
    body = sent({"input": "Hello", "parameters": {**asked, "top_k": 4, "logprobs": 1, "seed": 7}}, model)
    assert set(body["generationConfig"]) - {"thinkingConfig"} == hints | {"seed"}
    begun = {"input": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "He"}]}
    with nullcontext() if is_prefilled else pytest.raises(UnsupportedParameter, match="does not continue"):
        sent(begun, model)


def test_vertex_tells_log_probabilities_of_the_models_before_gemini_3() -> None:
    """The Gemini API does not; nor has it penalties there."""
    vertex = msgspec.convert(msgspec.to_builtins(PRESETS["vertex"].options), GeminiOptions)
    asked = generation_request({"input": "Hello", "parameters": {"logprobs": 1, "presence_penalty": 0.5}})
    configs = []
    for model in ("gemini-2.5-flash", "gemini-3.5-flash"):
        call = GeminiCodec(vertex).begin(asked, address(model)).next
        assert call is not None
        config: dict[str, Any] = json.loads(call.body).get("generationConfig", {})
        configs.append(set(config) - {"thinkingConfig"})
    assert configs == [{"responseLogprobs", "logprobs", "presencePenalty"}, set()]


def test_a_call_id_that_comes_again_belongs_to_the_latest_call() -> None:
    """Some servers count their calls anew in each turn."""

    def turn(name: str) -> list[dict[str, Any]]:
        return [
            {"role": "assistant", "content": [{"type": "tool_call", "id": "call_0", "name": name}]},
            {"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "call_0", "content": "x"}]},
        ]

    contents = sent({"input": [{"role": "user", "content": "Hello"}, *turn("one"), *turn("two")]})["contents"]
    names = [content["parts"][0]["functionResponse"]["name"] for content in contents[2::2]]
    assert names == ["one", "two"]


def test_the_items_of_a_request_stay_as_they_are() -> None:
    """A request may be tried at another target after this one."""
    item = {"type": "provider_item", "provider": "google", "data": {"executableCode": {"code": "1"}}}
    request = generation_request(
        {"input": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [item]}]}
    )
    before = msgspec.json.encode(request.messages)
    schema = {"type": "object", "definitions": {"A": {"const": 1}}}
    kept = json.dumps(schema)
    GeminiCodec(GOOGLE).begin(request, address("gemini-2.5-flash"))
    cut_schema(schema)
    assert msgspec.json.encode(request.messages) == before
    assert json.dumps(schema) == kept


def test_calls_without_ids_get_ids_of_their_own() -> None:
    """No two are the same, so that a client can tell their results apart."""
    codec = GeminiCodec(GOOGLE)
    codec.begin(generation_request({"input": "Hello"}), address("gemini-2.5-flash"))
    parts = [{"functionCall": {"name": "f"}}] * 3
    reply = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    fold = Fold()
    fold.add(codec.receive(HttpReply(status=200, headers={}, body=json.dumps(reply).encode())).events)
    ids = [item.id for item in fold.output() if isinstance(item, ToolCall)]
    assert len(set(ids)) == 3
    assert all(each.startswith("call_") for each in ids)


# ── answers that take several calls ─────────────────────────────────────────────────────────────────────────────────


def continued(text: str, counts: dict[str, Any] | None = None) -> Frame:
    """A piece of an answer that another call continues."""
    candidate = {"content": {"parts": [{"text": text}]}, "finishReason": "CONTINUATION", "continuationToken": "abc="}
    return Frame("", json.dumps({"candidates": [candidate], "usageMetadata": counts or {}}).encode())


def test_a_stream_goes_on_in_the_next_call() -> None:
    """In the same text, and what all calls used is told as one."""
    codec = GeminiCodec(GOOGLE)
    codec.begin(generation_request({"input": "Hello"}), replace(address("gemini-3.8-flash"), stream=True))
    audio = [{"modality": "AUDIO", "tokenCount": 2}]
    counts = {"promptTokenCount": 4, "candidatesTokenCount": 1, "promptTokensDetails": audio}
    fold = Fold()
    fold.add(codec.feed(continued("Hel", {**counts, "thoughtsTokenCount": 3})).events)
    step = codec.finish()
    assert step.next is not None
    assert step.next.framing == "sse"
    assert json.loads(step.next.body)["continuationToken"] == "abc="
    last = {"candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}], "usageMetadata": counts}
    fold.add(codec.feed(Frame("", json.dumps(last).encode())).events)
    step = codec.finish()
    fold.add(step.events)
    assert step.next is None
    assert [item.text for item in fold.output() if isinstance(item, Text)] == ["Hello"]
    usage = fold.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (8, 5, 3)
    assert fold.breakdown is not None
    assert fold.breakdown.audio_input_tokens == 4


def test_an_answer_is_not_continued_for_ever() -> None:
    """Each call is paid for; what came until then is an answer that was cut."""
    codec = GeminiCodec(GOOGLE)
    codec.begin(generation_request({"input": "Hello"}), replace(address("gemini-3.8-flash"), stream=True))
    calls = 0
    while True:
        codec.feed(continued("x"))
        step = codec.finish()
        if step.next is None:
            break
        calls += 1
    assert calls == 8
    assert step.events[-1] == Completed("length")


# ── schemas ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "cut", "lost"),
    [
        ({}, {}, []),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}, []),
        ({"const": 1}, {"enum": [1]}, []),
        ({"const": None}, {}, ["const"]),
        ({"enum": ["a", 2]}, {"enum": ["a", 2]}, []),
        ({"enum": ["a", None]}, {}, ["enum"]),
        ({"properties": {"pattern": {"pattern": "x"}}}, {"properties": {"pattern": {}}}, ["pattern"]),
        ({"items": {"not": {}}, "uniqueItems": True}, {"items": {}}, ["not", "uniqueItems"]),
        ({"prefixItems": [{"minLength": 1}, True]}, {"prefixItems": [{}, True]}, ["minLength"]),
        ({"additionalProperties": {"maxLength": 1}}, {"additionalProperties": {}}, ["maxLength"]),
        ({"additionalProperties": False}, {"additionalProperties": False}, []),
        ({"$ref": "#/$defs/A", "description": "x", "minimum": 1}, {"$ref": "#/$defs/A"}, ["minimum"]),
        ({"allOf": [{"type": "string"}]}, {}, ["allOf"]),
        ({"$schema": "x", "default": 1, "examples": [1]}, {}, []),
    ],
)
def test_a_schema_is_cut_to_the_vendors_words(given: Any, cut: Any, lost: list[str]) -> None:
    """What says the same stays, in other words if need be; what is lost is told by its name."""
    assert cut_schema(given) == (cut, lost)


# ── arguments in pieces ─────────────────────────────────────────────────────────────────────────────────────────────


def grown(*pieces: dict[str, Any]) -> str:
    arguments = GrowingArguments()
    text = "".join(arguments.add(msgspec.convert(piece, PartialArg)) for piece in pieces)
    return text + arguments.end()


@pytest.mark.parametrize(
    ("pieces", "value"),
    [
        ([], {}),
        ([{"jsonPath": "$.a", "numberValue": 1.5}], {"a": 1.5}),
        ([{"jsonPath": "$.a", "numberValue": 21.0}], {"a": 21}),
        (
            [{"jsonPath": "$.a", "boolValue": False}, {"jsonPath": "$.b", "nullValue": "NULL_VALUE"}],
            {"a": False, "b": None},
        ),
        ([{"jsonPath": "$.a", "stringValue": 'x"\\\n'}], {"a": 'x"\\\n'}),
        (
            [
                {"jsonPath": "$.a", "stringValue": "x", "willContinue": True},
                {"jsonPath": "$.a", "stringValue": "y", "willContinue": True},
                {"jsonPath": "$.b", "stringValue": "z"},
            ],
            {"a": "xy", "b": "z"},
        ),
        (
            [
                {"jsonPath": "$.a.b[0].c", "numberValue": 1},
                {"jsonPath": "$.a.b[0].d", "numberValue": 2},
                {"jsonPath": "$.a.b[1].c", "numberValue": 3},
                {"jsonPath": "$.a.e", "numberValue": 4},
                {"jsonPath": "$['f.g'][\"h\"]", "numberValue": 5},
                {"jsonPath": "$.i[0][0]", "numberValue": 6},
                {"jsonPath": "$.i[0][1]", "numberValue": 7},
                {"jsonPath": "$.i[1][0]", "numberValue": 8},
            ],
            {"a": {"b": [{"c": 1, "d": 2}, {"c": 3}], "e": 4}, "f.g": {"h": 5}, "i": [[6, 7], [8]]},
        ),
    ],
)
def test_arguments_grow_into_the_json_that_their_paths_describe(pieces: list[dict[str, Any]], value: Any) -> None:
    """Text, numbers, nested objects and lists."""
    assert json.loads(grown(*pieces)) == value


@pytest.mark.parametrize(
    "paths",
    [["a"], ["$"], ["$[0]"], ["$.a["], ["$.a", "$.a"], ["$.a", "$.a.b"], ["$.a.b", "$.a"], ["$.a.b", "$.c", "$.a.d"]],
)
def test_paths_that_make_no_sense_are_an_error(paths: list[str]) -> None:
    """Text that was told cannot be taken back."""
    with pytest.raises(BackendInvalidResponse):
        grown(*({"jsonPath": path, "numberValue": 1} for path in paths))
