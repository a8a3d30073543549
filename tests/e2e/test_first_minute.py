"""The first minute: an empty machine, one command, an answer; and every way in which a start can go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from needs import Needs

from e2e.harness import (
    ADMIN_KEY,
    COMMAND,
    Gateway,
    environment,
    eventually,
    free_port,
    run_command,
    spawn,
    start_gateway,
)
from pluggably.testing.fake_openai import running_fake_openai

KEY = re.compile(r"plg_[0-9A-Za-z]+_[0-9A-Za-z_-]{43}")
CURL = re.compile(r"^ *(curl -s .*)\n", re.MULTILINE)


@pytest.fixture(scope="module")
def first(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on its first start: no data, no config, no key."""
    needs.llama_cpp()
    with start_gateway(tmp_path_factory.mktemp("first"), admin_key=None) as gateway:
        key_file = gateway.data_dir / "admin-key"
        gateway.client = gateway.client.with_key(key_file.read_text().strip())
        yield gateway


def key_of(gateway: Gateway) -> str:
    assert gateway.client.key is not None
    return gateway.client.key


def on_data(gateway: Gateway, *arguments: str) -> str:
    """What a command prints that works on this gateway's data directory."""
    done = run_command(gateway.data_dir.parent, *arguments, PLUGGABLY_DATA_DIR=str(gateway.data_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout


# ── the first start ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_key(first: Gateway) -> None:
    """Without a terminal the key goes into a private file whose path is told, and is nowhere printed or logged."""
    path = first.data_dir / "admin-key"
    assert str(path) in first.printed()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY.fullmatch(key_of(first))
    assert key_of(first) not in first.printed() + first.logged()
    assert first.client.get("/v1/me").json()["scopes"] == ["admin"]


def test_the_key_is_stored_hashed(first: Gateway) -> None:
    """The database has neither the key nor its secret part, and not even its plain hash."""
    secret = key_of(first)[-43:].encode()
    for path in first.data_dir.iterdir():
        if path.name != "admin-key":
            assert secret not in path.read_bytes(), path
    with sqlite3.connect(f"file:{first.data_dir}/pluggably.db?mode=ro", uri=True) as database:
        [digest] = database.execute("SELECT secret_hmac FROM api_keys WHERE revoked_at IS NULL").fetchone()
    database.close()
    assert len(digest) == 32
    assert digest != hashlib.sha256(key_of(first).encode()).digest()


def test_the_data_directory_is_private(first: Gateway) -> None:
    """Nobody else on the machine can read any of it."""
    assert stat.S_IMODE(first.data_dir.stat().st_mode) == 0o700
    for path in first.data_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_printed_curl_line(first: Gateway, needs: Needs) -> None:
    """The line that is printed works when it is pasted into a shell."""
    needs.program("curl", "apt-get install curl")
    found = CURL.search(first.printed())
    assert found is not None, first.printed()
    done = subprocess.run(["sh", "-c", found[1]], capture_output=True, text=True, timeout=30, check=True)
    answer = json.loads(done.stdout)
    assert answer["status"] == "completed"
    assert "blue" in answer["output"][0]["text"]


def test_it_listens_on_this_machine_only(first: Gateway) -> None:
    """The address is on loopback unless the operator says otherwise."""
    assert first.url.startswith("http://127.0.0.1:")


def test_on_a_terminal(tmp_path: Path, needs: Needs) -> None:
    """On a terminal the key is shown this once, in no file; the curl line has it, and works as printed."""
    needs.llama_cpp()
    needs.program("curl", "apt-get install curl")
    with terminal(tmp_path) as shown:
        line = eventually(lambda: CURL.search(shown()), 20, "the welcome is shown")
        assert KEY.search(line[1]) is not None and "shown this once" in line.string
        assert not (tmp_path / "data" / "admin-key").exists()
        done = subprocess.run(["sh", "-c", line[1].strip()], capture_output=True, text=True, timeout=30, check=True)
        assert "blue" in json.loads(done.stdout)["output"][0]["text"]
    with terminal(tmp_path) as shown:
        line = eventually(lambda: re.search(r"pluggably run .*\n", shown()), 20, "the second welcome is shown")
        assert KEY.search(line.string) is None


class terminal:  # noqa: N801  used as a function
    """`pluggably serve` on a terminal of its own; gives a function that tells what was shown so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Callable[[], str]:
        self._end, theirs = pty.openpty()
        os.set_blocking(self._end, False)
        env = environment(self._folder, PLUGGABLY_DATA_DIR=str(self._folder / "data"), TERM="dumb")
        self._process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0"], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=self._folder
        )
        os.close(theirs)
        self._seen = b""
        return self._shown

    def _shown(self) -> str:
        with suppress(BlockingIOError, OSError):
            while piece := os.read(self._end, 65536):
                self._seen += piece
        return self._seen.decode().replace("\r\n", "\n")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        assert self._process.wait(15) == 0, self._shown()
        os.close(self._end)


def test_the_second_start(tmp_path: Path) -> None:
    """A second start makes and prints no key; the first one still works, and the file is there until it is deleted."""
    with start_gateway(tmp_path, {"demo": False}, admin_key=None) as gateway:
        key = (gateway.data_dir / "admin-key").read_text().strip()
    (gateway.data_dir / "admin-key").unlink()
    with start_gateway(tmp_path, {"demo": False}, admin_key=None) as gateway:
        assert not (gateway.data_dir / "admin-key").exists()
        assert "admin key" not in gateway.printed()
        assert gateway.client.with_key(key).get("/v1/me").status == 200


def test_a_preset_admin_key(tmp_path: Path) -> None:
    """PLUGGABLY_ADMIN_KEY counts for the starts that have it, and no other key is made for them."""
    with start_gateway(tmp_path, {"demo": False}) as gateway:
        assert gateway.client.get("/v1/me").json()["scopes"] == ["admin"]
        assert not (gateway.data_dir / "admin-key").exists()
        assert ADMIN_KEY not in gateway.printed()
    with start_gateway(tmp_path, {"demo": False}, admin_key="another-" + ADMIN_KEY) as gateway:
        assert gateway.client.get("/v1/me").status == 200
        assert gateway.client.with_key(ADMIN_KEY).get("/v1/me").error["code"] == "unauthenticated"


# ── the other commands ──────────────────────────────────────────────────────────────────────────────────────────────


def test_version(tmp_path: Path) -> None:
    """`pluggably version` prints the version alone, and needs no data directory."""
    done = run_command(tmp_path, "version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_the_installed_program(tmp_path: Path, needs: Needs) -> None:
    """The program `pluggably` that the package installs is the same command."""
    program = Path(sys.executable).with_name("pluggably")
    if not program.exists():
        needs.missing("the package is not installed: `pip install --editable .`")
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == run_command(tmp_path, "version").stdout


def test_run_with_a_running_gateway(first: Gateway) -> None:
    """`pluggably run` asks the gateway that runs here, with no key to type."""
    before = len(first.generations())
    assert "blue" in on_data(first, "run", "demo", "Why is the sky blue?")
    eventually(lambda: len(first.generations()) == before + 1, 5, "the running gateway logs it")
    answer = json.loads(on_data(first, "run", "demo", "Hi", "--json", "--max-output-tokens", "2"))
    assert (answer["finish_reason"], answer["usage"]["output_tokens"]) == ("length", 2)


def test_run_without_a_gateway(tmp_path: Path, needs: Needs) -> None:
    """Where none runs, `pluggably run` starts one for as long as the answer takes."""
    needs.llama_cpp()
    done = run_command(tmp_path, "run", "demo", "Why is the sky blue?", PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "blue" in done.stdout and done.stdout.endswith("\n")
    assert not [line for line in command_lines() if str(tmp_path) in line]
    # The key of the first start is not lost with it.
    assert (tmp_path / "data" / "admin-key").exists()


def command_lines() -> list[str]:
    """Of all processes of this machine, where it has /proc."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return lines


def test_run_streams(first: Gateway) -> None:
    """The answer is printed as it comes: with a long one, the first words are there before the last."""
    env = environment(first.data_dir.parent, PLUGGABLY_DATA_DIR=str(first.data_dir))
    command = [*COMMAND, "run", "demo", "Why is the sky blue?"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        output = process.stdout.fileno()
        pieces = list(iter(lambda: os.read(output, 65536), b""))
    assert process.returncode == 0
    assert len(pieces) > 1
    assert b"blue" in b"".join(pieces)


def test_run_is_interrupted(first: Gateway) -> None:
    """Ctrl-C ends `pluggably run` with the shell's code for it, and the gateway's work with it."""
    env = environment(first.data_dir.parent, PLUGGABLY_DATA_DIR=str(first.data_dir))
    command = [*COMMAND, "run", "demo", "Tell me a story.", "--max-output-tokens", "900", "--temperature", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    assert process.returncode in (0, 130)  # 0 where it was faster than the signal
    assert b"Traceback" not in errors


def test_run_reads_its_prompt_from_a_pipe(first: Gateway) -> None:
    """Without a prompt on the command line it is read from standard input."""
    done = run_command(
        first.data_dir.parent, "run", "demo", given="Why is the sky blue?", PLUGGABLY_DATA_DIR=str(first.data_dir)
    )
    assert "blue" in done.stdout


def test_run_fails_in_words(first: Gateway) -> None:
    """What the gateway refuses is told in a line on standard error, with exit code 1."""
    done = run_command(first.data_dir.parent, "run", "nosuch", "Hi", PLUGGABLY_DATA_DIR=str(first.data_dir))
    assert (done.returncode, done.stdout) == (1, "")
    assert "model_not_found" in done.stderr and "Traceback" not in done.stderr


def test_models(first: Gateway) -> None:
    """`pluggably models` lists the demo model, for people and as JSON."""
    assert re.search(r"^demo +local +(available|loaded)", on_data(first, "models"), re.MULTILINE)
    assert [model["id"] for model in json.loads(on_data(first, "models", "--json"))] == ["demo"]


def test_keys_while_the_gateway_runs(first: Gateway) -> None:
    """A key that the command line makes works within three seconds; one that it revokes is refused as soon."""
    key = on_data(first, "keys", "create", "--name", "laptop", "--scope", "generate").strip()
    assert KEY.fullmatch(key)
    caller = first.client.with_key(key)
    eventually(lambda: caller.get("/v1/me").status == 200, 3, "the new key is known")
    assert caller.get("/v1/me").json()["scopes"] == ["generate"]
    [listed] = [one for one in json.loads(on_data(first, "keys", "list", "--json")) if one["name"] == "laptop"]
    assert listed["revoked_at"] is None
    assert key not in on_data(first, "keys", "list")
    assert "laptop" in on_data(first, "keys", "revoke", listed["id"])
    eventually(lambda: caller.get("/v1/me").status == 401, 3, "the revoked key is refused")
    assert re.search(rf"{listed['id']}.*revoked", on_data(first, "keys", "list"))


def test_keys_without_a_gateway(tmp_path: Path) -> None:
    """Keys can be made before the first start, and an expired one is refused."""
    data = ("--data-dir", str(tmp_path / "data"))
    key = run_command(tmp_path, "keys", "create", "--scope", "admin", *data).stdout.strip()
    past = run_command(tmp_path, "keys", "create", "--expires", "2020-01-01", *data)
    assert (past.returncode, past.stdout) == (2, "")
    missing = run_command(tmp_path, "keys", "revoke", "key_nosuch", *data)
    assert missing.returncode == 1 and "no key" in missing.stderr
    with start_gateway(tmp_path, {"demo": False}, admin_key=None) as gateway:
        assert gateway.client.with_key(key).get("/v1/keys").status == 200
        assert not (gateway.data_dir / "admin-key").exists()


# ── what can go wrong at a start ────────────────────────────────────────────────────────────────────────────────────


def refused_start(folder: Path, *arguments: str, **more: str) -> str:
    """What a start says that must fail: on standard error, without a traceback, and with an exit code."""
    done = run_command(folder, "serve", *arguments, within_s=20, **more)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr and done.stderr.strip()
    return done.stderr


def test_a_start_that_fails_costs_no_key(tmp_path: Path) -> None:
    """A first start that stops at a provider without its key makes no admin key, so the next one makes and tells it."""
    data = tmp_path / "data"
    path = tmp_path / "no-key.yaml"
    path.write_text("version: 1\nproviders: {groq: {}}\n")
    said = refused_start(tmp_path, "--config", str(path), "--port", "0", PLUGGABLY_DATA_DIR=str(data))
    assert "GROQ_API_KEY" in said
    assert not (data / "admin-key").exists()
    with start_gateway(tmp_path, data_dir=data, admin_key=None) as gateway:
        key = (gateway.data_dir / "admin-key").read_text().strip()
        assert gateway.client.with_key(key).get("/v1/me").status == 200


def test_two_gateways_on_one_data_directory(first: Gateway) -> None:
    """The second one is refused, and told which process has it."""
    said = refused_start(first.data_dir.parent, "--port", "0", PLUGGABLY_DATA_DIR=str(first.data_dir))
    assert str(first.data_dir) in said and str(first.pid) in said
    assert first.client.get("/readyz").status == 200


def test_two_first_starts_at_once(tmp_path: Path) -> None:
    """Of several gateways that start at once on an empty directory one wins, and the others say why they do not."""
    gateways = [
        spawn(tmp_path / str(number), {"demo": False}, data_dir=tmp_path / "data", admin_key=None)
        for number in range(3)
    ]
    try:
        eventually(lambda: sum(one.process.poll() is not None for one in gateways) == 2, 20, "two of three give up")
        [winner] = [one for one in gateways if one.process.poll() is None]
        eventually(lambda: "ready at" in winner.printed(), 20, "the third one is ready")
        key = (tmp_path / "data" / "admin-key").read_text().strip()
        assert KEY.fullmatch(key)
        for loser in gateways:
            if loser is not winner:
                assert loser.wait() == 2
                assert "Another gateway" in loser.logged() and "Traceback" not in loser.logged()
                assert loser.printed() == ""
        assert winner.stop() == 0
    finally:
        for one in gateways:
            one.kill()


@pytest.mark.parametrize(("name", "content"), [("pluggably.db", b"This is no database. " * 300), ("pepper", b"short")])
def test_a_damaged_data_directory(tmp_path: Path, name: str, content: bytes) -> None:
    """A file of the data directory that is damaged is named, and not overwritten."""
    with start_gateway(tmp_path, {"demo": False}) as gateway:
        pass
    path = gateway.data_dir / name
    for other in gateway.data_dir.glob(f"{name}-*"):
        other.unlink()
    path.write_bytes(content)
    assert str(path) in refused_start(tmp_path, "--port", "0", PLUGGABLY_DATA_DIR=str(gateway.data_dir))
    assert path.read_bytes() == content


def test_a_port_in_use(first: Gateway, tmp_path: Path) -> None:
    """The message names the address and what to do."""
    port = first.url.rpartition(":")[2]
    said = refused_start(tmp_path, "--port", port, PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    assert f"127.0.0.1:{port} is in use" in said and "--port" in said


def test_an_address_that_is_not_here(tmp_path: Path) -> None:
    """An address of another machine cannot be listened on, and the message says so."""
    said = refused_start(tmp_path, "--host", "192.0.2.1", "--port", "0", PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    assert "192.0.2.1" in said and "--host" in said
    said = refused_start(tmp_path, "--host", "nowhere.invalid", PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    assert "nowhere.invalid" in said


WRONG = """\
version: 1
server:
  port: high
  prot: 8080
providers:
  openai: {api_key: "${NO_SUCH_VARIABLE}"}
  mine: {codec: nosuch, base_url: "ftp://box"}
models:
  qwen: {runner: llama.cpp, slots: 0}
  qwen: {runner: nosuch}
timeouts: {idle_s: -1}
"""


def test_a_wrong_config(tmp_path: Path) -> None:
    """Every mistake is told at once, each with file, line and column; the gateway does not start."""
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    said = refused_start(tmp_path, "--config", str(path), PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    places = {(int(line), int(column)) for line, column in re.findall(re.escape(str(path)) + r":(\d+):(\d+)", said)}
    lines = {line for line, _ in places}
    assert {3, 4, 6, 7, 9, 10, 11} <= lines, said
    assert (3, 9) in places and all(column > 0 for _, column in places)
    assert "NO_SUCH_VARIABLE" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("server: [", ":1:"),
        ("- a list\n", ":1:1"),
        ("\x00\x01", ""),
        ("a: &a [*a]\n", ":1:"),
        ("server:\n\tport: 1\n", ":2:"),
    ],
)
def test_a_config_that_is_no_config(tmp_path: Path, content: str, place: str) -> None:
    """A file that is no YAML, or no mapping, is told as such."""
    path = tmp_path / "pluggably.yaml"
    path.write_text(content)
    assert f"{path}{place}" in refused_start(tmp_path, PLUGGABLY_DATA_DIR=str(tmp_path / "data"))


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    """A file that is named must exist."""
    path = tmp_path / "nosuch.yaml"
    assert str(path) in refused_start(tmp_path, "--config", str(path), PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    assert str(path) in refused_start(tmp_path, PLUGGABLY_CONFIG=str(path), PLUGGABLY_DATA_DIR=str(tmp_path / "data"))


@pytest.mark.parametrize("key", ["short", "x" * 31, "with spaces " * 4])
def test_a_preset_key_that_is_too_weak(tmp_path: Path, key: str) -> None:
    """PLUGGABLY_ADMIN_KEY must have 32 or more URL-safe characters; a wrong one is not repeated."""
    said = refused_start(tmp_path, "--port", "0", PLUGGABLY_ADMIN_KEY=key, PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    assert "PLUGGABLY_ADMIN_KEY" in said and "32" in said
    assert key not in said


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in its way, or a folder that is not ours to write, is told with the path."""
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        said = refused_start(tmp_path, "--port", "0", PLUGGABLY_DATA_DIR=str(path))
        assert str(path) in said and "PLUGGABLY_DATA_DIR" in said
    if os.geteuid() != 0:  # to root no folder is closed
        (tmp_path / "closed").mkdir(mode=0o500)
        said = refused_start(tmp_path, "--port", "0", PLUGGABLY_DATA_DIR=str(tmp_path / "closed"))
        assert str(tmp_path / "closed") in said


def test_on_ipv6(tmp_path: Path) -> None:
    """An IPv6 address can be listened on, and is printed as a URL has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with start_gateway(tmp_path, {"demo": False}, arguments=("--host", "::1")) as gateway:
        assert gateway.url.startswith("http://[::1]:")
        assert gateway.client.get("/v1/me").status == 200
        on_data(gateway, "models", "--json")


def test_a_port_that_is_no_port(tmp_path: Path) -> None:
    """A port that is none is told where it was given."""
    assert "PLUGGABLY_PORT" in refused_start(tmp_path, PLUGGABLY_PORT="high", PLUGGABLY_DATA_DIR=str(tmp_path / "data"))
    assert "--port" in refused_start(tmp_path, "--port", "70000", PLUGGABLY_DATA_DIR=str(tmp_path / "data"))


def test_a_vendors_variable_is_enough(tmp_path: Path) -> None:
    """A key in the vendor's well-known variable makes its models reachable, with no config file."""
    # Refused before any call to the vendor: the wire has no `top_k`.
    fields = {"parameters": {"top_k": 1}, "on_unsupported": "error"}
    with start_gateway(tmp_path, GROQ_API_KEY="gsk-of-a-test") as gateway:
        assert gateway.client.generate("groq/any", **fields).error["code"] == "unsupported_parameter"
        unknown = gateway.client.generate("openai/any", **fields).error
        assert (unknown["code"], "groq" in unknown["detail"]) == ("model_not_found", True)


def test_a_variable_that_may_mean_something_else_is_no_wish(tmp_path: Path) -> None:
    """A key without the rest of its address, or one that serves other ends, neither adds a provider nor is an error."""
    keys = {"AZURE_OPENAI_API_KEY": "az-of-a-test", "HF_TOKEN": "hf_of-a-test"}
    with start_gateway(tmp_path, **keys) as gateway:
        for name in ("azure", "azure-deployments", "huggingface"):
            assert gateway.client.generate(f"{name}/any").error["code"] == "model_not_found"


def test_an_address_with_gaps(tmp_path: Path) -> None:
    """What fills them is given in the config, and the model stands quoted in its part of the path."""
    with running_fake_openai(key="sk-gaps") as fake:
        provider = {
            "preset": "azure-deployments",
            "api_key": "sk-gaps",
            "variables": {"resource": "r", "version": "v2"},
        }
        address = {"base_url": f"{fake.base_url}/{{resource}}/{{model}}"}
        with start_gateway(tmp_path, {"providers": {"az": {**provider, **address}}, "demo": False}) as gateway:
            gateway.client.generate("az/a b?x=1#y")
            assert gateway.client.generate("az/..").error["code"] == "model_not_found"
        # The path as the server unquotes it: unquoted on its way, it would have ended before the question mark.
        assert [one.path for one in fake.requests] == ["/v1/r/a b?x=1#y/chat/completions"]


def test_a_secret_in_a_file(tmp_path: Path) -> None:
    """A provider's key may stand in a file of its own; its line end is not a part of it."""
    with running_fake_openai(key="sk-in-a-file") as fake:
        (tmp_path / "key.txt").write_text("sk-in-a-file\n")
        provider = {"codec": "openai", "base_url": fake.base_url, "api_key": "file:key.txt"}
        with start_gateway(tmp_path, {"providers": {"fake": provider}, "demo": False}) as gateway:
            assert gateway.client.answer("fake/say-3")["status"] == "completed"


def test_the_contract_for_scripts(tmp_path: Path) -> None:
    """PLUGGABLY_HOST, PLUGGABLY_PORT and PLUGGABLY_CONFIG do what the flags do, and the flags come before them."""
    port, other = free_port(), free_port()
    (tmp_path / "named.yaml").write_text("demo: false\nserver: {port: 1}\n")
    named = {"PLUGGABLY_CONFIG": str(tmp_path / "named.yaml"), "PLUGGABLY_HOST": "127.0.0.1"}
    for arguments, expected in (((), port), (("--port", str(other)), other)):
        env = environment(tmp_path, PLUGGABLY_DATA_DIR=str(tmp_path / "data"), PLUGGABLY_PORT=str(port), **named)
        command = [*COMMAND, "serve", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=tmp_path) as process:
            assert process.stdout is not None
            assert f"ready at http://127.0.0.1:{expected}" in process.stdout.readline().decode()
            process.terminate()
            process.communicate(timeout=15)
        assert process.returncode == 0


def test_a_killed_gateway_leaves_no_trouble(tmp_path: Path) -> None:
    """After kill -9 the next start needs no repair, and `pluggably models` does not believe the dead one."""
    with start_gateway(tmp_path, {"demo": False, "models": {"here": "fake/model"}, "providers": FAKE}) as gateway:
        gateway.kill()
    done = run_command(
        tmp_path, "models", "--config", str(tmp_path / "pluggably.yaml"), PLUGGABLY_DATA_DIR=str(gateway.data_dir)
    )
    assert done.returncode == 0 and "here" in done.stdout, done.stderr
    with start_gateway(tmp_path, {"demo": False}) as gateway:
        assert gateway.client.get("/readyz").status == 200


FAKE = {"fake": {"codec": "openai", "base_url": "http://127.0.0.1:9/v1"}}


def test_a_path_with_spaces(tmp_path: Path, needs: Needs) -> None:
    """A data directory with a space and a quote in its name is no trouble, and the curl line still works."""
    needs.llama_cpp()
    needs.program("curl", "apt-get install curl")
    folder = tmp_path / "Jo's data"
    with start_gateway(folder, admin_key=None) as gateway:
        line = CURL.search(gateway.printed())
        assert line is not None
        done = subprocess.run(["sh", "-c", line[1]], capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(done.stdout)["status"] == "completed"
