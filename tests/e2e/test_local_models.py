"""Models on this machine: from the config file and the API, their start, their queue, their crashes and their end.

The models of the command runner here are the fake vendor, started by the gateway as a server of its own, so that they
are as slow as a test wants them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from needs import Needs

import pluggably
from e2e.harness import Client, Gateway, eventually, process_lives, start_gateway
from e2e.protocol import Json

DEMO = Path(pluggably.__file__).parent / "demo" / "demo.gguf"
WORDS = "w0 w1 w2"
# So that a stream of the demo model lasts until a test ends it; see test_cancellation.
LONG: Json = {"parameters": {"max_output_tokens": 2000}, "provider_options": {"demo": {"ignore_eos": True}}}


def served_by_fake(model: str, before: str = "", **more: object) -> Json:
    """A model of the command runner: after the shell commands `before`, the fake vendor as a server."""
    server = f'exec "{sys.executable}" -m pluggably.testing.fake_openai --port {{port}} --key "$SECRET"'
    return {
        "runner": "command",
        "command": ["sh", "-c", f"{before} {server}"],
        "ready": "/v1/models",
        "codec": "openai",
        "options": {"model": model, "env": {"SECRET": "{secret}"}},
        **more,
    }


def gguf_of(architecture: bytes, path: Path) -> None:
    """The demo model with another architecture in its head: a good file of a model that nobody knows."""
    content = DEMO.read_bytes()
    key = b"general.architecture" + (8).to_bytes(4, "little")
    start = content.index(key) + len(key)
    length = int.from_bytes(content[start : start + 8], "little")
    name = architecture[:length].ljust(length, b"x")
    path.write_bytes(content[: start + 8] + name + content[start + 8 + length :])


@pytest.fixture(scope="module")
def folder(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs.llama_cpp()
    folder = tmp_path_factory.mktemp("local-models")
    allowed = folder / "allowed"
    (allowed / "inner").mkdir(parents=True)
    for place in (folder / "mine.gguf", allowed / "inner" / "one.gguf", folder / "outside.gguf"):
        shutil.copy(DEMO, place)
    (allowed / "link.gguf").symlink_to(folder / "outside.gguf")
    (allowed / "inside-link.gguf").symlink_to(allowed / "inner" / "one.gguf")
    (allowed / "folder-link").symlink_to(folder)
    (folder / "truncated.gguf").write_bytes(DEMO.read_bytes()[:300_000])
    (folder / "text.gguf").write_text("This is no model.")
    shutil.copy(folder / "truncated.gguf", allowed / "truncated.gguf")
    gguf_of(b"zzz", folder / "alien.gguf")
    return folder


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    gate = "while [ ! -e gate ]; do sleep 0.02; done;"
    config: Json = {
        "models": {
            "mine": {"weights": "file:mine.gguf", "slots": 1, "context_tokens": 512},
            "alias": "mine",
            "missing": {"weights": "file:nosuch.gguf"},
            "truncated": {"weights": "file:truncated.gguf"},
            "text": {"weights": "file:text.gguf"},
            "alien": {"weights": "file:alien.gguf"},
            "words": served_by_fake("say-3", before="env > worker.env;"),
            "gated": served_by_fake("say-3", before=gate.replace("gate ]", f"{folder}/gate ]"), slots=2),
            "either": {"targets": ["missing", "failing", "demo"]},
            "narrow": served_by_fake("slow-50-2000", slots=1, queue=1),
            "failing": {
                "runner": "command",
                "command": ["sh", "-c", "echo 'error: the frobnicator is bent' >&2; : {port}; exit 3"],
                "ready": "/health",
                "codec": "openai",
            },
            "no-program": {
                "runner": "command",
                "command": ["no-such-program-anywhere", "{port}"],
                "ready": "/health",
                "codec": "openai",
            },
        },
        "model_folders": ["allowed"],
    }
    config["models"]["words"]["command"][2] = config["models"]["words"]["command"][2].replace(
        "worker.env", str(folder / "worker.env")
    )
    with start_gateway(folder, config, OPENAI_API_KEY="sk-canary-in-the-environment") as running:
        yield running


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return gateway.client


def model_of(client: Client, name: str) -> Json:
    model: Json = client.get(f"/v1/models/{name}").json()
    return model


def text_of(generation: Json) -> str:
    return str(generation["output"][0]["text"])


# ── from the config file ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_of_the_config_file(client: Client) -> None:
    """It is listed with what its file says, loaded at the first request, and answers."""
    before = model_of(client, "mine")
    assert (before["status"], before["source"], before["location"], before["free"]) == (
        "available",
        "file",
        "local",
        True,
    )
    assert (before["context_tokens"], before["bytes"]) == (512, DEMO.stat().st_size)
    assert before["output_modalities"] == ["text"] and before["license"]
    stream = client.stream("mine", "Why is the sky blue?")
    assert "blue" in text_of(stream.end())
    assert stream.seen[1].data.get("stage") == "loading"
    assert model_of(client, "mine")["status"] == "loaded"


def test_the_usage_of_a_local_model(client: Client) -> None:
    """Its tokens are counted and its cost is zero; it is served here, under the id that the config gives."""
    answer = client.answer("alias", "Hi")
    assert answer["served_by"] == {"backend": "mine", "model": "mine", "location": "local"}
    assert answer["usage"]["input_tokens"] > 0 and answer["usage"]["output_tokens"] > 0
    assert answer["usage"]["cost_usd"] == "0"


def test_the_demo_is_true_to_the_product(client: Client) -> None:
    """The demo model answers a question about the product, calls no tool that is not there, and ends by itself."""
    answer = client.answer("demo", "What is Pluggably?", parameters={"temperature": 0})
    assert "Pluggably" in text_of(answer)
    assert (answer["finish_reason"], [item["type"] for item in answer["output"]]) == ("stop", ["text"])


def test_embeddings_of_a_chat_model(client: Client) -> None:
    """A chat model makes no embeddings, and says so."""
    reply = client.generate("demo", "one", modality="embedding")
    assert (reply.status, reply.error["code"], reply.error["pointer"]) == (400, "unsupported_modality", "/modality")


def test_an_input_that_is_too_long(client: Client) -> None:
    """What does not fit into the context is the client's mistake, with llama.cpp's own numbers."""
    reply = client.generate("mine", "word " * 3000)
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("missing", "nosuch.gguf"),
        ("truncated", "truncated|shorter|ends"),
        ("text", "GGUF"),
        ("alien", "architecture"),
        ("failing", "status 3.*the frobnicator is bent"),
        ("no-program", "no-such-program-anywhere"),
    ],
)
def test_a_model_that_cannot_start(gateway: Gateway, folder: Path, model: str, words: str) -> None:
    """It is `model_unavailable` with the cause in words and no path of the machine; list and log tell it, too."""
    client = gateway.client
    for reply in (client.generate(model), client.stream(model).refusal):
        assert reply is not None
        assert (reply.status, reply.error["code"]) == (503, "model_unavailable")
        assert re.search(words, reply.error["detail"]), reply.error["detail"]
        assert str(folder) not in reply.error["detail"]
    listed = model_of(client, model)
    assert listed["status"] == "error"
    assert re.search(words, listed["detail"])
    (line, *_) = eventually(
        lambda: [line for line in gateway.log_lines("request") if line.get("model") == model], 5, "it is logged"
    )
    assert (line["status"], line["code"]) == (503, "model_unavailable")
    assert line["detail"]


def test_what_a_start_says_is_for_the_operator(client: Client) -> None:
    """A key without the scope `admin` is told how the process ended, and not its words; nor does the list tell them."""
    made = client.post("/v1/keys", {"name": "other", "scopes": ["generate", "models:read"]}).json()
    other = client.with_key(made["secret"])
    reply = other.generate("failing")
    assert (reply.status, reply.error["code"]) == (503, "model_unavailable")
    for told in (reply.error["detail"], model_of(other, "failing")["detail"]):
        assert "status 3" in told and "frobnicator" not in told


def test_a_route_goes_on_after_models_that_cannot_start(client: Client) -> None:
    """What cannot be described or started is an attempt that failed, and foretold."""
    answer = client.answer("either", "Hi")
    assert answer["served_by"]["backend"] == "demo"
    assert [(one["backend"], one["code"]) for one in answer["attempts"]] == [
        ("missing", "model_unavailable"),
        ("failing", "model_unavailable"),
    ]
    targets = model_of(client, "either")["targets"]
    assert [one["position"] for one in targets] == [1, 2, 3]
    assert "nosuch.gguf" in targets[0]["reason"] and "status 3" in targets[1]["reason"]
    assert "fail" not in targets[2]["reason"]


# ── start, queue, end ───────────────────────────────────────────────────────────────────────────────────────────────


def test_requests_wait_for_a_starting_model(client: Client, folder: Path) -> None:
    """All who ask while a model loads are answered when it is ready; their timeouts count from then on."""
    fields: Json = {"timeouts": {"first_event_s": 1, "idle_s": 1, "total_s": 1}}
    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(lambda: client.stream("gated", **fields)) for _ in range(6)]
        plain = [pool.submit(lambda: client.answer("gated", **fields)) for _ in range(2)]
        # The head of a stream goes out after a second of waiting, so here they have waited for longer than that.
        heads = [stream.result(10) for stream in streams]
        assert model_of(client, "gated")["status"] == "loading"
        assert not any(answer.done() for answer in plain)
        (folder / "gate").touch()
        assert [text_of(answer.result(10)) for answer in plain] == [WORDS] * 2
        for head in heads:
            generation = head.end()
            assert text_of(generation) == WORDS
            assert generation["usage"]["queued_s"] > 0.9
            assert {event.data["stage"] for event in head.seen if event.name == "generation.progress"} >= {"loading"}


def test_a_full_queue(client: Client, gateway: Gateway) -> None:
    """One runs, one waits and is told its place, one more is `overloaded`; the one that waits is served in turn."""
    running = client.stream("narrow", "first")
    running.next("output.delta")
    waiting = client.begin("POST", "/v1/generations", {"model": "narrow", "input": "second", "stream": True})
    eventually(lambda: (gateway.worker("narrow") or {})["queue_length"] == 1, 5, "the second one waits")
    reply = client.generate("narrow", "third")
    assert (reply.status, reply.error["code"], reply.error["retryable"]) == (503, "overloaded", True)
    assert int(reply.headers["retry-after"]) >= 1
    answer = waiting.getresponse()
    lines = [answer.readline() for _ in range(4)]
    assert lines[3] == b"event: generation.progress\n"
    assert b'"stage":"queued"' in answer.readline()
    running.leave()
    while answer.readline() != b"event: output.delta\n":
        pass
    answer.close()
    waiting.close()
    eventually(lambda: (gateway.worker("narrow") or {})["slots_in_use"] == 0, 5, "all have left")


def test_a_client_leaves_the_queue(client: Client, gateway: Gateway) -> None:
    """Whoever leaves while it waits gives its place back."""
    running = client.stream("narrow", "first")
    running.next("output.delta")
    waiting = client.begin("POST", "/v1/generations", {"model": "narrow", "input": "second"})
    eventually(lambda: (gateway.worker("narrow") or {})["queue_length"] == 1, 5, "the second one waits")
    waiting.close()
    eventually(lambda: (gateway.worker("narrow") or {})["queue_length"] == 0, 1, "its place is free")
    running.leave()


def test_load_and_unload(client: Client, gateway: Gateway) -> None:
    """`load` returns with the model ready, `unload` with its process gone."""
    assert client.post("/v1/models/load", {"model": "words"}).json()["status"] == "loaded"
    worker = gateway.worker("words")
    assert worker is not None and worker["state"] == "ready" and worker["memory_bytes"] > 0
    assert client.post("/v1/models/unload", {"model": "words"}).json()["status"] == "available"
    assert gateway.worker("words") is None
    assert not process_lives(worker["pid"])


def test_keep_alive(client: Client, gateway: Gateway) -> None:
    """With `keep_alive_s: 0` a model leaves the memory when it has answered."""
    client.answer("words", keep_alive_s=0)
    eventually(lambda: gateway.worker("words") is None, 5, "the model is unloaded")
    assert text_of(client.answer("words")) == WORDS


def test_a_worker_does_not_see_the_gateways_secrets(client: Client, folder: Path) -> None:
    """The environment of a model's process has none of the operator's keys, and nothing that is the gateway's own."""
    client.answer("words")
    seen = (folder / "worker.env").read_text()
    assert "SECRET=" in seen and "PATH=" in seen
    assert "sk-canary" not in seen and "PLUGGABLY_ADMIN_KEY" not in seen and "PYTHONMALLOC" not in seen


