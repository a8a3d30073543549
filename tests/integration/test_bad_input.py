"""Bodies and headers that are wrong in every way: never a bug, never a hang, always a problem that says where.

The gateway runs in a process of its own, in front of a fake provider, so that its whole log can be searched
afterwards for what must not be in it.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from child_gateway import ADMIN_KEY, Gateway, Reply, running_gateway
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from pluggably.demo import DEMO_WEIGHTS
from pluggably.errors import PluggablyError
from pluggably.testing.fake_openai import running_fake_openai

# Stands in values only, so an answer or a log that holds it has quoted a value.
CANARY = "canary-7f3a"
GENERATIONS = "/v1/generations"
# The same examples at every run, so that a failure is a change's doing.
FIXED = settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which the API may register: a model, and what looks like one."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(DEMO_WEIGHTS, folder / "tiny.gguf")
    (folder / "garbage.gguf").write_bytes(b"GGUF" + bytes(100))
    (folder / "loop").symlink_to("loop")
    (folder / "outside").symlink_to("/etc/hostname")
    (folder / "inside").mkdir()
    return folder


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Gateway]:
    with running_fake_openai(key="sk-fake", strict=False) as fake:
        config = f"""
            version: 1
            log: {{format: json}}
            providers:
              fake: {{codec: openai, base_url: "{fake.base_url}", api_key: sk-fake}}
            models:
              chat: fake/echo
            model_folders: ["{models}"]
            demo: false
        """
        with running_gateway(tmp_path_factory.mktemp("gateway"), config) as running:
            yield running
        check_log(running)


def check_log(gateway: Gateway) -> None:
    """Whatever was sent: no bug was met, and no value of a body was written."""
    text = gateway.log.read_text()
    assert CANARY not in text
    assert "Traceback" not in text
    lines = gateway.logged()
    assert lines
    assert not [line for line in lines if line["level"] == "error"]


# ── what every answer must be ───────────────────────────────────────────────────────────────────────────────────────


def _statuses(kind: type[PluggablyError]) -> dict[str, int]:
    found = {kind.code: kind.status}
    for child in kind.__subclasses__():
        found.update(_statuses(child))
    return found


STATUS_OF = _statuses(PluggablyError)


def check_reply(reply: Reply, body: bytes) -> None:
    """A good answer, or a problem of a known code that points at what is there or missing, and quotes nothing."""
    if reply.status < 300:
        if reply.headers["content-type"] == "text/event-stream":
            last = reply.body.decode().strip().rpartition("\n\n")[2]
            assert last.startswith(("event: generation.completed\n", "event: generation.failed\n"))
        return
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json
    assert problem["status"] == reply.status == STATUS_OF[problem["code"]]
    assert reply.status != 500, body[:2000]
    assert reply.headers["x-request-id"] == problem["request_id"]
    assert len(problem["errors"]) <= 20
    if "answered" not in problem["detail"]:  # a provider's own words may be shown
        assert CANARY not in reply.body.decode(), body[:2000]
    pointers = [problem["pointer"], *(violation["pointer"] for violation in problem["errors"])]
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    for pointer in pointers:
        if pointer is not None:
            assert points_into(document, pointer), (pointer, body[:2000])


def points_into(document: Any, pointer: str) -> bool:
    """Whether a JSON pointer names something of the document, or something missing from what is there."""
    if not pointer:
        return True
    first, *steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")]
    assert first == ""
    for position, step in enumerate(steps):
        is_last = position == len(steps) - 1
        if isinstance(document, dict):
            if step not in document:
                return is_last
            document = document[step]
        elif isinstance(document, list):
            if not step.isdigit() or int(step) >= len(document):
                return False
            document = document[int(step)]
        else:
            return False
    return True


def post(gateway: Gateway, path: str, body: bytes) -> Reply:
    reply = gateway.ask("POST", path, body)
    check_reply(reply, body)
    return reply


# ── bodies that somebody thought of ─────────────────────────────────────────────────────────────────────────────────


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b'{"model":',
        b'{"model":"chat","input":"hi"}}',
        b'{"model":"chat","input":"hi"} {}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"\x00",
        b"\x1f\x8b\x08\x00",
        b"{'model':'chat'}",
        b'{"model":"chat","input":"\xff"}',
        b'{"model":"chat","input":"\xed\xa0\x80"}',
        b'{"model":"chat","input":"\xc0\xaf"}',
        b'{"model":"chat","input":"\\ud800"}',
        b'{"model":"chat","input":"\\udc00\\ud800"}',
        b'{"model":"chat","input":"a\x00b"}',
        b'{"model":"chat","input":"a\nb"}',
        b'{"model":"chat","input":"\\x41"}',
        b'{"model":"chat","input":"hi","parameters":{"temperature":NaN}}',
        b'{"model":"chat","input":"hi","parameters":{"temperature":Infinity}}',
        b'{"model":"chat","input":"hi","parameters":{"temperature":-1e999}}',
        b'{"model":"chat","input":"hi","parameters":{"seed":1e400}}',
        b'{"model":"chat","input":"hi","parameters":{"seed":1.5}}',
        b'{"model":"chat","input":"hi","parameters":{"seed":%s}}' % (b"9" * 5000),
        b'{"model":"chat","input":"hi","parameters":{"max_output_tokens":0}}',
        b'{"model":"chat","input":"hi","parameters":null}',
        b'{"model":"chat","input":"hi","parameters":[]}',
        b'{"model":"chat","input":"hi","parameters":{"stop":[""]}}',
        b'{"model":"chat","input":"hi","provider_options":{"fake":{"x":1e999}}}',
        b'{"model":"chat","input":"hi","timeouts":{"total_s":0}}',
        b'{"model":"chat","input":"hi","timeouts":{"total_s":1e-300}}',
        b'{"model":"chat","input":""}',
        b'{"model":"chat","input":[]}',
        b'{"model":"","input":"hi"}',
        b'{"model":"%s","input":"hi"}' % (b"m" * 100_000),
        b'{"model":"chat","input":%s}' % lists(50_000),
        b'{"model":"chat","input":"hi","provider_options":{"fake":%s}}' % nested(65),
        b'{"model":"chat","input":"hi","provider_options":{"fake":%s}}' % nested(900),
        b'{"model":"chat","input":"hi","provider_options":{"fake":%s}}' % nested(100_000),
        b'{"model":"chat","input":[{"role":"user","content":"x","provider_options":{"fake":%s}}]}' % nested(900),
        b'{"model":"chat","input":[{"role":"user","content":[{"type":"text","text":"x","annotations":[%s]}]}]}'
        % nested(900),
        b'{"model":"chat","input":[{"role":"tool","content":[{"type":"tool_result","tool_call_id":"a","content":'
        b'[{"type":"text","text":"x","provider_options":{"fake":%s}}]}]}]}' % nested(900),
        b'{"model":"chat","input":[{"role":"assistant","content":[{"type":"reasoning","text":"x","provider_state":'
        b'{"provider":"p","data":%s}}]}]}' % nested(900),
        b'{"model":"chat","input":[{"role":"assistant","content":[{"type":"provider_item","provider":"p","data":%s}]}]}'
        % lists(900),
        b'{"model":"chat","input":"hi","tools":[{"type":"function","name":"f","input_schema":%s}]}' % nested(900),
        b'{"model":"chat","input":"hi","parameters":%s}' % nested(100_000),
        b'{"model":"chat","input":"hi","unknown":%s}' % nested(100_000),
        b'{"model":"chat","input":"hi","tools":[{"type":"function","name":"f\\n","input_schema":{}}]}',
        b'{"model":"chat","input":"hi","tools":[{"type":"function","name":"","input_schema":{}}]}',
        b'{"model":"chat","input":"hi","tool_choice":"required"}',
        b'{"model":"chat","input":"hi","tool_choice":{"name":"x"}}',
        b'{"model":"chat","input":"hi","background":true}',
        b'{"model":"chat","input":"hi","modality":"image"}',
        b'{"model":"chat","input":"hi","modality":"embedding","parameters":{"temperature":1}}',
        b'{"model":"chat","input":["a",{"role":"user","content":"x"}]}',
        b'{"model":"chat","input":"hi","routing":{"only":[]}}',
        b'{"model":"chat","input":"hi","routing":{"sort":"x"}}',
        b'{"model":"nowhere/model","input":"hi"}',
        b'{"model":"fake/","input":"hi"}',
        b'{"model":"/","input":"hi"}',
        b'{"model":"chat\\u0000","input":"hi"}',
        b'{"model":"chat","input":"hi","metadata":{%s}}' % b",".join(b'"k%d":"v"' % i for i in range(17)),
        b'{"model":"chat","input":"hi","metadata":{"k":1}}',
        b'{"model":"chat","input":"hi",%s}' % b",".join(b'"k%d":1' % i for i in range(5000)),
        b'{"model":"chat","input":[%s]}' % b",".join([b"{}"] * 20_000),
        b'{"model":"chat","input":[{"role":"user","content":[%s]}]}' % b",".join([b'{"type":"text"}'] * 4000),
        b'{"model":"chat","input":"x","tools":[%s]}' % b",".join([b"{}"] * 20_000),
    ],
)
def test_a_wrong_body_is_refused(gateway: Gateway, body: bytes) -> None:
    """Each of these answers a problem with a status of the client's, or of the backend's deadline."""
    reply = post(gateway, GENERATIONS, body)
    assert reply.status in (400, 404, 504), reply.body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"nothing","model":"chat","input":"no","input":"hi"}',
        b' \n\t{"model":"chat","input":"hi"} \n',
        b'{"model":"chat","input":"a\\u0000b\\ud83d\\ude00"}',
        b'{"model":"chat","input":"hi","parameters":{"seed":9223372036854775808,"temperature":1e-300}}',
        b'{"model":"chat","input":"hi","keep_alive_s":1e308,"timeouts":{"total_s":1e308}}',
        b'{"model":"chat","input":"hi","provider_options":{"fake":%s}}' % nested(40),
        b'{"model":"chat","input":"%s"}' % (b"x" * 15_000_000),
        b'{"model":"chat","input":[%s]}' % b",".join([b'{"role":"user","content":"hello"}'] * 10_000),
        b'{"model":"chat","input":"hi","tools":[%s]}'
        % b",".join(b'{"type":"function","name":"f%d","input_schema":{"$ref":"#"}}' % i for i in range(512)),
        b'{"model":"chat","input":"hi","response_format":{"type":"json_schema","name":"x","schema":'
        b'{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"b":{"$ref":"#/$defs/a"}}}}}}}',
    ],
)
def test_an_unusual_body_is_taken(gateway: Gateway, body: bytes) -> None:
    """What is only unusual is answered: repeated keys (the last stands), white space, large numbers, long lists."""
    assert post(gateway, GENERATIONS, body).status == 200


def test_a_large_wrong_body_quotes_nothing_and_points(gateway: Gateway) -> None:
    """Whether all that is wrong can be listed or only the first of it, it is told as carefully."""
    padding = "x" * 100_000
    part = {"type": CANARY}
    for body, pointer in (
        ({"model": "chat", "input": padding, "on_unsupported": CANARY}, "/on_unsupported"),
        ({"model": "chat", "input": padding, "unknown": CANARY}, "/unknown"),
        ({"model": "chat", "input": [{"role": "user", "content": [part]}], "metadata": {"a": padding}}, None),
        ({"model": "chat", "input": [{"role": CANARY, "content": padding}]}, "/input/0/role"),
        ({"model": "chat", "input": [{"role": "user", "text": padding}]}, None),
        ({"input": padding}, "/model"),
        ({"model": "chat", "input": padding, "parameters": {"reasoning": {"effort": CANARY}}}, None),
    ):
        reply = post(gateway, GENERATIONS, json.dumps(body).encode())
        assert reply.status == 400
        if pointer is not None:
            assert reply.json["errors"][0]["pointer"] == pointer


def test_all_that_is_wrong_is_told_at_once(gateway: Gateway) -> None:
    """The violations of a small body come together, each with its own pointer."""
    body = {"model": 7, "input": "hi", "stream": "yes", "metadata": {"a/b~c": 1}, "tools": [{"type": "function"}]}
    reply = post(gateway, GENERATIONS, json.dumps(body).encode())
    pointers = {violation["pointer"] for violation in reply.json["errors"]}
    assert pointers == {"/model", "/stream", "/metadata/a~1b~0c", "/tools/0/name"}


@pytest.mark.parametrize(
    "expires_at",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z", "", 7],
)
def test_a_wrong_expiry_is_refused(gateway: Gateway, expires_at: Any) -> None:
    """A date outside the calendar, or without a time zone, is the client's mistake."""
    assert post(gateway, "/v1/keys", json.dumps({"name": "x", "expires_at": expires_at}).encode()).status == 400


