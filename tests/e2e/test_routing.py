"""Routes in front of providers that fail in every way: who is asked, how often, what the client is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from e2e.faulty import TEXT, Faulty, running_faulty
from e2e.harness import BARE, Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI, running_fake_openai

FAR_KEY = "sk-the-key-that-works"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])

# fault → code, how often it is asked (a plain answer and a streamed one), the status that is the backend's own
BEFORE_OUTPUT: dict[str, tuple[str, tuple[int, int], int | None]] = {
    "refused": ("backend_error", (2, 2), None),
    "nowhere": ("backend_error", (2, 2), None),
    "reset-early": ("backend_error", (2, 2), None),
    "no-http": ("backend_invalid_response", (2, 2), None),
    "html-200": ("backend_invalid_response", (2, 2), None),
    "html-502": ("backend_error", (2, 2), 502),
    "text-200": ("backend_invalid_response", (2, 2), None),
    "empty-200": ("backend_invalid_response", (2, 2), None),
    "error-in-200": ("backend_error", (2, 2), None),
    "error-bare": ("backend_error", (2, 2), None),
    "status-500": ("backend_error", (2, 2), 500),
    "truncated-early": ("backend_invalid_response", (2, 2), None),
    "false-gzip": ("backend_invalid_response", (2, 2), None),
    # A plain answer has no events that could be late or endless.
    "stall-early": ("backend_timeout", (0, 1), None),
    "comments-only": ("backend_timeout", (0, 1), None),
    "endless-event": ("backend_invalid_response", (0, 2), None),
}
EACH_WAY = pytest.mark.parametrize(
    ("fault", "stream"),
    [(fault, stream) for fault, (_, times, _) in BEFORE_OUTPUT.items() for stream in (False, True) if times[stream]],
)
AFTER_OUTPUT = {
    "reset-late": "backend_invalid_response",
    "truncated-late": "backend_invalid_response",
    "error-late": "backend_error",
    "error-bare-late": "backend_error",
    "stall-late": "backend_timeout",
}
# fault → the least that is waited
LIMITED = {
    "limited-seconds": 1.0,
    "limited-date": 0.9,
    "limited-ms": 0.3,
    "limited-zero": 0.0,
    "limited-negative": 0.25,
    "limited-nan": 0.25,
    "limited-nonsense": 0.25,
}
OTHERS = ("drip", "gzip", "no-stream", "storm", "content-filter", "limited-20", "limited-for-ever")
RAW = {*BEFORE_OUTPUT, *AFTER_OUTPUT, *LIMITED, *OTHERS} - {"refused", "nowhere"}


@pytest.fixture(scope="module")
def faulty() -> Iterator[Faulty]:
    with running_faulty() as server:
        yield server


@pytest.fixture(scope="module")
def far() -> Iterator[FakeOpenAI]:
    """A vendor elsewhere; it counts what reaches it."""
    with running_fake_openai(key=FAR_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def near() -> Iterator[FakeOpenAI]:
    """A server on the operator's own network."""
    with running_fake_openai() as server:
        yield server


def providers(faulty: Faulty, far: FakeOpenAI, near: FakeOpenAI, closed_port: int) -> Json:
    def at(base_url: str, **more: Any) -> Json:
        return {"codec": "openai", "base_url": base_url, **more}

    return {
        **{name: at(faulty.base_url(name)) for name in sorted(RAW)},
        "refused": at(f"http://127.0.0.1:{closed_port}/v1"),
        "nowhere": at("http://nowhere.invalid/v1"),
        "far": at(far.base_url, api_key=FAR_KEY),
        "keys": at(far.base_url, api_keys=["sk-that-was-revoked-long-ago", FAR_KEY]),
        "near": at(near.base_url, location="local"),
    }