def test_a_worker_is_killed(client: Client, gateway: Gateway) -> None:
    """A crash in the middle of a stream ends it as a failure with what was said; the model comes back by itself."""
    client.answer("demo", "Hi")
    worker = gateway.worker("demo")
    assert worker is not None
    stream = client.stream("demo", "Tell me all that you know.", **LONG)
    stream.next("output.delta")
    os.kill(worker["pid"], signal.SIGKILL)
    generation = stream.end()
    assert generation["status"] == "failed"
    assert generation["error"]["code"] in ("backend_invalid_response", "backend_error", "model_unavailable")
    assert (generation["error"]["backend"], generation["error"]["retryable"]) == ("demo", True)
    assert text_of(generation)
    refused = client.generate("demo", "Hi")
    if refused.status != 200:  # within the back-off
        assert (refused.status, refused.error["code"]) == (503, "model_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert "signal 9" in refused.error["detail"]
    eventually(lambda: client.generate("demo", "Hi").status == 200, 10, "the model answers again")
    assert (gateway.worker("demo") or {})["pid"] != worker["pid"]


# ── registered through the API ──────────────────────────────────────────────────────────────────────────────────────


def register(client: Client, model_id: str, source: object, **more: object) -> tuple[int, Json]:
    reply = client.post("/v1/models", {"id": model_id, "source": str(source), **more})
    return reply.status, reply.json()


def test_a_registered_model(client: Client, folder: Path) -> None:
    """A file in an allowed folder becomes a model, answers, and is forgotten again; its file stays."""
    path = folder / "allowed" / "inner" / "one.gguf"
    status, model = register(client, "team/one", f"file:{path}", slots=1)
    assert (status, model["id"], model["source"], model["status"]) == (201, "team/one", "api", "available")
    assert "blue" in text_of(client.answer("team/one", "Why is the sky blue?"))
    assert model_of(client, "team/one")["status"] == "loaded"
    assert register(client, "team/one", f"file:{path}")[0] == 409
    assert client.request("DELETE", "/v1/models/team/one").status == 204
    assert client.generate("team/one").error["code"] == "model_not_found"
    assert client.request("DELETE", "/v1/models/team/one").status == 404
    assert path.exists()


def test_a_link_inside_an_allowed_folder(client: Client, folder: Path) -> None:
    """A link that leads to another file of an allowed folder is good."""
    assert register(client, "linked", f"file:{folder}/allowed/inside-link.gguf")[0] == 201
    assert client.request("DELETE", "/v1/models/linked").status == 204


@pytest.mark.parametrize(
    "source",
    [
        "{folder}/outside.gguf",
        "{folder}/allowed/../outside.gguf",
        "{folder}/allowed/link.gguf",
        "{folder}/allowed/folder-link/outside.gguf",
        "{folder}/allowed-too/one.gguf",
        "{folder}/allowed/nosuch.gguf",
        "{folder}/allowed",
        "/etc/passwd",
        "allowed/inner/one.gguf",
        "../allowed/inner/one.gguf",
        "",
    ],
)
def test_a_source_that_is_refused(client: Client, folder: Path, source: str) -> None:
    """A file outside the allowed folders is refused, whichever way it is named, and the answer maps no disk."""
    status, error = register(client, "stray", "file:" + source.format(folder=folder))
    assert (status, error["code"], error["pointer"]) == (400, "invalid_request", "/source")
    assert str(folder) not in error["detail"]
    assert client.get("/v1/models/stray").status == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"runner": "command", "options": {"command": ["sh", "-c", "{port}"]}}, 400, "invalid_request"),
        ({"runner": "nosuch"}, 400, "invalid_request"),
        ({"options": {"nosuch": 1}}, 400, "invalid_request"),
        ({"id": "mine"}, 409, "conflict"),
        ({"id": "alias"}, 409, "conflict"),
        ({"id": "openai/mine"}, 409, "conflict"),
        ({"id": "no spaces"}, 400, "invalid_request"),
        ({"source": "https://example.com/model.gguf"}, 400, "invalid_request"),
        ({"source": "file:{folder}/allowed/truncated.gguf"}, 503, "model_unavailable"),
    ],
)
def test_a_registration_that_is_refused(client: Client, folder: Path, body: Json, status: int, code: str) -> None:
    """A command, an unknown runner or option, a taken or reserved id, a broken file: none is registered."""
    whole: Json = {"id": "stray", "source": f"file:{folder}/allowed/inner/one.gguf", **body}
    whole["source"] = whole["source"].replace("{folder}", str(folder))
    reply = client.post("/v1/models", whole)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert client.get("/v1/models/stray").status == 404


