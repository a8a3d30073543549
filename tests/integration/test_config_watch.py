"""Real files that change under a watch, in the ways in which config files do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pluggably.config import ConfigError, Flags, Settings, load_settings
from pluggably.config.watch import changes, fingerprints


class Watched:
    """A gateway's settings, loaded anew at each change; counts the changes, and the looks without one."""

    def __init__(self, path: Path) -> None:
        self.settings: Settings = load_settings(Flags(config=path), environment={"HOME": "/"}, folder=path.parent)
        self.files = self.settings.files
        self.changes = 0
        self.failures = 0
        self.looks = 0
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        async for seen in changes(lambda: self.files, lambda: 0.01, settle_s=0.02, sleep=self._sleep):
            self.changes += 1
            self.files = {**self.files, **seen}
            try:
                self.settings = self.settings.reload()
                self.files = self.settings.files
            except ConfigError as error:
                self.failures += 1
                self.files = error.files

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._moved:
            await self._moved.wait_for(is_so)

    async def looked(self) -> None:
        """Until the files as they are now have been looked at."""
        target = self.looks + 3
        await self.until(lambda: self.looks >= target)

    async def _sleep(self, seconds: float) -> None:
        async with self._moved:
            self.looks += 1
            self._moved.notify_all()
        await asyncio.sleep(seconds)


def watching(path: Path, work: Callable[[Watched], Awaitable[None]]) -> None:
    async def main() -> None:
        watched = Watched(path)
        task = asyncio.create_task(watched.run())
        try:
            await work(watched)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pluggably.yaml"
    path.write_text("server: {max_nesting: 10}")
    return path


def test_an_editor_that_renames_is_seen(path: Path) -> None:
    """A new file takes the name of the old one, which may be gone for a moment."""

    async def work(watched: Watched) -> None:
        for nesting in (11, 12):
            path.unlink()
            await watched.looked()
            other = path.with_suffix(".new")
            other.write_text(f"server: {{max_nesting: {nesting}}}")
            other.rename(path)
            await watched.until(lambda nesting=nesting: watched.settings.config.server.max_nesting == nesting)
        assert (watched.changes, watched.failures) == (2, 0)

    watching(path, work)


def test_a_file_that_is_emptied_before_it_is_written_is_seen_once(path: Path) -> None:
    """An empty file would be a good config, and take everything away."""

    async def work(watched: Watched) -> None:
        path.write_text("")
        await watched.looked()
        path.write_text("server: {max_nesting: 11}")
        await watched.until(lambda: watched.settings.config.server.max_nesting == 11)
        assert (watched.changes, watched.failures) == (1, 0)

    watching(path, work)


def test_a_touch_is_not_seen(path: Path) -> None:
    """Nor the same content written anew."""

    async def work(watched: Watched) -> None:
        os.utime(path, (1, 1))
        await watched.looked()
        path.write_text(path.read_text())
        await watched.looked()
        assert watched.changes == 0

    watching(path, work)


def test_a_change_that_keeps_time_and_size_is_seen(path: Path) -> None:
    """Some mounts keep times in whole seconds, and some copies keep the time."""

    async def work(watched: Watched) -> None:
        before = path.stat()
        path.write_text("server: {max_nesting: 99}")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        await watched.until(lambda: watched.settings.config.server.max_nesting == 99)

    watching(path, work)


def test_a_mounted_folder_that_is_swapped_is_seen(tmp_path: Path) -> None:
    """Kubernetes keeps the files behind a link, `..data`, and swaps it: config and secret at once."""
    for version in (1, 2):
        folder = tmp_path / f"..{version}"
        folder.mkdir()
        (folder / "pluggably.yaml").write_text(
            "providers: {x: {codec: openai, base_url: 'http://x', api_key: 'file:key'}}\n"
            f"server: {{max_nesting: {10 + version}}}"
        )
        (folder / "key").write_text(f"key-{version}")
        (folder / "key").chmod(0o600)
    (tmp_path / "..data").symlink_to("..1")
    for name in ("pluggably.yaml", "key"):
        (tmp_path / name).symlink_to(f"..data/{name}")

    async def work(watched: Watched) -> None:
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        await watched.until(lambda: watched.changes == 1)
        assert watched.settings.config.server.max_nesting == 12
        key = watched.settings.providers["x"].api_key
        assert key is not None and key.reveal() == "key-2"
        await watched.looked()
        assert watched.changes == 1

    watching(tmp_path / "pluggably.yaml", work)


def test_a_wrong_config_is_tried_once_and_again_when_what_it_lacks_is_there(path: Path) -> None:
    """The old settings stay; the missing file of a secret is waited for, although the config itself is right."""

    async def work(watched: Watched) -> None:
        path.write_text("providers: {x: {codec: openai, base_url: 'http://x', api_key: 'file:late'}}")
        await watched.until(lambda: watched.failures == 1)
        assert watched.settings.config.server.max_nesting == 10
        await watched.looked()
        assert watched.changes == 1
        (path.parent / "late").write_text("sk-late")
        await watched.until(lambda: "x" in watched.settings.providers)
        assert (watched.changes, watched.failures) == (2, 1)

    watching(path, work)


def test_a_pipe_in_place_of_a_file_holds_up_nothing(path: Path) -> None:
    """Reading it would wait for a writer for ever."""
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    assert fingerprints([pipe, path.with_name("gone"), path.parent]) == {
        pipe: None,
        path.with_name("gone"): None,
        path.parent: None,
    }
