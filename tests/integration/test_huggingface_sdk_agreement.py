"""Hugging Face's own client and our codec agree: on what is sent, and on what our fake of the router says.

Requests are taken where the client builds them: it sends those that leave the choice of a provider to the router to the
router itself, and gives the numbers of feature extraction as an array of numpy's, which nothing here needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError, GenerationError, HfHubHTTPError
from huggingface_hub.inference._providers import get_provider_helper
from huggingface_hub.inference._providers._common import filter_none
from sdk_agreement import OurSide

from pluggably.testing import codecs
from pluggably.testing.fake_huggingface import FakeHuggingFace
from pluggably.testing.fake_vendor import running
from pluggably.wire.codecs.huggingface.codec import HuggingFaceCodec

ALL = codecs.load_conversations(Path(__file__).parent.parent / "conversations" / "huggingface")
SENT = [each for each in ALL if each.call and "body" in each.call]
CHATS = [each for each in SENT if each.request.get("modality") != "embedding"]
EXTRACTIONS = [each for each in SENT if each.request.get("modality") == "embedding"]
KEY = "hf_of-a-test"
OURS = OurSide(HuggingFaceCodec)
ROUTER, VENDOR = "https://router.huggingface.co", "https://vendor.test"
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeHuggingFace]:
    with running(FakeHuggingFace(KEY)) as running_fake:
        yield running_fake


@pytest.fixture
def client(fake: FakeHuggingFace) -> InferenceClient:
    return InferenceClient(base_url=f"{fake.base_url}/v1", api_key=KEY)


@pytest.mark.parametrize("conversation", CHATS, ids=str)
def test_the_client_chats_as_the_codec_does(conversation: codecs.Conversation) -> None:
    """The same body at the same address, but for a null, such as no words beside calls, which the client leaves out;
    where it lets the router choose the provider."""
    call = OURS.call(conversation)
    ours: dict[str, Any] = json.loads(call.body)
    parameters = {name: value for name, value in ours.items() if name not in ("model", "messages")}
    helper = get_provider_helper("auto", task="conversational", model=ours["model"])
    request = helper.prepare_request(
        inputs=ours["messages"], parameters=parameters, headers={}, model=ours["model"], api_key=KEY
    )
    assert request.json == filter_none(ours)
    assert call.url == request.url.replace(ROUTER, VENDOR)


@pytest.mark.parametrize("conversation", EXTRACTIONS, ids=str)
def test_the_client_extracts_as_the_codec_does(conversation: codecs.Conversation) -> None:
    """The same body at the same address. A model that is a URL is not looked up at the Hub."""
    call = OURS.call(conversation)
    ours: dict[str, Any] = json.loads(call.body)
    parameters = {name: value for name, value in ours.items() if name != "inputs"}
    helper = get_provider_helper("hf-inference", task="feature-extraction", model=VENDOR)
    request = helper.prepare_request(
        inputs=ours["inputs"], parameters=parameters, headers={}, model=VENDOR, api_key=KEY
    )
    assert request.json == ours
    model = conversation.model.partition(":")[0]
    assert call.url == helper._prepare_url(KEY, model).replace(ROUTER, VENDOR)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_client_reads_what_the_fake_says(client: InferenceClient, streamed: bool) -> None:
    """Text, calls, the end and the counts, in its own types."""
    asked = [{"role": "user", "content": "Hello there"}]
    if streamed:
        chunks = list(client.chat_completion(asked, model="echo", stream=True, stream_options={"include_usage": True}))
        assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "Hello there"
        assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == "stop"
        assert chunks[-1].usage.prompt_tokens == 2
        return
    answer = client.chat_completion(asked, model="tools-parallel:fastest", tools=[WEATHER])
    calls = answer.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "c0"}, {"city": "c1"}]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage.completion_tokens == 3


def test_the_client_reads_the_fakes_errors(client: InferenceClient, fake: FakeHuggingFace) -> None:
    """Before an answer and in the midst of one."""
    asked = [{"role": "user", "content": "Hello there"}]
    with pytest.raises(GenerationError, match="the model broke"):
        list(client.chat_completion(asked, model="error-in-stream", stream=True))
    with pytest.raises(BadRequestError, match="not supported by any provider"):
        client.chat_completion(asked, model="nothing")
    with pytest.raises(HfHubHTTPError, match="Invalid username"):
        InferenceClient(base_url=f"{fake.base_url}/v1", api_key="hf_wrong").chat_completion(asked, model="echo")
