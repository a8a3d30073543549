"""The database: made, migrated, refused; and what it does under two writers."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pluggably.errors import GatewayError, InsufficientStorage, Overloaded, StartupError
from pluggably.storage import database as module
from pluggably.storage.database import REVISIONS, api_keys, metadata, migrate, models, open_database
from pluggably.storage.datadir import DataDirectory, open_data_directory
from pluggably.storage.keys import KeyStore

SCHEMA = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    return open_data_directory(tmp_path / "data")


def run_sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
        return rows


def open_and_close(directory: DataDirectory) -> None:
    async def opened() -> None:
        database = open_database(directory)
        await database.check()
        await database.close()

    asyncio.run(opened())


def test_a_new_database_is_private_and_ready(directory: DataDirectory) -> None:
    """It has today's schema, is in WAL mode, and only its owner may read it."""
    open_and_close(directory)
    assert stat.S_IMODE(directory.database.stat().st_mode) == 0o600
    assert run_sql(directory.database, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]
    assert run_sql(directory.database, "PRAGMA journal_mode") == [("wal",)]


def test_the_migrations_lead_to_the_same_schema(directory: DataDirectory, tmp_path: Path) -> None:
    """A database that was migrated all the way is the one that is made at once today."""
    migrated = tmp_path / "migrated.db"
    migrate(migrated)
    engine = sa.create_engine(f"sqlite:///{migrated}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)
    engine.dispose()
    assert differences == []
    open_and_close(directory)
    assert _unspaced(run_sql(migrated, SCHEMA)) == _unspaced(run_sql(directory.database, SCHEMA))


def _unspaced(schema: list[tuple[object, ...]]) -> list[str]:
    return [re.sub(r"\s", "", f"{name}: {sql}") for name, sql in schema]


def test_the_revisions_are_those_of_the_scripts() -> None:
    """The list that a start compares with, without alembic, is the one that alembic would find."""
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).with_name("migrations")))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_a_start_with_a_current_schema_does_not_import_alembic(directory: DataDirectory) -> None:
    """Its import costs more than the rest of the room; neither a first nor a later start pays for it."""
    program = """
import asyncio, sys
from pathlib import Path
from pluggably.storage.database import open_database
from pluggably.storage.datadir import open_data_directory
async def main():
    database = open_database(open_data_directory(Path(sys.argv[1])))
    await database.check()
    await database.close()
asyncio.run(main())
print([name for name in sys.modules if name.partition(".")[0] in ("alembic", "mako")])
"""
    for _ in range(2):
        command = [sys.executable, "-c", program, str(directory.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "[]\n"


def test_an_older_database_is_copied_and_migrated(tmp_path: Path) -> None:
    """The copy beside it is what it was before."""
    directory = open_data_directory(tmp_path)
    run_sql(directory.database, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    run_sql(directory.database, "CREATE TABLE old (id TEXT)", "INSERT INTO old VALUES ('kept')")
    copy = module.back_up(directory.database, "0000")
    migrate(directory.database)
    open_and_close(directory)
    assert run_sql(copy, "SELECT * FROM old") == [("kept",)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert run_sql(copy, "SELECT count(*) FROM sqlite_master WHERE name = 'models'") == [(0,)]
    assert run_sql(directory.database, "SELECT * FROM old") == [("kept",)]
    assert run_sql(directory.database, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_keys_from_before_there_were_locations(directory: DataDirectory) -> None:
    """They stay valid and may use models anywhere, as they could; a copy of the database as it was is kept."""

    async def made() -> str:
        database = open_database(directory)
        try:
            return (await KeyStore(database, directory.pepper).create("old", ["generate"])).token
        finally:
            await database.close()

    async def read() -> list[object]:
        database = open_database(directory)
        try:
            keys = KeyStore(database, directory.pepper)
            new = await keys.create("new", ["generate"], None, "local")
            assert new.key.location == "local"
            assert keys.digest(token) in await keys.live()
            return [(key.name, key.location) for key in await keys.list()]
        finally:
            await database.close()

    token = asyncio.run(made())
    old = "UPDATE alembic_version SET version_num = '0001'"
    run_sql(directory.database, "ALTER TABLE api_keys DROP COLUMN location", old)
    assert sorted(asyncio.run(read()), key=str) == [("new", "local"), ("old", None)]
    assert run_sql(directory.database, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """A revision is a transaction: half of one is never left behind."""
    path = tmp_path / "x.db"
    run_sql(path, "CREATE TABLE models (id TEXT)")
    with pytest.raises(sa.exc.OperationalError, match="models already exists"):
        migrate(path)
    assert run_sql(path, "SELECT name FROM sqlite_master") == [("models",)]


def test_a_newer_database_is_refused(directory: DataDirectory) -> None:
    """An older version does not touch what it does not understand."""
    open_and_close(directory)
    run_sql(directory.database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartupError, match=r"newer version of Pluggably.*'9999'"):
        open_database(directory)
    assert run_sql(directory.database, "SELECT version_num FROM alembic_version") == [("9999",)]


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 2000])
def test_what_is_no_database_is_refused(directory: DataDirectory, content: bytes) -> None:
    """It is named, with the two ways out, and left as it is."""
    directory.database.write_bytes(content)
    with pytest.raises(StartupError, match="no database, or is damaged"):
        open_database(directory)
    assert directory.database.read_bytes() == content


def test_a_database_that_is_a_folder_is_told(directory: DataDirectory) -> None:
    """Whatever SQLite says is told as an error of the start."""
    directory.database.mkdir()
    with pytest.raises(StartupError, match="cannot be opened"):
        open_database(directory)


def test_writers_wait_for_each_other(directory: DataDirectory) -> None:
    """Of many writers at once, none fails and no write is lost: each has the lock from its first statement on."""

    async def write_many() -> int:
        first, second = open_database(directory), open_database(directory)

        async def write(number: int) -> None:
            async with (first if number % 2 else second).write() as connection:
                count = (await connection.execute(sa.select(sa.func.count()).select_from(models))).scalar_one()
                row = {"id": f"{count}", "document": {}, "created_at": module.datetime.now(module.UTC)}
                await connection.execute(sa.insert(models).values(row))

        await asyncio.gather(*(write(number) for number in range(20)))
        async with first.read() as connection:
            total: int = (await connection.execute(sa.select(sa.func.count()).select_from(models))).scalar_one()
        await first.close()
        await second.close()
        return total

    assert asyncio.run(write_many()) == 20


def test_a_write_that_fails_is_taken_back(directory: DataDirectory) -> None:
    """What was written before an error in the same block is not kept."""

    async def fail() -> list[object]:
        database = open_database(directory)
        with pytest.raises(RuntimeError):
            async with database.write() as connection:
                row = {"id": "x", "document": {}, "created_at": module.datetime.now(module.UTC)}
                await connection.execute(sa.insert(models).values(row))
                raise RuntimeError
        async with database.read() as connection:
            rows = list(await connection.execute(sa.select(models)))
        await database.close()
        return rows

    assert asyncio.run(fail()) == []


def test_a_full_database_is_told_in_the_words_of_the_api(directory: DataDirectory) -> None:
    """A disk without room answers 507, and the database goes on."""

    async def fill() -> None:
        database = open_database(directory)
        with pytest.raises(InsufficientStorage):
            async with database.write() as connection:
                await connection.exec_driver_sql("PRAGMA max_page_count=1")
                row = {"id": "x", "document": {"a": "b" * 100_000}, "created_at": module.datetime.now(module.UTC)}
                await connection.execute(sa.insert(models).values(row))
        await database.check()
        await database.close()

    asyncio.run(fill())


def test_a_writer_that_waits_too_long_is_told_to_come_back(directory: DataDirectory) -> None:
    """Another process holds the write lock for longer than a writer waits."""

    async def wait() -> None:
        database = open_database(directory, busy_timeout_s=0.05)
        with closing(sqlite3.connect(directory.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Overloaded):
                async with database.write():
                    pass
        async with database.write():
            pass
        await database.close()

    asyncio.run(wait())


def test_a_read_only_database_is_told(directory: DataDirectory) -> None:
    """A write fails with an error of the house, and reading goes on."""

    async def write() -> None:
        database = open_database(directory)
        with pytest.raises(GatewayError, match="read-only"):
            async with database.write() as connection:
                await connection.exec_driver_sql("PRAGMA query_only=ON")
                await connection.execute(sa.delete(models))
        await database.check()
        await database.close()

    asyncio.run(write())


def test_a_database_that_went_away_is_told(directory: DataDirectory) -> None:
    """A check of readiness says so, in an error of the house."""

    async def check() -> None:
        database = open_database(directory)
        run_sql(directory.database, f"DROP TABLE {api_keys.name}")
        with pytest.raises(GatewayError):
            await database.check()
        await database.close()

    asyncio.run(check())
