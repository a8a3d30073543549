"""Who listens on a port of this machine's loopback, as far as the system tells: Linux does.

A worker's port is chosen before the worker takes it, so another user's process may take it first, answer as if it were
ready, and get the prompts. What surprises: the user is what counts, not the process. A process of the same user, or of
root, could read the prompts in other ways, and it is theirs that listen where the command only starts a server
elsewhere (a container's proxy). A command may as well become another user; then that one is as good.

Source: proc_net_tcp(5) and the kernel's Documentation/networking/proc_net_tcp.rst: the sockets that listen come first,
and an address is in hexadecimal, each four bytes in the machine's own order.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_LISTENS = "0A"
_MAPPED = bytes(10) + b"\xff\xff"


def _as_told(address: bytes) -> str:
    words = (address[at : at + 4] for at in range(0, len(address), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


_ANY, _LOOPBACK = bytes(4), socket.inet_aton("127.0.0.1")
# Those that get what is sent to this machine's loopback.
_ADDRESSES = frozenset(
    map(_as_told, (_ANY, _LOOPBACK, _MAPPED + _ANY, _MAPPED + _LOOPBACK, bytes(16), bytes(15) + b"\x01"))
)


def listening_users(port: int, proc: Path = PROC) -> set[int] | None:
    """The ids of the users who listen on a loopback port; None where the system does not tell."""
    users: set[int] = set()
    try:
        users |= _users_in(proc / "net" / "tcp", port)
    except (OSError, ValueError, IndexError):
        return None
    with suppress(OSError, ValueError, IndexError):  # a machine without IPv6 has no such table
        users |= _users_in(proc / "net" / "tcp6", port)
    return users


def users_of_group(group: int, proc: Path = PROC) -> set[int]:
    """The ids of the users as whom the processes of a group run."""
    users: set[int] = set()
    for process in proc.iterdir():
        if process.name.isdecimal():
            # It may end while it is looked at.
            with suppress(OSError, ValueError, IndexError):
                _, _, fields = (process / "stat").read_text("utf-8", "replace").rpartition(")")
                if int(fields.split()[2]) == group:
                    users.add(process.stat().st_uid)
    return users


def has_stranger(users: set[int], group: int, proc: Path = PROC) -> bool:
    """Whether one of those who listen is neither root, nor who we are, nor who the worker is."""
    strangers = users - {0, os.geteuid()}
    return bool(strangers) and not strangers <= users_of_group(group, proc)


def _users_in(table: Path, port: int) -> set[int]:
    users: set[int] = set()
    ending = f":{port:04X}"
    with table.open("r", encoding="ascii") as lines:
        next(lines, None)  # the head
        for line in lines:
            fields = line.split()
            if fields[3] != _LISTENS:
                break
            if fields[1].endswith(ending) and fields[1].partition(":")[0] in _ADDRESSES:
                users.add(int(fields[7]))
    return users
