"""A profile's own program, run for real: what it gets, what it may print, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pluggably.errors import BackendAuthenticationFailed
from pluggably.providers.aws_process import MAX_BYTES, keys_of_process
from pluggably.providers.aws_signature import AwsKeys
from pluggably.providers.aws_surroundings import Surroundings
from pluggably.providers.credentials import Fetched, ask

NOW = 1_795_435_200.0
KEYS = {"Version": 1, "AccessKeyId": "AK", "SecretAccessKey": "top-secret"}


def program(folder: Path, text: str) -> str:
    """A command that runs this Python text."""
    path = folder / "a program.py"
    path.write_text(text)
    return f'{shlex.quote(sys.executable)} "{path}"'


async def keys(command: str, limit_s: float = 20.0, **environment: str) -> Fetched[AwsKeys]:
    around = Surroundings("bedrock", "eu-west-1", {"PATH": os.environ["PATH"], **environment}, ask, lambda: NOW)
    return await keys_of_process(around, "work", command, limit_s)


def is_gone(pid: int) -> bool:
    """Whether the process has ended, be it that nobody has asked yet how."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def gone(pids: Path) -> bool:
    """Whether all the processes that the program wrote down end within some seconds."""
    until = time.monotonic() + 10
    found = [int(word) for word in pids.read_text().split()]
    while time.monotonic() < until:
        if all(is_gone(pid) for pid in found):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, Fetched(AwsKeys("AK", "top-secret"))),
        (
            {"SessionToken": "T", "Expiration": "2026-11-23T13:00:00Z", "AccountId": "1"},
            Fetched(AwsKeys("AK", "top-secret", "T"), 1_795_438_800.0),
        ),
        ({"Expiration": "2026-11-23T14:00:00+01:00"}, Fetched(AwsKeys("AK", "top-secret"), 1_795_438_800.0)),
    ],
)
def test_a_program_prints_keys(tmp_path: Path, more: dict[str, str], expected: Fetched[AwsKeys]) -> None:
    """They are good until the date that stands with them, and without one for ever."""
    assert asyncio.run(keys(program(tmp_path, f"print({json.dumps(json.dumps({**KEYS, **more}))})"))) == expected


def test_a_program_is_started_without_a_shell(tmp_path: Path) -> None:
    """Its words are as they stand there, in the environment of the gateway, but for what is the gateway's own; it has
    no input, and leads a session of its own."""
    told = tmp_path / "told"
    text = (
        "import json, os, sys\n"
        f"told = [sys.argv[1:], dict(os.environ), sys.stdin.read(), os.getsid(0) == os.getpid()]\n"
        f"open({str(told)!r}, 'w').write(json.dumps(told))\n"
        f"print({json.dumps(json.dumps(KEYS))})\n"
    )
    command = program(tmp_path, text) + ' --role "Model Users" $HOME *; touch ' + str(tmp_path / "touched")
    asyncio.run(keys(command, HOME="/home/box", AWS_PROFILE="work", PLUGGABLY_ADMIN_KEY="admin"))
    words, environment, given, leads = json.loads(told.read_text())
    assert words == ["--role", "Model Users", "$HOME", "*;", "touch", str(tmp_path / "touched")]
    assert (environment["HOME"], environment["AWS_PROFILE"]) == ("/home/box", "work")
    assert "PLUGGABLY_ADMIN_KEY" not in environment
    assert (given, leads) == ("", True)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("print('Enter your top-secret code: ')", "did not print keys"),
        ("print('[]')", "did not print keys"),
        ('print(\'{"Version": 1, "AccessKeyId": "top-secret"}\')', "did not print keys"),
        (f"print({json.dumps(json.dumps({**KEYS, 'SecretAccessKey': ''}))})", "did not print keys"),
        (f"print({json.dumps(json.dumps({**KEYS, 'Expiration': 'top-secret'}))})", "did not print keys"),
        (f"print({json.dumps(json.dumps({**KEYS, 'Version': 2}))})", "printed version 2; only version 1"),
        ("", "did not print keys"),
        ("import sys; sys.exit('top-secret')", "ended with status 1"),
        ("import os; os.kill(os.getpid(), 9)", "ended with status -9"),
        (f"print(' ' * {2 * MAX_BYTES})", "did not print keys"),
        ("while True: print('top-secret', flush=True)", "did not print keys"),
    ],
)
def test_a_program_that_prints_no_keys_is_told(tmp_path: Path, text: str, says: str) -> None:
    """By the name of its profile, and without a word of what it printed."""
    with pytest.raises(BackendAuthenticationFailed, match=says) as caught:
        asyncio.run(keys(program(tmp_path, text)))
    assert "bedrock: the `credential_process` of the profile `work`" in caught.value.detail
    assert "top-secret" not in caught.value.detail


HANGS = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "open({pids!r} + '.new', 'w').write(str(os.getpid()) + ' ' + str(child.pid))\n"
    "os.rename({pids!r} + '.new', {pids!r})\n"
    "{then}\n"
)


@pytest.mark.parametrize("then", ["time.sleep(600)", "sys.exit(0)", "import signal; signal.pause()"])
def test_a_program_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path, then: str) -> None:
    """Also where it is gone itself, and what it started holds its output open."""
    pids = tmp_path / "pids"
    with pytest.raises(BackendAuthenticationFailed, match=r"did not end within 2 s"):
        asyncio.run(keys(program(tmp_path, HANGS.format(pids=str(pids), then=then)), limit_s=2.0))
    assert gone(pids)


def test_a_program_that_nobody_waits_for_is_killed(tmp_path: Path) -> None:
    """As when the gateway stops."""
    pids = tmp_path / "pids"

    async def main() -> None:
        task = asyncio.create_task(keys(program(tmp_path, HANGS.format(pids=str(pids), then="time.sleep(600)"))))
        while not pids.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert gone(pids)
