"""Requests on OpenAI's wire: the rules of models, and what no message may hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pluggably.errors import InvalidRequest, UnsupportedModality, UnsupportedParameter
from pluggably.providers.presets import PRESETS
from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.lacks import ModelRule

OPENAI = msgspec.convert(msgspec.to_builtins(PRESETS["openai"].options), OpenAIOptions)


def sent(request: dict[str, Any], model: str = "m", options: OpenAIOptions | None = None) -> dict[str, Any]:
    """The body of the first call."""
    address = Address(base_url="https://v.test/v1", model=model, backend="vendor", stream=False)
    step = OpenAICodec(options or OpenAIOptions()).begin(generation_request(request), address)
    assert step.next is not None
    body: dict[str, Any] = msgspec.json.decode(step.next.body)
    body["_warned"] = [event.warning.parameter for event in step.events]  # type: ignore[union-attr]
    return body


SAMPLED = {"temperature": 0.5, "top_p": 0.5, "presence_penalty": 1, "logprobs": 1}


@pytest.mark.parametrize(
    ("model", "effort", "kept"),
    [
        ("gpt-4o-mini", None, True),
        ("gpt-4.1", None, True),
        ("o3", None, False),
        ("o4-mini-2025-04-16", "low", False),
        ("gpt-5", None, False),
        ("gpt-5-mini-2025-08-07", "minimal", False),
        ("gpt-5-chat-latest", None, True),
        ("gpt-5.1", None, True),
        ("gpt-5.1", "none", True),
        ("gpt-5.2-2025-12-11", "high", False),
        ("gpt-5.6-sol", None, False),
        ("gpt-5.6-sol", "none", True),
        ("gpt-5.10", None, False),
        ("gpt-6-astra", None, False),
        ("ft:gpt-4o:acme::1", None, True),
        ("ft:o4-mini-2025-04-16:acme::1", None, False),
        # These have no effort `none`.
        ("gpt-5.2-pro", None, False),
        ("gpt-5.1-codex-max", None, False),
    ],
)
def test_models_that_refuse_to_be_sampled_are_not_asked_to(model: str, effort: str | None, kept: bool) -> None:
    """The rules of OpenAI's preset, by the family of the model and its effort."""
    parameters = {**SAMPLED, **({"reasoning": {"effort": effort}} if effort else {})}
    body = sent({"input": "x", "parameters": parameters}, model, OPENAI)
    names = ("temperature", "top_p", "presence_penalty", "logprobs", "top_logprobs")
    assert [name in body for name in names] == [kept] * 5
    assert (body["_warned"] == []) is kept


@pytest.mark.parametrize(
    ("model", "asked", "sent_effort"),
    [
        ("o3", "minimal", "low"),
        ("o3", "xhigh", "high"),
        ("o4-mini-deep-research", "high", "medium"),
        ("gpt-5-mini", "none", None),
        ("gpt-5-mini-2025-08-07", "xhigh", "high"),
        ("gpt-5", "minimal", "minimal"),
        ("gpt-5-pro", "low", "high"),
        ("gpt-5-codex", "minimal", "low"),
        ("gpt-5.1", "none", "none"),
        ("gpt-5.1-2025-11-13", "xhigh", "high"),
        ("gpt-5.1-codex-max", "none", None),
        ("gpt-5.1-codex-max", "xhigh", "xhigh"),
        ("gpt-5.1-codex-mini", "xhigh", "high"),
        ("gpt-5.2-pro", "none", None),
        ("gpt-5.2-pro-2025-12-11", "low", "medium"),
        ("gpt-5.3-chat-latest", "high", "medium"),
        ("gpt-5.4-mini", "minimal", "low"),
        ("gpt-5.5", "max", "xhigh"),
        ("gpt-5.6-terra", "max", "max"),
        ("gpt-6-luna", "none", "none"),
        ("gpt-6-astra", "none", None),
        ("gpt-6-astra", "max", "max"),
        ("gpt-6.1-sol", "minimal", "low"),
        ("gpt-6.1-terra", "none", "none"),
        # Of what is not known here, only the efforts that most have.
        ("gpt-oss-120b", "max", "xhigh"),
    ],
)
def test_an_effort_that_a_model_lacks_becomes_the_nearest(model: str, asked: str, sent_effort: str | None) -> None:
    """Or none is asked for; in both cases the client is told."""
    body = sent({"input": "x", "parameters": {"reasoning": {"effort": asked}}}, model, OPENAI)
    assert body.get("reasoning_effort") == sent_effort
    assert bool(body["_warned"]) is (asked != sent_effort)


