"""deploy/backup.py: what it writes is enough to start again, and half of it is never written."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from pluggably.storage.database import open_database
from pluggably.storage.datadir import open_data_directory
from pluggably.storage.keys import KeyStore

SCRIPT = Path(__file__).parents[2] / "deploy" / "backup.py"


def backup(folder: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", str(SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, env={"PATH": os.environ["PATH"]})


async def names_of(folder: Path) -> list[str]:
    directory = open_data_directory(folder)
    database = open_database(directory)
    try:
        return [key.name for key in await KeyStore(database, directory.pepper).list()]
    finally:
        await database.close()


def test_a_backup_of_a_directory_in_use_can_be_restored(tmp_path: Path) -> None:
    """What was written a moment ago, and stands in SQLite's log alone, is in the copy; the pepper is the same."""

    async def scenario() -> subprocess.CompletedProcess[bytes]:
        directory = open_data_directory(tmp_path / "data")
        database = open_database(directory)
        try:
            store = KeyStore(database, directory.pepper)
            await store.create("of a friend", ["generate"], None)
            assert (tmp_path / "data" / "pluggably.db-wal").stat().st_size > 0
            return await asyncio.to_thread(backup, tmp_path / "data")
        finally:
            await database.close()

    done = asyncio.run(scenario())
    assert (done.returncode, done.stderr) == (0, b"")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert {entry.name: entry.mode for entry in archive} == {"pluggably.db": 0o600, "pepper": 0o600}
        (tmp_path / "restored").mkdir()
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            (tmp_path / "restored" / entry.name).write_bytes(content.read())
    assert (tmp_path / "restored" / "pepper").read_bytes() == (tmp_path / "data" / "pepper").read_bytes()
    assert asyncio.run(names_of(tmp_path / "restored")) == ["of a friend"]


def test_a_folder_without_a_database_is_told(tmp_path: Path) -> None:
    """Nothing is written that looks like a backup, and nothing is made in the folder."""
    done = backup(tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"cannot be backed up: unable to open database file" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_its_pepper_is_told(tmp_path: Path) -> None:
    """A database without its pepper could not be used again."""
    asyncio.run(names_of(tmp_path / "data"))
    (tmp_path / "data" / "pepper").unlink()
    done = backup(tmp_path / "data")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"pepper" in done.stderr
