"""Bodies: a good one is decoded, and of a bad one everything that is wrong is told, and nothing of what it said."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from work import lines_run

from pluggably.api.bodies import LISTED_VALUES, SHOWN_NAME, check_nesting, decode
from pluggably.api.generations import GenerationBody, resolved
from pluggably.api.resources import ModelName, NewKey, NewModel
from pluggably.domain.generation import EmbeddingParameters, TextParameters
from pluggably.errors import MAX_VIOLATIONS, InvalidRequest

KINDS: list[Any] = [GenerationBody, TextParameters, EmbeddingParameters, NewModel, NewKey, ModelName]
GOOD: dict[str, Any] = {"model": "demo", "input": "Hello"}
SECRET = "hunter2-s3cret"


def refusal(body: object, kind: Any = GenerationBody, root: str = "") -> InvalidRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidRequest) as refused:
        decode(raw, kind, root=root)
    return refused.value


def told(body: object, kind: Any = GenerationBody) -> list[tuple[str, str]]:
    return [(violation.pointer, violation.detail) for violation in refusal(body, kind).violations]


def message(*parts: object) -> dict[str, Any]:
    return {**GOOD, "input": [{"role": "user", "content": list(parts)}]}


def padded(body: dict[str, Any]) -> dict[str, Any]:
    """The same body, too large to be told more than its first violation."""
    return {"input": ["x"] * (LISTED_VALUES + 2), **{name: value for name, value in body.items() if name != "input"}}


# ── every kind of violation ─────────────────────────────────────────────────────────────────────────────────────────

PARTS = "audio, file, image, provider_item, reasoning, refusal, text, tool_call, tool_result"


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ([], "", "must be an object"),
        ("text", "", "must be an object"),
        ({"input": "x"}, "/model", "is required"),
        ({**GOOD, "model": 1}, "/model", "must be a string"),
        ({**GOOD, "model": ""}, "/model", "must not be empty"),
        ({**GOOD, "model": "x" * 513}, "/model", "may have at most 512 characters"),
        ({**GOOD, "input": None}, "/input", "must be a string or a list"),
        ({**GOOD, "input": [1]}, "/input/0", "must be a string or an object"),
        ({**GOOD, "input": [{"role": "user"}]}, "/input/0/content", "is required"),
        (
            {**GOOD, "input": [{"role": SECRET, "content": "x"}]},
            "/input/0/role",
            "must be one of assistant, system, tool, user",
        ),
        (message({"text": "x"}), "/input/0/content/0/type", f"is required, one of {PARTS}"),
        (message({"type": SECRET}), "/input/0/content/0/type", f"must be one of {PARTS}"),
        (message({"type": 5}), "/input/0/content/0/type", f"must be one of {PARTS}"),
        (message({"type": "text"}), "/input/0/content/0/text", "is required"),
        (message({"type": "text", "text": 1}), "/input/0/content/0/text", "must be a string"),
        (message({"type": "text", "text": "x", "txt": 1}), "/input/0/content/0/txt", "is not a known field"),
        ({**GOOD, "stream": 1}, "/stream", "must be true or false"),
        ({**GOOD, "keep_alive_s": True}, "/keep_alive_s", "must be a number or null"),
        ({**GOOD, "keep_alive_s": -1}, "/keep_alive_s", "must be at least 0"),
        ({**GOOD, "timeouts": {"idle_s": 0}}, "/timeouts/idle_s", "must be more than 0"),
        ({**GOOD, "modality": SECRET}, "/modality", "must be one of 3d, embedding, image, text"),
        ({**GOOD, "modality": 5}, "/modality", "must be 3d, embedding, image, text or null"),
        ({**GOOD, "tool_choice": SECRET}, "/tool_choice", "must be one of auto, none, required"),
        ({**GOOD, "tool_choice": {"name": "a", "x": 1}}, "/tool_choice/x", "is not a known field"),
        ({**GOOD, "tools": [{}]}, "/tools/0/name", "is required"),
        (
            {**GOOD, "tools": [{"type": "function", "name": "a b"}]},
            "/tools/0/name",
            "must match ^[a-zA-Z0-9_-]{1,64}$",
        ),
        (
            {**GOOD, "tools": [{"type": "function", "name": "a"}] * 513},
            "/tools",
            "may have at most 512 entries",
        ),
        ({**GOOD, "response_format": "json"}, "/response_format", "must be an object or null"),
        (
            {**GOOD, "response_format": {"type": "jsonx"}},
            "/response_format/type",
            "must be one of json, json_schema, text",
        ),
        ({**GOOD, "metadata": {"a": 1}}, "/metadata/a", "must be a string"),
        ({**GOOD, "metadata": {"a": "x" * 513}}, "/metadata/a", "may have at most 512 characters"),
        ({**GOOD, "metadata": {str(i): "" for i in range(17)}}, "/metadata", "may have at most 16 fields"),
        ({**GOOD, "provider_options": {"openai": 1}}, "/provider_options/openai", "must be an object"),
        ({**GOOD, "unknown": SECRET}, "/unknown", "is not a known field"),
        ({**GOOD, "a/b~c": 1}, "/a~1b~0c", "is not a known field"),
    ],
)
def test_each_violation_has_its_place_and_its_words(body: object, pointer: str, detail: str) -> None:
    """The pointer is to what is wrong, and the words say what it should be."""
    assert told(body) == [(pointer, detail)]
    refused = refusal(body)
    assert refused.pointer == pointer
    assert refused.detail == (f"{pointer}: {detail}" if pointer else detail)
    assert SECRET not in refused.detail


@pytest.mark.parametrize(
    ("kind", "body", "pointer", "detail"),
    [
        (TextParameters, {"temperature": 2.5}, "/temperature", "must be at most 2"),
        (TextParameters, {"top_k": 0}, "/top_k", "must be at least 1"),
        (TextParameters, {"top_k": 1.5}, "/top_k", "must be an integer or null"),
        (TextParameters, {"stop": [1]}, "/stop/0", "must be a string"),
        (TextParameters, {"stop": 1}, "/stop", "must be a string, a list or null"),
        (NewKey, {"name": "x", "scopes": []}, "/scopes", "must not be empty"),
        (
            NewKey,
            {"name": "x", "scopes": ["zzz"]},
            "/scopes/0",
            "must be one of admin, generate, metrics, models:read, models:write",
        ),
        (NewKey, {"name": "x", "expires_at": SECRET}, "/expires_at", "must be a time such as 2026-01-31T12:00:00Z"),
        (ModelName, {}, "/model", "is required"),
    ],
)
def test_other_bodies_are_told_the_same_way(kind: Any, body: object, pointer: str, detail: str) -> None:
    """What holds for generations holds for every type."""
    assert told(body, kind) == [(pointer, detail)]


def test_everything_wrong_is_told_at_once() -> None:
    """A client that has five mistakes mends five at once."""
    body = {"input": [{"role": "x", "content": [{"type": "text"}]}], "stream": "yes", "metadata": {"a": 1}, "zzz": 1}
    assert [pointer for pointer, _ in told(body)] == [
        "/input/0/role",
        "/input/0/content/0/text",
        "/stream",
        "/metadata/a",
        "/zzz",
        "/model",
    ]
    assert refusal(body).detail.endswith("(and 5 more)")


def test_no_more_is_told_than_is_read() -> None:
    """The list ends at its limit."""
    assert len(told({**GOOD, "tools": [{}] * 100})) == MAX_VIOLATIONS


def test_a_tool_may_leave_out_its_type() -> None:
    """There is but one type of tool; where there is a choice, the type makes it."""
    body: GenerationBody = decode(json.dumps({**GOOD, "tools": [{"name": "a"}]}).encode(), GenerationBody)
    assert body.tools[0].name == "a"
    assert told({**GOOD, "tools": [{"name": 1}]}) == [("/tools/0/name", "must be a string")]
    assert told({**GOOD, "tools": [{"name": "a", "type": SECRET}]}) == [("/tools/0/type", "must be one of function")]


def test_the_pointer_begins_at_the_root_that_is_given() -> None:
    """A part of a body that is decoded later is pointed at in the whole."""
    assert refusal({"top_k": 0}, TextParameters, root="/parameters").pointer == "/parameters/top_k"
    large = {"top_k": 0, "stop": ["x"] * (LISTED_VALUES + 2)}
    assert refusal(large, TextParameters, root="/parameters").pointer == "/parameters/top_k"


def test_made_up_names_are_cut() -> None:
    """A pointer repeats the name of a field that the client sent, but not a page of it."""
    (pointer, _) = told({**GOOD, "k" * 5000: 1})[0]
    assert pointer == "/" + "k" * SHOWN_NAME


def test_of_a_repeated_key_the_last_stands() -> None:
    """Also where an earlier one is wrong, and where the last one is."""
    body: GenerationBody = decode(b'{"model": 1, "model": "m", "input": [1], "input": "x"}', GenerationBody)
    assert (body.model, body.input) == ("m", "x")
    parameters: TextParameters = decode(b'{"temperature": "x", "temperature": 1}', TextParameters)
    assert parameters.temperature == 1
    assert refusal(b'{"model": "m", "model": 1, "input": "x"}').pointer == "/model"


# ── large bodies ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_text_or_an_image_hides_nothing() -> None:
    """What counts is how much there is to look through, not how long it is."""
    body = {**GOOD, "input": "x, " * (LISTED_VALUES // 2), "strem": True, "tools": [{"name": "n", "parameters": {}}]}
    assert told(body) == [("/strem", "is not a known field"), ("/tools/0/parameters", "is not a known field")]


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({**GOOD, "model": 1}, "/model", "must be string"),
        ({}, "/model", "is required"),
        ({**GOOD, "modality": SECRET}, "/modality", "is not one of the values that are taken here"),
        (
            {**GOOD, "response_format": {"type": SECRET}},
            "/response_format/type",
            "is not one of the values that are taken here",
        ),
        ({**GOOD, f"zzz` - at `$.{SECRET}`": 1}, None, None),
        ({**GOOD, SECRET: 1}, "", "holds a field that is not known"),
        ({**GOOD, "metadata": {SECRET: 1}}, "/metadata", "must be string"),
        ({**GOOD, "metadata": {SECRET * 9: "1"}}, "/metadata", "has a name that is not allowed"),
        ({**GOOD, "keep_alive_s": -1}, "/keep_alive_s", "must be number >= 0.0"),
        ({**GOOD, "tools": [{"type": "function", "name": 1}]}, "/tools/0/name", "must be string"),
        ({**GOOD, "tool_choice": 1}, "/tool_choice", "must be string or object"),
    ],
)
def test_large_bodies_are_told_their_first_violation(body: Any, pointer: str | None, detail: str | None) -> None:
    """In words that quote nothing, although the decoder's own message quotes the value."""
    refused = refusal(padded(body))
    assert len(refused.violations) == 1
    if pointer is not None:
        assert (refused.violations[0].pointer, refused.violations[0].detail) == (pointer, detail)
    assert SECRET not in refused.violations[0].detail