@pytest.mark.parametrize(
    "own",
    [
        {"reasoning_effort": "high"},
        {"reasoning": {"effort": "high"}},
        {"thinking": {"type": "enabled"}},
        {"reasoning": {"enabled": True}},
        {"enable_thinking": True},
    ],
)
def test_the_rules_see_an_effort_among_the_options_of_the_provider(own: dict[str, Any]) -> None:
    """It stands in the body over the one that was asked for, so it decides what the model takes."""
    parameters = {"temperature": 0.5, "reasoning": {"effort": "none"}}
    request = {"input": "x", "parameters": parameters, "provider_options": {"vendor": own}}
    assert "temperature" not in sent(request, "gpt-5.2", OPENAI)
    off = {"input": "x", "parameters": {"temperature": 0.5}, "provider_options": {"vendor": {"thinking": {}}}}
    assert "temperature" in sent(off, "gpt-5.2", OPENAI)


@pytest.mark.parametrize("off", [{"thinking": {"type": "disabled"}}, {"enable_thinking": False}])
def test_the_rules_see_that_reasoning_is_off_among_the_options_of_the_provider(off: dict[str, Any]) -> None:
    """In the request's own options, or in the fields that go into every body."""
    rules = (ModelRule(models="", lacks=("temperature",), unless_effort=("none",)),)
    request = {"input": "x", "parameters": {"temperature": 0.5}}
    assert "temperature" not in sent(request, "m", OpenAIOptions(model_rules=rules))
    assert "temperature" in sent(request, "m", OpenAIOptions(model_rules=rules, extra_body=off))
    request["provider_options"] = {"vendor": off}
    assert "temperature" in sent(request, "m", OpenAIOptions(model_rules=rules))


def test_an_o_model_is_not_told_whether_to_call_several_tools() -> None:
    """It refuses the field, whatever it says."""
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    body = sent({"input": "x", "tools": tools, "parallel_tool_calls": False}, "o4-mini", OPENAI)
    assert "parallel_tool_calls" not in body
    assert body["_warned"] == ["/parallel_tool_calls"]


@pytest.mark.parametrize(
    ("model", "effort", "taken"),
    [
        ("gpt-5.4", None, True),
        ("gpt-5.4-mini", "low", False),
        ("gpt-5.4-mini", "none", True),
        ("gpt-5.6-terra", None, False),
        ("gpt-5.6-terra", "none", True),
        ("gpt-6-astra", "none", False),
        ("gpt-5.2", "high", True),
        ("my-gpt", "high", True),
    ],
)
def test_azure_without_the_responses_api_takes_no_tools_while_a_newer_model_reasons(
    model: str, effort: str | None, taken: bool
) -> None:
    """So another target may serve the request, instead of an error after the call."""
    options = msgspec.convert(msgspec.to_builtins(PRESETS["azure-deployments"].options), OpenAIOptions)
    parameters = {"reasoning": {"effort": effort}} if effort else {}
    request = {"input": "x", "tools": [{"name": "f", "input_schema": {"type": "object"}}], "parameters": parameters}
    if taken:
        assert "tools" in sent(request, model, options)
        return
    with pytest.raises(UnsupportedParameter) as caught:
        sent(request, model, options)
    assert caught.value.pointer == "/tools"


def test_models_without_reasoning_are_not_asked_for_an_effort() -> None:
    """And the client is told."""
    body = sent({"input": "x", "parameters": {"reasoning": {"effort": "low"}}}, "gpt-4o", OPENAI)
    assert "reasoning_effort" not in body
    assert body["_warned"] == ["/parameters/reasoning/effort"]


@pytest.mark.parametrize("model", ["o3", "o3-2025-04-16", "o4-mini"])
def test_a_stop_that_cannot_be_obeyed_is_refused(model: str) -> None:
    """It changes the answer, so it is no hint."""
    with pytest.raises(UnsupportedParameter) as caught:
        sent({"input": "x", "parameters": {"stop": "END"}}, model, OPENAI)
    assert caught.value.pointer == "/parameters/stop"


@pytest.mark.parametrize("key", ["model", "messages", "input", "stream"])
def test_what_the_gateway_decides_cannot_be_set_from_the_side(key: str) -> None:
    """A provider's options may not replace the model that was routed to, nor the form of the answer."""
    with pytest.raises(InvalidRequest) as caught:
        sent({"input": "x", "provider_options": {"vendor": {key: 1}}})
    assert caught.value.pointer == f"/provider_options/vendor/{key}"


