"""`run` and `models`: which gateway they ask, and what they print of its answers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pluggably.config import Secret
from pluggably.connection import ConnectionFailed, GatewayClient, gateway
from pluggably.storage.datadir import lock_owner, open_data_directory

TEXT_DELTAS = [{"index": 0, "item_type": "text", "text": "Blue"}, {"index": 0, "item_type": "text", "text": " ☀."}]


def generation(**changes: Any) -> dict[str, Any]:
    return {"id": "gen_1", "status": "completed", "finish_reason": "stop", "warnings": [], "error": None, **changes}


class FakeGateway:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.events: list[tuple[str, dict[str, Any]]] = [
            ("generation.created", {"generation": generation(status="queued")}),
            ("generation.progress", {"stage": "loading", "fraction": 0.5}),
            *(("output.delta", delta) for delta in TEXT_DELTAS),
            ("output.delta", {"index": 1, "item_type": "reasoning", "text": "hidden"}),
            ("generation.completed", {"generation": generation()}),
        ]
        self.last_page = {"data": [_model("openai/gpt-5", None)], "next_cursor": None, "warnings": list[Any]()}
        self.problem: tuple[int, dict[str, Any]] | None = None
        self.stalls = threading.Event()
        self.key: str | None = None
        fake = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake.asked.append(("GET", self.path, dict(self.headers), None))
                if fake.key is not None and self.headers.get("Authorization") != f"Bearer {fake.key}":
                    return self._json(401, {"detail": "The key is not known.", "code": "unauthenticated", "errors": []})
                if self.path == "/readyz":
                    return self._json(*(fake.problem or (200, {"status": "ready", "detail": None})))
                if self.path == "/v1/models":
                    return self._json(200, {"data": [_model("demo", 1024)], "next_cursor": "a b"})
                if self.path == "/v1/models?cursor=a%20b":
                    return self._json(200, fake.last_page)
                return self._json(200, {"id": "key_x"})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.asked.append(("POST", self.path, dict(self.headers), body))
                if fake.problem is not None:
                    return self._json(*fake.problem)
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for name, event in fake.events:
                    self._chunk(f"event: {name}\ndata: {json.dumps(event)}\n\n: keep-alive\n\n".encode())
                fake.stalls.wait(20)
                self._chunk(b"")
                return None

            def _chunk(self, content: bytes) -> None:
                # Cut in two, as a network may, in the middle of a letter.
                for part in (content[: len(content) // 2], content[len(content) // 2 :]) if content else (b"",):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.flush()

            def _json(self, status: int, value: Any) -> None:
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.stalls.set()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def _model(name: str, context: int | None) -> dict[str, Any]:
    return {"id": name, "location": "local", "status": "available", "context_tokens": context, "source": "file"}


@pytest.fixture
def fake() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield fake
    fake.stalls.set()
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pluggably", *arguments]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), **more}


def run(
    folder: Path, *arguments: str, code: int = 0, stdin: str = "", timeout_s: float = 60, **more: str
) -> tuple[str, str]:
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder, **more),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


# ── what is printed ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_printed_as_text(fake: FakeGateway, tmp_path: Path) -> None:
    """The text alone, without reasoning, progress or colours, and one line break at the end."""
    out = run(tmp_path, "run", "m", "Why?", "--url", fake.url, PLUGGABLY_API_KEY="k1")
    assert out == ("Blue ☀.\n", "")
    ((method, path, headers, body),) = fake.asked
    assert (method, path, headers["Authorization"]) == ("POST", "/v1/generations", "Bearer k1")
    message = {"role": "user", "content": "Why?"}
    assert body == {"model": "m", "input": [message], "parameters": {}, "stream": True}


def test_an_answer_cannot_steer_a_terminal(fake: FakeGateway, tmp_path: Path) -> None:
    """Control characters that a model says are shown as such on a terminal; a pipe gets them as they are."""
    name, delta = next((name, event) for name, event in fake.events if name == "output.delta")
    fake.events.insert(fake.events.index((name, delta)), (name, {**delta, "text": "a\x1b[2Jb\n"}))
    end, theirs = pty.openpty()
    asked = command("run", "m", "Why?", "--url", fake.url)
    done = subprocess.run(asked, cwd=tmp_path, env=environment(tmp_path), stdout=theirs, check=False, timeout=60)
    os.close(theirs)
    shown = os.read(end, 4096).decode()
    os.close(end)
    assert (done.returncode, shown.splitlines()[0]) == (0, "a\N{REPLACEMENT CHARACTER}[2Jb")
    assert run(tmp_path, "run", "m", "Why?", "--url", fake.url)[0].startswith("a\x1b[2Jb\n")


def test_options_and_standard_input_reach_the_gateway(fake: FakeGateway, tmp_path: Path) -> None:
    """A prompt may be piped in, and the few parameters are those of the API."""
    options = ("--system", "Be brief.", "--max-output-tokens", "5", "--temperature", "0")
    run(tmp_path, "run", "m", "-", *options, stdin="A long\nprompt", PLUGGABLY_URL=fake.url + "/")
    body = fake.asked[0][3]
    assert [part["content"] for part in body["input"]] == ["Be brief.", "A long\nprompt"]
    assert body["parameters"] == {"max_output_tokens": 5, "temperature": 0}


def test_json_is_the_whole_generation(fake: FakeGateway, tmp_path: Path) -> None:
    """With `--json`, what the API answers, and nothing else."""
    out, errors = run(tmp_path, "run", "m", "Why?", "--json", "--url", fake.url)
    assert (json.loads(out), errors) == (generation(), "")


def test_what_was_dropped_or_cut_is_told_beside_the_answer(fake: FakeGateway, tmp_path: Path) -> None:
    """Warnings go to standard error, so that a pipe gets the answer alone."""
    fake.events[-1][1]["generation"] = generation(finish_reason="length", warnings=[{"detail": "no top_k"}])
    out, errors = run(tmp_path, "run", "m", "Why?", "--url", fake.url)
    assert out == "Blue ☀.\n"
    assert errors == "warning: no top_k\nThe answer was cut at its longest; --max-output-tokens allows more.\n"


def test_a_failure_in_the_middle_is_told(fake: FakeGateway, tmp_path: Path) -> None:
    """What came so far is printed, then the reason; exit code 1."""
    error = {"detail": "It broke.", "code": "backend_error"}
    fake.events[-1] = ("generation.failed", {"generation": generation(status="failed", error=error)})
    out, errors = run(tmp_path, "run", "m", "Why?", "--url", fake.url, code=1)
    assert (out, errors) == ("Blue ☀.\n", "pluggably: It broke. (backend_error)\n")


def test_a_stream_without_its_end_is_told(fake: FakeGateway, tmp_path: Path) -> None:
    """An answer that just stops is never shown as a whole one."""
    del fake.events[-1]
    out, errors = run(tmp_path, "run", "m", "Why?", "--url", fake.url, code=1)
    assert out.startswith("Blue")
    assert "broke off" in errors


@pytest.mark.parametrize(
    ("status", "problem", "expected"),
    [
        (
            404,
            {"detail": "No model has this name.", "code": "model_not_found", "errors": []},
            "pluggably: No model has this name. (model_not_found)\n",
        ),
        (
            400,
            {"detail": "Wrong.", "code": "invalid_request", "errors": [{"pointer": "/a", "detail": "no"}]},
            "pluggably: Wrong.; /a: no (invalid_request)\n",
        ),
        (502, {"message": "nginx"}, "pluggably: The answer was 502 Bad Gateway. Is this a gateway?\n"),
    ],
)
def test_a_refusal_is_told_in_the_gateways_words(
    fake: FakeGateway, tmp_path: Path, status: int, problem: dict[str, Any], expected: str
) -> None:
    """The problem's detail, what is wrong where, and its code."""
    fake.problem = (status, problem)
    assert run(tmp_path, "run", "m", "Why?", "--url", fake.url, code=1) == ("", expected)


