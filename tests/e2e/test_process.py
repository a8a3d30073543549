"""The gateway as a process: its standard streams, its signals and its limits, as shells and services set them."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from e2e.harness import Client, Gateway, eventually, spawn
from e2e.protocol import Json

CONFIG: Json = {"server": {"reload_check_s": 3600}, "demo": False}
on_linux = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="this system has no /proc and /dev/full")


@contextmanager
def serving(folder: Path, shell: str, config: Json | None = CONFIG, admin_key: str | None = None) -> Iterator[Gateway]:
    """A gateway whose address stands in its data directory; it must end well."""
    gateway = spawn(folder, config, shell=shell, admin_key=admin_key)

    def told() -> Json | None:
        assert gateway.process.poll() is None, gateway.logged()
        with suppress(OSError, ValueError):
            found: Json = json.loads((gateway.data_dir / "local.json").read_text())
            return found
        return None

    try:
        local = eventually(told, 30, "it tells its address")
        gateway.url, gateway.client = local["url"], Client(local["url"], local["key"])
        eventually(lambda: gateway.client.get("/readyz").status == 200, 30, "it is ready")
        yield gateway
        assert gateway.stop() == 0, gateway.logged()
    finally:
        if gateway.process.poll() is None:
            gateway.kill()


# ── standard output ─────────────────────────────────────────────────────────────────────────────────────────────────


@on_linux
@pytest.mark.parametrize(
    "shell",
    [
        'exec "$@" > /dev/full',
        'exec "$@" >&-',
        'exec "$@" >&- 2>&-',
        'mkfifo pipe; true < pipe & exec 3> pipe; wait; exec "$@" >&3',
    ],
    ids=["full", "closed", "all-closed", "nobody-reads"],
)
def test_it_serves_where_nothing_can_be_printed(tmp_path: Path, shell: str) -> None:
    """And the first admin key is in its private file."""
    with serving(tmp_path, shell) as gateway:
        path = gateway.data_dir / "admin-key"
        key = eventually(lambda: path.is_file() and path.read_text().strip(), 5, "the key is kept")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert Client(gateway.url, str(key)).get("/v1/me").json()["scopes"] == ["admin"]
    assert "Traceback" not in gateway.logged() and "Exception ignored" not in gateway.logged()


# ── SIGHUP ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hang_up_has_the_config_read(tmp_path: Path) -> None:
    """Without a terminal: a changed config is taken, and a wrong one is told again each time."""
    with serving(tmp_path, 'exec "$@"') as gateway:
        path = tmp_path / "pluggably.yaml"
        path.write_text(
            json.dumps({**CONFIG, "models": {"other": "openai/x"}, "providers": {"openai": {"api_key": "k"}}})
        )
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: gateway.log_lines("config_taken"), 10, "the new config is taken")
        assert gateway.client.get("/v1/models/other").status == 200
        path.write_text("server: {prot: 1}")
        for count in (1, 2):
            gateway.process.send_signal(signal.SIGHUP)
            eventually(lambda count=count: len(gateway.log_lines("config_wrong")) == count, 10, "it is told")


def test_a_hang_up_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As with `nohup`."""
    with serving(tmp_path, "trap '' HUP; exec \"$@\"") as gateway:
        gateway.process.send_signal(signal.SIGHUP)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.wait(10) == 0
    assert not gateway.log_lines("config_taken")


def test_the_end_of_a_terminal_is_the_end_of_the_gateway(tmp_path: Path) -> None:
    """With a terminal SIGHUP is as SIGTERM, however often it comes: it drains and ends well."""
    terminal, shells = os.openpty()
    try:
        with serving(tmp_path, f'exec "$@" < {os.ttyname(shells)}') as gateway:
            for _ in range(2):
                gateway.process.send_signal(signal.SIGHUP)
            assert gateway.wait(10) == 0
        assert gateway.log_lines("stopped")
    finally:
        os.close(terminal)
        os.close(shells)


# ── open files ──────────────────────────────────────────────────────────────────────────────────────────────────────


@on_linux
def test_it_may_open_as_many_files_as_the_system_lets_it(tmp_path: Path) -> None:
    """The soft limit, which is for other programs, becomes the hard one."""
    with serving(tmp_path, 'ulimit -Sn 300; ulimit -Hn 3000; exec "$@"') as gateway:
        limits = Path(f"/proc/{gateway.pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
        assert line.split()[3:5] == ["3000", "3000"]


@on_linux
def test_that_no_file_is_left_is_told_once(tmp_path: Path) -> None:
    """Connections are refused then, and the log says why; it serves again when some have gone."""
    with serving(tmp_path, 'ulimit -n 60; exec "$@"') as gateway:
        port = int(gateway.url.rpartition(":")[2])
        with ExitStack() as crowd:
            for _ in range(80):
                with suppress(OSError):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            eventually(lambda: gateway.log_lines("no_more_files"), 10, "it is told")

        def serves() -> bool:
            with suppress(OSError):  # refused, as long as it has not seen that they have gone
                return gateway.client.get("/readyz").status == 200
            return False

        eventually(serves, 10, "it serves again")
        assert len(gateway.log_lines("no_more_files")) == 1
