"""What an operator relies on: health, metrics, logs that tell no secret, and no route without its credential."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from needs import Needs
from prometheus_client.parser import text_string_to_metric_families

from e2e.conftest import PROVIDER_KEY
from e2e.harness import ADMIN_KEY, Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI, running_fake_openai

OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json"), ("GET", "/docs")}
FAMILIES = {
    "pluggably_build_info",
    "pluggably_http_requests",
    "pluggably_http_request_duration_seconds",
    "pluggably_errors",
    "pluggably_generations",
    "pluggably_generations_running",
    "pluggably_generation_duration_seconds",
    "pluggably_time_to_first_event_seconds",
    "pluggably_tokens",
    "pluggably_cost_usd",
    "pluggably_workers",
    "pluggably_worker_memory_bytes",
    "pluggably_queued_generations",
}


def new_key(client: Client, *scopes: str) -> Client:
    """A client with a fresh key of these scopes."""
    reply = client.post("/v1/keys", {"name": "of a test", "scopes": list(scopes)})
    assert reply.status == 201
    return client.with_key(reply.json()["secret"])


# ── who may do what ─────────────────────────────────────────────────────────────────────────────────────────────────


def operations(client: Client) -> list[tuple[str, str]]:
    """Every method and path that the published document names, with something in place of each parameter."""
    document = client.with_key(None).get("/openapi.json").json()
    methods = {"get", "put", "post", "delete", "patch", "head", "options"}
    found = [
        (method.upper(), re.sub(r"\{[^}]*\}", "x", path))
        for path, rows in document["paths"].items()
        for method in rows.keys() & methods
    ]
    assert len(found) > 10 and set(found) >= OPEN
    return sorted(found)


def test_every_route_wants_a_credential(client: Client) -> None:
    """Without a key, or with a wrong one, nothing answers but the open routes."""
    for method, path in operations(client):
        for key in (None, "plg_nosuch_key", "x" * 5000):
            reply = client.with_key(key).request(method, path)
            if (method, path) in OPEN:
                assert reply.status == 200, (method, path)
            else:
                assert (reply.status, reply.error["code"]) == (401, "unauthenticated"), (method, path)
                assert reply.headers["www-authenticate"].startswith("Bearer")


def test_both_headers_of_a_credential(client: Client) -> None:
    """A key may come as a bearer or in X-API-Key; another scheme is no credential."""
    bare = client.with_key(None)
    assert bare.get("/v1/me", headers={"X-API-Key": str(client.key)}).status == 200
    assert bare.get("/v1/me", headers={"Authorization": f"bearer {client.key}"}).status == 200
    for wrong in (f"Basic {client.key}", str(client.key), "Bearer", ""):
        assert bare.get("/v1/me", headers={"Authorization": wrong}).status == 401, wrong


def test_a_key_that_only_generates(client: Client) -> None:
    """A key may do what its scopes say, and no administration."""
    generator = new_key(client, "generate")
    assert generator.answer("fake/echo")["status"] == "completed"
    assert generator.get("/v1/me").json()["scopes"] == ["generate"]
    for method, path in operations(client):
        if (method, path) in OPEN | {("GET", "/v1/me"), ("POST", "/v1/generations")}:
            continue
        reply = generator.request(method, path)
        assert (reply.status, reply.error["code"]) == (403, "permission_denied"), (method, path)


def test_a_key_that_only_reads(client: Client) -> None:
    """A key without `generate` reads the models and generates nothing."""
    reader = new_key(client, "models:read")
    assert reader.get("/v1/models").status == 200
    reply = reader.generate("fake/echo")
    assert (reply.status, reply.error["code"]) == (403, "permission_denied")


def test_a_key_through_the_api(client: Client) -> None:
    """A key is made, listed without its secret, and refused at once when it is revoked; none revokes itself."""
    made = client.post("/v1/keys", {"name": "laptop", "scopes": ["admin"]}).json()
    other = client.with_key(made["secret"])
    listed = {key["id"]: key for key in client.get("/v1/keys").json()["data"]}
    assert listed[made["id"]]["name"] == "laptop"
    assert made["secret"] not in json.dumps(list(listed.values()))
    assert other.request("DELETE", f"/v1/keys/{made['id']}").error["code"] == "conflict"
    assert client.request("DELETE", f"/v1/keys/{made['id']}").status == 204
    assert other.get("/v1/me").status == 401
    assert client.request("DELETE", "/v1/keys/key_nosuch").status == 404
    past = client.post("/v1/keys", {"name": "old", "expires_at": "2020-01-01T00:00:00Z"})
    assert past.status == 400 or client.with_key(past.json()["secret"]).get("/v1/me").status == 401


def test_unknown_paths_and_methods(client: Client) -> None:
    """A path that is not there is 404, a method that it does not take 405 with `Allow`."""
    assert client.get("/nosuch").error["code"] == "not_found"
    reply = client.request("DELETE", "/v1/generations")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bodies_that_are_refused(client: Client) -> None:
    """Too large, no JSON, no UTF-8, another media type, nested too deeply: each has its own answer."""
    path = "/v1/generations"
    json_type = {"Content-Type": "application/json"}
    for body, headers, expected in (
        (b"{", json_type, (400, "invalid_request")),
        (b"\xff\xfe", json_type, (400, "invalid_request")),
        (b'{"model":"fake/echo","input":"\xff"}', json_type, (400, "invalid_request")),
        (b"[" * 100_000, json_type, (400, "invalid_request")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
        (b"{}", {}, (415, "unsupported_media_type")),
        (b'"' + b"x" * (21 << 20) + b'"', json_type, (413, "payload_too_large")),
    ):
        try:
            reply = client.request("POST", path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            assert len(body) > 1 << 20  # refused by its head; http.client writes on and does not look
            continue
        assert (reply.status, reply.error["code"]) == expected


def test_a_large_body_is_refused_by_its_head(gateway: Gateway) -> None:
    """A body that says it is too large is refused before it is sent."""
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest("POST", "/v1/generations")
    for name, value in (
        ("Authorization", f"Bearer {gateway.client.key}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(30 << 20)),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def say(gateway: Gateway, words: bytes) -> bytes:
    """Sends bytes as they are, and returns all that comes back until the gateway closes the connection."""
    address = urlsplit(gateway.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
        try:
            connection.sendall(words)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


def test_heads_that_are_refused(gateway: Gateway) -> None:
    """A head that is too large, or no HTTP at all, is refused in words, and the next client is served."""
    large = say(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 200_000 + b"\r\n\r\n")
    assert large == b"" or (b" 431 " in large and b"headers_too_large" in large)
    wrong = say(gateway, b"this is no HTTP\r\n\r\n")
    assert b" 400 " in wrong and b"\r\nx-request-id: req_" in wrong.lower()
    assert gateway.client.get("/healthz").status == 200


HEAD = f"Host: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n".encode()
BODY = b'{"model":"fake/echo","input":"as it stands"}'


def test_old_and_unusual_clients(gateway: Gateway) -> None:
    """HTTP/1.0, a chunked body and several requests in one write are all served."""
    path = b"POST /v1/generations HTTP/1."
    length = b"Content-Length: %d\r\n\r\n" % len(BODY)
    assert b"as it stands" in say(gateway, path + b"0\r\n" + HEAD + length + BODY)
    chunks = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert b"as it stands" in say(gateway, path + b"1\r\n" + HEAD + chunks)
    last = path + b"1\r\nConnection: close\r\n" + HEAD + length + BODY
    assert say(gateway, (path + b"1\r\n" + HEAD + length + BODY) * 2 + last).count(b"as it stands") == 3


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"Content-Length: -4\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_a_body_of_doubtful_length(gateway: Gateway, framing: bytes) -> None:
    """Where two readers could disagree on where a request ends, it is refused and its connection closed."""
    said = say(gateway, b"POST /v1/generations HTTP/1.1\r\n" + HEAD + framing)
    assert b" 400 " in said and said.count(b"HTTP/1.1") == 1


def test_a_body_that_does_not_come(gateway: Gateway) -> None:
    """A client that promises a body and does not send it is given up in time."""
    said = say(gateway, b"POST /v1/generations HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{")
    assert b" 408 " in said and b"request_timeout" in said


def test_one_connection_for_many_requests(gateway: Gateway) -> None:
    """A connection serves on after plain answers, streams and errors."""
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
    for model, stream, status in (("echo", False, 200), ("say-3", True, 200), ("status-500", True, 502)) * 3:
        body = json.dumps({"model": f"fake/{model}", "input": "Hello", "stream": stream})
        connection.request("POST", "/v1/generations", body, headers)
        ours = connection.sock.getsockname()
        answer = connection.getresponse()
        assert answer.status == status
        answer.read()
        assert connection.sock is not None and connection.sock.getsockname() == ours
    connection.close()


def test_too_many_generations(fake: FakeOpenAI, tmp_path: Path) -> None:
    """Above the operator's limit a request is `overloaded` at once, and there is room again when one has ended."""
    config: Json = {
        "server": {"max_concurrent_generations": 2},
        "providers": {"fake": {"codec": "openai", "base_url": fake.base_url, "api_key": PROVIDER_KEY}},
        "demo": False,
    }
    with start_gateway(tmp_path, config) as gateway:
        streams = [gateway.client.stream("fake/slow-50-2000") for _ in range(2)]
        reply = gateway.client.generate("fake/echo")
        assert (reply.status, reply.error["code"], reply.error["retryable"]) == (503, "overloaded", True)
        assert int(reply.headers["retry-after"]) >= 1
        for stream in streams:
            stream.leave()
        eventually(lambda: gateway.client.generate("fake/echo").status == 200, 2, "there is room again")


