"""Ollama's wire, where the conversations do not reach."""

from __future__ import annotations

import pytest

from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    Message,
    TextParameters,
    ToolCall,
    ToolResult,
)
from pluggably.errors import PluggablyError
from pluggably.testing import codecs
from pluggably.wire.codec import Address, Frame, HttpReply
from pluggably.wire.codecs.ollama.codec import OllamaCodec
from pluggably.wire.codecs.ollama.request import Messages, OllamaOptions, chat_body
from pluggably.wire.omissions import Omissions

ADDRESS = Address(base_url="http://box:11434", model="qwen3", backend="ollama", stream=True)


def request(*messages: Message) -> GenerationRequest:
    return GenerationRequest(model="any", modality="text", messages=list(messages), parameters=TextParameters())


def results(*order: str) -> list[str]:
    """What the results of two calls of the same tool say, in the order in which they are sent."""
    asked = request(
        Message("assistant", [ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")]),
        *(Message("tool", [ToolResult(id_, f"of {id_}")]) for id_ in order),
    )
    sent, _ = Messages("ollama", OllamaOptions(), Omissions(asked, "ollama")).build(asked.messages)
    return [message["content"] for message in sent[1:]]


def test_results_come_in_the_order_of_their_calls() -> None:
    """Nothing else tells two results of one tool apart."""
    assert results("a", "b") == results("b", "a") == ["of a", "of b"]


def test_each_sent_message_knows_where_it_came_from() -> None:
    """Also after results have changed their places."""
    asked = request(
        Message("assistant", [ToolCall("a", "look"), ToolCall("b", "look")]),
        Message("tool", [ToolResult("b", "of b")]),
        Message("tool", [ToolResult("a", "of a")]),
        Message("user", "And?"),
    )
    _, origins = Messages("ollama", OllamaOptions(), Omissions(asked, "ollama")).build(asked.messages)
    assert origins == [0, 2, 1, 3]


def test_one_requests_options_do_not_stay_for_the_next() -> None:
    """What the operator sets for all is not changed by what one client adds."""
    options = OllamaOptions(extra_body={"options": {"num_ctx": 4096}})
    asked = request(Message("user", "Hello"))
    asked.provider_options = {"ollama": {"options": {"num_ctx": 1, "seed": 2}}}
    assert chat_body(asked, "qwen3", "ollama", False, options).value["options"] == {"num_ctx": 1, "seed": 2}
    assert options.extra_body == {"options": {"num_ctx": 4096}}


def test_lines_behind_the_last_one_change_nothing() -> None:
    """An answer completes once."""
    codec = codecs.make(OllamaCodec, {})
    codec.begin(request(Message("user", "Hello")), ADDRESS)
    events: list[Event] = []
    for line in (b'{"message":{"content":"Hi"},"done":true}', b'{"message":{"content":"more"},"done":true}', b"{"):
        events += codec.feed(Frame("", line)).events
    assert [type(event) for event in events].count(Completed) == 1
    assert not codec.finish().events


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"error": {"message": "bad"}}', "invalid_request"),
        (400, b'{"error": ""}', "invalid_request"),
        (404, b'{"error": "model \'x\' not found, try pulling it first"}', "model_not_found"),
        (413, b"too large", "payload_too_large"),
        (500, b"", "backend_error"),
        (502, b"<html><title>Bad Gateway</title></html>", "backend_error"),
        (500, b'{"error": "prompt too long; exceeded max context length by 12 tokens"}', "context_length_exceeded"),
    ],
)
def test_an_error_of_another_form_is_an_error_all_the_same(status: int, body: bytes, code: str) -> None:
    """Of what stands before Ollama, and of its older versions."""
    codec = codecs.make(OllamaCodec, {})
    codec.begin(request(Message("user", "Hello")), ADDRESS)
    fault = codec.fault(HttpReply(status=status, headers={}, body=body))
    assert isinstance(fault, PluggablyError)
    assert fault.code == code
