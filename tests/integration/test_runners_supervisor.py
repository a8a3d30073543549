"""The supervisor and the guard with real processes: how a worker starts, and that nothing outlives it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pluggably.errors import ModelUnavailable
from pluggably.net.http import HttpClient
from pluggably.runners import guard
from pluggably.runners.runner import Launch
from pluggably.runners.supervisor import StartLimits, Worker, free_port
from pluggably.testing.runners import group_members

STUB = Path(__file__).parents[1] / "contract" / "stub_server.py"
WAIT_S = 10.0


class Exits(list):
    """Collects the workers that told their exit."""


@asynccontextmanager
async def worker_of(command, *, limits=None, environment=None, exits=None, **fields):
    """A worker of a command in which `{port}` is filled in; ended at the end."""
    http = HttpClient()
    port = free_port()
    launch = Launch(command=[word.replace("{port}", str(port)) for word in command], model="m", **fields)
    worker = Worker(
        launch,
        port,
        environment=os.environ if environment is None else environment,
        http=http,
        limits=limits or StartLimits(stall_s=WAIT_S, total_s=WAIT_S),
        on_exit=(exits if exits is not None else Exits()).append,
    )
    try:
        async with asyncio.timeout(2 * WAIT_S):
            yield worker
    finally:
        await worker.stop(grace_s=0)
        await http.close()


def stub(*more):
    return [sys.executable, str(STUB), "--port", "{port}", *more]


def python(program):
    return [sys.executable, "-c", program]


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


async def until(is_so):
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            await asyncio.sleep(0.01)


async def pids_in(file):
    await until(file.exists)
    return [int(pid) for pid in file.read_text().split()]


def test_starts_and_stops():
    """A guarded server becomes ready by its health path, and is gone after a stop."""

    async def scenario():
        exits = Exits()
        async with worker_of(stub("--ready-after", "0.2"), exits=exits) as worker:
            assert worker.state == "starting"
            assert (await worker.start()).startswith("http://127.0.0.1:")
            assert worker.state == "ready"
            await worker.stop()
            assert (worker.state, exits) == ("exited", [worker])
            await until(lambda: not group_members(worker.pid))

    asyncio.run(scenario())


def test_what_ignores_the_signal_is_killed(tmp_path):
    """A server that ignores SIGTERM is killed after the grace, with a child of its own that ignores it too."""

    async def scenario():
        pids = tmp_path / "pids"
        async with worker_of(stub("--ignore-term", "--pid-file", str(pids))) as worker:
            await worker.start()
            family = await pids_in(pids)
            assert all(is_running(pid) for pid in family)
            await worker.stop(grace_s=0.2)
            await until(lambda: not any(is_running(pid) for pid in family))

    asyncio.run(scenario())


def test_an_exit_is_noticed_at_once(tmp_path):
    """When the command is killed, the worker tells it within a moment, and what the command started goes too."""

    async def scenario():
        pids, exits = tmp_path / "pids", Exits()
        async with worker_of(stub("--pid-file", str(pids)), exits=exits) as worker:
            await worker.start()
            command, grandchild = await pids_in(pids)
            os.kill(command, signal.SIGKILL)
            async with asyncio.timeout(2):
                await worker.exited()
            assert exits == [worker]
            assert worker.exit_code == 128 + signal.SIGKILL
            await until(lambda: not is_running(grandchild))

    asyncio.run(scenario())


def test_a_killed_guard_takes_all_with_it(tmp_path):
    """Even if the guard itself is killed, nothing of its group stays."""

    async def scenario():
        pids = tmp_path / "pids"
        async with worker_of(stub("--pid-file", str(pids))) as worker:
            await worker.start()
            family = await pids_in(pids)
            os.kill(worker.pid, signal.SIGKILL)
            await worker.exited()
            await until(lambda: not any(is_running(pid) for pid in family))

    asyncio.run(scenario())


def test_the_signal_is_passed_on_once(tmp_path):
    """The command gets one SIGTERM at a stop, may end in its own time, and its status is the worker's."""
    file = tmp_path / "signals"
    program = (
        "import signal, sys, time\n"
        f"def note(*_): open({str(file)!r}, 'a').write('x')\n"
        "signal.signal(signal.SIGTERM, note)\n"
        f"open({str(file)!r}, 'w').close()\n"
        "while not open(" + repr(str(file)) + ").read(): time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "sys.exit(7)\n"
    )

    async def scenario():
        async with worker_of(python(program)) as worker:
            start = asyncio.create_task(worker.start())
            await until(file.exists)
            await worker.stop()
            with pytest.raises(ModelUnavailable):
                await start
            assert worker.exit_code == 7
            assert file.read_text() == "x"

    asyncio.run(scenario())