# ── health, metrics, documents ──────────────────────────────────────────────────────────────────────────────────────


def test_health(client: Client) -> None:
    """`/healthz` and `/readyz` answer without a key, also to HEAD."""
    bare = client.with_key(None)
    assert bare.get("/healthz").json()["status"] == "ok"
    assert bare.get("/readyz").json()["status"] == "ready"
    head = bare.request("HEAD", "/healthz")
    assert (head.status, head.body) == (200, b"")


def samples(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels of every sample, and its value."""
    reply = client.get("/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(reply.body.decode()))
    assert {family.name for family in families} >= FAMILIES
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics(client: Client) -> None:
    """They need the scope `metrics`, can be parsed, have every family, and count what happens."""
    assert client.with_key(None).get("/metrics").status == 401
    assert new_key(client, "generate").get("/metrics").status == 403
    scraper = new_key(client, "metrics")
    before = samples(scraper)
    client.answer("fake/cached")
    client.stream("fake/say-3").end()
    client.generate("fake/status-500")
    after = samples(scraper)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0.0) - before.get(key, 0.0)

    common = {"backend": "fake", "modality": "text"}
    assert grown("pluggably_generations_total", **common, status="completed") == 2
    assert grown("pluggably_generations_total", **common, status="failed") == 1
    assert grown("pluggably_generation_duration_seconds_count", **common) == 3
    assert grown("pluggably_time_to_first_event_seconds_count", backend="fake") == 2
    assert grown("pluggably_tokens_total", backend="fake", direction="cached_input") == 1024
    assert grown("pluggably_tokens_total", backend="fake", direction="output") == 6
    assert grown("pluggably_http_requests_total", route="POST /v1/generations", status="200") == 2
    assert grown("pluggably_http_requests_total", route="POST /v1/generations", status="502") == 1
    assert grown("pluggably_errors_total", code="backend_error") == 1
    assert after["pluggably_generations_running", ()] == 0


def test_a_made_up_name_is_no_label(client: Client) -> None:
    """What a client makes up does not become a label, or strangers could fill the memory."""
    canary = "made-up-by-a-client"
    client.generate(canary)
    client.generate(f"fake/{canary}")
    client.get(f"/{canary}")
    client.get(f"/v1/models/{canary}")
    client.request(canary.upper(), "/healthz")
    assert canary not in client.get("/metrics").body.decode().lower()


def test_the_published_documents(client: Client) -> None:
    """`/openapi.json` is a document about this version, `/docs` a page that loads nothing from elsewhere."""
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1") and document["info"]["version"]
    assert "/v1/generations" in document["paths"]
    page = client.with_key(None).get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(rb"(src|href)=[\"']?(https?:)?//", page.body)


# ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_log(client: Client, gateway: Gateway) -> None:
    """Each request is one line of JSON with the id that the client got, and what its generation used."""
    reply = client.generate("fake/say-3", metadata={"project": "x"})
    request_id = reply.headers["x-request-id"]
    lines = eventually(
        lambda: [line for line in gateway.log_lines("request") if line["request_id"] == request_id], 5, "it is logged"
    )
    [line] = lines
    assert (line["route"], line["status"], line["level"]) == ("POST /v1/generations", 200, "info")
    assert line["key_id"] == "key_admin" and line["duration_s"] > 0
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert (line["generation_id"], line["generation_status"]) == (reply.json()["id"], "completed")
    assert (line["backend"], line["output_tokens"], line["metadata"]) == ("fake", 3, {"project": "x"})


def test_a_probe_that_succeeds_is_not_logged(client: Client, gateway: Gateway) -> None:
    """A health check every few seconds does not fill the log; a request after it is there."""
    probes = [client.get(path).headers["x-request-id"] for path in ("/healthz", "/readyz")]
    last = client.get("/v1/me").headers["x-request-id"]
    eventually(lambda: last in {line["request_id"] for line in gateway.log_lines("request")} or None, 5, "it is logged")
    assert {line["request_id"] for line in gateway.log_lines("request")}.isdisjoint(probes)


CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def watched(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, FakeOpenAI]]:
    """A gateway that logs all it can, whose keys and whose provider's key are canaries."""
    needs.llama_cpp()
    with running_fake_openai(key=f"sk-{CANARY}-provider-key") as fake:
        config: Json = {
            "log": {"level": "debug", "format": "json"},
            "server": {"open_metrics": True},
            "providers": {
                "fake": {
                    "codec": "openai",
                    "base_url": fake.base_url,
                    "api_key": "${FAKE_KEY}",
                    "headers": {"X-Canary": "${FAKE_HEADER}"},
                },
                "gone": {"codec": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "${FAKE_KEY}"},
                "wrong-key": {"codec": "openai", "base_url": fake.base_url, "api_key": f"sk-{CANARY}-wrong-key"},
            },
        }
        with start_gateway(
            Path(tmp_path_factory.mktemp("watched")),
            config,
            admin_key=f"{CANARY}-admin-key-with-32-characters",
            FAKE_KEY=f"sk-{CANARY}-provider-key",
            FAKE_HEADER=f"{CANARY}-header",
        ) as gateway:
            yield gateway, fake


def test_nothing_tells_a_secret(watched: tuple[Gateway, FakeOpenAI]) -> None:
    """No prompt, answer, client's key or provider's key is in the output, the log at debug level, the metrics or a file
    of the data directory, whether all goes well or nothing does."""
    gateway, fake = watched
    client = gateway.client
    made = client.post("/v1/keys", {"name": "a name", "scopes": ["generate"]}).json()
    secret = made["secret"][-43:]  # what follows its public id
    caller = client.with_key(made["secret"])
    prompt = f"{CANARY} prompt"
    tools = [{"type": "function", "name": "get_weather", "description": prompt, "input_schema": {"title": CANARY}}]
    answers: list[bytes] = []
    for model in ("echo", "tools", "status-401", "status-429", "status-500", "garbage", "truncate-2", "error-in-200"):
        answers.append(caller.generate(f"fake/{model}", prompt, tools=tools).body)
        stream = caller.stream(f"fake/{model}", [{"role": "user", "content": prompt}])
        if stream.refusal is None:
            stream.end()
    unhappy = [caller.generate(model, prompt).body for model in ("gone/x", "wrong-key/x", "nosuch/x", "demo")]
    # What does not fit the types, wherever it stands, is a way for values to get into messages.
    asked: Json = {"model": "fake/echo", "input": prompt}
    wrong: list[Any] = [prompt, {**asked, "model": [CANARY]}, {**asked, "input": [{"role": CANARY, "content": 5}]}]
    wrong += [{**asked, "parameters": {"temperature": CANARY}}, {**asked, "tools": [{"name": f"{CANARY} "}]}]
    errors = [caller.post("/v1/generations", body) for body in wrong]
    assert {reply.status for reply in errors} == {400}
    caller.with_key(f"plg_{CANARY}_wrong").generate("fake/echo", prompt)
    caller.get(f"/v1/{CANARY}?key={CANARY}")
    leaving = caller.begin("POST", "/v1/generations", {"model": "fake/stall-0", "input": prompt})
    eventually(lambda: "stall-0" in str(fake.requests[-1].body), 5, "the vendor is asked")
    leaving.close()
    eventually(lambda: [one for one in gateway.generations() if one["generation_status"] == "cancelled"], 5, "a line")
    metrics = client.with_key(None).get("/metrics").body
    assert gateway.stop() == 0

    assert CANARY.encode() in answers[0], "the canary was alive"
    places = {str(path.name): path.read_bytes() for path in gateway.data_dir.rglob("*") if path.is_file()}
    assert {"pluggably.db", "pepper"} <= set(places)
    places |= {"stdout": gateway.printed().encode(), "stderr": gateway.logged().encode(), "metrics": metrics}
    for name, content in places.items():
        for word in (CANARY, secret, "w0 w1"):
            at = content.find(word.encode())
            assert at < 0, f"{name}: {content[max(0, at - 200) : at + 100]!r}"
    for body in (*answers, *unhappy):
        assert b"sk-" not in body
    assert {line["level"] for line in gateway.log_lines()} <= {"debug", "info", "warning", "error"}


def test_open_metrics(fake: FakeOpenAI, tmp_path: Path) -> None:
    """An operator can open the metrics, and nothing else with them."""
    with start_gateway(tmp_path, {"server": {"open_metrics": True}, "demo": False}, FAKE_KEY=PROVIDER_KEY) as gateway:
        bare = gateway.client.with_key(None)
        assert samples(bare)
        assert bare.get("/v1/models").status == 401


# ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("said", "is_meant"), [({}, "malloc"), ({"PYTHONMALLOC": "pymalloc"}, "pymalloc")])
def test_it_runs_on_the_allocator_that_gives_memory_back(tmp_path: Path, said: dict[str, str], is_meant: str) -> None:
    """`serve` begins again on the C library's allocator, as the same process; what the operator says stands over it."""
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except ValueError:
        pytest.skip("this system has another C library, whose allocator is left alone")
    if not Path("/proc/self/environ").exists():
        pytest.skip("this system does not tell in /proc how a process was started")
    with start_gateway(tmp_path, **said) as gateway:
        begun_with = Path(f"/proc/{gateway.process.pid}/environ").read_bytes().split(b"\0")
        assert f"PYTHONMALLOC={is_meant}".encode() in begun_with
