"""Every way in which a vendor can fail: the right error, the right side blamed, and the output so far kept."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.harness import BARE, Client, Gateway, Reply, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI

# Long enough that a busy machine does not run into them where nothing stalls.
PATIENT: Json = {"timeouts": {"first_event_s": 10, "idle_s": 10, "total_s": 20}}
BRIEF: Json = {"timeouts": {"first_event_s": 0.4, "idle_s": 0.4, "total_s": 20}}
# An answer that comes whole has but one event, its end.
BRIEF_IN_ALL: Json = {"timeouts": {"total_s": 0.4}}


def refused(client: Client, model: str, stream: bool, **fields: Any) -> Reply:
    """An answer that must be an ordinary error answer, also where a stream was asked for."""
    if not stream:
        return client.generate(model, **fields)
    answer = client.stream(model, **fields)
    assert answer.refusal is not None, answer.all()
    return answer.refusal


def failed(client: Client, model: str, **fields: Any) -> tuple[list[str], Json, Json]:
    """A stream that must fail after its first byte: the names of its events, its generation and its error."""
    stream = client.stream(model, **fields)
    events = stream.all()
    generation = events[-1].data["generation"]
    assert (generation["status"], generation["finish_reason"]) == ("failed", "error")
    error = generation["error"]
    assert error["generation_id"] == generation["id"]
    assert error["request_id"] == stream.headers["x-request-id"]
    return [event.name for event in events], generation, error


# model at the vendor → status, code, may it be tried again, the vendor's status where it is to blame
REFUSALS: dict[str, tuple[int, str, bool, int | None]] = {
    "status-400": (400, "unsupported_parameter", False, 400),
    "status-401": (502, "backend_authentication_failed", False, 401),
    "status-402": (502, "backend_quota_exhausted", False, 402),
    "status-403": (502, "backend_authentication_failed", False, 403),
    "status-404": (404, "model_not_found", False, 404),
    "status-408": (504, "backend_timeout", True, 408),
    "status-409": (502, "backend_error", False, 409),
    "status-413": (413, "payload_too_large", False, 413),
    "status-422": (400, "invalid_request", False, 422),
    "status-429": (429, "backend_rate_limited", True, 429),
    "status-429-quota": (502, "backend_quota_exhausted", False, 429),
    "status-429-credits": (502, "backend_quota_exhausted", False, 429),
    "status-429-slow-down": (429, "backend_rate_limited", True, 429),
    "status-500": (502, "backend_error", True, 500),
    "status-502": (502, "backend_error", True, 502),
    "status-503": (502, "backend_error", True, 503),
    "status-504": (504, "backend_timeout", True, 504),
    "context-length": (400, "context_length_exceeded", False, 400),
    "html-error-502": (502, "backend_error", True, 502),
    "html-error-404": (502, "backend_error", False, 404),
    "garbage": (502, "backend_invalid_response", True, None),
    "ends-0": (502, "backend_invalid_response", True, None),
    "reset-0": (502, "backend_error", True, None),
}


# The vendor's own word is told also where the client is to blame.
VENDORS_CODES = {
    "status-400": "unsupported_value",
    "status-404": "model_not_found",
    "context-length": "context_length_exceeded",
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", REFUSALS)
def test_a_failure_before_the_first_byte(client: Client, model: str, stream: bool) -> None:
    """It is an ordinary error answer with its own status, and blames the side that is to blame."""
    status, code, retryable, backend_status = REFUSALS[model]
    reply = refused(client, f"fake/{model}", stream, **(PATIENT if stream else {}))
    error = reply.error
    assert (reply.status, error["code"], error["retryable"]) == (status, code, retryable)
    assert error["type"].endswith(f"/{code}") and error["title"] and error["detail"]
    assert (error["backend"], error["backend_status"]) == ("fake", backend_status)
    if model in VENDORS_CODES:
        assert error["backend_code"] == VENDORS_CODES[model]
    if code not in ("backend_rate_limited", "overloaded"):
        assert (error["retry_after_s"], reply.headers.get("retry-after")) == (None, None)


@pytest.mark.parametrize("model", ["status-401", "status-403"])
def test_a_refused_credential_is_not_the_clients(client: Client, model: str) -> None:
    """The client sees neither a 401 nor what the vendor says of the operator's key."""
    reply = client.generate(f"fake/{model}")
    assert reply.status == 502
    assert "www-authenticate" not in reply.headers
    assert b"sk-" not in reply.body


