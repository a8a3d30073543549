"""The suite that every runner passes, built-in or foreign: subclass `RunnerContract` and let pytest collect it.

    class TestMyRunner(RunnerContract):
        def runner(self): return MyRunner()
        def model(self, workdir): return LocalModel(id="m", runner="my", weights=..., slots=1)

It starts real workers through the real pool, codec and transport, and needs a POSIX system, pytest, and nothing of
pytest's plugins. What surprises: the test of a parent's death starts a Python of its own, which loads the subclass
from its file; so that file must be importable by itself, with what it imports on `sys.path`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import structlog

from pluggably.domain.catalog import LocalModel, Target
from pluggably.domain.generation import (
    Completed,
    GenerationRequest,
    ItemDelta,
    Message,
    Progress,
    TextParameters,
)
from pluggably.errors import BackendError, ModelUnavailable
from pluggably.net.http import HttpClient, Patience
from pluggably.runners.pool import Pool, PoolSettings
from pluggably.runners.runner import ServerRunner
from pluggably.wire.codec import Address, Codec
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.endpoint import Endpoint
from pluggably.wire.transport import LeasedBackend

BACKOFF_S = 0.2


class House(NamedTuple):
    """What a test of the suite works with."""

    pool: Pool
    backend: LeasedBackend
    http: HttpClient
    target: Target


class RunnerContract(ABC):
    """Give `runner` and `model`, and override what else is different with yours."""

    codecs: ClassVar[Mapping[str, type[Codec]]] = {"openai": OpenAICodec}
    needs_secret: ClassVar[bool] = True
    """Whether the worker refuses requests without the launch's headers. Say no only where your server cannot."""
    start_s: ClassVar[float] = 60.0
    """How long a start may take on the machine that runs the suite."""
    stop_s: ClassVar[float] = 1.0
    """How soon a slot must be free after a client has gone."""

    @abstractmethod
    def runner(self) -> ServerRunner:
        """The runner under test."""

    @abstractmethod
    def model(self, workdir: Path) -> LocalModel:
        """A model that it can serve, with one slot; files may be put into `workdir`."""

    def request(self) -> GenerationRequest:
        """A short generation."""
        return GenerationRequest(
            model="m",
            modality="text",
            messages=[Message("user", "Hello!")],
            parameters=TextParameters(max_output_tokens=8, temperature=0.0),
        )

    def long_request(self) -> GenerationRequest:
        """A generation that goes on for longer than `stop_s`, if nobody stops it."""
        request = self.request()
        request.parameters = TextParameters(max_output_tokens=100_000, temperature=0.0)
        return request

    # ── the tests ───────────────────────────────────────────────────────────────────────────────────────────────────

    def test_describes_the_model_without_starting_it(self, tmp_path: Path) -> None:
        """A model is described from its options and weights alone."""

        async def scenario(house: House) -> None:
            description = await house.pool.describe(house.target.model)
            assert description.output_modalities
            assert not house.pool.workers()

        self._run(tmp_path, scenario)

    def test_becomes_ready_and_generates(self, tmp_path: Path) -> None:
        """The first request starts a worker, tells progress, and gets text and exactly one end."""

        async def scenario(house: House) -> None:
            events = [event async for batch in self._generate(house, self.request()) for event in batch]
            assert isinstance(events[0], Progress)
            assert any(isinstance(event, ItemDelta) for event in events)
            assert [isinstance(event, Completed) for event in events].count(True) == 1
            assert isinstance(events[-1], Completed)
            (worker,) = house.pool.workers()
            assert (worker.state, worker.slots_in_use) == ("ready", 0)

        self._run(tmp_path, scenario)

    def test_serves_two_in_a_row_with_one_worker(self, tmp_path: Path) -> None:
        """The second request needs no second start."""

        async def scenario(house: House) -> None:
            await self._finish(house)
            (first,) = house.pool.workers()
            await self._finish(house)
            (second,) = house.pool.workers()
            assert first.pid == second.pid

        self._run(tmp_path, scenario)

    def test_a_client_that_leaves_frees_its_slot(self, tmp_path: Path) -> None:
        """When a stream is closed early, the worker's only slot serves the next request within a second."""

        async def scenario(house: House) -> None:
            await self._begin_and(house, self._leave)
            began = time.perf_counter()
            await self._begin_and(house, self._leave)
            assert time.perf_counter() - began < self.stop_s

        self._run(tmp_path, scenario, slots=1)

    def test_a_crash_is_told_and_recovered_from(self, tmp_path: Path) -> None:
        """A killed worker fails the running generation, is told as the model's error, and is replaced: at once the
        first time, then after a wait."""

        async def scenario(house: House) -> None:
            async def kill() -> None:
                os.kill(_pid(house), signal.SIGKILL)

            for _ in range(2):
                with pytest.raises(BackendError):
                    await self._begin_and(house, kill, then_finish=True)
                await _until(lambda: house.pool.standing(house.target.model).status == "error")
                assert "ended" in (house.pool.standing(house.target.model).detail or "")
            with pytest.raises(ModelUnavailable) as refused:
                await self._finish(house)
            assert refused.value.retry_after_s is not None
            await asyncio.sleep(BACKOFF_S)
            await self._finish(house)

        self._run(tmp_path, scenario, slots=1)

    def test_the_secret_is_needed(self, tmp_path: Path) -> None:
        """A request without the headers of the lease is refused, so no other program can use the worker."""
        if not self.needs_secret:
            pytest.skip("this runner's server knows no secret")

        async def scenario(house: House) -> None:
            async with aclosing(house.pool.lease(house.target)) as lease:
                async for step in lease:
                    if isinstance(step, Endpoint):
                        assert await self._status_without_secret(house, step) in (401, 403)

        self._run(tmp_path, scenario)

    def test_the_secret_is_on_no_command_line(self, tmp_path: Path) -> None:
        """Everyone on a machine can read a command line."""

        async def scenario(house: House) -> None:
            async with aclosing(house.pool.lease(house.target)) as lease:
                async for step in lease:
                    if isinstance(step, Endpoint):
                        words = {value.rpartition(" ")[2] for value in step.headers.values()}
                        secrets = {word for word in words if len(word) >= 8}
                        lines = [_command_line(pid) for pid in group_members(_pid(house))]
                        assert not any(secret in line for secret in secrets for line in lines)

        if not Path("/proc/self/cmdline").exists():
            pytest.skip("this system shows no command lines under /proc")
        self._run(tmp_path, scenario)

    def test_stopping_leaves_no_process(self, tmp_path: Path) -> None:
        """After an unload no process of the worker's group is left."""

        async def scenario(house: House) -> None:
            await self._finish(house)
            pid = _pid(house)
            assert group_members(pid)
            await house.pool.unload(house.target.model)
            await _until(lambda: not group_members(pid))
            assert not house.pool.workers()

        self._run(tmp_path, scenario)

    def test_dies_with_its_parent(self, tmp_path: Path) -> None:
        """When the gateway is killed, which cannot be prepared for, every process of the worker goes too."""
        code = "import sys; from pluggably.testing.runners import hold_a_worker; hold_a_worker(*sys.argv[1:])"
        arguments = [inspect.getfile(type(self)), type(self).__qualname__, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=environment
        ) as parent:
            assert parent.stdout is not None
            line = parent.stdout.readline()
            assert line, "the parent did not get its worker ready"
            worker_pid = json.loads(line)
            assert group_members(worker_pid)
            parent.kill()
        asyncio.run(_until(lambda: not group_members(worker_pid)))

    # ── the means ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(
        self, workdir: Path, scenario: Callable[[House], Coroutine[Any, Any, None]], *, slots: int | None = None
    ) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(self.start_s * 2), self.house(workdir) as house:
                if slots is not None:
                    assert house.pool.models()[0].slots == slots, f"the suite needs a model with {slots} slot"
                await scenario(house)

        asyncio.run(bounded())

    @asynccontextmanager
    async def house(self, workdir: Path) -> AsyncGenerator[House, None]:
        """A pool with the runner and its model, and the transport to use it."""
        model = self.model(workdir)
        http = HttpClient(reuses=False)
        pool = Pool(
            {model.runner: self.runner()},
            self.codecs,
            http,
            environment=os.environ,
            settings=PoolSettings(first_backoff_s=BACKOFF_S, progress_every_s=0.1),
        )
        pool.add(model)
        target = Target(backend=model.runner, model=model.id, location="local")
        try:
            yield House(pool, LeasedBackend(pool, http), http, target)
        finally:
            await pool.close(grace_s=0)
            await http.close()

    def _generate(self, house: House, request: GenerationRequest) -> AsyncGenerator[Any, None]:
        patience = Patience(self.start_s, self.start_s, self.start_s)
        return house.backend.generate(request, house.target, patience)

    async def _finish(self, house: House) -> None:
        async with aclosing(self._generate(house, self.request())) as batches:
            async for _ in batches:
                pass

    async def _begin_and(self, house: House, act: Callable[[], Awaitable[None]], *, then_finish: bool = False) -> None:
        """Begins the long generation, acts once its first output has come, and leaves it."""
        async with aclosing(self._generate(house, self.long_request())) as batches:
            async for batch in batches:
                if any(isinstance(event, ItemDelta) for event in batch):
                    await act()
                    break
            if then_finish:
                async for _ in batches:
                    pass

    async def _leave(self) -> None:
        return

    async def _status_without_secret(self, house: House, endpoint: Endpoint) -> int:
        address = Address(base_url=endpoint.base_url, model=endpoint.model, backend=endpoint.backend, stream=True)
        call = endpoint.codec(endpoint.options).begin(self.request(), address).next
        assert call is not None
        patience = Patience(10.0, 10.0, 10.0)
        answer = await house.http.send(call.method, call.url, call.headers, call.body, patience)
        answer.close()
        return answer.status