@pytest.mark.parametrize(
    "source",
    [
        "file:{folder}/" + "a" * 300,
        "file:{folder}/" + "a/" * 2000,
        "file:{folder}/loop",
        "file:{folder}/loop/x",
        "file:{folder}/outside",
        "file:{folder}/inside",
        "file:{folder}",
        "file:{folder}/../../etc/passwd",
        "file:{folder}/tiny.gguf\0",
        "file:{folder}/garbage.gguf",
        "file:tiny.gguf",
        "file:///etc/passwd",
        "file://etc/passwd",
        "file:",
        "file",
        "/etc/passwd",
        "https://example.org/model.gguf",
        "FILE:{folder}/tiny.gguf",
    ],
)
def test_a_wrong_source_is_refused(gateway: Gateway, models: Path, source: str) -> None:
    """What is no model in an allowed folder is refused, whatever its path looks like, and is not registered."""
    body = {"id": "wrong", "source": source.format(folder=models)}
    reply = post(gateway, "/v1/models", json.dumps(body).encode())
    assert reply.status in (400, 503)
    assert gateway.ask("GET", "/v1/models/wrong").status == 404


@pytest.mark.parametrize(
    "model_id", ["", "a\n", "../a", "a//b", "/a", "a/", "a b", "fake/x", "chat", "load", "a\0", "é"]
)
def test_a_wrong_id_is_refused(gateway: Gateway, models: Path, model_id: str) -> None:
    """An id that could not be asked for again, or that means something else already, registers nothing."""
    body = {"id": model_id, "source": f"file:{models}/tiny.gguf"}
    assert post(gateway, "/v1/models", json.dumps(body).encode()).status in (400, 409)


