"""When the client of a generation goes away, the work for it ends within a second, plain and streamed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import Needs

from e2e.harness import ADMIN_KEY, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI, RecordedRequest

WITHIN_S = 1.0
ENDLESS = "slow-50-2000"


def asked(fake: FakeOpenAI, marker: str) -> RecordedRequest:
    """The request at the vendor that carries these words, once it is there."""
    return eventually(
        lambda: next((seen for seen in list(fake.requests) if marker in str(seen.body)), None), 5, "the vendor is asked"
    )


def is_cancelled(line: Json) -> bool:
    return line["generation_status"] == "cancelled" and line["finish_reason"] == "cancelled" and not line.get("code")


def assert_cancelled(gateway: Gateway, seen: RecordedRequest, left_at: float) -> None:
    assert seen.finished.wait(WITHIN_S), "the vendor works on"
    assert time.monotonic() - left_at < WITHIN_S
    assert seen.disconnected
    eventually(lambda: [one for one in gateway.generations() if is_cancelled(one)], 5, "the log tells the end")


@pytest.mark.parametrize("model", ["stall-0", ENDLESS, "stall-3"])
def test_a_client_leaves_a_plain_request(gateway: Gateway, fake: FakeOpenAI, model: str) -> None:
    """A client that hangs up while it waits for a plain answer ends the call to the vendor."""
    marker = f"plain {model}"
    connection = gateway.client.begin("POST", "/v1/generations", {"model": f"fake/{model}", "input": marker})
    seen = asked(fake, marker)
    connection.close()
    assert_cancelled(gateway, seen, time.monotonic())


@pytest.mark.parametrize("model", [ENDLESS, "stall-3"])
def test_a_client_leaves_a_stream(gateway: Gateway, fake: FakeOpenAI, model: str) -> None:
    """A client that hangs up in the middle of a stream ends the call to the vendor, also where it is silent."""
    marker = f"stream {model}"
    stream = gateway.client.stream(f"fake/{model}", marker)
    stream.next("output.delta")
    stream.leave()
    assert_cancelled(gateway, asked(fake, marker), time.monotonic())


def test_a_client_leaves_before_the_head_of_a_stream(gateway: Gateway, fake: FakeOpenAI) -> None:
    """The same while the stream has not yet begun."""
    marker = "before the head"
    body = {"model": "fake/stall-0", "input": marker, "stream": True}
    connection = gateway.client.begin("POST", "/v1/generations", body)
    seen = asked(fake, marker)
    connection.close()
    assert_cancelled(gateway, seen, time.monotonic())


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_curl_is_killed(gateway: Gateway, fake: FakeOpenAI, needs: Needs, stream: bool) -> None:
    """A client program that dies is a client that left."""
    curl = needs.program("curl", "apt-get install curl")
    marker = f"curl {stream}"
    body = f'{{"model":"fake/{ENDLESS}","input":"{marker}","stream":{str(stream).lower()}}}'
    command = [curl, "-sN", f"{gateway.url}/v1/generations", "-H", f"Authorization: Bearer {ADMIN_KEY}"]
    with subprocess.Popen([*command, "--json", body], stdout=subprocess.DEVNULL) as process:
        seen = asked(fake, marker)
        process.kill()
        left_at = time.monotonic()
    assert_cancelled(gateway, seen, left_at)


def test_what_others_asked_goes_on(gateway: Gateway, fake: FakeOpenAI) -> None:
    """One client's leaving ends its own work and no other's."""
    staying = gateway.client.stream("fake/slow-30-20", "staying")
    staying.next("output.delta")
    leaving = gateway.client.stream(f"fake/{ENDLESS}", "leaving")
    leaving.next("output.delta")
    leaving.leave()
    assert asked(fake, "leaving").finished.wait(WITHIN_S)
    assert staying.end()["status"] == "completed"


# ── a local model ───────────────────────────────────────────────────────────────────────────────────────────────────

# The demo model ends by itself after a sentence, unless it is kept from it; and it says a thousand words in half a
# second, unless each of them comes with two thousand others.
LONG: Json = {
    "parameters": {"max_output_tokens": 2000},
    "provider_options": {"demo": {"ignore_eos": True, "n_probs": 2000}},
}


@pytest.fixture(scope="module")
def local(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    needs.llama_cpp()
    with start_gateway(Path(tmp_path_factory.mktemp("local"))) as running:
        running.client.answer("demo", "Hi")
        yield running


def is_idle(pid: int) -> bool:
    """Whether a process used less than half of a core for a moment."""
    clock = (~pid << 3) | 2  # the processor time of a process: clock_getcpuclockid(3), on Linux
    if not Path("/proc/self").exists():
        return True
    before, began = time.clock_gettime(clock), time.monotonic()
    time.sleep(0.1)
    return time.clock_gettime(clock) - before < (time.monotonic() - began) / 2


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_slot_of_a_local_model_is_free_again(local: Gateway, stream: bool) -> None:
    """llama.cpp itself stops within a second as well; its slot is free, and a next request is answered."""
    body = {"model": "demo", "input": "Tell me all that you know.", "stream": stream, **LONG}
    connection = local.client.begin("POST", "/v1/generations", body)
    eventually(lambda: (local.worker("demo") or {})["slots_in_use"] == 1, 5, "the model works")
    if stream:
        answer = connection.getresponse()
        assert answer.readline() == b"event: generation.created\n"
        answer.close()
    connection.close()
    left_at = time.monotonic()
    worker = eventually(
        lambda: next((one for one in [local.worker("demo")] if one and one["slots_in_use"] == 0), None),
        WITHIN_S,
        "its slot is free",
    )
    eventually(lambda: is_idle(worker["pid"]), left_at + WITHIN_S - time.monotonic(), "llama.cpp rests")
    assert local.client.answer("demo", "Hi")["status"] == "completed"