def hold_a_worker(file: str, name: str, workdir: str) -> None:
    """The program of the parent that is to be killed: loads a model, prints its worker's process id, and waits."""
    # Standard output is for the one line that the test reads.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    spec = importlib.util.spec_from_file_location("contract_under_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    suite = getattr(module, name)()

    async def hold() -> None:
        async with suite.house(Path(workdir)) as house:
            await house.pool.load(house.target.model)
            print(json.dumps(_pid(house)), flush=True)  # noqa: T201  read by the test
            await asyncio.sleep(600)

    asyncio.run(hold())


def group_members(group: int) -> list[int]:
    """The processes of a group that still run. A zombie does not: it waits for its parent to ask how it ended."""
    if not Path("/proc/self/stat").exists():
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return []
        return [group]
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # proc(5): after the name, which may hold anything but ends with the last `)`: state, parent, group.
                state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state not in ("Z", "X"):
                    members.append(int(entry.name))
    return members


def _pid(house: House) -> int:
    (worker,) = house.pool.workers()
    assert worker.pid is not None
    return worker.pid


def _command_line(pid: int) -> str:
    return Path("/proc", str(pid), "cmdline").read_bytes().decode(errors="replace")


async def _until(is_so: Callable[[], object], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110  nothing tells of other processes' ends
            await asyncio.sleep(0.01)