ROUTES: Json = {
    **{f"r-{name}": {"targets": [f"{name}/m", "near/echo"]} for name in (*BEFORE_OUTPUT, *AFTER_OUTPUT)},
    "all-fail": {"targets": ["html-502/m", "refused/m", "keys/status-401", "near/status-404"]},
    "impatient": {"targets": ["stall-early/m", "comments-only/m", "near/echo"], "first_event_s": 0.3},
    "impatient-alone": {"targets": ["stall-early/m"], "first_event_s": 0.3},
    **{f"impatient-{name}": {"targets": [f"{name}/m", "near/echo"], "first_event_s": 0.6} for name in AFTER_OUTPUT},
    "waits": {"targets": ["limited-20/m", "near/echo"]},
    "mixed": {"targets": ["far/echo", "near/echo"]},
    "elsewhere": {"targets": ["far/echo"]},
    "halves": {"targets": ["near/status-500", "far/echo"]},
    "long-halves": {"targets": ["near/context-length", "far/echo"]},
    # The config takes no remote target into these, not even by way of another route.
    "private": {"targets": ["near/status-500"], "location": "local", "on_context_length": ["near/echo"]},
    "private-long": {"targets": ["near/context-length"], "location": "local", "on_content_filter": ["near/echo"]},
    "around-private": {"targets": ["private"], "on_context_length": ["far/echo"]},
    "long": {"targets": ["near/context-length", "near/say-1"], "on_context_length": ["far/echo"]},
    "long-without": {"targets": ["near/context-length", "near/echo"]},
    "filtered": {"targets": ["content-filter/m", "near/say-1"], "on_content_filter": ["far/echo"]},
    "stormy": {"targets": ["storm/m", "near/echo"]},
}


@pytest.fixture(scope="module")
def gateway(
    faulty: Faulty, far: FakeOpenAI, near: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with its usual rules of retry, but for the breaker, which these failures would open."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        config: Json = {
            "providers": providers(faulty, far, near, closed.getsockname()[1]),
            "models": ROUTES,
            "timeouts": {"first_event_s": 1, "idle_s": 1, "total_s": 30},
            "retry": {"breaker_failures": 0},
            "demo": False,
        }
        with start_gateway(tmp_path_factory.mktemp("routing"), config) as running:
            yield running


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Client:
    return gateway.client


def ask(client: Client, model: str, stream: bool, **fields: Any) -> Json:
    """The generation, whichever way it was asked for; or the error where none came of it."""
    if not stream:
        reply = client.generate(model, "Hello", **fields)
        found: Json = reply.json() if reply.status == 200 else reply.error
        return found
    answer = client.stream(model, "Hello", **fields)
    return answer.refusal.error if answer.refusal is not None else answer.end()


def said(generation: Json) -> str:
    assert generation.get("status") == "completed", generation
    text: str = generation["output"][0]["text"]
    return text


def tried(found: Json) -> list[tuple[str, str]]:
    return [(one["backend"], one["code"]) for one in found["attempts"]]


# ── before the first output ─────────────────────────────────────────────────────────────────────────────────────────


@EACH_WAY
def test_a_failure_before_output_goes_to_the_next_target(
    client: Client, faulty: Faulty, fault: str, stream: bool
) -> None:
    """What may pass is tried again, a time-out is not; then the next target answers, and tells what was tried."""
    code, times, _ = BEFORE_OUTPUT[fault]
    before = faulty.asked[fault]
    generation = ask(client, f"r-{fault}", stream)
    assert said(generation) == "Hello"
    assert (generation["served_by"]["backend"], generation["error"]) == ("near", None)
    assert tried(generation) == [(fault, code)] * times[stream]
    assert fault not in RAW or faulty.asked[fault] == before + times[stream]


@EACH_WAY
def test_a_failure_without_another_target_blames_the_right_side(client: Client, fault: str, stream: bool) -> None:
    """The error names the backend, its own status where it gave one, and every attempt."""
    code, times, backend_status = BEFORE_OUTPUT[fault]
    found = ask(client, f"{fault}/m", stream)
    error = found.get("error") or found  # of a stream whose head was out after a second
    assert (error["code"], error["backend"]) == (code, fault)
    assert error["backend_status"] in ((None, 200) if backend_status is None else (backend_status,))
    assert tried(error) == [(fault, code)] * times[stream]
    assert error["status"] == (504 if code == "backend_timeout" else 502)
    assert error["generation_id"] and error["detail"]


def test_a_plain_answer_that_never_comes_is_given_up_in_all(client: Client) -> None:
    """It has no first event: its one limit is the total, after which there is no time for another target."""
    reply = client.generate("r-stall-early", timeouts={"total_s": 0.5})
    assert (reply.status, tried(reply.error)) == (504, [("stall-early", "backend_timeout")])


@BOTH
def test_an_impatient_route(client: Client, stream: bool) -> None:
    """It gives a target up for the next one after its own time, however the answer is asked for."""
    generation = ask(client, "impatient", stream)
    assert said(generation) == "Hello"
    assert tried(generation) == [("stall-early", "backend_timeout"), ("comments-only", "backend_timeout")]
    assert all(0.25 < one["duration_s"] < 0.95 for one in generation["attempts"])


