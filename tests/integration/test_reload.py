"""How a gateway follows its config's files where something goes wrong on our side, or just between two steps."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from child_gateway import PROGRAM, running_gateway
from snapshots import snapshot
from structlog.testing import capture_logs

from pluggably.assembly import Assembly
from pluggably.config import Flags, Settings, load_settings
from pluggably.config.watch import aside
from pluggably.errors import StartupError
from pluggably.gateway.health import Health
from pluggably.gateway.prices import Prices
from pluggably.gateway.registry import Registry
from pluggably.gateway.snapshot import Live, Snapshot
from pluggably.net.http import HttpClient
from pluggably.reload import Reload
from pluggably.runners.pool import Pool
from pluggably.telemetry.metrics import Metrics
from pluggably.wire.codecs.openai.codec import OpenAICodec

Again = Callable[[Callable[[], Settings]], Settings]


class Builds:
    """In place of an assembly: a nesting of 13 is a wrong local model, one of 14 a fault of ours."""

    def __init__(self) -> None:
        self.built: list[int] = []

    async def snapshot(self, settings: Settings) -> Snapshot:
        nesting = settings.config.server.max_nesting
        if nesting == 13:
            raise StartupError("A local model is wrong.")
        if nesting == 14:
            raise ZeroDivisionError
        self.built.append(nesting)
        return snapshot()


class Following:
    """A reload that follows one file."""

    def __init__(self, path: Path, again: Again | None = None) -> None:
        self.path = path
        self.write(10)
        settings = load_settings(Flags(config=path), environment={"HOME": "/"}, folder=path.parent)
        if again is not None:
            settings = _loading(settings, again)
        self.builds, self.live, self.metrics = Builds(), Live(snapshot()), Metrics()
        pool: Any = None
        builds: Any = self.builds
        registry = Registry(self.live, pool, pool, [])
        self.reload = Reload(settings, builds, self.live, registry, self.metrics, self._taken)
        self.taken: list[int] = []

    def write(self, nesting: int | str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(f"server: {{reload_check_s: 0.05, max_nesting: {nesting}}}")
        new.rename(self.path)

    def count(self, outcome: str) -> int:
        return int(self.metrics.registry.get_sample_value("pluggably_config_reloads_total", {"outcome": outcome}) or 0)

    @property
    def nesting(self) -> int:
        return self.reload.settings.config.server.max_nesting

    def _taken(self, settings: Settings) -> None:
        self.taken.append(settings.config.server.max_nesting)


def _loading(settings: Settings, again: Again) -> Settings:
    """The same settings, which load again through `again`, as do those that come of it."""
    first = settings.again
    assert first is not None
    return msgspec.structs.replace(settings, again=lambda: _loading(again(first), again))


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


def following(followed: Callable[[], Following], work: Callable[[Following], Awaitable[None]]) -> None:
    async def main() -> None:
        made = followed()
        task = asyncio.create_task(made.reload.follow())
        try:
            await work(made)
        finally:
            task.cancel()
            await asyncio.wait((task,))

    asyncio.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pluggably.yaml"


@pytest.mark.parametrize("wrong", [13, 14, "many"])
def test_what_was_wrong_is_forgotten_once_the_file_is_as_it_was(path: Path, wrong: int | str) -> None:
    """Whatever was wrong with a config, or with us, nothing has changed; the config before it, put back, is well; and
    the next one is taken."""

    async def work(one: Following) -> None:
        before = one.live.current
        one.write(wrong)
        await until(lambda: one.count("wrong") == 1)
        assert one.reload.problem is not None and one.reload.problem.endswith("The config before it is in use.")
        assert (one.nesting, one.live.current, one.taken) == (10, before, [])
        assert one.metrics.registry.get_sample_value("pluggably_config_ok") == 0
        one.write(10)
        await until(lambda: one.reload.problem is None)
        one.write(11)
        await until(lambda: one.nesting == 11)
        assert (one.taken, one.count("applied"), one.count("wrong")) == ([10, 11], 2, 1)
        assert one.metrics.registry.get_sample_value("pluggably_config_ok") == 1

    following(lambda: Following(path), work)


@pytest.mark.parametrize("content", [None, ""], ids=["deleted", "emptied"])
def test_a_file_that_stays_gone_is_told(path: Path, content: str | None) -> None:
    """What stood in it stays in use; the readiness and the metric tell it until the file is back as it was."""

    async def work(made: Following) -> None:
        before = path.read_text()
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        await until(lambda: made.reload.problem is not None)
        assert made.reload.problem == "The config file is gone, empty or unreadable. What stood in it is in use."
        assert made.metrics.registry.get_sample_value("pluggably_config_ok") == 0
        assert made.nesting == 10
        path.write_text(before)
        await until(lambda: made.reload.problem is None)
        assert made.metrics.registry.get_sample_value("pluggably_config_ok") == 1
        assert made.count("applied") == made.count("wrong") == 0

    following(lambda: Following(path), work)


def test_what_needs_a_restart_is_what_runs_otherwise(path: Path) -> None:
    """A key that is as it was at the start needs none, nor does one that the command line overrules."""
    path.write_text("server: {reload_check_s: 0.05}")

    def told(server: str, flags: Flags) -> list[str]:
        async def main() -> list[str]:
            settings = load_settings(flags, environment={"HOME": "/"}, folder=path.parent)
            pool: Any = None
            builds: Any = Builds()
            live = Live(snapshot())
            reload = Reload(settings, builds, live, Registry(live, pool, pool, []), Metrics(), lambda _: None)
            task = asyncio.create_task(reload.follow())
            found = []
            for text in (server, ""):
                with capture_logs() as lines:
                    path.write_text(f"server: {{reload_check_s: 0.05{text}}}")
                    await until(lambda lines=lines: any(line["event"] == "config_taken" for line in lines))
                    found += [str(line["detail"]) for line in lines if line["event"] == "config_needs_restart"]
            task.cancel()
            await asyncio.wait((task,))
            return found

        return asyncio.run(main())

    assert told(", port: 1234", Flags(config=path)) == ["server.port: 8080 → 1234"]
    assert told(", port: 1234", Flags(config=path, port=99)) == []


def test_a_file_that_goes_just_before_it_is_loaded(path: Path) -> None:
    """It is loaded when it is back, although it holds what was seen before."""
    gone: list[bool] = []

    def again(load: Callable[[], Settings]) -> Settings:
        if not gone:
            gone.append(True)
            path.rename(path.with_suffix(".gone"))
        return load()

    async def work(one: Following) -> None:
        one.write(11)
        await until(lambda: one.count("wrong") == 1)
        assert one.nesting == 10
        path.with_suffix(".gone").rename(path)
        await until(lambda: one.nesting == 11)
        assert one.reload.problem is None

    following(lambda: Following(path, again), work)


def test_a_file_that_is_written_just_before_it_is_loaded(path: Path) -> None:
    """What was not seen to settle is not taken: only the next look takes it, and nothing is counted as wrong."""
    written: list[str] = []

    def again(load: Callable[[], Settings]) -> Settings:
        if not written:
            written.append(path.read_text())
            path.write_text("")  # as an editor does before it writes
            try:
                return load()
            finally:
                path.write_text(written[0].replace("11", "12"))
        return load()

    async def work(one: Following) -> None:
        one.write(11)
        await until(lambda: one.nesting == 12)
        assert (one.taken, one.count("applied"), one.count("wrong")) == ([12], 1, 0)

    following(lambda: Following(path, again), work)


def test_what_was_had_in_use_is_closed_behind_a_reload(path: Path) -> None:
    """The snapshot before is closed, once."""
    closed: list[str] = []

    async def close() -> None:
        closed.append("closed")

    async def work(one: Following) -> None:
        one.live.current = snapshot(close=close)
        one.write(11)
        await until(lambda: closed == ["closed"])
        one.write(12)
        await until(lambda: one.nesting == 12)
        assert closed == ["closed"]

    following(lambda: Following(path), work)


def test_reading_in_a_thread_of_its_own() -> None:
    """What the work returns or raises comes back; and work that never ends keeps nobody from ending."""

    async def main() -> None:
        assert await aside(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await aside(lambda: 1 // 0)
        hanging = asyncio.create_task(aside(lambda: time.sleep(60)))
        await asyncio.sleep(0)
        hanging.cancel()
        await asyncio.wait((hanging,))

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 30


# ── what reloads leave behind ───────────────────────────────────────────────────────────────────────────────────────


class NoRegistrations:
    async def list(self) -> list[Any]:
        return []


def test_many_reloads_leave_nothing_open(path: Path, tmp_path: Path) -> None:
    """A provider that is as it was keeps its connections; of those that have changed or gone no client and no task is
    left, also where a reload failed."""

    def clients() -> int:
        gc.collect()
        return sum(type(one) is HttpClient for one in gc.get_objects())

    def settings(number: int) -> Settings:
        other = {"codec": "openai", "base_url": f"http://127.0.0.1:{number}/v1"}
        kept = {"codec": "openai", "base_url": "http://127.0.0.1:9/v1"}
        model = {"runner": "toy", "command": ["sh", "{port}"]} if number % 5 == 0 else {}
        config = {
            "demo": False,
            "providers": {"kept": kept, f"vendor-{number % 3}": other},
            "models": {"m": model} if model else {},
        }
        path.write_text(json.dumps(config))
        return load_settings(Flags(config=path), environment={"HOME": "/"}, folder=path.parent)

    async def main() -> None:
        before = clients()
        http: Any = None
        pool = Pool({}, {"openai": OpenAICodec}, http, environment={})
        registrations: Any = NoRegistrations()
        local: Any = None
        health = Health(time.monotonic)
        assembly = Assembly({"openai": OpenAICodec}, pool, local, registrations, health, Prices(), Metrics(), tmp_path)
        current = await assembly.snapshot(settings(1))
        kept, failed = current.backends["kept"], 0
        for number in range(2, 40):
            try:
                new = await assembly.snapshot(settings(number))
            except StartupError:
                failed += 1
                continue
            old, current = current, new
            await old.retire()
            assert current.backends["kept"] is kept
        del old, new
        assert failed == 7
        assert clients() - before == 3  # two providers', and the one that fetches for clients
        assert len(asyncio.all_tasks()) == 1
        await current.retire()

    asyncio.run(main())


# ── in a whole gateway ──────────────────────────────────────────────────────────────────────────────────────────────

FAULTY = PROGRAM.replace(
    "sys.exit(",
    """