def test_an_early_end_is_told_with_its_cause(tmp_path):
    """A start whose process ends is told with its status, and for operators with the log's first error, without paths
    and without secrets: those of headers, of its variables, and what its command has from variables of ours."""
    program = (
        "import os, sys\n"
        "print('info: starting', flush=True)\n"
        "sys.stderr.write('0.00.1 E open: no such file /home/someone/models/x.bin, key=s3cret-s3cret, '\n"
        "    + os.environ['TOKEN'] + ', ' + sys.argv[1] + '\\n')\n"
        "sys.stderr.write('0.00.2 E main: giving up\\n')\n"
        "sys.exit(3)"
    )

    async def scenario():
        headers = {"Authorization": "Bearer s3cret-s3cret"}
        environment = {**os.environ, "OURS": "of-our-own"}
        command, env = [*python(program), "--token=of-our-own"], {"TOKEN": "t0ken-t0ken"}
        async with worker_of(command, headers=headers, env=env, environment=environment) as worker:
            with pytest.raises(ModelUnavailable) as refused:
                await worker.start()
            assert "ended while it loaded (status 3)" in refused.value.detail
            assert "open" not in refused.value.detail
            assert refused.value.for_operators == "Its log says: open: no such file x.bin, key=…, …, --token=…"
            assert worker.exit_code == 3
            assert not any("t0ken" in line or "of-our-own" in line for line in worker.log)

    asyncio.run(scenario())


@pytest.mark.parametrize("guarded", [True, False])
def test_a_signal_during_the_load_is_told(guarded):
    """The signal is the cause, not the last line, whatever it says."""
    program = "import os; print('error: none', flush=True); os.kill(os.getpid(), 9)"

    async def scenario():
        async with worker_of(python(program), guarded=guarded) as worker:
            with pytest.raises(ModelUnavailable, match="signal 9, SIGKILL") as refused:
                await worker.start()
            assert refused.value.for_operators == "Its log ends with: error: none"

    asyncio.run(scenario())


def test_a_program_that_is_not_there():
    """A command that does not exist fails with its name and the system's reason."""

    async def scenario():
        async with worker_of(["/nowhere/serve"]) as worker:
            with pytest.raises(ModelUnavailable, match="status 127") as refused:
                await worker.start()
            assert "cannot start serve: No such file" in refused.value.for_operators
        async with worker_of(["/nowhere/serve"], guarded=False) as worker:
            with pytest.raises(ModelUnavailable, match="serve cannot be started: No such file"):
                await worker.start()

    asyncio.run(scenario())


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can listen as another user, and only Linux tells"
)
def test_a_port_that_another_user_has_taken_is_no_worker():
    """Whoever listens there is not even asked, so neither the secret nor a prompt reaches it."""

    async def scenario():
        async with worker_of(
            python("import time; time.sleep(60)"), headers={"Authorization": "Bearer secret"}
        ) as worker:
            os.seteuid(54321)
            try:
                thief = socket.create_server(("127.0.0.1", urlsplit(await worker._address).port))
            finally:
                os.seteuid(0)
            with thief:
                thief.setblocking(False)
                with pytest.raises(ModelUnavailable, match="another user"):
                    await worker.start()
                with pytest.raises(BlockingIOError):
                    thief.accept()
            assert worker.state == "exited"

    asyncio.run(scenario())


def test_a_start_that_stands_still():
    """A start without a word in its log for too long is ended, and its process with it."""

    async def scenario():
        limits = StartLimits(stall_s=0.5, total_s=WAIT_S)
        async with worker_of(python("import time; time.sleep(600)"), limits=limits) as worker:
            with pytest.raises(ModelUnavailable, match=r"stood still for 0\.5 s"):
                await worker.start()
            await until(lambda: not group_members(worker.pid))

    asyncio.run(scenario())


