"""A config that changes while the gateway runs: under load, with generations that began before, at the wrong moment."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from needs import Needs

import pluggably
from e2e.harness import ADMIN_KEY, Client, Gateway, eventually, process_lives, start_gateway, write_config
from e2e.protocol import Json, StreamEvent, check_stream
from e2e.test_local_models import served_by_fake
from e2e.test_many_streams import memory_bytes
from pluggably.testing.fake_openai import running_fake_openai

SERVER: Json = {"reload_check_s": 0.05}
A_SECOND = 200
AT_ONCE = 100
CHANGES = 50
# How long a file may look the same before it counts (`config/watch.py`).
SETTLE_S = 0.25
TAKEN_S = 20.0


def reloads(client: Client) -> tuple[int, int]:
    """How many changed configs were put into use, and how many were wrong."""
    told = client.get("/metrics").body.decode()

    def count(outcome: str) -> int:
        found = re.search(rf'^pluggably_config_reloads_total{{outcome="{outcome}"}} (\S+)$', told, re.MULTILINE)
        return int(float(found[1])) if found else 0

    return count("applied"), count("wrong")


def problem(client: Client) -> str | None:
    reply = client.get("/readyz")
    assert (reply.status, reply.json()["status"]) == (200, "ready")
    detail: str | None = reply.json().get("detail")
    return detail


@contextmanager
def put_into_use(gateway: Gateway) -> Iterator[None]:
    """What is written in the block is taken, once."""
    applied, wrong = reloads(gateway.client)
    yield
    eventually(lambda: reloads(gateway.client)[0] > applied, TAKEN_S, "the config is taken")
    assert reloads(gateway.client) == (applied + 1, wrong)
    assert problem(gateway.client) is None


def provider(base_url: str, key: str | None = None, **more: object) -> Json:
    return {"codec": "openai", "base_url": base_url, **({"api_key": key} if key else {}), **more}


@contextmanager
def vendor(key: str) -> Iterator[str]:
    """The fake vendor as a process of its own, so that it is as fast under load as one elsewhere; its address."""
    command = [sys.executable, "-m", "pluggably.testing.fake_openai", "--key", key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


# ── under load ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Load:
    """Clients that ask two hundred times a second, or as often as a busy machine lets them: only so many wait at once.
    Each answer is held against what it must be."""

    def __init__(self, url: str) -> None:
        self.done = 0
        self.wrong: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._session: aiohttp.ClientSession

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "some request was never answered"

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        timeout = aiohttp.ClientTimeout(total=45)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as self._session:
            due = time.monotonic()
            tasks: set[asyncio.Task[None]] = set()
            for number in itertools.count():
                if self._stop.is_set():
                    break
                task = asyncio.create_task(self._one(number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                if len(tasks) >= AT_ONCE:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                due = max(due + 1 / A_SECOND, time.monotonic() - 0.5)  # what is missed by more is not made up for
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*tasks)

    async def _one(self, number: int) -> None:
        try:
            if number % 20 == 0:
                await self._get("/v1/models" if number % 40 else "/v1/models/chat")
            elif number % 40 == 9:
                await self._plain("local", 4)
            elif number % 10 in (6, 7):
                await self._stream("talk", 10)
            elif number % 10 == 8:
                await self._stream("steady/slow-20-10", 10)
            else:
                await self._plain("spread" if number % 10 == 5 else "chat", 3)
        except Exception as error:
            self.wrong.append(f"{number}: {error!r}")
        self.done += 1

    async def _get(self, path: str) -> None:
        async with self._session.get(self._url + path) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()

    async def _plain(self, model: str, words: int) -> None:
        async with self._session.post(f"{self._url}/v1/generations", json={"model": model, "input": "Hello"}) as answer:
            assert answer.status == 200, await answer.text()
            said(await answer.json(), words)

    async def _stream(self, model: str, words: int) -> None:
        events, name = [], ""
        body = {"model": model, "input": "Hello", "stream": True}
        async with self._session.post(f"{self._url}/v1/generations", json=body) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                if line.startswith(b"event: "):
                    name = line[7:-1].decode()
                elif line.startswith(b"data: "):
                    events.append(StreamEvent(name, json.loads(line[6:])))
        said(check_stream(events), words)


def said(generation: Json, words: int) -> None:
    """It ended well, at the first target that was tried, and said all that it had to say."""
    assert (generation["status"], generation["attempts"]) == ("completed", []), generation
    assert generation["output"][0]["text"].split() == [f"w{index}" for index in range(words)]


class Changing:
    """A config file, and the ways in which operators change it. Each gives what must come of it."""

    def __init__(self, folder: Path, addresses: list[str], keys: list[str]) -> None:
        self.path = folder / "pluggably.yaml"
        self._addresses, self._keys = addresses, keys
        self._at, self._name, self._version, self._local = 0, "vendor", 0, 0
        self._halves_in_time = True

    def config(self) -> Json:
        name = self._name
        first, second = (f"{name}/", "steady/") if self._version % 2 else ("steady/", f"{name}/")
        return {
            "server": SERVER,
            "demo": False,
            "providers": {
                "steady": provider(self._addresses[0], self._keys[0]),
                name: provider(
                    self._addresses[self._at], self._keys[self._at], headers={"X-Version": str(self._version)}
                ),
            },
            "models": {
                "chat": {"targets": [f"{first}say-3", f"{second}say-3"]},
                "talk": {"targets": [f"{name}/slow-20-10"]},
                "spread": {
                    "choose": "weight",
                    "targets": [
                        {"model": f"{name}/say-3", "weight": 1 + self._version},
                        {"model": "steady/say-3", "weight": 1},
                    ],
                },
                "local": served_by_fake("say-4", slots=8 + self._local, queue=1000),
            },
        }

    def text(self) -> str:
        self._version += 1
        return json.dumps(self.config(), indent=1)

    def _write(self) -> bool:
        self.path.write_text(self.text())
        return True

    def another_address_and_key(self) -> bool:
        self._at = 1 - self._at
        return self._write()

    def another_header_and_order(self) -> bool:
        return self._write()

    def another_name(self) -> bool:
        self._name = f"vendor-{self._version}"
        return self._write()

    def another_local_model(self) -> bool:
        self._local = 1 - self._local
        return self._write()

    def by_rename(self) -> bool:
        new = self.path.with_suffix(".new")
        new.write_text(self.text())
        new.rename(self.path)
        return True

    def gone_for_a_while(self) -> bool:
        self.path.unlink()
        time.sleep(0.3)  # several looks
        return self._write()

    def in_two_halves(self) -> bool:
        text = self.text()
        began = time.monotonic()
        with self.path.open("w") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            time.sleep(0.1)
            file.write(text[len(text) // 2 :])
        self._halves_in_time = time.monotonic() - began < SETTLE_S
        return True

    def no_yaml(self) -> bool:
        self.path.write_text(f"providers: {{ steady: [ # {self._version}")
        self._version += 1
        return False

    def unknown_key(self) -> bool:
        self.path.write_text(json.dumps({**json.loads(self.text()), "provider": {}}))
        return False

    def dead_route(self) -> bool:
        config = json.loads(self.text())
        config["models"]["chat"]["targets"] = ["nobody/say-3"]
        self.path.write_text(json.dumps(config))
        return False

    def all(self) -> Iterator[Callable[[], bool]]:
        rare = itertools.cycle([self.another_local_model, self.gone_for_a_while, self.in_two_halves])
        while True:
            yield self.another_address_and_key
            yield self.no_yaml
            yield self.another_name
            yield self.by_rename
            yield self.unknown_key
            yield self.another_header_and_order
            yield next(rare)
            yield self.dead_route
            yield self.another_name
            yield next(rare)

    @property
    def halves_in_time(self) -> bool:
        """Whether the last file in two halves was written as fast as it was meant to; a busy machine may be slower."""
        return self._halves_in_time


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="without /proc nobody tells how much a process uses")
def test_load_while_the_config_changes(tmp_path: Path) -> None:
    """Two hundred requests a second while the config changes fifty times, some of them wrong: none fails for it, each
    wrong one is told, and nothing is left of the old ones."""
    keys = ["sk-of-the-first", "sk-of-the-second"]
    with vendor(keys[0]) as one, vendor(keys[1]) as two:
        changing = Changing(tmp_path, [one, two], keys)
        with start_gateway(tmp_path, changing.config()) as gateway:
            client, pid = gateway.client, gateway.pid
            client.answer("local")
            applied = wrong = 0
            most_files = 0
            memory = []
            with Load(gateway.url) as load:
                eventually(lambda: load.done >= A_SECOND, 30, "the load has begun")
                for change in itertools.islice(changing.all(), CHANGES):
                    is_good = change()
                    applied, wrong = applied + is_good, wrong + (not is_good)
                    eventually(
                        lambda good=is_good, count=(applied if is_good else wrong): reloads(client)[not good] >= count,
                        TAKEN_S,
                        f"{change.__name__} is seen",
                        pause_s=0.1,
                    )
                    if not changing.halves_in_time:
                        wrong = reloads(client)[1]
                    assert reloads(client) == (applied, wrong), change.__name__
                    told = problem(client)
                    assert told is None if is_good else told is not None and "The config before it is in use." in told
                    most_files = max(most_files, open_files(pid))
                    memory.append(memory_bytes(pid))
            assert load.wrong == [], (len(load.wrong), load.done)
            assert load.done > 10 * A_SECOND
            # Each of the clients that wait at once has a connection, and one to a provider; and some are idle.
            assert most_files < 6 * AT_ONCE
            assert max(memory[-10:]) - max(memory[:10]) < 32 << 20
            eventually(lambda: open_files(pid) < 40, 10, "what the load and the old configs had open is closed")
            assert threads(pid) < 30
            client.answer("local")
            eventually(lambda: len(client.get("/v1/workers").json()["data"]) == 1, 10, "only the last worker is left")
            errors = [line for line in gateway.log_lines() if line["level"] == "error"]
            assert {line["event"] for line in errors} == {"config_wrong"} and len(errors) == wrong
    assert "Traceback" not in gateway.logged()


# ── what began before ───────────────────────────────────────────────────────────────────────────────────────────────


def connections_to(port: int) -> int:
    """How many connections to a port of this machine are open. Source: proc(5), `/proc/net/tcp`; 01 is established."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_a_stream_outlives_its_provider(tmp_path: Path) -> None:
    """A stream that began before its provider was removed comes to its good end; then the connection is closed. Whoever
    asks for the provider after the change hears that there is none."""
    with running_fake_openai() as fake, running_fake_openai() as other:
        config: Json = {
            "server": SERVER,
            "demo": False,
            "providers": {"old": provider(fake.base_url), "kept": provider(other.base_url)},
        }
        with start_gateway(tmp_path, config) as gateway:
            stream = gateway.client.stream("old/slow-100-30")
            stream.next("output.delta")
            del config["providers"]["old"]
            with put_into_use(gateway):
                write_config(tmp_path, config)
            reply = gateway.client.generate("old/say-3")
            assert (reply.status, reply.error["code"]) == (404, "model_not_found")
            assert gateway.client.answer("kept/say-3")["status"] == "completed"
            said(stream.end(), 30)
            if Path("/proc/net/tcp").exists():
                port = int(fake.base_url.rpartition(":")[2].partition("/")[0])
                # Sooner than an idle connection is given up.
                eventually(lambda: connections_to(port) == 0, 2, "the old provider's connection is closed")


