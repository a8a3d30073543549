"""One worker's life: spawned, watched until it is ready, and ended with everything it started.

The only importer of asyncio's subprocess machinery. Which worker runs when is `runners.pool`'s. What surprises: a
worker must be spawned from the event loop's thread, because the kernel's parent-death signal is bound to the thread
that spawned; it leads a session of its own, so that its whole process group can be ended; and after its exit the
group is killed once more, for what it left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec
import structlog

from pluggably.errors import ModelUnavailable, PluggablyError
from pluggably.net.http import HttpClient, Patience
from pluggably.runners import guard, listeners
from pluggably.runners.runner import Launch

WorkerState: TypeAlias = Literal["starting", "ready", "stopping", "exited"]

LOG_LINES = 50
LOG_LINE_BYTES = 4096
STOP_GRACE_S = 3.0
SECRET_LENGTH = 6
# How long the last lines may take to come after an exit: a grandchild that left the group may hold the pipes open.
LAST_LINES_S = 1.0
PROBE_PATIENCE = Patience(first_event_s=5.0, idle_s=5.0, total_s=5.0)
FIRST_PROBE_WAIT_S = 0.02
LONGEST_PROBE_WAIT_S = 0.25

# What of the gateway's environment a worker gets: where programs and libraries are, and how the GPU is set up. Not
# the rest: it holds the keys of providers.
_INHERITED = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|TEMP|TMP|XDG_.*|VIRTUAL_ENV|PYTHONHOME|PYTHONPATH"
    r"|PYTHONUSERBASE|SSL_CERT_.*|LD_LIBRARY_PATH|DYLD_.*|CUDA_.*|NVIDIA_.*|HIP_.*|ROCR_.*|HSA_.*|GPU_.*|ZE_.*"
    r"|ONEAPI_.*|VK_.*|GGML_.*|OMP_.*|MKL_.*|OPENBLAS_.*)$"
)
# A line of llama.cpp's log at the level of an error: `0.00.019.123 E llama_model_load: error …`. Others say it so.
_ERROR_LINE = re.compile(r"^(?:[\d.:T+Z-]+ )?E (?P<text>.*)|.*(?i:error|fatal|panic|exception).*")

log = structlog.get_logger(__name__)


class StartLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a start may take, in seconds: `stall_s` without a line of its log, `total_s` in all."""

    stall_s: float = 300.0
    total_s: float = 1800.0


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of the gateway's environment that a worker may see."""
    return {name: value for name, value in environment.items() if _INHERITED.match(name)}


