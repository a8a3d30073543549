"""A provider whose calls bear tokens of a Google account, through the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from joserfc.jwk import RSAKey

from e2e.harness import Client, Gateway, start_gateway
from pluggably.testing.fake_bedrock import FakeBedrock, running_fake_bedrock
from pluggably.testing.fake_openai import FakeOpenAI, running_fake_openai

TOKEN = "ya29.fake"  # what the fake's token endpoints give
METADATA = "/computeMetadata/"


@pytest.fixture(scope="module")
def vendor() -> Iterator[FakeOpenAI]:
    with running_fake_openai(key=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def tokens() -> Iterator[FakeBedrock]:
    """Google's token endpoint, and the metadata of a machine there."""
    with running_fake_bedrock() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(vendor: FakeOpenAI, tokens: FakeBedrock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that has the key of a service account, and one account of the machine that it runs on."""
    folder = tmp_path_factory.mktemp("gateway")
    secret = folder / "account.json"
    account = {
        "type": "service_account",
        "client_email": "box@acme.iam.gserviceaccount.com",
        "private_key": RSAKey.generate_key(2048).as_pem(private=True).decode(),
        "token_uri": f"{tokens.base_url}/token",
    }
    secret.write_text(json.dumps(account))
    secret.chmod(0o600)
    address = {"preset": "vertex-openai", "base_url": vendor.base_url}
    config = {
        "providers": {
            "account": {**address, "google": [f"file:{secret}"]},
            "machine": address,
            "broken": {**address, "google": ["{}"]},
        },
        "demo": False,
    }
    variables = {
        "GCE_METADATA_HOST": tokens.base_url.removeprefix("http://"),
        "GOOGLE_APPLICATION_CREDENTIALS": "",
        "CLOUDSDK_CONFIG": "",
    }
    with start_gateway(folder, config, **variables) as running:
        yield running


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return gateway.client


@pytest.mark.parametrize(("provider", "source"), [("account", "/token"), ("machine", METADATA)])
def test_a_token_is_fetched_once_and_lets_every_call_in(
    client: Client, tokens: FakeBedrock, provider: str, source: str
) -> None:
    """Plain and streamed; the vendor takes no other key."""
    for _ in range(2):
        assert client.answer(f"{provider}/echo", "Hello there")["output"][0]["text"] == "Hello there"
        assert client.stream(f"{provider}/echo", "Hello there").end()["status"] == "completed"
    assert len(tokens.asked(source)) == 1


def test_credentials_of_no_use_are_told(client: Client, vendor: FakeOpenAI) -> None:
    """The operator's fault, and not the client's, before any call."""
    before = len(vendor.requests)
    reply = client.generate("broken/echo")
    assert (reply.status, reply.json()["code"]) == (502, "backend_authentication_failed")
    assert len(vendor.requests) == before
