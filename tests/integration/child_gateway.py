"""A whole gateway in a child process, as `pluggably serve` runs it: its address, its admin key, and what it logs.

In a process of its own because the gateway sets up the logging of a whole process, and because a test that looks for
leaked words must see every line that it writes.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADMIN_KEY = "an-admin-key-of-forty-characters-for-you"
START_S = 30.0
STOP_S = 20.0

PROGRAM = """
import sys
from pathlib import Path
from pluggably.app import serve
from pluggably.config import Flags, load_settings

settings = load_settings(Flags(config=Path(sys.argv[1]), data_dir=Path(sys.argv[2]), port=0))
sys.exit(serve(settings, lambda url, token: print(url, flush=True)))
"""


@dataclass
class Reply:
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gateway:
    """A gateway that runs."""

    host: str
    port: int
    pid: int
    log: Path

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        *,
        key: str | None = ADMIN_KEY,
        wait_s: float = 20.0,
    ) -> Reply:
        """One request on a connection of its own. Raises: TimeoutError where no answer comes in time."""
        sent: dict[str, str | bytes] = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        sent.update(headers or {})
        connection = http.client.HTTPConnection(self.host, self.port, timeout=wait_s)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            lower = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, lower, answer.read())
        finally:
            connection.close()

    def logged(self) -> list[dict[str, Any]]:
        """Every line of its log so far."""
        return [json.loads(line) for line in self.log.read_text().split("\n") if line.endswith("}")]


@contextmanager
def running_gateway(
    folder: Path, config: str, environment: Mapping[str, str] | None = None, *, program: str = PROGRAM
) -> Iterator[Gateway]:
    """Starts a gateway with this config file, and stops it at the end of the block."""
    config_path, log = folder / "pluggably.yaml", folder / "gateway.log"
    config_path.write_text(config)
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(config_path), str(folder / "data")],
            stdout=subprocess.PIPE,
            stderr=words,
            env={**inherited, "PLUGGABLY_ADMIN_KEY": ADMIN_KEY, **(environment or {})},
        )
    assert process.stdout is not None
    try:
        with process.stdout as said:
            url = said.readline().decode().strip()
        assert url.startswith("http://"), log.read_text()
        host, _, port = url.removeprefix("http://").rpartition(":")
        gateway = Gateway(host, int(port), process.pid, log)
        deadline = time.monotonic() + START_S
        while gateway.ask("GET", "/readyz").status != 200:
            assert time.monotonic() < deadline
        yield gateway
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