def free_port() -> int:
    """A loopback port that nobody listens on. Another process may take it before the worker does: then that start
    fails, and the next one gets another. Where it is another user's, `_is_its_own` sees that."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Worker:
    """One running process of a runner. `on_exit` is called once, when it is gone with its group."""

    def __init__(
        self,
        launch: Launch,
        port: int,
        *,
        environment: Mapping[str, str],
        http: HttpClient,
        limits: StartLimits,
        on_exit: Callable[[Worker], None],
    ) -> None:
        self.launch = launch
        self.state: WorkerState = "starting"
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.pid: int | None = None
        self.exit_code: int | None = None
        self._environment = {**inherited(environment), **launch.env}
        self._secrets = _secrets(launch, environment)
        self._http = http
        self._limits = limits
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._address: asyncio.Future[str] = self._loop.create_future()
        if launch.address == "chosen":
            self._address.set_result(f"http://127.0.0.1:{port}")
        self._announced_error: str | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._has_exited = False
        self._last_activity = self._loop.time()

    async def start(self) -> str:
        """Returns the worker's address when it is ready. If it raises, or is cancelled, the worker is gone.

        Raises: ModelUnavailable, for operators with the cause as the worker's log tells it."""
        limits = self._limits
        if self.launch.start_timeout_s is not None:
            limits = msgspec.structs.replace(limits, total_s=self.launch.start_timeout_s)
        try:
            await self._spawn()
            url = await self._become_ready(limits)
            if self._has_exited:
                raise self._ended_early()
        except BaseException:
            await self.stop(grace_s=0)
            raise
        self.state = "ready"
        return url

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ends the worker and its whole group: asks, waits, kills. Returns when it is gone, also for a second caller;
        a caller that is cancelled leaves it going on."""
        if self._transport is None:
            self.state = "exited"
            return
        if self._stopping is None:
            self._stopping = self._loop.create_task(self._stop(grace_s))
        await asyncio.shield(self._stopping)

    async def exited(self) -> None:
        await asyncio.shield(self._exited)

    def how_it_ended(self) -> str:
        """The status or the signal, in words."""
        return exit_words(self.exit_code, is_guarded=self.launch.guarded)

    def last_words(self) -> str | None:
        """What its log says of its end, in a sentence without paths. It is for operators alone: from the first request
        on it may quote one.

        The cause is the first error, which those after it only wrap. One that a signal ended could not tell the cause,
        and a line that is no error tells none."""
        errors = [found for line in self.log if (found := _ERROR_LINE.match(line))]
        if errors and signal_of(self.exit_code, is_guarded=self.launch.guarded) is None:
            return f"Its log says: {_without_paths(errors[0]['text'] or errors[0][0])}"
        if self._announced_error is not None:
            return f"It says: {self._announced_error}"
        return f"Its log ends with: {_without_paths(self.log[-1])}" if self.log else None

    # ── the start ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _spawn(self) -> None:
        command = list(self.launch.command)
        if self.launch.guarded:
            command = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command]
        try:
            await self._loop.subprocess_exec(
                lambda: _Streams(self),
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            raise ModelUnavailable(f"{Path(command[0]).name} cannot be started: {error.strerror}.") from error

    async def _become_ready(self, limits: StartLimits) -> str:
        end = self._loop.time() + limits.total_s
        probe = self._loop.create_task(self._probe())
        try:
            while not probe.done():
                now = self._loop.time()
                stall_end = self._last_activity + limits.stall_s
                if now >= end:
                    raise ModelUnavailable(
                        f"The model was not ready within {limits.total_s:g} s.", for_operators=self.last_words()
                    )
                if now >= stall_end:
                    raise ModelUnavailable(
                        f"The model's start stood still for {limits.stall_s:g} s.", for_operators=self.last_words()
                    )
                await asyncio.wait(
                    (probe, self._exited),
                    timeout=min(end, stall_end) - now,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._exited.done():
                    raise self._ended_early()
            return probe.result()
        finally:
            probe.cancel()
            await asyncio.wait((probe,))

    def _ended_early(self) -> ModelUnavailable:
        return ModelUnavailable(
            f"The model's process ended while it loaded ({self.how_it_ended()}). The gateway's log has more.",
            for_operators=self.last_words(),
        )

    async def _probe(self) -> str:
        """Asks until the worker answers that it is ready; returns its address."""
        url = await self._address
        wait_s = FIRST_PROBE_WAIT_S
        while not await self._answers(url + self.launch.ready_path):
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, LONGEST_PROBE_WAIT_S)
        return url

    async def _answers(self, url: str) -> bool:
        """Raises: ModelUnavailable where another user's process has taken the worker's port."""
        # Nobody who may be a stranger is told the secret.
        headers = self.launch.headers if self._is_its_own(url) else {}
        try:
            answer = await self._http.send("GET", url, headers, b"", PROBE_PATIENCE)
        except PluggablyError:
            return False
        answer.close()
        # It may have been taken since.
        return answer.status == 200 and (self._is_its_own(url) or not headers)

    def _is_its_own(self, url: str) -> bool:
        """Whether somebody listens there, and no stranger; also where the system does not tell. Nobody is seen where
        the system leads a port elsewhere, which only root can tell it to.

        Raises: ModelUnavailable where a stranger listens."""
        users = listeners.listening_users(urlsplit(url).port or 0)
        if users and self.pid is not None and listeners.has_stranger(users, self.pid):
            raise ModelUnavailable("A process of another user has taken the port of the model's process. Try again.")
        return users is None or bool(users)

    def spawned(self, transport: asyncio.SubprocessTransport) -> None:
        self._transport = transport
        self.pid = transport.get_pid()
        if self.launch.settings:
            stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
            stdin.write(self.launch.settings)

    # ── what it says ────────────────────────────────────────────────────────────────────────────────────────────────

    def heard(self, line: str, is_output: bool) -> None:
        """A line of its standard output or error."""
        self._last_activity = self._loop.time()
        if is_output and self.launch.address == "announced" and line.startswith("{"):
            self._take_announcement(line)
        elif line:
            self.log.append(self._masked(line))

    def _masked(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, "…")
        return line

    def _take_announcement(self, line: str) -> None:
        if self._address.done():
            return
        try:
            said: Any = msgspec.json.decode(line)
        except msgspec.DecodeError:
            said = {}
        url, error = said.get("ready"), said.get("error")
        if isinstance(error, str):
            self._announced_error = self._masked(error)
        elif isinstance(url, str) and urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
            self._address.set_result(url)
        else:
            self._announced_error = "The worker announced no address on this machine."

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stop(self, grace_s: float) -> None:
        if not self._exited.done():
            self.state = "stopping"
            if grace_s > 0:
                self._ask_to_end()
                await asyncio.wait((self._exited,), timeout=grace_s)
            if not self._exited.done():
                self._kill_group()
        await asyncio.shield(self._exited)

    def _ask_to_end(self) -> None:
        """The guard passes the signal on; to send it to the group as well would send it twice, which for
        llama-server means "at once"."""
        if self.pid is not None:
            send = os.kill if self.launch.guarded else os.killpg
            with contextlib.suppress(ProcessLookupError):
                send(self.pid, signal.SIGTERM)

    def _kill_group(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter, of a group of zombies
                os.killpg(self.pid, signal.SIGKILL)

    def process_exited(self) -> None:
        self.exit_code = None if self._transport is None else self._transport.get_returncode()
        self._has_exited = True
        self._kill_group()
        self._loop.call_later(LAST_LINES_S, self.finished)

    def finished(self) -> None:
        """It has exited, and all it said has come."""
        if self._exited.done() or not self._has_exited:
            return
        self.state = "exited"
        if self._transport is not None:
            self._transport.close()
        self._exited.set_result(None)
        self._on_exit(self)


class _Streams(asyncio.SubprocessProtocol):
    """Cuts what comes into lines, and tells the worker when all is over. A protocol rather than streams: no task a
    pipe, and the exit is told when it happens, not when the last pipe closes."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._rests = {1: b"", 2: b""}
        self._open = {1, 2}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._worker.spawned(cast("asyncio.SubprocessTransport", transport))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._rests[fd] + data).split(b"\n")
        for line in lines:
            self._tell(fd, line)
        if len(rest) > LOG_LINE_BYTES:
            self._tell(fd, rest)
            rest = b""
        self._rests[fd] = rest

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        if fd in self._open:
            self._open.discard(fd)
            if self._rests[fd]:
                self._tell(fd, self._rests[fd])
            self._finish_if_over()

    def process_exited(self) -> None:
        self._worker.process_exited()
        self._finish_if_over()

    def _tell(self, fd: int, line: bytes) -> None:
        self._worker.heard(line[:LOG_LINE_BYTES].decode("utf-8", "replace").rstrip(), is_output=fd == 1)

    def _finish_if_over(self) -> None:
        if not self._open:
            self._worker.finished()


