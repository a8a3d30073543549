"""Drives the installed command from outside, as an operator and a client do.

`start_gateway` runs `pluggably serve` as a process of its own and gives a `Gateway`: its address, its process, what it
printed and logged, and a `Client` that asks it over plain `http.client`. Nothing of the gateway's own code is used
here, so that a mistake in it cannot hide itself. What surprises: there are no sleeps to wait for something;
`eventually` asks again until a condition holds, and fails with words after a deadline.

    with start_gateway(tmp_path, {"providers": {…}}) as gateway:
        answer = gateway.client.generate("fake/say-3", "Hello")
        events = gateway.client.stream("fake/say-3", "Hello").all()
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from e2e.protocol import Json, StreamEvent, check_stream

T = TypeVar("T")

COMMAND = (sys.executable, "-m", "pluggably")
ADMIN_KEY = "e2e-admin-key-with-at-least-32-characters"

# Nothing is tried twice and no target rests, for tests that want to see each failure as it comes.
BARE: Json = {"attempts": 1, "max_wait_s": 0, "breaker_failures": 0}

# Generous, since a busy machine is slow; a good run waits for none of them to its end.
START_S = 20.0
ANSWER_S = 20.0
STOP_S = 15.0


def eventually(check: Callable[[], T | None], within_s: float, what: str, pause_s: float = 0.01) -> T:
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + within_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(pause_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process_lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"


# ── a client ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Reply:
    """An answer that was read to its end. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        """The problem that this answer tells."""
        assert self.status >= 400, self.body[:500]
        assert self.headers["content-type"] == "application/problem+json"
        problem: Json = self.json()
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        return problem


def read_events(lines: Iterator[bytes]) -> Iterator[StreamEvent]:
    """Reads `text/event-stream` strictly in the form that this API promises: `event:`, then one `data:`, then an
    empty line; comments only between events."""
    name: str | None = None
    data: str | None = None
    for raw in lines:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            assert name is None and data is None, "a comment inside an event"
        elif line.startswith("event: "):
            assert name is None, "two names for one event"
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            assert name is not None and data is None, "not one name and one line of data"
            data = line.removeprefix("data: ")
        elif name is not None or data is not None:
            assert line == "" and name is not None and data is not None, f"an unfinished event: {line!r}"
            event = json.loads(data)
            assert event["type"] == name
            yield StreamEvent(name, event)
            name = data = None
        else:
            assert line == "", f"an unknown line: {line!r}"
    assert name is None, "the stream ended inside an event"


class Stream:
    """A streamed answer. Iterate over it, or take `all()`; `leave()` hangs up."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.refusal: Reply | None = None
        self.seen: list[StreamEvent] = []
        self._connection = connection
        self._answer = answer
        if self.headers["content-type"] != "text/event-stream":
            self.refusal = Reply(self.status, self.headers, answer.read())
            self.leave()
        self._events = read_events(iter(answer.readline, b""))

    def __iter__(self) -> Iterator[StreamEvent]:
        assert self.refusal is None, self.refusal
        for event in self._events:
            self.seen.append(event)
            yield event

    def next(self, name: str | None = None) -> StreamEvent:
        """The next event, or the next one of a name."""
        return next(event for event in self if name in (None, event.name))

    def all(self) -> list[StreamEvent]:
        """All events, those that were read before included; they must keep the rules of `protocol`."""
        for _ in self:
            pass
        self.leave()
        check_stream(self.seen)
        return self.seen

    def end(self) -> Json:
        """The generation as the last event tells it."""
        generation: Json = self.all()[-1].data["generation"]
        return generation

    def leave(self) -> None:
        self._answer.close()
        self._connection.close()


@dataclass(frozen=True)
class Client:
    """Asks one gateway with one key; each request has a connection of its own."""

    url: str
    key: str | None = None

    def with_key(self, key: str | None) -> Client:
        return Client(self.url, key)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Reply:
        connection, answer = self.send(method, path, body, headers, timeout_s)
        with connection_closed(connection):
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def get(self, path: str, **more: Any) -> Reply:
        return self.request("GET", path, **more)

    def post(self, path: str, body: Any, **more: Any) -> Reply:
        return self.request("POST", path, body, **more)

    def generate(self, model: str, given: Any = "Hello", **fields: Any) -> Reply:
        """Asks for a plain answer."""
        return self.post("/v1/generations", {"model": model, "input": given, **fields})

    def answer(self, model: str, given: Any = "Hello", **fields: Any) -> Json:
        """Asks for a plain answer, and expects a good one."""
        reply = self.generate(model, given, **fields)
        assert reply.status == 200, reply.body
        generation: Json = reply.json()
        assert generation["status"] == "completed"
        return generation

    def stream(self, model: str, given: Any = "Hello", **fields: Any) -> Stream:
        """Asks for a streamed answer; returns with its head."""
        body = {"model": model, "input": given, "stream": True, **fields}
        return Stream(*self.send("POST", "/v1/generations", body))

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self.begin(method, path, body, headers, timeout_s)
        try:
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def begin(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> http.client.HTTPConnection:
        """Sends a request and does not wait for its answer."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, {**sent, **(headers or {})})
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def connection_closed(connection: http.client.HTTPConnection) -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()