@pytest.mark.parametrize(
    ("model", "seconds", "header"),
    [("status-429-after-7", 7, "7"), ("status-429-date-30", 30, "30"), ("status-429-ms-1500", 1.5, "2")],
)
def test_a_rate_limit_says_when(client: Client, model: str, seconds: float, header: str) -> None:
    """The three forms of the vendor's `Retry-After` come out as one, in the error and as a header."""
    reply = client.generate(f"fake/{model}")
    assert reply.status == 429
    assert reply.error["retry_after_s"] == pytest.approx(seconds, abs=2 if "date" in model else 0.001)
    assert abs(int(reply.headers["retry-after"]) - int(header)) <= (2 if "date" in model else 0)


def test_a_failed_plain_answer_names_its_generation(client: Client, gateway: Gateway) -> None:
    """The error of a plain answer has the id under which the log tells of the generation."""
    told = client.generate("fake/status-500").error["generation_id"]
    assert told is not None
    eventually(lambda: [line for line in gateway.generations() if line["generation_id"] == told], 5, "it is logged")


@pytest.mark.parametrize("model", ["truncate-2", "truncate-3", "ends-3", "reset-3", "stall-3"])
def test_a_plain_answer_that_breaks_off(client: Client, model: str) -> None:
    """Half of an answer is no answer."""
    reply = client.generate(f"fake/{model}", **(BRIEF_IN_ALL if model.startswith("stall") else {}))
    expected = (504, "backend_timeout") if model.startswith("stall") else (502, "backend_invalid_response")
    assert (reply.status, reply.error["code"]) == expected
    assert "Error" not in reply.error["detail"], "a class of the gateway's inside"


@pytest.mark.parametrize(
    ("model", "said"), [("truncate-3", "w0 w1"), ("ends-3", "w0 w1"), ("reset-3", "w0 w1"), ("no-done", "w0 w1 w2")]
)
def test_a_stream_that_breaks_off(client: Client, model: str, said: str) -> None:
    """It fails with an event, never with silence, and keeps what was said so far."""
    names, generation, error = failed(client, f"fake/{model}", **PATIENT)
    assert (error["status"], error["code"], error["backend"]) == (502, "backend_invalid_response", "fake")
    assert generation["output"][0]["text"] == said
    assert "output.completed" not in names
    assert "Error" not in error["detail"], "a class of the gateway's inside"


def test_error_in_the_middle_of_a_stream(client: Client) -> None:
    """An error that the vendor sends as an event ends the stream as a failure, with all that was said before it."""
    _, generation, error = failed(client, "fake/error-in-200-2", **PATIENT)
    assert (error["code"], error["backend"], error["retryable"]) == ("backend_error", "fake", True)
    assert generation["output"][0]["text"] == "w0 w1"


def test_error_in_200(client: Client) -> None:
    """An error inside a good status is an error."""
    error = client.generate("fake/error-in-200").error
    assert (error["status"], error["code"], error["backend_code"]) == (502, "backend_error", "server_error")
    assert error["backend_status"] in (None, 200)


@pytest.mark.parametrize(
    ("stream", "limits"), [(False, BRIEF_IN_ALL), (False, BRIEF), (True, BRIEF)], ids=["plain", "timed", "stream"]
)
def test_silence_before_the_first_event(client: Client, fake: FakeOpenAI, stream: bool, limits: Json) -> None:
    """A vendor that says nothing is given up in time, and the call to it is cut."""
    began = time.monotonic()
    reply = refused(client, "fake/stall-0", stream, **limits)
    assert (reply.status, reply.error["code"], reply.error["retryable"]) == (504, "backend_timeout", True)
    assert 0.3 < time.monotonic() - began < 2
    assert fake.requests[-1].finished.wait(1)
    assert fake.requests[-1].disconnected


def test_silence_in_the_middle_of_a_stream(client: Client, fake: FakeOpenAI) -> None:
    """A vendor that falls silent is given up after `idle_s`."""
    _, generation, error = failed(client, "fake/stall-3", **BRIEF)
    assert (error["status"], error["code"]) == (504, "backend_timeout")
    assert generation["output"][0]["text"] == "w0 w1"
    assert fake.requests[-1].finished.wait(1)
    assert fake.requests[-1].disconnected


def test_silence_in_the_middle_of_a_plain_answer(client: Client, fake: FakeOpenAI) -> None:
    """A client that limits the pauses of a plain answer is kept waiting no longer than it says."""
    reply = client.generate("fake/stall-3", timeouts={"idle_s": 0.4})
    assert (reply.status, reply.error["code"]) == (504, "backend_timeout")
    assert fake.requests[-1].finished.wait(1)
    assert fake.requests[-1].disconnected


