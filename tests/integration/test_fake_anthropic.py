"""The fake Anthropic proved right: Anthropic's own SDK reads it, plain and streamed, and its errors are the SDK's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from pluggably.testing.fake_anthropic import FakeAnthropic, running_fake_anthropic

KEY = "sk-ant-fake"
ASK: Any = [{"role": "user", "content": "Hello there, fake."}]
WEATHER: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
ANSWERS = """
    echo say-4 slow-1-3 slow-headers-5 length content-filter utf8 gzip crlf drip many-in-one refusal reasoning json
    tools tools-parallel cached giant
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeAnthropic]:
    with running_fake_anthropic(key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def client(fake: FakeAnthropic) -> Iterator[anthropic.Anthropic]:
    base_url = fake.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base_url, api_key=KEY, max_retries=0, timeout=10) as sdk:
        yield sdk


def asked(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 1000, "messages": ASK, **more}


@pytest.mark.parametrize("model", ANSWERS.split())
def test_the_answer_is_the_same_in_both_forms(client: anthropic.Anthropic, model: str) -> None:
    """Whole, and as the SDK adds a stream up."""
    body = asked(model, tools=[WEATHER])
    plain = client.messages.create(**body)
    with client.messages.stream(**body) as stream:
        streamed = stream.get_final_message()
    assert [block.to_dict() for block in plain.content] == [block.to_dict() for block in streamed.content]
    assert (plain.stop_reason, plain.usage.output_tokens) == (streamed.stop_reason, streamed.usage.output_tokens)
    assert plain.usage.cache_read_input_tokens == streamed.usage.cache_read_input_tokens


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("status-400", anthropic.BadRequestError),
        ("status-401", anthropic.AuthenticationError),
        ("status-403", anthropic.PermissionDeniedError),
        ("unknown-model", anthropic.NotFoundError),
        ("status-429-after-3", anthropic.RateLimitError),
        ("status-500", anthropic.InternalServerError),
        ("status-529", anthropic.OverloadedError),
    ],
)
def test_an_error_is_the_sdks_own(
    client: anthropic.Anthropic, model: str, error: type[anthropic.APIStatusError]
) -> None:
    """With the id of the request that the vendor gives."""
    with pytest.raises(error) as caught:
        client.messages.create(**asked(model))
    assert caught.value.request_id == "req_011CSHoEeqs5C35K2UUqR7Fy"


def test_an_error_in_a_stream_is_an_error(client: anthropic.Anthropic) -> None:
    """After the first words."""
    words = []
    with client.messages.stream(**asked("error-in-200-2")) as stream, pytest.raises(anthropic.APIStatusError):
        for word in stream.text_stream:
            words.append(word)  # noqa: PERF402  what came before the error counts
    assert words == ["w0", " w1"]


def test_a_conversation_goes_on_with_what_was_answered(client: anthropic.Anthropic) -> None:
    """Thinking with its signature, a call and its result."""
    thought = client.messages.create(**asked("reasoning"))
    turns: Any = [*ASK, {"role": "assistant", "content": thought.content}, {"role": "user", "content": "Rome?"}]
    called = client.messages.create(**asked("tools", messages=turns, tools=[WEATHER]))
    (call,) = called.content
    assert isinstance(call, anthropic.types.ToolUseBlock)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns += [{"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    last = client.messages.create(**asked("tools", messages=turns, tools=[WEATHER]))
    assert [block.to_dict()["text"] for block in last.content] == ["The tool said: sunny"]


THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "made up"}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": " "}],
        [{"role": "assistant", "content": "Hello."}],
        [*ASK, {"role": "assistant", "content": [THOUGHT]}, *ASK],
        [{"role": "user", "content": [RESULT]}],
        [*ASK, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}, *ASK],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        [*ASK, {"role": "assistant", "content": "Hello."}, {"role": "system", "content": "In French."}, *ASK],
        [*ASK, {"role": "system", "content": "In French."}, *ASK],
    ],
)
def test_what_anthropic_refuses_is_refused(client: anthropic.Anthropic, messages: Any) -> None:
    """Empty text, an answer without a question, forged thinking, results and calls without each other, other blocks,
    system messages behind the assistant or before the user."""
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**asked("echo", messages=messages))


def test_a_field_that_is_none_is_refused(client: anthropic.Anthropic) -> None:
    """So that a codec which invents things is caught."""
    with pytest.raises(anthropic.BadRequestError, match="seed: Extra inputs"):
        client.messages.create(**asked("echo"), extra_body={"seed": 7})


def test_its_models_are_listed(client: anthropic.Anthropic) -> None:
    """In the vendor's form."""
    assert "echo" in {model.id for model in client.models.list(limit=1000)}