# ── bodies that nobody thought of ───────────────────────────────────────────────────────────────────────────────────

TEXT: dict[str, Any] = {
    "model": "chat",
    "input": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?", "provider_options": {"fake": {"cache": True}}},
                {"type": "image", "url": "https://example.org/a.png"},
                {"type": "image", "data": "aGVsbG8=", "media_type": "image/png"},
                {"type": "file", "data": "aGVsbG8=", "media_type": "application/pdf", "name": "a.pdf"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "reasoning", "text": "Hm.", "provider_state": {"provider": "other", "data": {"a": [1]}}},
                {"type": "text", "text": "A picture.", "annotations": [{"a": 1}], "logprobs": None},
                {"type": "tool_call", "id": "call_1", "name": "look", "arguments": "{}"},
            ],
        },
        {
            "role": "tool",
            "content": [{"type": "tool_result", "tool_call_id": "call_1", "content": [{"type": "text", "text": "ok"}]}],
        },
        {"role": "user", "content": "Go on."},
    ],
    "modality": "text",
    "parameters": {
        "max_output_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "stop": ["a"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "reasoning": {"effort": "low"},
        "logprobs": 2,
    },
    "tools": [
        {
            "type": "function",
            "name": "look",
            "description": "Looks.",
            "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}},
        }
    ],
    "tool_choice": {"name": "look"},
    "parallel_tool_calls": True,
    "response_format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True},
    "routing": {"only": ["fake"], "ignore": []},
    "timeouts": {"first_event_s": 5, "idle_s": 5, "total_s": 5},
    "provider_options": {"fake": {"a": 1}},
    "on_unsupported": "warn",
    "stream": False,
    "background": False,
    "keep_alive_s": 5,
    "metadata": {"a": "b"},
}
SHORT: dict[str, Any] = {"model": "chat", "input": "hi", "stream": True}
EMBEDDING: dict[str, Any] = {
    "model": "fake/embed-4",
    "input": ["a", "b"],
    "modality": "embedding",
    "parameters": {"dimensions": 4},
}
# A model's name and the metadata are written to the usage log, as is their purpose.
LOGGED = ("model", "metadata")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.sampled_from([2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**40]),
    st.floats(),
    st.sampled_from([1e308, 5e-324, -0.0]),
    st.sampled_from(
        ["", CANARY, CANARY * 1000, "\0", "\ud800", "\uffff", "text", "file:/etc/passwd", "http://[", "x" * 70_000]
    ),
    st.text(max_size=20),
)
keys = st.sampled_from(["type", "role", "content", "text", "url", "a", "", "$ref", "a/b~c"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "url", "a", "", "$ref", "a/b~c"]), inner, max_size=4
        ),
    ),
    max_leaves=8,
)
unlogged = values.filter(lambda value: CANARY not in json.dumps(value))


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    yield above
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*above, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from places(inner, (*above, position))


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at a path; what is put beneath something that is gone is dropped."""
    if not path:
        return value
    inner = document
    for step in path[:-1]:
        try:
            inner = inner[step]
        except (KeyError, IndexError, TypeError):
            return document
    if isinstance(inner, dict) or (isinstance(inner, list) and isinstance(path[-1], int) and path[-1] < len(inner)):
        inner[path[-1]] = value
    return document


def drop(document: Any, path: tuple[Any, ...]) -> Any:
    inner = document
    for step in path[:-1]:
        try:
            inner = inner[step]
        except (KeyError, IndexError, TypeError):
            return document
    if isinstance(inner, dict) and path:
        inner.pop(path[-1], None)
    return document


@st.composite
def mutated(draw: st.DrawFn, bases: list[dict[str, Any]]) -> bytes:
    """A right body with a few things wrong: values of other types, missing and unknown fields, broken bytes."""
    document: Any = copy.deepcopy(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        kind = draw(st.sampled_from(["replace", "replace", "drop", "add", "wrap"]))
        fresh = draw(unlogged if path and path[0] in LOGGED else values)
        if kind == "replace" and path:
            document = put(document, path, fresh)
        elif kind == "drop":
            document = drop(document, path)
        elif kind == "add":
            document = put(document, (*path, "unknown"), draw(unlogged if path and path[0] in LOGGED else values))
        elif path:
            document = put(document, path, [fresh])
    body = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 20)))
        broken = draw(st.sampled_from([b"", b"\xff", b"\x00", b'"', b"{", b"]", b",", b"\\u", b"1e999", b"NaN"]))
        body = body[:start] + broken + body[end:]
    return body


def test_a_thousand_mutated_generations(gateway: Gateway) -> None:
    """Generations with a few random things wrong are answered, or refused as a problem that points at them."""

    @FIXED
    @given(body=mutated([TEXT, TEXT, SHORT, EMBEDDING]))
    def run(body: bytes) -> None:
        post(gateway, GENERATIONS, body)

    run()


def test_random_json(gateway: Gateway) -> None:
    """JSON that has nothing to do with the API is refused at every path that takes a body."""

    @settings(FIXED, max_examples=200)
    @given(value=values, path=st.sampled_from([GENERATIONS, "/v1/keys", "/v1/models", "/v1/models/load"]))
    def run(value: Any, path: str) -> None:
        body = json.dumps(value).encode("utf-8", "surrogatepass")
        assert post(gateway, path, body).status == 400

    run()


def test_mutated_bodies_of_the_other_calls(gateway: Gateway, models: Path) -> None:
    """Keys, registrations and loads with random things wrong are answered or refused, the same way."""
    source = f"file:{models}/tiny.gguf"
    model = {
        "id": "tiny",
        "source": source,
        "runner": "llama.cpp",
        "context_tokens": 128,
        "slots": 1,
        "queue": 1,
        "keep_alive_s": 1,
        "options": {},
    }
    key = {"name": "test", "scopes": ["generate"], "expires_at": "2100-01-01T00:00:00Z"}

    @settings(FIXED, max_examples=300)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        paths: dict[str, list[dict[str, Any]]] = {
            "/v1/keys": [key],
            "/v1/models": [model],
            "/v1/models/load": [{"model": "none"}],
            "/v1/models/unload": [{"model": "none"}],
        }
        path = data.draw(st.sampled_from(sorted(paths)))
        reply = post(gateway, path, data.draw(mutated(paths[path])))
        if path == "/v1/models" and reply.status == 201:
            assert gateway.ask("DELETE", reply.headers["location"]).status == 204

    run()


# ── headers and queries ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {ADMIN_KEY}"},
        {"Authorization": ADMIN_KEY},
        {"Authorization": f"Bearer{ADMIN_KEY}"},
        {"Authorization": f"Bearer {ADMIN_KEY} {ADMIN_KEY}"},
        {"Authorization": f"Bearer {ADMIN_KEY},"},
        {"Authorization": f"Bearer {ADMIN_KEY[:-1]}"},
        {"Authorization": f"Bearer {ADMIN_KEY.upper()}"},
        {"Authorization": "Bearer " + "x" * 50_000},
        {"Authorization": b"Bearer \xff\xfe\xe9"},
        {"Authorization": "Bearer plg_"},
        {"Authorization": f"Bearer plg_01ARZ3NDEKTSV4RRFFQ69G5FAV_{CANARY}"},
        {"X-API-Key": ""},
        {"X-API-Key": "x"},
        {"X-API-Key": b"\xc3\xa9"},
        {"X-API-Key": f"Bearer {ADMIN_KEY}"},
        {"Authorization": f"Bearer {CANARY}", "X-API-Key": ADMIN_KEY},
    ],
)
def test_a_wrong_credential_is_refused(gateway: Gateway, headers: dict[str, str | bytes]) -> None:
    """Whatever form it has, a credential that is not one answers 401, without a word of it."""
    reply = gateway.ask("GET", "/v1/me", headers=headers, key=None)
    check_reply(reply, b"")
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert ADMIN_KEY.encode() not in reply.body


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"bearer {ADMIN_KEY}"},
        {"Authorization": f"BEARER   {ADMIN_KEY}  "},
        {"X-API-Key": ADMIN_KEY},
        {"Authorization": f"Bearer {ADMIN_KEY}", "X-API-Key": "x"},
    ],
)
def test_a_right_credential_is_taken_in_each_form(gateway: Gateway, headers: dict[str, str | bytes]) -> None:
    """Case of the scheme and white space do not matter; where both headers are sent, Authorization counts."""
    assert gateway.ask("GET", "/v1/me", headers=headers, key=None).status == 200


def test_many_odd_headers_change_nothing(gateway: Gateway) -> None:
    """Hundreds of headers, non-ASCII values and an odd Accept do not disturb a request."""
    headers: dict[str, str | bytes] = {f"X-Odd-{i}": b"\xff\xe9" * 10 for i in range(300)}
    assert gateway.ask("GET", "/v1/me", headers=headers).status == 200


@pytest.mark.parametrize("hostile", ["canary id", "canary\\nid", "x" * 200, "canary\u00e9", '{"canary":1}'])
def test_a_hostile_request_id_is_in_no_log(gateway: Gateway, hostile: str) -> None:
    """An id that is not sane is neither repeated nor written."""
    reply = gateway.ask("GET", "/v1/nothing", headers={"X-Request-Id": hostile.encode("latin-1")})
    assert reply.headers["x-request-id"].startswith("req_")
    deadline = time.monotonic() + 10
    while reply.headers["x-request-id"] not in (text := gateway.log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert hostile not in text


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "limit=%00", "limit=" + "9" * 5000, "limit=-1", "limit="),
        *("location=x", "x=1", "limit=1&limit=2", "location=local&location=local"),
    ],
)
def test_a_wrong_query_is_refused(gateway: Gateway, query: str) -> None:
    """A query parameter that is unknown, stands there twice, or has a value that it does not take, answers 400."""
    reply = gateway.ask("GET", f"/v1/models?{query}")
    check_reply(reply, b"")
    assert reply.status == 400


@pytest.mark.parametrize("query", ["sort=speed", "only=" + "local," * 64, "only=local&only=chat", "fallbacks=false"])
def test_a_wrong_routing_in_a_query_is_refused(gateway: Gateway, query: str) -> None:
    """Asked what would become of a model's targets with a wrong `routing`, the gateway answers 400."""
    reply = gateway.ask("GET", f"/v1/models/chat?{query}")
    check_reply(reply, b"")
    assert reply.status == 400
    assert gateway.ask("GET", "/v1/models/chat?only=nothing,%20local").status == 200