def test_options_are_merged_where_they_stand() -> None:
    """On a message, a part and a tool; those of others are not looked at."""
    body = sent(
        {
            "input": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "text",
                            "text": "x",
                            "provider_options": {"vendor": {"cache_control": {"type": "ephemeral"}}, "o": {"a": 1}},
                        },
                        {
                            "type": "image",
                            "data": "AA==",
                            "media_type": "image/png",
                            "provider_options": {"vendor": {"image_url": {"detail": "high"}}},
                        },
                    ],
                    "provider_options": {"vendor": {"name": "ann"}, "o": {"b": 1}},
                }
            ],
            "provider_options": {"vendor": {"service_tier": "flex", "temperature": 0.9}, "o": {"c": 1}},
            "parameters": {"temperature": 0.1},
        }
    )
    message = body["messages"][0]
    assert message["name"] == "ann"
    assert message["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert message["content"][1]["image_url"] == {"url": "data:image/png;base64,AA==", "detail": "high"}
    assert (body["service_tier"], body["temperature"]) == ("flex", 0.9)
    assert not {"a", "b", "c"} & {*body, *message, *message["content"][0]}


@pytest.mark.parametrize(
    ("text", "sent_text"), [("no such city", "Error: no such city"), ("ERROR 5", "ERROR 5"), ("", "Error: ")]
)
def test_a_failed_tool_says_so_once(text: str, sent_text: str) -> None:
    """The wire has no flag for it, so the text tells; where it does already, it is left alone."""
    result = {"type": "tool_result", "tool_call_id": "a", "content": text, "is_error": True}
    assert sent({"input": [{"role": "tool", "content": [result]}]})["messages"][0]["content"] == sent_text


def test_fields_of_the_operator_go_under_those_of_the_request() -> None:
    """`extra_body` is a default, not a command."""
    options = OpenAIOptions(extra_body={"reasoning_format": "parsed", "temperature": 1, "model": "other"})
    body = sent({"input": "x", "parameters": {"temperature": 0.5}}, options=options)
    assert (body["reasoning_format"], body["temperature"], body["model"]) == ("parsed", 0.5, "m")


def test_a_wire_without_stream_options_is_not_sent_any() -> None:
    """Some servers refuse what they do not know."""
    address = Address(base_url="https://v.test/v1", model="m", backend="vendor", stream=True)
    codec = OpenAICodec(OpenAIOptions(stream_options=False))
    call = codec.begin(generation_request({"input": "x"}), address).next
    assert call is not None
    assert msgspec.json.decode(call.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }


def test_dimensions_that_cannot_be_had_are_refused() -> None:
    """Vectors of another size are of no use."""
    request = {"modality": "embedding", "input": "x", "parameters": {"dimensions": 3}}
    with pytest.raises(UnsupportedParameter):
        sent(request, options=OpenAIOptions(lacks=("dimensions",)))


@pytest.mark.parametrize(
    ("field", "effort", "fields", "warned"),
    [
        ("reasoning_effort", "low", {"reasoning_effort": "low"}, []),
        ("reasoning", "low", {"reasoning": {"effort": "low"}}, []),
        ("thinking", "none", {"thinking": {"type": "disabled"}}, []),
        ("thinking", "low", {"thinking": {"type": "enabled"}}, ["/parameters/reasoning/effort"]),
        ("enable_thinking", "none", {"enable_thinking": False}, []),
        ("enable_thinking", "high", {"enable_thinking": True}, ["/parameters/reasoning/effort"]),
    ],
)
def test_the_effort_goes_out_in_the_field_that_the_vendor_has(
    field: Any, effort: str, fields: dict[str, Any], warned: list[str]
) -> None:
    """Where reasoning can only be turned on or off, a client that asked for a level is told."""
    request = {"input": "x", "parameters": {"reasoning": {"effort": effort}}}
    body = sent(request, options=OpenAIOptions(effort_field=field))
    assert body.pop("_warned") == warned
    assert body == {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}


def test_an_effort_that_the_vendor_does_not_know_becomes_the_nearest_below_with_a_warning() -> None:
    """What it does not know it may refuse, and the request with it."""
    options = OpenAIOptions(efforts=("low", "high"))
    assert sent({"input": "x", "parameters": {"reasoning": {"effort": "high"}}}, options=options)["_warned"] == []
    body = sent({"input": "x", "parameters": {"reasoning": {"effort": "medium"}}}, options=options)
    assert body["reasoning_effort"] == "low"
    assert body["_warned"] == ["/parameters/reasoning/effort"]


def test_a_family_of_models_may_have_an_effort_field_of_its_own() -> None:
    """A rule's field and efforts stand in place of the vendor's, whatever the effort."""
    rule = ModelRule(models="old-", effort_field="thinking", efforts=("none",), unless_effort=("none",))
    options = OpenAIOptions(efforts=("low",), model_rules=(rule,))
    off = {"input": "x", "parameters": {"reasoning": {"effort": "none"}}}
    low = {"input": "x", "parameters": {"reasoning": {"effort": "low"}}}
    assert sent(off, "old-1", options)["thinking"] == {"type": "disabled"}
    assert sent(low, "old-1", options)["_warned"] == ["/parameters/reasoning/effort"]
    assert sent(low, "new-1", options)["reasoning_effort"] == "low"


def test_a_schema_is_refused_where_it_would_not_be_obeyed() -> None:
    """Any JSON is taken all the same; another target may take the schema."""
    options = OpenAIOptions(lacks=("json_schema",))
    assert sent({"input": "x", "response_format": {"type": "json"}}, options=options)["response_format"] == {
        "type": "json_object"
    }
    with pytest.raises(UnsupportedParameter, match="JSON Schema") as refused:
        sent({"input": "x", "response_format": {"type": "json_schema", "name": "n", "schema": {}}}, options=options)
    assert refused.value.pointer == "/response_format"


def test_messages_of_one_role_become_one_where_roles_must_take_turns() -> None:
    """Nothing that was said is lost, and the results of tools stay apart."""
    image = {"type": "image", "url": "https://a.test/i.png"}
    body = sent(
        {
            "input": [
                {"role": "system", "content": "Be brief."},
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "One."},
                {"role": "user", "content": "Two."},
                {"role": "assistant", "content": "Three."},
                {"role": "user", "content": [image]},
                {"role": "user", "content": "Four."},
            ]
        },
        options=OpenAIOptions(taking_turns=True),
    )
    assert [(one["role"], one["content"]) for one in body["messages"]] == [
        ("system", "Be brief."),
        ("system", "Be kind."),
        ("user", "One.\n\nTwo."),
        ("assistant", "Three."),
        (
            "user",
            [{"type": "image_url", "image_url": {"url": "https://a.test/i.png"}}, {"type": "text", "text": "Four."}],
        ),
    ]