@pytest.mark.parametrize(
    "body",
    [
        {**GOOD, "input": [{}] * 20_000},
        message(*[{}] * 20_000),
        message(*[{"type": "text"}] * 3_800),
        {**GOOD, "input": [{"role": "user", "content": [{}]}] * 2_000},
        {**message(*[{"type": "text", "text": ""}] * 2_000), "stream": 1},
        {**GOOD, **{str(i): 1 for i in range(6_000)}},
    ],
)
def test_the_worst_body_is_told_in_little_work(body: dict[str, Any]) -> None:
    """No body that is walked holds the loop: a general validator took 15 s for one of these. Here each byte of the
    body may cost a few lines of Python, whatever it says."""
    raw = json.dumps(body, separators=(",", ":")).encode()
    assert lines_run(lambda: refusal(raw)) < 5 * len(raw)


def test_a_large_good_body_is_decoded() -> None:
    """Size alone is no fault here: the gate bounds it."""
    body: GenerationBody = decode(json.dumps({**GOOD, "input": "x" * 3_000_000}).encode(), GenerationBody)
    assert len(body.input) == 3_000_000


# ── what is not JSON, or only just ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"model":"a","input":"x"} x', "not valid JSON"),
        (b'{"model":"a","input":"x",}', "trailing comma"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"model":"a","input":NaN}', "not valid JSON"),
        (b'{"model":"a","input":"\\ud800"}', "not valid JSON"),
        (b'{"model":"a","input":"\\udc00 \\ud800"}', "not valid JSON"),
        (b'{"model":"a","input":"\xff"}', "not valid UTF-8"),
        (b'{"model":"a","input":"\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"model":"a","input":"\x00"}', "not valid JSON"),
    ],
)
def test_what_is_not_json_is_told_so(body: bytes, words: str) -> None:
    """Broken JSON, broken UTF-8 and half a surrogate pair."""
    refused = refusal(body)
    assert words in refused.detail
    assert refused.violations == []


