"""AWS's own SDK and our codec agree on Bedrock: on what is sent, on what an answer says, and on the signature.

The SDK's shapes are AWS's description of the API, so this is as near to AWS as a test without a network comes. Where
the SDK takes bytes, JSON has base64; `as_arguments` undoes that, and the SDK does it again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from sdk_agreement import OurSide

from pluggably.assembly import list_sources
from pluggably.config import Provider as Entry
from pluggably.providers.build import build_provider
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.testing.fake_bedrock import LISTS, running_fake_bedrock
from pluggably.wire.codecs.bedrock.codec import BedrockCodec
from pluggably.wire.framing import EventStreamFramer

FOLDER = Path(__file__).parent.parent / "conversations" / "bedrock"
ALL = codecs.load_conversations(FOLDER)
SENT = [each for each in ALL if each.call and "body" in each.call and "messages" in each.call["body"]]
STREAMS = [each for each in ALL if each.reply and each.reply.eventstream]
OURS = OurSide(BedrockCodec, PRESETS["bedrock"].options)


def account(service: str, endpoint: str | None, region: str = "eu-west-1") -> BaseClient:
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"max_attempts": 1}),
    )


@contextmanager
def client(endpoint: str) -> Iterator[BaseClient]:
    sdk = account("bedrock-runtime", endpoint)
    try:
        yield sdk
    finally:
        sdk.close()


def as_arguments(value: Any) -> Any:
    """A body with its base64 as the bytes that the SDK takes."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(entry + "===") if key in ("bytes", "redactedContent") else as_arguments(entry)
            for key, entry in value.items()
        }
    return [as_arguments(entry) for entry in value] if isinstance(value, list) else value


class _Raw:
    """The body of an answer as the SDK reads it."""

    def stream(self) -> Iterator[bytes]:
        yield b'{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn"}'


@pytest.mark.parametrize("conversation", SENT, ids=str)
def test_the_sdk_sends_what_the_codec_sends(conversation: codecs.Conversation) -> None:
    """The same address and the same body, from arguments that the SDK's shapes allow."""
    ours = OURS.sent(conversation)
    seen = []

    def caught(request: Any, **_: Any) -> AWSResponse:
        seen.append(request)
        return AWSResponse(request.url, 200, {"Content-Type": "application/json"}, _Raw())

    with client(codecs.BASE_URL) as sdk:
        sdk.meta.events.register("before-send.bedrock-runtime.*", caught)
        # The stream is not read, so any answer will do for it.
        ask = sdk.converse_stream if conversation.stream else sdk.converse
        ask(modelId=conversation.model, **as_arguments(ours))
    (request,) = seen
    assert request.url == OURS.call(conversation).url
    assert as_arguments(json.loads(request.body)) == as_arguments(ours)


@pytest.mark.parametrize("conversation", STREAMS, ids=str)
def test_the_sdk_cuts_a_stream_as_the_framer_does(conversation: codecs.Conversation) -> None:
    """The same messages, checksums included."""
    assert conversation.reply is not None
    body = conversation.reply.body()
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    theirs = [(message.headers, message.payload) for message in buffer]
    ours = EventStreamFramer().feed(body)
    assert len(theirs) == len(ours)
    for (headers, payload), frame in zip(theirs, ours, strict=True):
        if headers[":message-type"] == "error":
            assert frame.kind == f"error:{headers[':error-code']}"
            continue
        name = headers.get(":event-type") or f"exception:{headers[':exception-type']}"
        assert (frame.kind, frame.data) == (name, payload)


@pytest.fixture(scope="module")
def sdk() -> Iterator[BaseClient]:
    with running_fake_bedrock() as fake, client(fake.base_url) as running:
        yield running


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1"])
def test_the_sdk_lists_models_where_we_do(region: str) -> None:
    """At the same addresses of the same server, whatever the region."""
    asked_for = []

    def caught(request: Any, **_: Any) -> AWSResponse:
        asked_for.append(request.url)
        return AWSResponse(request.url, 200, {"Content-Type": "application/json"}, _Raw())

    with closing(account("bedrock", None, region)) as sdk:
        sdk.meta.events.register("before-send.bedrock.*", caught)
        sdk.list_foundation_models()
        sdk.list_inference_profiles(maxResults=1000, typeEquals="SYSTEM_DEFINED")
    entry = Entry(variables={"region": region})
    row = PRESETS["bedrock"]
    provider = build_provider("bedrock", row, {"bedrock": BedrockCodec}, variables=entry.variables)
    assert [source.url for source in list_sources(provider, row, entry)] == asked_for


def test_the_sdk_reads_the_fakes_lists() -> None:
    """Each field has the type that AWS describes."""
    with running_fake_bedrock() as fake, closing(account("bedrock", fake.base_url)) as sdk:
        models = sdk.list_foundation_models()["modelSummaries"]
        profiles = sdk.list_inference_profiles()["inferenceProfileSummaries"]
    assert models == LISTS["/foundation-models"]["modelSummaries"]
    assert profiles == LISTS["/inference-profiles"]["inferenceProfileSummaries"]


def asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def test_the_sdk_reads_what_the_fake_says(sdk: BaseClient) -> None:
    """A whole answer, a stream, and a call of a tool."""
    whole = sdk.converse(modelId="vendor.echo", messages=asked("Hello there"))
    assert whole["stopReason"] == "end_turn"
    assert whole["output"]["message"]["content"] == [{"text": "Hello there"}]
    assert set(whole["usage"]) == {"inputTokens", "outputTokens", "totalTokens"}
    with closing(sdk.converse_stream(modelId="say-3", messages=asked("x"))["stream"]) as stream:
        events = list(stream)
    assert [next(iter(event)) for event in events] == [
        "messageStart",
        *["contentBlockDelta"] * 3,
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    tool = {"toolSpec": {"name": "look", "inputSchema": {"json": {"properties": {"city": {}}}}}}
    called = sdk.converse(modelId="tools", messages=asked("x"), toolConfig={"tools": [tool]})
    assert called["output"]["message"]["content"][0]["toolUse"]["input"] == {"city": "Rome"}


def test_the_sdk_knows_the_fakes_errors(sdk: BaseClient) -> None:
    """By their names, before a stream and in it."""
    with pytest.raises(ClientError) as before:
        sdk.converse(modelId="error-AccessDeniedException", messages=asked("x"))
    assert before.value.response["Error"]["Code"] == "AccessDeniedException"
    said = sdk.converse_stream(modelId="breaks-2-throttlingException", messages=asked("x"))
    with closing(said["stream"]) as stream, pytest.raises(EventStreamError) as within:
        list(stream)
    assert within.value.response["Error"]["Code"] == "throttlingException"