def test_a_local_model_that_changes(tmp_path: Path) -> None:
    """A running generation ends well on the worker that it has, the next one is served as the new config says, and the
    old worker ends."""
    config: Json = {"server": SERVER, "demo": False, "models": {"local": served_by_fake("slow-100-30")}}
    with start_gateway(tmp_path, config) as gateway:
        stream = gateway.client.stream("local")
        stream.next("output.delta")
        worker = gateway.worker("local")
        assert worker is not None
        config["models"]["local"] = served_by_fake("say-5")
        with put_into_use(gateway):
            write_config(tmp_path, config)
        said(gateway.client.answer("local"), 5)
        said(stream.end(), 30)
        eventually(lambda: not process_lives(worker["pid"]), 10, "the old worker ends")

        def left() -> list[int]:
            return [one["pid"] for one in gateway.client.get("/v1/workers").json()["data"]]

        eventually(lambda: len(left()) == 1 and worker["pid"] not in left(), 10, "only the new one is listed")


def test_a_registered_model_and_the_file(needs: Needs, tmp_path: Path) -> None:
    """A model that the API registered survives a reload. Where the file defines its id, the file's counts, and the
    registration comes back once the file no longer does."""
    needs.llama_cpp()
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    weights = Path(shutil.copy(Path(pluggably.__file__).parent / "demo" / "demo.gguf", allowed))
    config: Json = {"server": SERVER, "demo": False, "model_folders": ["allowed"]}
    with start_gateway(tmp_path, config) as gateway:
        client = gateway.client
        made = client.post("/v1/models", {"id": "mine", "source": f"file:{weights}"})
        assert made.status == 201, made.body

        def source() -> str:
            return str(client.get("/v1/models/mine").json()["source"])

        with put_into_use(gateway):
            write_config(tmp_path, {**config, "models": {"other": served_by_fake("say-3")}})
        assert source() == "api"
        with put_into_use(gateway):
            write_config(tmp_path, {**config, "models": {"mine": served_by_fake("say-3")}})
        assert source() == "file"
        said(client.answer("mine"), 3)
        assert client.request("DELETE", "/v1/models/mine").status == 409
        assert [line["model"] for line in gateway.log_lines("registration_hidden")] == ["mine"]
        with put_into_use(gateway):
            write_config(tmp_path, config)
        assert source() == "api"
        assert client.request("DELETE", "/v1/models/mine").status == 204