def test_the_last_target_of_an_impatient_route(client: Client) -> None:
    """It is given up after the usual time: of a plain answer, that of the whole."""
    reply = client.generate("impatient-alone", timeouts={"total_s": 0.9})
    assert (reply.status, tried(reply.error)) == (504, [("stall-early", "backend_timeout")])
    assert reply.error["attempts"][0]["duration_s"] > 0.85
    error = ask(client, "impatient-alone", True)
    [attempt] = (error.get("error") or error)["attempts"]
    assert attempt["duration_s"] > 0.95


@pytest.mark.parametrize("fault", ["reset-late", "truncated-late", "error-late"])
def test_half_of_a_plain_answer_is_none(client: Client, fault: str) -> None:
    """Nothing of it has gone out, so the next target may still answer."""
    generation = ask(client, f"r-{fault}", False)
    assert said(generation) == "Hello"
    assert tried(generation) == [(fault, AFTER_OUTPUT[fault])] * 2


@pytest.mark.parametrize("fault", AFTER_OUTPUT)
def test_half_of_a_plain_answer_is_none_where_it_was_asked_for_as_a_stream(client: Client, fault: str) -> None:
    """An impatient route asks so; nothing of it has gone out either, and what was said is no part of the answer."""
    generation = ask(client, f"impatient-{fault}", False)
    assert (said(generation), len(generation["output"])) == ("Hello", 1)
    assert (generation["served_by"]["backend"], generation["error"]) == ("near", None)
    # A target that takes too long may still be at work, so it is not asked again.
    times = 1 if fault == "stall-late" else 2
    assert tried(generation) == [(fault, AFTER_OUTPUT[fault])] * times


@BOTH
@pytest.mark.parametrize("fault", ["drip", "gzip", "no-stream"])
def test_what_is_odd_but_whole_is_an_answer(client: Client, fault: str, stream: bool) -> None:
    """A byte at a time, compressed, or at once in place of a stream: nothing failed, so nothing is tried again."""
    generation = ask(client, f"{fault}/m", stream)
    assert (said(generation), generation["attempts"]) == (TEXT, [])


@BOTH
def test_an_event_of_megabytes_is_an_answer(client: Client, stream: bool) -> None:
    """Large is not endless."""
    generation = ask(client, "near/giant", stream)
    assert (len(said(generation)), generation["attempts"]) == (4 << 20, [])


@BOTH
def test_where_all_fail_the_first_targets_error_stands(client: Client, stream: bool) -> None:
    """With the first target's backend and status, and the attempts at all of them in order."""
    error = ask(client, "all-fail", stream)
    error = error.get("error") or error
    assert (error["status"], error["code"]) == (502, "backend_error")
    assert (error["backend"], error["backend_status"]) == ("html-502", 502)
    refused_key = ("keys", "backend_authentication_failed")
    failed = ("backend_error",)
    assert tried(error) == [
        *[("html-502", *failed)] * 2,
        *[("refused", *failed)] * 2,
        refused_key,
        refused_key,
        ("near", "model_not_found"),
    ]


# ── after it ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", AFTER_OUTPUT)
def test_nothing_is_tried_again_after_output(client: Client, faulty: Faulty, near: FakeOpenAI, fault: str) -> None:
    """A stream that has begun fails where it fails: no second attempt, no other target, and what was said is kept."""
    asked, others = faulty.asked[fault], len(near.requests)
    generation = ask(client, f"r-{fault}", True)
    assert (generation["status"], generation["served_by"]["backend"]) == ("failed", fault)
    assert generation["output"][0]["text"] == TEXT
    error = generation["error"]
    assert (error["code"], error["backend"]) == (AFTER_OUTPUT[fault], fault)
    assert tried(generation) == tried(error) == [(fault, AFTER_OUTPUT[fault])]
    assert (faulty.asked[fault], len(near.requests)) == (asked + 1, others)


# ── waiting, and other keys ─────────────────────────────────────────────────────────────────────────────────────────


@BOTH
@pytest.mark.parametrize("fault", LIMITED)
def test_a_limited_provider_is_waited_for(client: Client, faulty: Faulty, fault: str, stream: bool) -> None:
    """As long as it asks, in each form of Retry-After; with none that makes sense, a back-off."""
    faulty.asked[fault] = 0
    began = time.monotonic()
    generation = ask(client, f"{fault}/m", stream)
    assert said(generation) == TEXT
    assert tried(generation) == [(fault, "backend_rate_limited")]
    assert LIMITED[fault] <= time.monotonic() - began < LIMITED[fault] + 5


