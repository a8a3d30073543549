"""The end of a gateway: running generations may finish, for a while; then they are ended in words."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from e2e.conftest import PROVIDER_KEY
from e2e.harness import Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI

Start = Callable[[float], AbstractContextManager[Gateway]]


@pytest.fixture
def start(fake: FakeOpenAI, tmp_path: Path) -> Start:
    """Starts a gateway whose running generations have some seconds after the signal."""

    def starting(grace_s: float) -> AbstractContextManager[Gateway]:
        config: Json = {
            "server": {"shutdown_grace_s": grace_s},
            "providers": {"fake": {"codec": "openai", "base_url": fake.base_url, "api_key": "${FAKE_KEY}"}},
            "demo": False,
        }
        return start_gateway(tmp_path, config, FAKE_KEY=PROVIDER_KEY)

    return starting


def until_closing(client: Client) -> None:
    eventually(lambda: client.get("/readyz").status == 503, 5, "the gateway tells that it closes")


def test_an_idle_gateway_ends_at_once(start: Start) -> None:
    """Without work SIGTERM ends the gateway at once and well, and its lock and its local credential are free."""
    with start(30) as gateway:
        assert (gateway.data_dir / "local.json").exists()
        gateway.ask_to_stop()
        assert gateway.wait(5) == 0
        assert not (gateway.data_dir / "local.json").exists()
    assert "Traceback" not in gateway.logged()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_generations_finish(start: Start, number: signal.Signals) -> None:
    """Within the grace a plain answer and a stream come to their good end; meanwhile nothing new is taken."""
    with start(30) as gateway:
        client = gateway.client
        stream = client.stream("fake/slow-100-20", "streamed")
        stream.next("output.delta")
        plain = client.begin("POST", "/v1/generations", {"model": "fake/slow-100-20", "input": "plain"})
        eventually(lambda: len(list_running(client)) == 2, 5, "both run")
        gateway.process.send_signal(number)
        until_closing(client)
        (told,) = eventually(lambda: gateway.log_lines("stopping"), 5, "what it waits for is told")
        assert told["detail"].startswith("Waiting for 2 generations, at most 30 s; Ctrl-C again")
        refused = client.generate("fake/say-3")
        assert (refused.status, refused.error["code"], refused.error["retryable"]) == (503, "shutting_down", True)
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/healthz").status == 200
        assert stream.end()["status"] == "completed"
        assert plain.getresponse().status == 200
        plain.close()
        assert gateway.wait(5) == 0


def list_running(client: Client) -> list[int]:
    """One number for each running generation, as the metrics tell."""
    for line in client.get("/metrics").body.decode().splitlines():
        if line.startswith("pluggably_generations_running "):
            return [1] * int(float(line.split()[1]))
    return []


def test_past_the_grace(start: Start, fake: FakeOpenAI) -> None:
    """What still runs after the grace fails in words: a stream by an event, a plain answer by its status."""
    with start(0.5) as gateway:
        client = gateway.client
        stream = client.stream("fake/slow-50-2000", "past the grace")
        stream.next("output.delta")
        plain = client.begin("POST", "/v1/generations", {"model": "fake/stall-0", "input": "past the grace"})
        eventually(lambda: len(list_running(client)) == 2, 5, "both run")
        gateway.ask_to_stop()
        generation = stream.end()
        assert (generation["status"], generation["error"]["code"]) == ("failed", "shutting_down")
        assert generation["output"][0]["text"].startswith("w0")
        assert generation["error"]["retryable"]
        answer = plain.getresponse()
        assert (answer.status, b"shutting_down" in answer.read()) == (503, True)
        plain.close()
        assert gateway.wait(5) == 0
        assert all(seen.finished.wait(1) for seen in fake.requests[-2:])
    assert "Traceback" not in gateway.logged()


def test_a_second_signal(start: Start) -> None:
    """Who asks twice does not want to wait: the running stream is ended at once, in words."""
    with start(60) as gateway:
        stream = gateway.client.stream("fake/slow-50-2000")
        stream.next("output.delta")
        gateway.ask_to_stop()
        until_closing(gateway.client)
        gateway.ask_to_stop()
        assert stream.end()["error"]["code"] == "shutting_down"
        assert gateway.wait(5) == 0


def test_an_idle_connection_does_not_hold_the_end(start: Start) -> None:
    """A client that keeps its connection open, or sends half a request, does not hold the gateway back."""
    with start(30) as gateway:
        address = gateway.url.removeprefix("http://")
        kept = http.client.HTTPConnection(address)
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        half = http.client.HTTPConnection(address)
        half.putrequest("POST", "/v1/generations")
        half.endheaders()
        gateway.ask_to_stop()
        assert gateway.wait(10) == 0
        kept.close()
        half.close()