def test_random_paths_and_queries(gateway: Gateway) -> None:
    """Random letters in paths and queries find nothing, and break nothing."""
    letters = st.text(st.characters(codec="utf-8"), max_size=20)
    escaped = st.lists(st.integers(0, 255), max_size=10).map(lambda codes: "".join(f"%{code:02x}" for code in codes))

    @settings(FIXED, max_examples=150)
    @given(
        method=st.sampled_from(["GET", "DELETE", "HEAD"]),
        start=st.sampled_from(["/", "/v1/", "/v1/models/", "/v1/keys/", "/v1/models?cursor=", "/v1/keys?limit="]),
        rest=letters.map(lambda text: "".join(f"%{byte:02x}" for byte in text.encode())) | escaped,
    )
    def run(method: str, start: str, rest: str) -> None:
        reply = gateway.ask(method, start + rest)
        assert reply.status in (200, 400, 404, 405, 409)
        if method != "HEAD":
            check_reply(reply, b"")

    run()


# ── what the API says of itself ─────────────────────────────────────────────────────────────────────────────────────


def test_the_answers_are_as_the_document_says(gateway: Gateway) -> None:
    """Schemathesis makes right and wrong requests from the OpenAPI document: each answer is one that it promises."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    document = gateway.ask("GET", "/openapi.json").json
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://{gateway.host}:{gateway.port}")
    found: Any = schema.get_all_operations()
    operations = [one.ok() for one in found]
    assert len(operations) == sum(len(methods) for methods in document["paths"].values())
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    with requests.Session() as session:
        for operation in operations:
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                strategy = operation.as_strategy(generation_mode=mode)

                @settings(FIXED, max_examples=50 if operation.body else 10)
                @given(case=strategy)
                def run(case: Any) -> None:
                    if case.path == GENERATIONS and isinstance(case.body, dict) and "model" in case.body:
                        case.body["model"] = "chat"  # or every right request would ask for a model that is not there
                        case.body.pop("timeouts", None)  # or some would rightly end in a 504
                    case.call_and_validate(checks=checks, headers=headers, timeout=20, session=session)

                with suppress(Unsatisfiable):  # a call without parameters or body cannot be made wrong
                    run()