def test_a_wait_that_is_too_long_is_the_clients_to_make(client: Client) -> None:
    """It is told how long, and nothing is waited for here."""
    reply = client.generate("limited-for-ever/m")
    assert (reply.status, reply.headers["retry-after"]) == (429, "86400")
    assert len(reply.error["attempts"]) == 1


@BOTH
def test_another_target_comes_before_a_wait(client: Client, faulty: Faulty, stream: bool) -> None:
    """Nobody waits twenty seconds for one while another answers at once."""
    faulty.asked["limited-20"] = 0
    began = time.monotonic()
    generation = ask(client, "waits", stream)
    assert (generation["served_by"]["backend"], tried(generation)) == ("near", [("limited-20", "backend_rate_limited")])
    assert time.monotonic() - began < 10


def test_a_client_that_leaves_while_it_waits(client: Client, gateway: Gateway, faulty: Faulty) -> None:
    """It was told of the wait; the run is over at once, and the provider is not asked again."""
    faulty.asked["limited-20"] = 0
    stream = client.stream("limited-20/m")
    progress = stream.next("generation.progress").data
    generation_id = stream.seen[0].data["generation"]["id"]
    assert progress["stage"] == "queued" and 15 < progress["eta_s"] <= 20
    stream.leave()

    def told() -> list[Json]:
        return [line for line in gateway.generations() if line["generation_id"] == generation_id]

    [line] = eventually(told, 10, "the run is over")
    assert (line["generation_status"], line["attempts"]) == ("cancelled", 1)
    assert faulty.asked["limited-20"] == 1


def test_a_key_that_is_refused_is_followed_by_the_next(client: Client, far: FakeOpenAI) -> None:
    """And from then on the one that works comes first. The client sees nothing of the keys."""
    first = ask(client, "keys/echo", False)
    assert said(first) == "Hello"
    assert tried(first) in ([("keys", "backend_authentication_failed")], [])
    before = len(far.requests)
    for stream in (False, True):
        assert tried(ask(client, "keys/echo", stream)) == []
    sent = [request.headers["authorization"] for request in far.requests[before:]]
    assert sent == [f"Bearer {FAR_KEY}"] * 2


# ── promises of location ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def local_only(client: Client) -> Client:
    """A client whose key may use local models only."""
    made = client.post("/v1/keys", {"name": "at home", "scopes": ["generate", "models:read"], "location": "local"})
    assert made.status == 201, made.body
    return client.with_key(made.json()["secret"])


@BOTH
@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        ("mixed", {}, "near"),
        ("mixed", {"routing": {"order": ["far"]}}, "near"),
        ("mixed", {"routing": {"sort": "latency"}}, "near"),
        ("elsewhere", {}, "permission_denied"),
        ("far/echo", {}, "permission_denied"),
        ("mixed", {"routing": {"only": ["remote"]}}, "permission_denied"),
        ("long", {}, "context_length_exceeded"),
        ("filtered", {}, "near"),
        ("halves", {}, "backend_error"),
        ("long-halves", {}, "context_length_exceeded"),
    ],
)
def test_the_promise_of_a_key(
    local_only: Client, far: FakeOpenAI, model: str, fields: Json, expected: str, stream: bool
) -> None:
    """Whatever is asked and whatever fails, nothing of it reaches a remote provider."""
    before = len(far.requests)
    found = ask(local_only, model, stream, **fields)
    error = found.get("error") or found
    assert expected == (found["served_by"]["backend"] if found.get("served_by") else error["code"])
    assert len(far.requests) == before


@BOTH
@pytest.mark.parametrize(
    ("model", "fields", "code"),
    [
        ("private", {}, "backend_error"),
        ("private", {"routing": {"order": ["far"], "sort": "price"}}, "backend_error"),
        ("private", {"routing": {"ignore": ["local"]}}, "invalid_request"),
        ("private-long", {}, "context_length_exceeded"),
        ("mixed", {"routing": {"only": ["local"]}}, None),
        ("halves", {"routing": {"only": ["local"]}}, "backend_error"),
        ("around-private", {}, "backend_error"),
    ],
)
def test_the_promise_of_a_route_and_of_a_request(
    client: Client, far: FakeOpenAI, model: str, fields: Json, code: str | None, stream: bool
) -> None:
    """No failure, no long input and no wish makes a way to a remote provider."""
    before = len(far.requests)
    found = ask(client, model, stream, **fields)
    error = found.get("error") or found
    assert code == error.get("code")
    assert len(far.requests) == before


