"""Anthropic's wire: what its conversations do not reach."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.domain.generation import Event, Fold, ProviderItem, Reasoning, Text, ToolCall
from pluggably.errors import BackendError, BackendInvalidResponse, InvalidRequest, PluggablyError
from pluggably.providers.presets import PRESETS
from pluggably.testing.codecs import check_events, generation_request
from pluggably.wire.codec import NOTHING, Address, Frame
from pluggably.wire.codecs.anthropic.codec import AnthropicCodec
from pluggably.wire.codecs.anthropic.options import AnthropicOptions, Profile, profile_of
from pluggably.wire.codecs.anthropic.schema import cut

OPTIONS = msgspec.convert(msgspec.to_builtins(PRESETS["anthropic"].options), AnthropicOptions)
STARTED = {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}
ENDED = (
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)


def begun(model: str = "claude-haiku-4-5", **request: Any) -> tuple[AnthropicCodec, dict[str, Any]]:
    codec = AnthropicCodec(OPTIONS)
    address = Address(base_url="https://v.test/v1", model=model, backend="anthropic", stream=True)
    call = codec.begin(generation_request({"input": "x", **request}), address).next
    assert call is not None
    return codec, msgspec.json.decode(call.body)


def frame(event: dict[str, Any]) -> Frame:
    return Frame(event["type"], msgspec.json.encode(event))


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def streamed(*told: dict[str, Any]) -> list[Any]:
    codec, _ = begun()
    events: list[Event] = []
    for event in (STARTED, *told, *ENDED):
        events += codec.feed(frame(event)).events
    check_events(events)
    fold = Fold()
    fold.add(events)
    return fold.output()


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SAMPLED = ("temperature", "top_p", "top_k")
# As the vendor's table has them: how thinking is asked for, whether it is on by itself, what turns it off; whether the
# model samples, continues an answer, can be made to call a tool, takes system messages in the midst, and binds thinking
# to what came before it.
TABLE = """
    claude-haiku-4-5            budget    off  disabled       samples continues forced  -       -
    claude-haiku-4-5-20251001   budget    off  disabled       samples continues forced  -       -
    claude-opus-4-5-20251101    budget    off  disabled       samples continues forced  -       -
    claude-sonnet-4-6           adaptive  off  disabled       samples -         forced  -       -
    claude-opus-4-6             adaptive  off  disabled       samples -         forced  -       -
    claude-opus-4-7             adaptive  off  disabled       -       -         forced  -       -
    claude-opus-4-8             adaptive  off  disabled       -       -         forced  system  -
    claude-sonnet-5             adaptive  on   disabled       -       -         forced  -       -
    claude-opus-5               adaptive  on   disabled       -       -         forced  system  -
    claude-opus-5@20260724      adaptive  on   disabled       -       -         forced  system  -
    claude-fable-5              adaptive  on   never          -       -         forced  system  -
    claude-fable-5-1            adaptive  on   never          -       -         -       system  bound
    claude-mythos-5-2           adaptive  on   never          -       -         -       system  bound
    claude-mythos-preview       adaptive  on   never          -       -         forced  -       -
    claude-opus-5-5             adaptive  on   never          -       -         -       system  bound
    claude-sonnet-5-5           adaptive  on   between_tools  -       -         -       system  bound
    claude-haiku-5-5            adaptive  on   disabled       -       -         forced  system  bound
    claude-sonnet-6             adaptive  on   disabled       -       -         forced  -       bound
"""


@pytest.mark.parametrize("row", TABLE.strip().splitlines(), ids=lambda row: row.split()[0])
def test_a_model_is_asked_as_its_vendor_says(row: str) -> None:
    """The rules of the preset add up to the vendor's table."""
    model, thinking, on, off, samples, continues, forced, system, bound = row.split()
    profile = profile_of(OPTIONS.model_rules, model)
    assert (profile.thinking, profile.thinks, profile.thinking_off) == (thinking, on == "on", off)
    assert profile.lacks == {
        *(() if samples == "samples" else SAMPLED),
        *(() if continues == "continues" else ("prefill",)),
        *(() if forced == "forced" else ("tool_choice",)),
    }
    assert profile.system_messages == (system == "system")
    assert profile.preserved_thinking == (bound == "bound")