# ── a gateway ───────────────────────────────────────────────────────────────────────────────────────────────────────


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment as on a fresh machine: a home folder of its own, and no key or setting that stands in ours."""
    ours = re.compile(r"PLUGGABLY_|XDG_|.*_API_KEY$|.*_proxy$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return {**kept, "HOME": str(folder), "COLUMNS": "200", **more}


@dataclass
class Gateway:
    """A running `pluggably serve`."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    out: Path
    err: Path
    url: str = ""
    client: Client = field(default_factory=lambda: Client(""))

    @property
    def pid(self) -> int:
        return self.process.pid

    def printed(self) -> str:
        return self.out.read_text()

    def logged(self) -> str:
        return self.err.read_text()

    def log_lines(self, event: str | None = None) -> list[Json]:
        """The log, which is one JSON object a line; only whole lines."""
        lines = [json.loads(line) for line in self.logged().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if event in (None, line["event"])]

    def generations(self) -> list[Json]:
        """The lines of the log that tell of generations: one for each, when it has ended."""
        return [line for line in self.log_lines("request") if "generation_id" in line]

    def worker(self, model: str) -> Json | None:
        """What the gateway tells of a model's process."""
        workers = self.client.get("/v1/workers").json()["data"]
        return next((worker for worker in workers if worker["model"] == model), None)

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, within_s: float = STOP_S) -> int:
        """Waits for the end; returns the exit code."""
        return self.process.wait(within_s)

    def stop(self) -> int:
        """Ends it as an operator does; returns the exit code."""
        if self.process.poll() is None:
            self.ask_to_stop()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the gateway did not stop within {STOP_S:g} s:\n{self.logged()}") from None

    def kill(self) -> None:
        """Ends it as a crash does."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(STOP_S)


def write_config(folder: Path, config: Json) -> Path:
    """A config file. JSON is YAML, too."""
    path = folder / "pluggably.yaml"
    path.write_text(json.dumps(config, indent=1))
    return path


def spawn(
    folder: Path,
    config: Json | None = None,
    *,
    arguments: Sequence[str] = (),
    data_dir: Path | None = None,
    admin_key: str | None = ADMIN_KEY,
    shell: str | None = None,
    **more_environment: str,
) -> Gateway:
    """Starts `pluggably serve` and does not wait for it. Without a port among `arguments` it takes a free one. With a
    `shell` that runs this line, in which `"$@"` is the command."""
    folder.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir or folder / "data"
    command = [*COMMAND, "serve", *arguments]
    if "--port" not in arguments:
        command += ["--port", "0"]
    if config is not None:
        command += ["--config", str(write_config(folder, config))]
    if shell is not None:
        command = ["/bin/sh", "-c", shell, "sh", *command]
    env = environment(folder, PLUGGABLY_DATA_DIR=str(data_dir), **more_environment)
    if admin_key is not None:
        env["PLUGGABLY_ADMIN_KEY"] = admin_key
    out, err = folder / "gateway.out", folder / "gateway.err"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file, env=env, cwd=folder
        )
    return Gateway(process, data_dir, out, err)


def wait_until_ready(gateway: Gateway, key: str | None = ADMIN_KEY) -> None:
    """Waits until it has told its address and `/readyz` says yes."""

    def told() -> str | None:
        assert gateway.process.poll() is None, f"it ended with {gateway.process.returncode}:\n{gateway.logged()}"
        found = re.search(r"ready at (http://\S+)", gateway.printed())
        return found[1] if found else None

    gateway.url = eventually(told, START_S, "the gateway tells its address")
    gateway.client = Client(gateway.url, key)
    eventually(lambda: gateway.client.get("/readyz").status == 200, START_S, "the gateway is ready")


@contextmanager
def start_gateway(
    folder: Path,
    config: Json | None = None,
    *,
    arguments: Sequence[str] = (),
    data_dir: Path | None = None,
    admin_key: str | None = ADMIN_KEY,
    **more_environment: str,
) -> Iterator[Gateway]:
    """A gateway that is ready. It is ended with the block, and must then end well, unless the test ended it."""
    gateway = spawn(folder, config, arguments=arguments, data_dir=data_dir, admin_key=admin_key, **more_environment)
    try:
        wait_until_ready(gateway, admin_key)
        yield gateway
        if gateway.process.poll() is None:
            assert gateway.stop() == 0, gateway.logged()
    finally:
        if gateway.process.poll() is None:
            gateway.kill()


def run_command(
    folder: Path,
    *arguments: str,
    within_s: float = 60.0,
    given: str | None = None,
    **more_environment: str,
) -> subprocess.CompletedProcess[str]:
    """Runs `pluggably …` to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(folder, **more_environment),
        cwd=folder,
        input=given if given is not None else "",
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def told(generation: Json) -> Json:
    """What an answer says, without what depends on who answered, over which wire and when."""
    items = [{name: item.get(name) for name in ("type", "text", "name", "arguments")} for item in generation["output"]]
    counts = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    usage = {name: generation["usage"][name] for name in counts}
    return {"items": items, "finish_reason": generation["finish_reason"], "usage": usage}