def test_words_extend_a_start_but_not_for_ever():
    """Lines of the log keep a start from standing still; the limit for the whole start stays."""
    chatter = python("import time\nwhile True: print('.', flush=True); time.sleep(0.05)")

    async def scenario():
        limits = StartLimits(stall_s=1.0, total_s=WAIT_S)
        async with worker_of(chatter, limits=limits, start_timeout_s=1.5) as worker:
            with pytest.raises(ModelUnavailable, match=r"not ready within 1\.5 s"):
                await worker.start()

    asyncio.run(scenario())


def test_a_cancelled_start_leaves_nothing():
    """Whoever cancels a start finds no process of it afterwards."""

    async def scenario():
        async with worker_of(stub("--ready-after", "600")) as worker:
            start = asyncio.create_task(worker.start())
            await until(lambda: worker.pid is not None)
            start.cancel()
            await asyncio.wait((start,))
            assert start.cancelled()
            assert worker.state == "exited"
            await until(lambda: not group_members(worker.pid))

    asyncio.run(scenario())


def test_a_stop_outlives_a_cancelled_caller():
    """A stop goes on when its caller is cancelled, and a second caller waits for the same stop."""

    async def scenario():
        async with worker_of(stub("--ignore-term")) as worker:
            await worker.start()
            first = asyncio.create_task(worker.stop(grace_s=0.3))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait((first,))
            assert worker.state == "stopping"
            await worker.stop(grace_s=60)
            assert worker.state == "exited"

    asyncio.run(scenario())


def test_workers_see_little_of_the_environment():
    """A worker gets the paths of the gateway's environment, not the keys in it."""
    program = "import json, os, sys; print('E', json.dumps(dict(os.environ))); sys.exit(1)"
    environment = {
        "PATH": os.environ["PATH"],
        "OPENAI_API_KEY": "sk-1",
        "CUDA_VISIBLE_DEVICES": "1",
        "LC_ALL": "C.UTF-8",
    }

    async def scenario():
        async with worker_of(python(program), environment=environment, env={"OWN": "1"}) as worker:
            with pytest.raises(ModelUnavailable):
                await worker.start()
            seen = worker.log[-1]
            assert "sk-1" not in seen
            assert all(name in seen for name in ("PATH", "CUDA_VISIBLE_DEVICES", "LC_ALL", "OWN"))

    asyncio.run(scenario())


def test_an_endless_line_is_cut():
    """Output without an end of line fills no memory, and the log keeps only its last lines."""
    program = (
        "import sys\n"
        "sys.stderr.write('x' * 3_000_000)\n"
        "sys.stderr.write('\\n')\n"
        "for n in range(200): sys.stderr.write(f'line {n}\\n')\n"
        "sys.exit(1)"
    )

    async def scenario():
        async with worker_of(python(program)) as worker:
            with pytest.raises(ModelUnavailable) as refused:
                await worker.start()
            assert refused.value.for_operators == "Its log ends with: line 199"
            assert len(worker.log) == 50

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"ready": "http://10.1.2.3:80"}', "no address on this machine"),
        ('{"error": "it is broken"}', "it is broken"),
        ('{"ready": 1}', "no address on this machine"),
        ("{nonsense", "no address on this machine"),
    ],
)
def test_announcements_are_checked(line, reason):
    """A worker that announces an error, or an address elsewhere, does not become ready."""

    async def scenario():
        program = f"import sys; print({line!r}, flush=True); sys.exit(1)"
        async with worker_of(python(program), address="announced") as worker:
            with pytest.raises(ModelUnavailable) as refused:
                await worker.start()
            assert reason in refused.value.for_operators

    asyncio.run(scenario())


def test_the_guard_goes_when_its_input_ends(tmp_path):
    """Where the kernel sends no signal at a parent's death, the end of the guard's input does the same."""
    pids = tmp_path / "pids"
    command = [sys.executable, str(STUB), "--port", str(free_port()), "--ignore-term", "--pid-file", str(pids)]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        family = asyncio.run(pids_in(pids))
        process.stdin.close()
        assert process.wait(WAIT_S) == -signal.SIGKILL
    asyncio.run(until(lambda: not any(is_running(pid) for pid in family)))


def test_the_guard_starts_nothing_for_a_gateway_that_is_gone(tmp_path):
    """A guard whose parent is not the gateway any more ends before it starts the command."""
    file = tmp_path / "started"
    command = python(f"open({str(file)!r}, 'w')")
    done = subprocess.run(
        [sys.executable, "-I", "-S", guard.__file__, "1", *command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == guard.EXIT_NOT_STARTED
    assert not file.exists()