@pytest.mark.parametrize("tail", [b'"input":"\xff"', b'"input":"\\ud800"', b'"input":'])
def test_a_violation_before_a_fault_is_told(tail: bytes) -> None:
    """The decoder stops at the first of the two; that the rest cannot be read changes nothing."""
    assert told(b'{"model":1,' + tail + b"}")[0][0] == "/model"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000])
def test_numbers_that_do_not_fit_are_refused(number: str) -> None:
    """Neither infinity nor a slow conversion of thousands of digits."""
    assert told(f'{{"model":"a","input":"x","keep_alive_s":{number}}}'.encode()) == [
        ("/keep_alive_s", "is out of range")
    ]
    assert told(f'{{"model":"a","input":"x","provider_options":{{"a":{{"b":{number}}}}}}}'.encode()) == [
        ("/provider_options", "is out of range")
    ]


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(depth: int, brackets: tuple[str, str]) -> None:
    """Neither the decoder nor the walk falls over; what the decoder takes, the check of the depth does not."""
    opening, closing = brackets
    deep = (opening * depth + "1" + closing * depth).encode()
    raw = b'{"model":"a","input":"x","provider_options":{"a":{"b":' + deep + b"}}}"
    with pytest.raises(InvalidRequest) as refused:
        body: GenerationBody = decode(raw, GenerationBody)
        check_nesting([body.provider_options], 32)
    assert "nested" in refused.value.detail
    refusal(b'{"model":1,"provider_options":{"a":' + deep + b"}}")
    refusal(deep)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_the_depth_is_that_of_the_value_alone() -> None:
    """A list of as many levels as are allowed passes, one more does not, and width is not depth."""
    for depth, passes in ((32, True), (33, False)):
        if passes:
            check_nesting([nested(depth), [[]] * 50], 32)
        else:
            with pytest.raises(InvalidRequest):
                check_nesting([nested(depth)], 32)


