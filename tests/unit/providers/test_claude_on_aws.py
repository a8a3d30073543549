"""Claude's own API behind an AWS account: where calls go and how they are signed, as in the package of its maker."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx2
import pytest

from pluggably.domain.catalog import Target
from pluggably.plugins import CODECS, Plugins
from pluggably.providers.aws_signature import AwsAccess, AwsKeys, signed_headers
from pluggably.providers.build import build_provider
from pluggably.providers.presets import PRESETS
from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address, HttpCall
from pluggably.wire.endpoint import Endpoint

KEYS = AwsKeys("AKIDEXAMPLE", "secret")
VARIABLES = {
    "anthropic-aws": {"region": "us-west-2", "workspace": "wrkspc_01AbCdEf"},
    "bedrock-claude": {"region": "us-west-2"},
}
MODELS = {"anthropic-aws": "claude-sonnet-4-6", "bedrock-claude": "anthropic.claude-sonnet-4-6"}
SERVICES = {"anthropic-aws": "aws-external-anthropic", "bedrock-claude": "bedrock-mantle"}
SIGNED_BY = re.compile(r"AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=(\w{64})")


def endpoint_of(name: str, api_keys: list[str], aws: list[AwsAccess]) -> Endpoint:
    provider = build_provider(
        name, PRESETS[name], Plugins(CODECS), variables=VARIABLES[name], api_keys=api_keys, aws=aws
    )
    return provider.endpoint(Target(backend=name, model=MODELS[name], location="remote"))


def call_at(endpoint: Endpoint, name: str, **parameters: Any) -> HttpCall:
    address = Address(base_url=endpoint.base_url, model=MODELS[name], backend=name, stream=False)
    request = generation_request({"input": "Hi", "parameters": {"max_output_tokens": 4000, **parameters}})
    call = endpoint.codec(endpoint.options).begin(request, address).next
    assert call is not None
    return call


def sent_by_the_sdk(name: str, body: dict[str, Any], **credential: str) -> httpx2.Request:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    makers: dict[str, Callable[..., Any]] = {
        "anthropic-aws": lambda **given: anthropic.AnthropicAWS(workspace_id="wrkspc_01AbCdEf", **given),
        "bedrock-claude": anthropic.AnthropicBedrockMantle,
    }
    with makers[name](aws_region="us-west-2", http_client=http, **credential) as sdk:
        sdk.messages.create(**body)
    return seen[0]


@pytest.mark.parametrize("name", VARIABLES)
def test_a_call_is_the_one_of_the_sdk(name: str) -> None:
    """The same address, body, workspace and key."""
    endpoint = endpoint_of(name, ["k-test"], [])
    ours = call_at(endpoint, name)
    theirs = sent_by_the_sdk(name, json.loads(ours.body), api_key="k-test")
    assert str(theirs.url) == ours.url
    assert json.loads(theirs.content) == json.loads(ours.body)
    told = {key.lower(): value for key, value in endpoint.headers.items()}
    for header in ("anthropic-workspace-id", "authorization", "x-api-key"):
        assert told.get(header) == theirs.headers.get(header)
    assert told["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("name", VARIABLES)
def test_a_call_is_signed_for_the_service_of_the_sdk(name: str) -> None:
    """The SDK's own signature is what we make of its request, and ours is of the same scope."""
    endpoint = endpoint_of(name, [], [AwsAccess(keys=KEYS)])
    ours = call_at(endpoint, name)
    theirs = sent_by_the_sdk(name, json.loads(ours.body), aws_access_key="AKIDEXAMPLE", aws_secret_key="secret")
    found = SIGNED_BY.fullmatch(theirs.headers["authorization"])
    assert found is not None
    at = datetime.strptime(theirs.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    covered = {key: theirs.headers[key] for key in found[2].split(";") if key not in ("host", "x-amz-date")}
    again = signed_headers(
        "POST",
        str(theirs.url),
        covered,
        theirs.content,
        keys=KEYS,
        region="us-west-2",
        service=SERVICES[name],
        at=at,
    )
    assert again["Authorization"] == theirs.headers["authorization"]

    assert endpoint.signer is not None
    headers = asyncio.run(endpoint.signer.sign("POST", ours.url, endpoint.headers, ours.body))
    signed = SIGNED_BY.fullmatch(headers["Authorization"])
    assert signed is not None
    assert signed[1].split("/")[2:] == found[1].split("/")[2:] == ["us-west-2", SERVICES[name], "aws4_request"]


@pytest.mark.parametrize("name", VARIABLES)
def test_a_model_is_known_by_the_name_that_it_has_there(name: str) -> None:
    """Of 4.6: it thinks by effort, and takes one of two parameters."""
    body = json.loads(call_at(endpoint_of(name, ["k"], []), name, temperature=0.5, top_p=0.9).body)
    assert (body["temperature"], body.get("top_p")) == (0.5, None)
    thinking = json.loads(call_at(endpoint_of(name, ["k"], []), name, reasoning={"effort": "low"}).body)["thinking"]
    assert thinking == {"type": "adaptive", "display": "summarized"}