def test_a_server_of_somebody_else_has_no_rules() -> None:
    """Nothing is held back from it."""
    assert profile_of((), "their-model") == Profile() == profile_of(OPTIONS.model_rules, "their-model")


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_data_that_cannot_be_read_is_the_clients_fault() -> None:
    """And is pointed at."""
    part = {"type": "file", "data": "no base64!", "media_type": "text/plain"}
    with pytest.raises(InvalidRequest) as caught:
        begun(input=[{"role": "user", "content": [part]}])
    assert caught.value.pointer == "/input/0/content/0"


def test_an_image_that_is_sent_as_a_file_is_an_image() -> None:
    """The type of the data decides."""
    part = {"type": "file", "data": "iVBORw0KGgo=", "media_type": "image/png"}
    _, body = begun(input=[{"role": "user", "content": [part]}])
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert body["messages"][0]["content"] == [{"type": "image", "source": source}]


def test_what_is_handed_back_is_not_touched() -> None:
    """Marks and options are put on copies: the same request may go to another target afterwards."""
    state = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    item = {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}}
    content = [
        {"type": "reasoning", "provider_state": {"provider": "anthropic", "data": state}},
        {"type": "provider_item", "provider": "anthropic", "data": item},
    ]
    mark = {"anthropic": {"cache_control": {"type": "ephemeral"}}}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": content, "provider_options": mark},
        {"role": "user", "content": "y"},
    ]
    request = generation_request({"input": turns})
    before = copy.deepcopy(request)
    codec = AnthropicCodec(OPTIONS)
    codec.begin(request, Address(base_url="https://v.test/v1", model="claude-opus-5", backend="anthropic", stream=True))
    assert request == before


@pytest.mark.parametrize("given", ["", "{", "[1]", "null", '"x"', "[" * 5000])
def test_arguments_that_are_no_object_are_wrapped(given: str) -> None:
    """As the vendor asks for it; no arguments are an empty object."""
    call = {"type": "tool_call", "id": "a", "name": "n", "arguments": given}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": "y"},
    ]
    _, body = begun(input=turns)
    assert body["messages"][1]["content"][0]["input"] == ({"INVALID_JSON": given} if given else {})


def turn(speaker: str, *parts: Any, **own: Any) -> dict[str, Any]:
    return {"role": speaker, "content": list(parts), "provider_options": {"anthropic": own}}


WORD: dict[str, Any] = {"type": "text", "text": "x"}


@pytest.mark.parametrize(
    "request_",
    [
        {"provider_options": {"anthropic": {"thinking": "yes", "tools": 7, "output_config": [], "max_tokens": "x"}}},
        {"input": [turn("user", WORD, name=7), turn("user", WORD), turn("assistant", WORD, name=None)]},
        {"input": [turn("user", WORD), turn("assistant", {**WORD, "annotations": [{"type": ["char_location"]}, {}]})]},
        {
            "input": [
                turn("user", WORD),
                turn("assistant", {"type": "provider_item", "provider": "anthropic", "data": WORD}),
            ]
        },
        {
            "input": [
                turn("user", WORD),
                turn("assistant", {"type": "provider_item", "provider": "anthropic", "data": {"type": "text"}}),
            ]
        },
        {
            "input": [
                turn("user", WORD),
                turn(
                    "assistant", WORD, {"type": "provider_item", "provider": "anthropic", "data": {"type": "container"}}
                ),
                turn("user", WORD),
            ]
        },
        {"response_format": {"type": "json_schema", "name": "a", "schema": {"format": [], "type": {}, "anyOf": 7}}},
        {"tools": [{"type": "function", "name": "a", "input_schema": {"type": 7}}]},
    ],
)
def test_nonsense_is_left_to_the_vendor(request_: dict[str, Any]) -> None:
    """It breaks nothing here, and the vendor says best what is wrong with it."""
    assert begun(**request_)[1]["model"] == "claude-haiku-4-5"


@pytest.mark.parametrize("betas", ["a\r\nx: y", ["a", 7], {"a": 1}, [""], ["a,b"]])
def test_nothing_can_be_smuggled_into_a_header(betas: Any) -> None:
    """What a client may name are features."""
    with pytest.raises(InvalidRequest) as caught:
        begun(provider_options={"anthropic": {"betas": betas}})
    assert caught.value.pointer == "/provider_options/anthropic/betas"