def test_ctrl_c_ends_it_quietly(fake: FakeGateway, tmp_path: Path) -> None:
    """Exit code 130, no traceback, and the connection is closed."""
    fake.stalls.clear()
    del fake.events[-1]
    with subprocess.Popen(
        command("run", "m", "Why?", "--url", fake.url),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"Blue"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_gateway_behind(tmp_path: Path, number: signal.Signals) -> None:
    """`timeout 5 pluggably run …`, or a terminal that is closed: the gateway that was started for it ends with it."""
    data_dir = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base_url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        config = {"demo": False, "providers": {"silent": {"codec": "openai", "base_url": base_url}}}
        (tmp_path / "pluggably.yaml").write_text(json.dumps(config))
        with subprocess.Popen(
            command("run", "silent/m", "Why?"),
            cwd=tmp_path,
            env={**environment(tmp_path), "PLUGGABLY_DATA_DIR": str(data_dir)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            silent.settimeout(60)
            asked, _ = silent.accept()
            assert lock_owner(data_dir) is not None
            process.send_signal(number)
            assert process.wait(60) == 128 + number
            asked.close()
    assert lock_owner(data_dir) is None


def test_models_are_listed_page_by_page(fake: FakeGateway, tmp_path: Path) -> None:
    """A table for people, the API's objects for programs."""
    out, _ = run(tmp_path, "models", "--url", fake.url)
    assert out.splitlines() == [
        "MODEL         LOCATION  STATUS     CONTEXT  SOURCE",
        "demo          local     available  1024     file",
        "openai/gpt-5  local     available  -        file",
    ]
    listed = json.loads(run(tmp_path, "models", "--url", fake.url, "--json")[0])
    assert [one["id"] for one in listed] == ["demo", "openai/gpt-5"]


def test_a_provider_that_lists_nothing_is_told(fake: FakeGateway, tmp_path: Path) -> None:
    """Whose models are missing from the table, and why, stands on standard error."""
    warning = {"backend": "groq", "detail": "The provider refused its credential.", "code": "model_list_failed"}
    fake.last_page["warnings"] = [warning]
    out, errors = run(tmp_path, "models", "--url", fake.url)
    assert (len(out.splitlines()), errors) == (3, "warning: groq: The provider refused its credential.\n")


def test_a_name_does_not_steer_the_terminal(fake: FakeGateway, tmp_path: Path) -> None:
    """What a terminal would obey in a name or a reason of others is shown as a mark, in its place."""
    fake.last_page["data"] = [_model("a\x1b[31m\nb\x9b\u202e", None)]
    fake.last_page["warnings"] = [{"backend": "p", "detail": "\x1b]0;title\x07", "code": "model_list_failed"}]
    out, errors = run(tmp_path, "models", "--url", fake.url)
    assert out.splitlines()[2].split()[0] == "a�[31m�b��"
    assert errors == "warning: p: �]0;title�\n"


# ── health ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_health_asks_the_gateway_of_the_data_directory(fake: FakeGateway, tmp_path: Path) -> None:
    """Where a gateway runs with it, at whatever address it is asked without a key, and the exit code is 0."""
    directory = open_data_directory(tmp_path / "data")
    directory.write_private(directory.local_credential, json.dumps({"url": fake.url, "key": "k2"}).encode())
    out = run(tmp_path, "health", "--data-dir", str(tmp_path / "data"))
    assert out == (f"The gateway at {fake.url} is ready.\n", "")
    ((_, path, headers, _),) = fake.asked
    assert (path, headers.get("Authorization")) == ("/readyz", None)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ({"status": "not_ready", "detail": "The disk is full."}, "pluggably: The disk is full.\n"),
        (
            {"detail": "The gateway is shutting down.", "code": "shutting_down", "errors": []},
            "pluggably: The gateway is shutting down. (shutting_down)\n",
        ),
    ],
)
def test_a_gateway_that_cannot_serve_is_not_healthy(
    fake: FakeGateway, tmp_path: Path, problem: dict[str, Any], expected: str
) -> None:
    """Exit code 1, and the gateway's own reason."""
    fake.problem = (503, problem)
    assert run(tmp_path, "health", "--url", fake.url, code=1) == ("", expected)


def test_what_is_amiss_with_a_healthy_gateway_is_told(fake: FakeGateway, tmp_path: Path) -> None:
    """It serves, so all is well for whoever restarts it; a person reads the warning."""
    fake.problem = (200, {"status": "ready", "detail": "The config file has 2 errors."})
    out, errors = run(tmp_path, "health", "--url", fake.url)
    assert (out, errors) == (f"The gateway at {fake.url} is ready.\n", "warning: The config file has 2 errors.\n")


def test_where_no_gateway_runs_none_is_healthy(tmp_path: Path) -> None:
    """Exit code 1, none is started, and a data directory that is not there is not made."""
    errors = run(tmp_path, "health", PLUGGABLY_DATA_DIR=str(tmp_path / "data"), code=1)[1]
    assert errors == f"pluggably: No gateway runs with the data directory {tmp_path / 'data'}.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_that_died_is_not_healthy(tmp_path: Path) -> None:
    """A killed gateway leaves its address behind; nobody answers there."""
    directory = open_data_directory(tmp_path / "data")
    directory.write_private(directory.local_credential, b'{"url": "http://127.0.0.1:9", "key": "k2"}')
    errors = run(tmp_path, "health", "--data-dir", str(tmp_path / "data"), code=1)[1]
    assert errors == "pluggably: No gateway answers at http://127.0.0.1:9: Connection refused.\n"


# ── which gateway ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_named_gateway_that_is_not_there_is_told(tmp_path: Path) -> None:
    """None is started instead of one that was named; and a mistake in this machine's config does not matter."""
    (tmp_path / "pluggably.yaml").write_text("wrong")
    errors = run(tmp_path, "run", "m", "Why?", "--url", "http://127.0.0.1:9", code=1)[1]
    assert errors == "pluggably: No gateway answers at http://127.0.0.1:9: Connection refused.\n"


@pytest.mark.parametrize("url", ["box:8080", "ftp://box", "http://", "http://box:port"])
def test_what_is_no_url_is_told(url: str) -> None:
    """Before anything is sent anywhere."""
    with pytest.raises(ConnectionFailed, match="is not the URL of a gateway"):
        GatewayClient(url, None)


def test_a_running_gateway_is_found_by_its_data_directory(fake: FakeGateway, tmp_path: Path) -> None:
    """Its private file tells its address and a key, so that no key is needed; a key of the environment comes first."""
    fake.key = "local"
    directory = open_data_directory(tmp_path / "data")
    content = json.dumps({"url": fake.url, "key": "local"}).encode()
    directory.write_private(directory.local_credential, content)
    run(tmp_path, "models", PLUGGABLY_DATA_DIR="data")
    assert {headers["Authorization"] for _, _, headers, _ in fake.asked} == {"Bearer local"}
    errors = run(tmp_path, "models", code=1, PLUGGABLY_DATA_DIR="data", PLUGGABLY_API_KEY="other")[1]
    assert errors == "pluggably: The key is not known. (unauthenticated)\n"


def test_with_a_key_the_configured_address_is_asked(fake: FakeGateway, tmp_path: Path) -> None:
    """A gateway that was started with another data directory, in a container for example."""
    fake.key = "mine"
    port = str(fake.server.server_port)
    out, _ = run(tmp_path, "models", PLUGGABLY_API_KEY="mine", PLUGGABLY_PORT=port, PLUGGABLY_HOST="0.0.0.0")
    assert "demo" in out


def test_where_none_runs_one_is_started_and_stopped(tmp_path: Path) -> None:
    """A newcomer's first command works; afterwards nothing is left running, and the next one works too."""
    for _ in range(2):
        out, errors = run(tmp_path, "models")
        assert re.search(r"(?m)^demo ", out)
        assert errors == ""
        folder = tmp_path / ".local" / "share" / "pluggably"
        assert not (folder / "local.json").exists()
        open_data_directory(folder).lock().release()


def test_a_gateway_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    """Its own words are shown."""
    (tmp_path / "pluggably.yaml").write_text("providers: {openia: {}}")
    out, errors = run(tmp_path, "models", code=1)
    assert out == ""
    assert "could not be started" in errors
    assert "there is no preset `openia`; did you mean `openai`?" in errors


def test_a_gateway_that_starts_at_the_same_moment_is_used(tmp_path: Path) -> None:
    """Of two commands that each start one, the later finds the data directory taken, and asks the other's."""
    processes = [
        subprocess.Popen(
            command("models"),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told


def test_the_started_gateway_is_stopped_after_an_error_too(tmp_path: Path) -> None:
    """Whatever happens while it is asked, it does not stay."""
    folder = tmp_path / "data"
    with (
        pytest.raises(RuntimeError),
        gateway(url=None, key=None, data_dir=folder, configured_url="http://127.0.0.1:9") as asked,
    ):
        assert asked.is_alive()
        raise RuntimeError
    assert not asked.is_alive()
    assert not GatewayClient(asked.url, Secret("x")).is_alive()
