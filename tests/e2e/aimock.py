"""Starts the npm package @copilotkit/aimock: vendors that somebody else wrote, for a second opinion on ours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from needs import Needs

from e2e.harness import Client, eventually, free_port
from e2e.protocol import Json


@contextmanager
def running_aimock(needs: Needs, folder: Path, fixtures: Sequence[Json], **environment: str) -> Iterator[Client]:
    """An aimock that answers by these fixtures, and by nothing else. What it was asked is under `/v1/_requests`."""
    node = needs.program("node", "`make setup` installs one")
    program = needs.npm_package("@copilotkit/aimock") / "dist" / "cli.js"
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    port = free_port()
    command = [node, str(program), "--port", str(port), "--fixtures", str(folder / "fixtures.json")]
    command += ["--strict", "--validate-on-load", "--chunk-size", "8"]
    with (folder / "aimock.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment}, cwd=folder
        )
    try:
        mock = Client(f"http://127.0.0.1:{port}")
        eventually(lambda: _answers(mock, process), 20, "aimock answers")
        yield mock
    finally:
        process.kill()
        process.wait(10)


def _answers(mock: Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "aimock has ended"
    try:
        return mock.get("/health").status == 200
    except ConnectionRefusedError:
        return False