@pytest.mark.parametrize(
    ("ends", "sent"),
    [
        ("2999-01-01T00:00:00+00:00", "c"),
        ("2999-01-01T00:00:00", "c"),
        ("2020-01-01T00:00:00Z", None),
        ("2020-01-01T00:00:00", None),
        ("soon", "c"),
        (None, "c"),
    ],
)
def test_a_container_is_named_until_it_runs_out(ends: str | None, sent: str | None) -> None:
    """Where nobody can tell when that is, the vendor is asked."""
    data = {"type": "container", "id": "c", "expires_at": ends}
    item = {"type": "provider_item", "provider": "anthropic", "data": data}
    _, body = begun(input=[turn("user", WORD), turn("assistant", WORD, item), turn("user", WORD)])
    assert body.get("container") == sent
    assert [message["content"] for message in body["messages"]] == ["x", "x", "x"]


ROLES = st.sampled_from(["system", "user", "assistant"])
SPOKEN = st.sampled_from(["", " ", "a", "b\n"])


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-fable-5"])
@given(said=st.lists(st.tuples(ROLES, st.one_of(SPOKEN, st.lists(SPOKEN, max_size=3))), max_size=6))
def test_every_conversation_has_the_vendors_form(model: str, said: list[tuple[str, str | list[str]]]) -> None:
    """It begins with the user, nothing in it is empty, system messages stand where they may, and whoever said something
    is heard."""
    turns = [
        {"role": role, "content": text if isinstance(text, str) else [{"type": "text", "text": one} for one in text]}
        for role, text in said
    ]
    spoken = [word.strip() for _, text in said for word in ([text] if isinstance(text, str) else text) if word.strip()]
    roles = [role for role, text in said if role != "system" and "".join(text).strip()]
    if not roles or (roles[-1] == "assistant" and model != "claude-haiku-4-5"):
        with pytest.raises(InvalidRequest):
            begun(model, input=turns)
        return
    _, body = begun(model, input=turns)
    sent = [message["role"] for message in body["messages"]]
    assert sent[0] == "user"
    assert "system" not in sent or model != "claude-haiku-4-5"
    for place, role in enumerate(sent):
        if role == "system":
            assert sent[place - 1] == "user"
            assert sent[place + 1 : place + 2] in ([], ["assistant"])
    heard = [body.get("system", []), *(message["content"] for message in body["messages"])]
    texts = [
        text
        for content in heard
        for text in ([content] if isinstance(content, str) else [part["text"] for part in content])
    ]
    assert all(text.strip() for text in texts)
    added = [text for text in texts if text.startswith("(The conversation begins")]
    assert sorted(spoken) == sorted(text.strip() for text in texts if text not in added)


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-6"])
@given(said=st.lists(st.tuples(ROLES, SPOKEN), max_size=8), cut_at=st.integers(0, 7))
def test_a_thought_goes_back_only_behind_what_it_was_made_with(
    model: str, said: list[tuple[str, str]], cut_at: int
) -> None:
    """A conversation that only grows: what stood before an answer's thinking stands before it in the next request, too,
    or the thinking is not sent."""
    before = [{"role": role, "content": text} for role, text in [*said[:cut_at], ("user", "go on")]]
    after = [{"role": role, "content": text} for role, text in [*said[cut_at:], ("user", "and on")]]
    thought = {"type": "thinking", "thinking": "t", "signature": "s"}
    reasoning = {"type": "reasoning", "text": "t", "provider_state": {"provider": "anthropic", "data": thought}}
    _, first = begun(model, input=before)
    _, second = begun(model, input=[*before, {"role": "assistant", "content": [reasoning, WORD]}, *after])
    contents = [message["content"] for message in second["messages"]]
    places = [place for place, content in enumerate(contents) if isinstance(content, list) and thought in content]
    if model == "claude-sonnet-6" and any(role == "system" and text.strip() for role, text in said[cut_at:]):
        assert not places
    else:
        assert second["messages"][: places[0]] == first["messages"]
        assert second.get("system") == first.get("system")


SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "boolean"])}),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from(["minimum", "a", "items"]), inner),
                "additionalProperties": st.just(False),
            }
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=8,
)


@given(SCHEMAS)
def test_a_schema_of_their_dialect_is_left_alone(schema: dict[str, Any]) -> None:
    """Also where a property is called like a word of the dialect."""
    assert cut(schema) == (schema, [])


def test_what_a_schema_loses_is_told() -> None:
    """Further properties are a loss only where they were allowed in so many words."""
    assert cut({"type": "object"}) == ({"type": "object", "additionalProperties": False}, [])
    assert cut({"type": "object", "additionalProperties": True})[1] == ["additionalProperties"]
    assert cut({"items": True, "not": {}, "examples": [1]}) == ({"items": True}, ["not"])
    assert cut({"pattern": "^a+$"}) == ({"pattern": "^a+$"}, [])


# ── what is answered ────────────────────────────────────────────────────────────────────────────────────────────────