def exit_words(code: int | None, *, is_guarded: bool) -> str:
    """How a process ended: `status 3`, or `signal 9, SIGKILL`."""
    number = signal_of(code, is_guarded=is_guarded)
    if number is None:
        return "status unknown" if code is None else f"status {code}"
    hint = ", as when memory runs out" if number == signal.SIGKILL else ""
    return f"signal {number.value}, {number.name}{hint}"


def signal_of(code: int | None, *, is_guarded: bool) -> signal.Signals | None:
    """The signal that ended a process; the guard tells its command's as shells do, as 128 and its number."""
    number = 0 if code is None else -code if code < 0 else code - 128 if is_guarded else 0
    try:
        return signal.Signals(number)
    except ValueError:
        return None


def _secrets(launch: Launch, environment: Mapping[str, str]) -> list[str]:
    """What a worker may know and must not print into our log: the last word of each header (`Bearer <secret>`), the
    values of its own variables, and what its command has from variables of ours that it does not get. What is shorter
    than SECRET_LENGTH hides nothing, and would be masked in every other word."""
    found = {value.rpartition(" ")[2] for value in launch.headers.values()} | set(launch.env.values())
    found |= {
        value
        for name, value in environment.items()
        if len(value) >= SECRET_LENGTH and not _INHERITED.match(name) and any(value in word for word in launch.command)
    }
    # The longest first, or a part of one that holds another would be left.
    return sorted((value for value in found if len(value) >= SECRET_LENGTH), key=len, reverse=True)


def _without_paths(line: str) -> str:
    """Collapses blanks too: llama.cpp aligns its names with them."""
    return " ".join(re.sub(r"(?<![\w/:])/(?:[^\s/'\"]+/)+(?=[^\s/'\"])", "", line).split())
