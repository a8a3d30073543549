"""The database: its tables, its connections, and its schema's version.

SQLite in WAL mode. A reader takes a plain connection (`read`), a writer one that has the write lock from its
first statement on (`write`: BEGIN IMMEDIATE), since a transaction that turns from reading to writing may fail
at once, whatever the busy timeout.

What surprises: a new database is made from the tables below, without alembic, which takes longer to import
than the rest of a start; an old one is migrated by it. A test holds the two ways to the same schema."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

from pluggably.errors import GatewayError, InsufficientStorage, Overloaded, StartupError
from pluggably.storage.datadir import DataDirectory

# Every revision that this code knows, the oldest first; the last is the one that the tables below have.
REVISIONS = ("0001", "0002")
BUSY_TIMEOUT_S = 5.0

_BEGIN = "pluggably_begin"


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite keeps no zone, so it is taken off going in and put back coming out."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  the interface of SQLAlchemy
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  the interface of SQLAlchemy
        return value.replace(tzinfo=UTC) if value is not None else None


metadata = sa.MetaData()

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("secret_hmac", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    # Where the data of its holder may go; null: anywhere.
    sa.Column("location", sa.String(16)),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)


class Database:
    """The open database of one process. Close it at the end."""

    def __init__(self, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self._engine = create_async_engine(
            f"sqlite+aiosqlite:///{path}",
            connect_args={"timeout": busy_timeout_s},
            # A statement's parameters hold keys' digests and names, and would stand in an error's text.
            hide_parameters=True,
            pool_size=2,
            max_overflow=2,
        )
        sa.event.listen(self._engine.sync_engine, "connect", _prepare)
        sa.event.listen(self._engine.sync_engine, "begin", _begin)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view."""
        async with self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block.

        Raises: InsufficientStorage; Overloaded where another writer takes too long; GatewayError."""
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
                async with connection.begin():
                    yield connection
        except sa.exc.OperationalError as error:
            raise _in_our_words(str(error.orig)) or error from error

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncConnection]:
        """A connection without transactions, for `data_version`."""
        async with self._engine.connect() as connection:
            await connection.execution_options(**{_BEGIN: None})
            yield connection

    async def check(self) -> None:
        """Raises: GatewayError where the database cannot be read."""
        try:
            async with self.read() as connection:
                await connection.execute(sa.select(api_keys.c.id).limit(1))
        except sa.exc.SQLAlchemyError as error:
            raise GatewayError("The database cannot be read.") from error

    async def close(self) -> None:
        await self._engine.dispose()


async def data_version(connection: AsyncConnection) -> int:
    """A number that changes whenever another connection, of this process or another, has committed.

    Source: https://www.sqlite.org/pragma.html#pragma_data_version"""
    row = (await connection.exec_driver_sql("PRAGMA data_version")).one()
    await connection.rollback()
    return int(row[0])


def open_database(directory: DataDirectory, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Opens the database, made or migrated first where needed. A writer waits `busy_timeout_s` for another one.

    Raises: StartupError."""
    try:
        if _revision(directory.database) != REVISIONS[-1]:
            with directory.setting_up():
                _bring_up(directory.database)
    except sqlite3.OperationalError as error:
        raise StartupError(_complaint(directory.database, error)) from None
    except sqlite3.DatabaseError:
        raise StartupError(
            f"{directory.database} is no database, or is damaged. Restore it from a backup, or move it away to start "
            "anew without the old keys and registered models."
        ) from None
    return Database(directory.database, busy_timeout_s)


# ── the schema's version ─────────────────────────────────────────────────────────────────────────────────


def _revision(path: Path) -> str | None:
    """The schema's revision, or None where there is no schema yet."""
    if not path.exists():
        return None
    with closing(_connect(path)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return str(row[0]) if row else None


def _bring_up(path: Path) -> None:
    """Makes or migrates the schema. The caller holds the setup lock."""
    revision = _revision(path)  # again, now that nobody else can change it
    if revision == REVISIONS[-1]:
        return
    if revision is None:
        _create(path)
    elif revision in REVISIONS:
        back_up(path, revision)
        migrate(path)
    else:
        raise StartupError(
            f"{path} was made by a newer version of Pluggably: its schema is {revision[:32]!r}, and this version "
            f"knows up to {REVISIONS[-1]!r}. Install the newer version again, or restore a backup."
        )


def _create(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(f"{path} cannot be made: {error.strerror}.") from None
    os.close(descriptor)  # SQLite gives its other files the mode of this one
    with closing(_connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _schema():
            connection.execute(statement)
        connection.execute("INSERT INTO alembic_version VALUES (?)", (REVISIONS[-1],))
        connection.execute("COMMIT")


def _schema() -> list[str]:
    from sqlalchemy.dialects import sqlite

    dialect = sqlite.dialect()
    tables = [sa.schema.CreateTable(table).compile(dialect=dialect) for table in metadata.sorted_tables]
    # As alembic itself makes it.
    version = (
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    return [*(str(table) for table in tables), version]


def migrate(path: Path) -> None:
    """Brings an older schema up to today's, in one transaction."""
    # Imported only here: it costs 0.3 s and 15 MB, and a start almost never needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["path"] = path
    command.upgrade(config, "head")


def back_up(path: Path, revision: str) -> Path:
    """Makes a copy beside the database, from before its migration; returns its path."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = path.with_name(f"{path.name}.schema-{revision}-{stamp}")
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(_connect(path)) as source, closing(_connect(copy)) as target:
        source.backup(target)
    return copy


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _in_our_words(words: str) -> GatewayError | None:
    """What SQLite says of a write, as clients may see it."""
    if "is full" in words:
        return InsufficientStorage("The disk is full: the database cannot be written.")
    if "is locked" in words:
        return Overloaded("The database is busy with another writer.", retry_after_s=1)
    if "readonly" in words:
        return GatewayError("The database is read-only for the gateway's process.")
    return None


def _complaint(path: Path, error: sqlite3.OperationalError) -> str:
    words = str(error)
    if "full" in words:
        return f"The disk is full: {path} cannot be written. Free some space."
    if "readonly" in words or "unable to open" in words:
        return f"{path} cannot be opened for writing ({words}). Does it belong to the user of this process?"
    return f"{path} cannot be used: {words}."


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────


def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself; `_begin` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    # FULL, the default, and not NORMAL: a revoked key must stay revoked after a power cut, and writes are
    # rare.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    begin = connection.get_execution_options().get(_BEGIN, "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)