# ── whatever comes ──────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(
    [
        *(name for kind in (GenerationBody, NewModel, NewKey) for name in kind.__struct_fields__),
        *("role", "content", "type", "text", "name", "input_schema", "only", "idle_s", "url", "data", "a/b", "~", ""),
    ]
)
WORDS = st.sampled_from(
    ["user", "tool", "text", "image", "function", "tool_call", "tool_result", "json_schema", "auto", "a", SECRET, ""]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


@st.composite
def nearly_good(draw: st.DrawFn) -> Any:
    """A body that is right but for one place."""
    body = json.loads(
        json.dumps(
            {
                "model": "demo",
                "input": [
                    {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image", "url": "https://a"}]},
                    {"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "1", "content": "x"}]},
                ],
                "parameters": {"temperature": 1, "reasoning": {"effort": "low"}},
                "tools": [{"type": "function", "name": "a", "input_schema": {}}],
                "response_format": {"type": "json_schema", "name": "a", "schema": {}},
                "timeouts": {"idle_s": 1},
                "metadata": {"a": "b"},
            }
        )
    )
    place: Any = body
    while True:
        key = draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw(st.booleans()):
            place = inner
            continue
        place[key] = draw(JSON)
        return body


@given(st.one_of(JSON, nearly_good()), st.sampled_from(KINDS))
@example({**GOOD, "modality": SECRET}, GenerationBody)
def test_any_json_is_decoded_or_refused(value: Any, kind: Any) -> None:
    """Nothing else is ever raised; a refusal has a pointer and words, and quotes no value."""
    raw = json.dumps(value).encode()
    try:
        decode(raw, kind)
    except InvalidRequest as refused:
        assert refused.status == 400
        assert all(re.fullmatch(r"(/.*)?", v.pointer, re.DOTALL) and v.detail for v in refused.violations)
        assert SECRET not in refused.detail


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0dDf8ntrue1e-+. ').map(str.encode))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    """Bytes that are no JSON at all are refused as the client's fault, never as ours."""
    with suppress(InvalidRequest):
        decode(raw, GenerationBody)


@given(st.one_of(JSON, nearly_good()))
def test_a_body_that_fits_becomes_a_request_or_is_refused(value: Any) -> None:
    """What the types cannot say is checked after them, and told in the same way."""
    try:
        resolved(decode(json.dumps(value).encode(), GenerationBody), None)
    except InvalidRequest as refused:
        assert SECRET not in refused.detail


def general_validator(kind: Any) -> jsonschema.Draft202012Validator:
    schema = msgspec.json.schema(kind)
    if "Tool" in schema["$defs"]:
        # The schema says more than the decoder asks for: see `test_a_tool_may_leave_out_its_type`.
        schema["$defs"]["Tool"]["required"].remove("type")
    return jsonschema.Draft202012Validator(schema)


VALIDATORS = {kind: general_validator(kind) for kind in KINDS}


def has_whole_floats(value: Any) -> bool:
    """JSON Schema takes 1.0 for an integer; msgspec does not, nor does the walk."""
    if isinstance(value, dict | list):
        return any(has_whole_floats(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer()


@given(st.one_of(JSON, nearly_good()).filter(lambda value: not has_whole_floats(value)), st.sampled_from(KINDS))
def test_the_walk_agrees_with_a_general_validator(value: Any, kind: Any) -> None:
    """Whatever JSON Schema finds wrong in a small body is told in words of ours, not in the decoder's."""
    if VALIDATORS[kind].is_valid(value):
        return
    refused = refusal(value, kind)
    places = {violation.pointer for violation in refused.violations}
    assert places
    for error in VALIDATORS[kind].iter_errors(value):
        pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in error.absolute_path)
        told_here = any(place == pointer or place.startswith(pointer + "/") for place in places)
        assert told_here or len(refused.violations) == MAX_VIOLATIONS


def test_times_are_times() -> None:
    """A time with a zone is taken."""
    key: NewKey = decode(b'{"name":"x","expires_at":"2030-01-31T12:00:00Z"}', NewKey)
    assert isinstance(key.expires_at, datetime)