@pytest.mark.parametrize("model", ["mine", "alias", "demo"])
def test_what_the_config_file_defines_stays(client: Client, model: str) -> None:
    """The API cannot remove what the config file defines."""
    reply = client.request("DELETE", f"/v1/models/{model}")
    assert (reply.status, reply.error["code"]) == (409, "conflict")


def test_a_busy_model_is_removed_by_force_only(client: Client, folder: Path) -> None:
    """A model that runs is not removed, unless the caller insists; its stream then fails and does not hang."""
    register(client, "busy", f"file:{folder}/allowed/inner/one.gguf")
    options = {"busy": {"ignore_eos": True, "n_probs": 300}}
    stream = client.stream("busy", "Hi", parameters={"max_output_tokens": 2000}, provider_options=options)
    stream.next("output.delta")
    assert client.request("DELETE", "/v1/models/busy").error["code"] == "conflict"
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(stream.end)
        assert client.request("DELETE", "/v1/models/busy?force=true").status == 204
        assert end.result(10)["status"] in ("failed", "completed")


# ── the gateway's own end ───────────────────────────────────────────────────────────────────────────────────────────


def test_workers_die_with_the_gateway(needs: Needs, tmp_path: Path) -> None:
    """After kill -9 of the gateway its workers, and what they started, are gone within two seconds; it starts again
    on the same data directory and still knows its registered models."""
    needs.llama_cpp()
    (tmp_path / "allowed").mkdir()
    shutil.copy(DEMO, tmp_path / "allowed" / "one.gguf")
    grandchild = f"sleep 600 & echo $! > {tmp_path}/grandchild.pid;"
    config: Json = {"models": {"words": served_by_fake("say-3", before=grandchild)}, "model_folders": ["allowed"]}
    with start_gateway(tmp_path, config) as gateway:
        assert register(gateway.client, "one", f"file:{tmp_path}/allowed/one.gguf")[0] == 201
        gateway.client.answer("one")
        gateway.client.answer("words")
        pids = [int(worker["pid"]) for worker in gateway.client.get("/v1/workers").json()["data"]]
        pids.append(int((tmp_path / "grandchild.pid").read_text()))
        assert len(pids) == 3 and all(process_lives(pid) for pid in pids)
        stream = gateway.client.stream("one")
        gateway.kill()
        eventually(lambda: not any(process_lives(pid) for pid in pids), 2, "the workers are gone")
        stream.leave()
    with start_gateway(tmp_path, config) as gateway:
        assert model_of(gateway.client, "one")["source"] == "api"
        assert gateway.client.answer("one")["status"] == "completed"


def test_workers_end_with_the_gateway(tmp_path: Path) -> None:
    """A gateway that is told to stop takes its workers along."""
    with start_gateway(tmp_path, {"models": {"words": served_by_fake("say-3")}}) as gateway:
        gateway.client.answer("words")
        worker = gateway.worker("words")
        assert worker is not None
        assert gateway.stop() == 0
        assert not process_lives(worker["pid"])