def test_who_would_be_tried_and_who_not(client: Client, local_only: Client) -> None:
    """A model's page tells each target's place and reason, by what is asked and by the key's promise."""

    def places(of: Client, query: str = "") -> list[tuple[str, int | None]]:
        return [(one["backend"], one["position"]) for one in of.get(f"/v1/models/mixed{query}").json()["targets"]]

    assert places(client) == [("far", 1), ("near", 2)]
    assert places(client, "?order=near") == [("near", 1), ("far", 2)]
    assert places(client, "?ignore=remote") == [("near", 1), ("far", None)]
    assert places(local_only) == [("near", 1), ("far", None)]
    later = client.get("/v1/models/long").json()["targets"][-1]
    assert (later["backend"], later["position"]) == ("far", None)
    assert "too long" in later["reason"]


# ── long inputs and filters ─────────────────────────────────────────────────────────────────────────────────────────


@BOTH
@pytest.mark.parametrize(
    ("model", "attempt"),
    [("long", ("near", "context_length_exceeded")), ("filtered", ("content-filter", "content_filtered"))],
)
def test_the_operators_choice_for_long_inputs_and_filters(
    client: Client, model: str, attempt: tuple[str, str], stream: bool
) -> None:
    """What the route names for the case answers, and not simply the next target."""
    generation = ask(client, model, stream)
    assert (said(generation), generation["served_by"]["backend"]) == ("Hello", "far")
    assert tried(generation) == [attempt]


@BOTH
def test_without_that_choice_it_is_an_error(client: Client, stream: bool) -> None:
    """The next target is not tried with an input that was too long for the first."""
    error = ask(client, "long-without", stream)
    assert (error["status"], error["code"]) == (400, "context_length_exceeded")
    assert tried(error) == [("near", "context_length_exceeded")]


# ── a storm ─────────────────────────────────────────────────────────────────────────────────────────────────────────

REST_S = 1.0


@BOTH
def test_a_storm_opens_the_breaker_and_its_end_closes_it(
    faulty: Faulty, far: FakeOpenAI, near: FakeOpenAI, tmp_path: Any, stream: bool
) -> None:
    """After three failures the provider is left alone; after the rest one request tries it, and a second later again;
    once it answers all go there as before."""
    config: Json = {
        "providers": providers(faulty, far, near, 1),
        "models": {"stormy": ROUTES["stormy"]},
        "retry": {**BARE, "breaker_failures": 3, "breaker_rest_s": REST_S},
        "demo": False,
    }
    faulty.is_broken, faulty.pause_s, faulty.asked["storm"] = True, 0.0, 0
    with start_gateway(tmp_path, config) as gateway:
        client = gateway.client
        for _ in range(3):
            assert tried(ask(client, "stormy", stream)) == [("storm", "backend_error")]
        alone = client.generate("storm/m")
        assert (alone.status, alone.error["code"], alone.headers["retry-after"]) == (503, "model_unavailable", "1")
        assert alone.error["generation_id"] is None
        told = client.get("/v1/models/stormy").json()["targets"]
        assert (told[0]["backend"], told[1]["position"]) == ("near", None)
        assert "3 times in a row" in told[1]["reason"]
        assert ask(client, "stormy", stream)["attempts"] == []
        assert faulty.asked["storm"] == 3

        def tried_again() -> bool:
            return ask(client, "storm/m", stream)["code"] == "backend_error"

        began = time.monotonic()
        eventually(tried_again, 10, "one request tries it after its rest")
        assert faulty.asked["storm"] == 4
        faulty.is_broken, faulty.pause_s = False, 0.5
        assert client.generate("storm/m").status == 503
        time.sleep(max(0.0, began + 1.2 * REST_S - time.monotonic()))
        assert client.generate("storm/m").status == 503, "the second rest is twice as long"

        def one_goes_through() -> list[str]:
            with ThreadPoolExecutor(8) as many:
                found = list(many.map(lambda _: ask(client, "stormy", stream)["served_by"]["backend"], range(8)))
            return found if "storm" in found else []

        served = eventually(one_goes_through, 15, "the provider is tried once more, and answers")
        assert (served.count("storm"), faulty.asked["storm"]) == (1, 5)
        faulty.pause_s = 0.0
        assert [ask(client, "stormy", stream)["served_by"]["backend"] for _ in range(5)] == ["storm"] * 5
