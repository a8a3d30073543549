"""Who listens on a port, from tables as Linux writes them."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from pluggably.runners.listeners import has_stranger, listening_users, users_of_group

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
PORT = 0x1F90
little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the tables here are those of such a machine")


def line(local: str, user: int, state: str = "0A") -> str:
    return (
        f"   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {user:5} 0 4711 1 0 100 0 0 10 0\n"
    )


def proc_with(folder: Path, tcp: str, tcp6: str | None = "") -> Path:
    (folder / "net").mkdir()
    (folder / "net" / "tcp").write_text(HEAD + tcp)
    if tcp6 is not None:
        (folder / "net" / "tcp6").write_text(HEAD + tcp6)
    return folder


@little_endian
@pytest.mark.parametrize(
    ("tcp", "tcp6", "users"),
    [
        (line("0100007F:1F90", 7), None, {7}),
        (line("00000000:1F90", 7), "", {7}),
        ("", line("00000000000000000000000000000000:1F90", 7), {7}),
        ("", line("00000000000000000000000001000000:1F90", 7), {7}),
        ("", line("0000000000000000FFFF00000100007F:1F90", 7), {7}),
        (line("0100007F:1F90", 7), line("00000000000000000000000001000000:1F90", 8), {7, 8}),
        (line("0100007F:1F91", 7) + line("0200A8C0:1F90", 7), "", set()),
        (line("0100007F:1F90", 7, "01"), "", set()),
        ("", "", set()),
    ],
)
def test_those_who_get_what_is_sent_to_the_loopback(
    tmp_path: Path, tcp: str, tcp6: str | None, users: set[int]
) -> None:
    """On any of its addresses, and nobody on another port or address, or who only talks."""
    assert listening_users(PORT, proc_with(tmp_path, tcp, tcp6)) == users


@pytest.mark.parametrize("table", [None, "nonsense\nnonsense\n", HEAD + "1: 2\n"])
def test_a_system_that_does_not_tell(tmp_path: Path, table: str | None) -> None:
    """Other systems have no such table, or it has another form."""
    if table is not None:
        proc_with(tmp_path, "")
        (tmp_path / "net" / "tcp").write_text(table)
    assert listening_users(PORT, tmp_path) is None


def test_a_stranger_is_whom_the_worker_is_not(tmp_path: Path) -> None:
    """Root, we ourselves, and the users as whom the worker's processes run are none."""
    us = os.geteuid()
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "stat").write_text("12 (a) b) S 1 77 77 0")
    (tmp_path / "13").mkdir()
    (tmp_path / "self").mkdir()
    assert users_of_group(77, tmp_path) == {tmp_path.stat().st_uid}
    assert not has_stranger({0, us}, 77, tmp_path)
    assert has_stranger({us, us + 1}, 77, tmp_path)
    assert not has_stranger(set(), 77, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_real_listener_is_seen() -> None:
    """As long as it listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listening_users(port) == {os.geteuid()}
    assert listening_users(port) == set()
    assert os.geteuid() in users_of_group(os.getpgrp())
