"""What the end-to-end tests share: a fake vendor, and a gateway in front of it, one of each a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.harness import BARE, Client, Gateway, start_gateway
from pluggably.testing.fake_openai import FakeOpenAI, running_fake_openai

PROVIDER_KEY = "sk-fake-provider-key-of-the-operator"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOpenAI]:
    with running_fake_openai(key=PROVIDER_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(fake: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that knows the fake in three ways: as a server shaped like OpenAI, as OpenAI, and as one on the
    operator's own network. It tries nothing twice; test_routing.py has those that do."""
    config = {
        "providers": {
            "fake": {"codec": "openai", "base_url": fake.base_url, "api_key": "${FAKE_KEY}"},
            "openai": {"base_url": fake.base_url, "api_key": "${FAKE_KEY}"},
            "box": {"codec": "openai", "base_url": fake.base_url, "api_key": "${FAKE_KEY}", "location": "local"},
        },
        "models": {"chat": "fake/echo"},
        "server": {"body_timeout_s": 1},
        "demo": False,
        "retry": BARE,
    }
    with start_gateway(tmp_path_factory.mktemp("gateway"), config, FAKE_KEY=PROVIDER_KEY) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Client:
    return gateway.client