def test_silence_for_more_than_a_second(client: Client) -> None:
    """Once the head went out, even a failure before the first output is an event."""
    timeouts = {"first_event_s": 1.6, "idle_s": 1.6, "total_s": 20}
    names, generation, error = failed(client, "fake/stall-0", timeouts=timeouts)
    assert names == ["generation.created", "generation.failed"]
    assert (error["code"], generation["output"], generation["served_by"]) == ("backend_timeout", [], None)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_the_total_time(client: Client, stream: bool) -> None:
    """A vendor that goes on for ever is given up after `total_s`, however lively it is."""
    timeouts = {"first_event_s": 10, "idle_s": 10, "total_s": 0.5}
    if stream:
        _, generation, error = failed(client, "fake/slow-50-100", timeouts=timeouts)
        assert generation["output"][0]["text"].startswith("w0 w1")
    else:
        error = client.generate("fake/slow-50-100", timeouts=timeouts).error
    assert (error["status"], error["code"]) == (504, "backend_timeout")


def test_usage_of_a_failed_stream(client: Client) -> None:
    """What the vendor told of its use before it failed is kept."""
    _, generation, _ = failed(client, "fake/no-done")
    assert (generation["usage"]["input_tokens"], generation["usage"]["output_tokens"]) == (1, 3)


def test_a_stream_where_json_was_asked_for(client: Client) -> None:
    """A vendor that streams an answer which was asked for whole is understood."""
    assert client.answer("fake/wrong-type")["output"][0]["text"] == "w0 w1 w2"


def test_json_where_a_stream_was_asked_for(client: Client) -> None:
    """A vendor that answers a stream in one piece gives either the whole answer or an error, and no half of one."""
    stream = client.stream("fake/wrong-type")
    if stream.refusal is not None:
        assert (stream.status, stream.refusal.error["code"]) == (502, "backend_invalid_response")
    else:
        assert stream.end()["output"][0]["text"] == "w0 w1 w2"


def test_the_next_request_is_not_harmed(client: Client) -> None:
    """After each failure the same provider serves on."""
    for model in ("status-500", "garbage", "truncate-2", "reset-3", "ends-3"):
        client.generate(f"fake/{model}")
        client.stream(f"fake/{model}").leave()
        assert client.answer("fake/echo", model)["output"][0]["text"] == model


@pytest.mark.parametrize("model", ["embed-4", "status-429-after-7", "garbage", "truncate-2", "error-in-200"])
def test_embeddings_fail_as_chats_do(client: Client, model: str) -> None:
    """The faults are told the same way for embeddings."""
    reply = client.generate(f"fake/{model}", ["one"], modality="embedding")
    codes = {
        "embed-4": None,
        "status-429-after-7": "backend_rate_limited",
        "garbage": "backend_invalid_response",
        "truncate-2": "backend_invalid_response",
        "error-in-200": "backend_error",
    }
    assert (None if reply.status == 200 else reply.error["code"]) == codes[model]


# ── where no vendor answers at all ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def raw_server(said: bytes) -> Iterator[int]:
    """A server on a free port that answers every connection with the same bytes and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A gateway whose providers cannot be reached, or are no HTTP servers."""
    with (
        socket.socket() as closed,
        raw_server(b"SSH-2.0-OpenSSH_9.2\r\n") as no_http,
        raw_server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as redirect,
        raw_server(b"") as mute,
    ):
        closed.bind(("127.0.0.1", 0))  # and does not listen
        ports = {"refused": closed.getsockname()[1], "no-http": no_http, "redirect": redirect, "mute": mute}
        providers: Json = {
            name: {"codec": "openai", "base_url": f"http://127.0.0.1:{port}/v1"} for name, port in ports.items()
        }
        providers["nowhere"] = {"codec": "openai", "base_url": "http://nowhere.invalid/v1"}
        providers["no-tls"] = {"codec": "openai", "base_url": f"https://127.0.0.1:{mute}/v1"}
        config: Json = {"providers": providers, "demo": False, "retry": BARE}
        with start_gateway(Path(tmp_path_factory.mktemp("lost")), config) as gateway:
            yield gateway.client


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("provider", ["refused", "nowhere", "no-http", "mute", "no-tls", "redirect"])
def test_a_provider_that_cannot_be_reached(lost: Client, provider: str, stream: bool) -> None:
    """No connection, no such host, no HTTP, no TLS, a redirect: each is the backend's failure, in words."""
    reply = refused(lost, f"{provider}/model", stream)
    error = reply.error
    assert (reply.status, error["backend"]) == (502, provider)
    assert error["code"] in ("backend_error", "backend_invalid_response")
    assert error["detail"] and "Traceback" not in error["detail"]