def test_the_effort_none_may_need_fields_of_its_own() -> None:
    """DeepSeek has no effort `none`, but a switch."""
    options = OpenAIOptions(effort_none={"thinking": {"type": "disabled"}}, efforts=("low", "high"))
    body = sent({"input": "Hi", "parameters": {"reasoning": {"effort": "none"}}}, options=options)
    assert (body["thinking"], body["_warned"]) == ({"type": "disabled"}, [])
    assert "reasoning_effort" not in body


def test_a_certain_tool_is_refused_where_none_can_be_demanded() -> None:
    """`required` still goes through."""
    tool = {"name": "f", "input_schema": {"type": "object"}}
    options = OpenAIOptions(lacks=("named_tool",))
    assert (
        sent({"input": "Hi", "tools": [tool], "tool_choice": "required"}, options=options)["tool_choice"] == "required"
    )
    with pytest.raises(UnsupportedParameter, match="certain tool"):
        sent({"input": "Hi", "tools": [tool], "tool_choice": {"name": "f"}}, options=options)


def test_embeddings_are_refused_where_there_are_none() -> None:
    """A 404 of the vendor would blame the address."""
    with pytest.raises(UnsupportedModality, match="no embeddings"):
        sent({"modality": "embedding", "input": "Hi"}, options=OpenAIOptions(lacks=("embeddings",)))


def test_json_without_a_schema_is_refused_where_only_schemas_are_known() -> None:
    """A schema is taken all the same."""
    options = OpenAIOptions(lacks=("json",))
    schema = {"type": "json_schema", "name": "n", "schema": {}}
    assert sent({"input": "x", "response_format": schema}, options=options)["response_format"]["type"] == "json_schema"
    with pytest.raises(UnsupportedParameter, match="json_schema"):
        sent({"input": "x", "response_format": {"type": "json"}}, options=options)


def test_just_any_tool_cannot_be_demanded_where_only_a_certain_one_can() -> None:
    """A certain one is demanded as everywhere."""
    tools = [{"type": "function", "name": "f"}]
    options = OpenAIOptions(lacks=("required_tool",))
    body = sent({"input": "x", "tools": tools, "tool_choice": {"name": "f"}}, options=options)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    with pytest.raises(UnsupportedParameter, match="name one"):
        sent({"input": "x", "tools": tools, "tool_choice": "required"}, options=options)


def test_what_the_responses_wire_left_is_not_sent_to_this_one() -> None:
    """A conversation may go on with another model of the same provider, which would refuse it."""
    left = {"phase": "commentary", "namespace": "crm", "caller": {"type": "direct"}, "cache_control": {"type": "x"}}
    parts = [
        {"type": "reasoning", "text": "hm", "provider_state": {"provider": "vendor", "data": {"type": "reasoning"}}},
        {"type": "provider_item", "provider": "vendor", "data": {"type": "web_search_call", "id": "ws_1"}},
        {"type": "text", "text": "Looking.", "provider_options": {"vendor": left}},
        {"type": "tool_call", "id": "a", "name": "f", "arguments": "{}", "provider_options": {"vendor": left}},
    ]
    body = sent({"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": parts}]})
    assert body["messages"][1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Looking.", "cache_control": {"type": "x"}}],
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
                "cache_control": {"type": "x"},
            }
        ],
    }
    assert body["_warned"] == ["/input/1/content/0", "/input/1/content/1"]
