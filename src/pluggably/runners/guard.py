"""Stands between the gateway and a command that is not ours, so that the command never outlives the gateway.

    python -I -S guard.py PARENT_PID COMMAND…

Run as a program, in a session of its own; never imported by the gateway for more than its path. It starts the command
in its own process group and waits. When the gateway goes (the end of standard input; on Linux also the signal that
the kernel sends at a parent's death) it kills the whole group, itself and grandchildren included. SIGTERM is passed
on to the group once. When the command ends, the guard ends with its status.
What surprises: the command's standard input is empty, because ours is the gateway's lifeline.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1
OOM_SCORE_ADJ = 800
EXIT_NOT_STARTED = 127


def main() -> NoReturn:
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    wakes, notices = os.pipe()
    os.set_blocking(notices, False)
    signal.set_wakeup_fd(notices, warn_on_full_buffer=False)
    # With no-op handlers the signals only wake the loop below; the kernel tells of a parent's death by SIGHUP.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    ask_for_signal_at_parent_death(signal.SIGHUP)
    if os.getppid() != parent_pid:
        sys.exit(EXIT_NOT_STARTED)
    be_first_to_go()
    child = start(command)
    while True:
        readable, _, _ = select.select([0, wakes], [], [])
        if 0 in readable and not os.read(0, 4096):
            kill_group()
        if wakes in readable:
            react(os.read(wakes, 4096), child)


def react(numbers: bytes, child: int) -> None:
    if signal.SIGHUP in numbers:
        kill_group()
    if signal.SIGTERM in numbers or signal.SIGINT in numbers:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: None)
    if signal.SIGCHLD in numbers:
        reap(child)


def reap(child: int) -> None:
    """Ends with the command's status once it has ended; a death by a signal is told as 128 and its number, as shells
    do. Killing what it left of the group is the gateway's: we could not, and still tell the status."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def start(command: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        ask_for_signal_at_parent_death(signal.SIGKILL)
        os.execvp(command[0], command)  # noqa: S606  the operator's own command line
    except OSError as error:
        sys.stderr.write(f"E cannot start {command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    finally:
        os._exit(EXIT_NOT_STARTED)


def kill_group() -> None:
    os.killpg(0, signal.SIGKILL)


def ask_for_signal_at_parent_death(number: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def be_first_to_go() -> None:
    """When memory runs out, the kernel is to take the command before the gateway."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  pathlib is slow to import
        file.write(str(OOM_SCORE_ADJ))


if __name__ == "__main__":
    main()