def test_blocks_of_a_kind_follow_each_other_as_items() -> None:
    """Each keeps what belongs to it."""
    cited = {"type": "char_location", "cited_text": "a"}
    output = streamed(
        *block(0, {"type": "text", "text": "A"}, {"type": "text_delta", "text": "B"}),
        *block(1, {"type": "text", "text": ""}, {"type": "citations_delta", "citation": cited}),
        *block(2, {"type": "text", "text": "C", "citations": [cited]}),
    )
    assert output == [Text("AB"), Text("", [cited]), Text("C", [cited])]


def test_what_does_not_belong_to_a_block_is_ignored() -> None:
    """Deltas of a kind that is new, or of another block's kind."""
    new = {"type": "new_delta", "text": "x", "more": 1}
    output = streamed(
        *block(0, {"type": "text", "text": ""}, new, {"type": "thinking_delta", "thinking": "x"}),
        *block(1, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "text_delta", "text": "x"}, new),
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}},
    )
    (thought,) = output
    assert isinstance(thought, Reasoning)
    assert thought.provider_state is not None
    assert thought.provider_state.data == {"type": "thinking", "thinking": "", "signature": ""}


def test_a_piece_of_an_unknown_type_is_put_into_a_block_of_the_vendors() -> None:
    """Its fields are the block's, and its own type is not."""
    new = {"type": "new_delta", "content": "x", "more": [1]}
    (item,) = streamed(*block(0, {"type": "new", "content": None}, new))
    assert item == ProviderItem("anthropic", {"type": "new", "content": "x", "more": [1]})


def test_a_block_of_an_unknown_type_is_handed_on() -> None:
    """With what was put into it, be that cut off."""
    start = {"type": "new_tool_use", "id": "a", "input": {}, "x": [1]}
    piece = {"type": "input_json_delta", "partial_json": '{"q": "ri'}
    (item,) = streamed(*block(0, start, piece))
    assert item == ProviderItem("anthropic", {**start, "input": {"INVALID_JSON": '{"q": "ri'}})


def test_a_call_whose_input_comes_at_once_is_whole() -> None:
    """Some servers send no pieces."""
    (call,) = streamed(*block(0, {"type": "tool_use", "id": "a", "name": "n", "input": {"x": 1}}))
    assert call == ToolCall("a", "n", '{"x":1}')


def test_a_block_that_never_ends_is_ended_by_what_follows() -> None:
    """Its item is not lost."""
    open_block = block(0, {"type": "text", "text": "A"})[:1]
    assert streamed(*open_block, *block(1, {"type": "text", "text": "B"})) == [Text("A"), Text("B")]
    assert streamed(*open_block) == [Text("A")]


@pytest.mark.parametrize("data", [b'{"type": "ping"}', b'{"type": "message_stopped"}', b"", b"{}"])
def test_an_event_that_says_nothing_does_nothing(data: bytes) -> None:
    """With and without its name."""
    codec, _ = begun()
    assert codec.feed(Frame("", data)) is NOTHING
    assert codec.feed(Frame("ping", b"whatever")) is NOTHING
    with pytest.raises(BackendInvalidResponse):
        codec.finish()


def test_nothing_follows_the_end() -> None:
    """What a proxy may add is not read."""
    codec, _ = begun()
    for event in (STARTED, *ENDED):
        codec.feed(frame(event))
    assert codec.feed(Frame("", b"[DONE]")) is NOTHING
    assert codec.finish() is NOTHING


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "a_new_error", "message": "?"}, "backend_error"),
        ({"type": "timeout_error", "message": "slow"}, "backend_timeout"),
        ({"type": "invalid_request_error", "message": "prompt is too long"}, "context_length_exceeded"),
        ({"type": "authentication_error", "message": "sk-ant-abcdefgh"}, "backend_authentication_failed"),
        ({"type": "billing_error"}, "backend_quota_exhausted"),
        ({"message": "no type"}, "backend_error"),
        ({}, "backend_invalid_response"),
        ("text", "backend_error"),
    ],
)
def test_an_error_in_a_stream_means_what_its_type_means(error: Any, code: str) -> None:
    """There is no status, and none is made up."""
    codec, _ = begun()
    with pytest.raises(PluggablyError) as caught:
        codec.feed(Frame("error", msgspec.json.encode({"type": "error", "error": error})))
    assert caught.value.code == code
    assert "sk-ant" not in caught.value.detail
    assert not isinstance(caught.value, BackendError) or caught.value.backend_status is None