def test_a_rotated_secret(tmp_path: Path) -> None:
    """A secret's file that changes is a change of the config; what it holds is never told."""
    secret = tmp_path / "key"
    secret.write_text("sk-the-first")
    secret.chmod(0o600)
    with running_fake_openai() as fake:
        config: Json = {"server": SERVER, "demo": False, "providers": {"fake": provider(fake.base_url, "file:key")}}
        with start_gateway(tmp_path, config) as gateway:
            for key in ("sk-the-first", "sk-the-second"):
                if secret.read_text() != key:
                    with put_into_use(gateway):
                        secret.write_text(key)
                gateway.client.answer("fake/say-3")
                assert fake.requests[-1].headers["authorization"] == f"Bearer {key}"
            assert "sk-the" not in gateway.logged()


# ── at the wrong moment ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_in_the_middle_of_a_reload(tmp_path: Path) -> None:
    """A reload that hangs on a file holds up neither the requests nor the end of the gateway."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with running_fake_openai() as fake:
        config: Json = {"server": SERVER, "demo": False, "providers": {"fake": provider(fake.base_url)}}
        with start_gateway(tmp_path, config) as gateway:
            stream = gateway.client.stream("fake/slow-100-30")
            stream.next("output.delta")
            config["providers"]["fake"]["api_key"] = "file:pipe"
            write_config(tmp_path, config)

            def opened() -> int | None:
                try:
                    return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                except OSError as error:
                    assert error.errno == errno.ENXIO  # nobody reads yet
                    return None

            writing = eventually(opened, TAKEN_S, "the reload reads the pipe")
            try:
                assert gateway.client.answer("fake/say-3")["status"] == "completed"
                gateway.ask_to_stop()
                said(stream.end(), 30)
                assert gateway.wait(10) == 0
            finally:
                os.close(writing)
            assert "Traceback" not in gateway.logged()
            assert not [line for line in gateway.log_lines() if line["level"] == "error"]


def test_the_end_while_configs_come_in(tmp_path: Path) -> None:
    """A gateway that is told to stop while its config changes all the time ends well."""
    with running_fake_openai() as fake:
        config: Json = {"server": SERVER, "demo": False, "providers": {"fake": provider(fake.base_url)}}
        with start_gateway(tmp_path, config) as gateway:
            gateway.client.answer("fake/say-3")
            for number in itertools.count():
                config["providers"] = {f"fake-{number}": provider(fake.base_url)}
                write_config(tmp_path, config)
                if number == 3:
                    gateway.ask_to_stop()
                if gateway.process.poll() is not None:
                    break
                time.sleep(SETTLE_S + 0.1)
            assert gateway.wait() == 0
            assert not [line for line in gateway.log_lines() if line["level"] == "error"]
    assert "Traceback" not in gateway.logged() and "Unclosed" not in gateway.logged()