import msgspec


def faulty(settings):
    load = settings.again

    def again():
        new = load()
        if new.config.server.max_nesting == 14:
            raise ZeroDivisionError("a fault of ours")
        return faulty(new)

    return msgspec.structs.replace(settings, again=again)


settings = faulty(settings)
sys.exit(""",
)


def test_a_fault_of_ours_leaves_everything_serving(tmp_path: Path) -> None:
    """It is told in the log with its traceback, in the metrics and in `/readyz`, and the next config is taken."""

    def config(nesting: int) -> str:
        return f"server: {{reload_check_s: 0.05, max_nesting: {nesting}, open_metrics: true}}\ndemo: false"

    with running_gateway(tmp_path, config(10), program=FAULTY) as gateway:

        def wait_for(line: str) -> None:
            deadline = time.monotonic() + 20
            while f"\n{line}\n" not in gateway.ask("GET", "/metrics").body.decode():
                assert time.monotonic() < deadline, line
                time.sleep(0.05)

        (tmp_path / "pluggably.yaml").write_text(config(14))
        wait_for('pluggably_config_reloads_total{outcome="wrong"} 1.0')
        ready = gateway.ask("GET", "/readyz")
        assert (ready.status, ready.json["status"]) == (200, "ready")
        assert "could not be put into use" in ready.json["detail"]
        assert gateway.ask("GET", "/v1/models").status == 200
        [told] = [line for line in gateway.logged() if line["event"] == "config_reload_failed"]
        assert "ZeroDivisionError" in told["exception"]
        (tmp_path / "pluggably.yaml").write_text(config(15))
        wait_for('pluggably_config_reloads_total{outcome="applied"} 1.0')
        assert gateway.ask("GET", "/readyz").json.get("detail") is None
