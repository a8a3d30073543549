"""Keys and registered models: made, checked from memory, revoked, kept over restarts."""

from __future__ import annotations

import asyncio
import hmac
import multiprocessing
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from work import lines_run

from pluggably.domain.access import Principal
from pluggably.domain.catalog import LocalModel
from pluggably.errors import Conflict, ModelNotFound, NotFound, StartupError
from pluggably.storage.database import Database, open_database
from pluggably.storage.datadir import open_data_directory
from pluggably.storage.keys import KeyRing, KeyStore, NewKey, keyed_digest
from pluggably.storage.models import ModelStore

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLL_S = 0.01


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


def with_store(path: Path, work: Callable[[KeyStore, Clock], Awaitable[None]]) -> None:
    """Does `work` on the keys of the data directory at `path`."""

    async def working() -> None:
        directory = open_data_directory(path)
        database = open_database(directory)
        clock = Clock()
        try:
            await work(KeyStore(database, directory.pepper, clock), clock)
        finally:
            await database.close()

    asyncio.run(working())


async def eventually(is_so: Callable[[], bool]) -> None:
    """Waits, at most 5 s, until something that another process or task does has happened."""
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(POLL_S / 2)


# ── the store ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_shown_once_and_kept_nowhere(tmp_path: Path) -> None:
    """Neither the token nor its secret part is in any file of the directory."""
    made: list[NewKey] = []

    async def work(store: KeyStore, _: Clock) -> None:
        made.append(await store.create("mine"))

    with_store(tmp_path, work)
    (new,) = made
    assert re.fullmatch(r"plg_[0-9a-f]{32}_[A-Za-z0-9_-]{43}", new.token)
    assert new.key.id == "key_" + new.token.split("_")[1]
    assert new.token not in repr(new)
    secret = new.token.split("_", 2)[2].encode()
    assert [path.name for path in tmp_path.iterdir() if secret in path.read_bytes()] == []


def test_keys_are_listed_and_revoked(tmp_path: Path) -> None:
    """A revoked key stays in the list, with the time; revoking it again changes nothing."""

    async def work(store: KeyStore, clock: Clock) -> None:
        one = await store.create("one", ["metrics"], NOW + timedelta(days=1))
        two = await store.create("two")
        clock.now += timedelta(hours=1)
        revoked = await store.revoke(one.key.id)
        clock.now += timedelta(hours=1)
        assert await store.revoke(one.key.id) == revoked
        assert revoked.revoked_at == NOW + timedelta(hours=1)
        assert await store.list() == [revoked, two.key]
        assert (one.key.scopes, one.key.expires_at) == (["metrics"], NOW + timedelta(days=1))
        assert list((await store.live()).values()) == [two.key]
        with pytest.raises(NotFound):
            await store.revoke("key_nobody")

    with_store(tmp_path, work)


def test_times_keep_their_moment(tmp_path: Path) -> None:
    """An expiry in another zone is the same moment in UTC."""

    async def work(store: KeyStore, _: Clock) -> None:
        there = datetime.fromisoformat("2027-01-01T00:00:00+05:30")
        await store.create("x", expires_at=there)
        (key,) = await store.list()
        assert key.expires_at == there
        assert key.expires_at is not None
        assert key.expires_at.utcoffset() == timedelta(0)

    with_store(tmp_path, work)


def test_the_first_key_is_made_only_where_there_is_none(tmp_path: Path) -> None:
    """Even a revoked key is a sign that somebody has been here."""

    async def work(store: KeyStore, _: Clock) -> None:
        first = await store.create_first()
        assert first is not None
        assert first.key.scopes == ["admin"]
        assert await store.create_first() is None
        await store.revoke(first.key.id)
        assert await store.create_first() is None

    with_store(tmp_path, work)


def _make_first(path: str, barrier: object, results: object) -> None:
    async def working() -> NewKey | None:
        directory = open_data_directory(Path(path))
        barrier.wait()  # type: ignore[attr-defined]
        database = open_database(directory)
        try:
            return await KeyStore(database, directory.pepper).create_first()
        finally:
            await database.close()

    results.put(asyncio.run(working()) is not None)  # type: ignore[attr-defined]


def test_processes_that_start_at_once_make_one_first_key(tmp_path: Path) -> None:
    """Four first starts make one database and one admin key."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_make_first, args=(str(tmp_path), barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    made = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(made) == [False, False, False, True]

    async def work(store: KeyStore, _: Clock) -> None:
        assert len(await store.list()) == 1

    with_store(tmp_path, work)


def test_the_preset_admin_key_follows_its_variable(tmp_path: Path) -> None:
    """Another value replaces it, the same value changes nothing, and without one it is gone."""

    async def work(store: KeyStore, clock: Clock) -> None:
        await store.set_preset_admin("a" * 32)
        (first,) = await store.list()
        assert (first.id, first.scopes) == ("key_admin", ["admin"])
        clock.now += timedelta(hours=1)
        await store.set_preset_admin("a" * 32)
        assert await store.list() == [first]
        await store.set_preset_admin("b" * 32)
        assert list(await store.live()) == [store.digest("b" * 32)]
        await store.revoke("key_admin")
        with capture_logs() as lines:
            await store.set_preset_admin("b" * 32)
        assert [line["event"] for line in lines] == ["admin_key_revoked"]
        assert await store.live() == {}
        await store.set_preset_admin(None)
        assert await store.list() == []

    with_store(tmp_path, work)


@pytest.mark.parametrize("token", ["", "short", "x" * 31, "x" * 513, "ä" * 40, "a b" * 20, "x" * 32 + "\n"])
def test_a_weak_preset_admin_key_is_refused(tmp_path: Path, token: str) -> None:
    """It must be hard to guess, and must pass through a header. The message shows how to make one, and not the key."""

    async def work(store: KeyStore, _: Clock) -> None:
        with pytest.raises(StartupError, match="PLUGGABLY_ADMIN_KEY must have 32") as caught:
            await store.set_preset_admin(token)
        assert len(token) < 30 or token not in str(caught.value)
        assert await store.list() == []

    with_store(tmp_path, work)


@given(st.binary(min_size=32, max_size=32), st.text(max_size=600))
def test_the_digest_is_hmac_sha256(pepper: bytes, token: str) -> None:
    """The faster way gives what the standard library's own function gives."""
    expected = hmac.digest(pepper, token.encode("utf-8", "replace"), "sha256")
    assert keyed_digest(pepper)(token) == expected


# ── the ring ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ring_knows_live_keys_only(tmp_path: Path) -> None:
    """Unknown, altered, expired, revoked and endless tokens are refused."""

    async def work(store: KeyStore, clock: Clock) -> None:
        good = await store.create("good", ["generate"])
        short = await store.create("short", ["admin"], NOW + timedelta(minutes=1))
        gone = await store.create("gone")
        await store.revoke(gone.key.id)
        ring = KeyRing(store, poll_s=POLL_S, clock=clock.seconds)
        await ring.open()
        assert ring.authenticate(good.token) == Principal(good.key.id, "good", frozenset({"generate"}))
        holder = ring.authenticate(short.token)
        assert holder is not None
        assert holder.has("metrics")
        wrong = [gone.token, good.token[:-1], good.token + "x", good.token.lower(), "", "\ud800", "x" * 100_000]
        assert [token for token in wrong if ring.authenticate(token) is not None] == []
        clock.now += timedelta(minutes=1)
        assert ring.authenticate(short.token) is None
        assert ring.authenticate(good.token) is not None
        await ring.close()

    with_store(tmp_path, work)


def test_what_this_process_changes_counts_at_once(tmp_path: Path) -> None:
    """After `refresh` a new key works and a revoked one does not."""

    async def work(store: KeyStore, _: Clock) -> None:
        ring = KeyRing(store, poll_s=3600)
        await ring.open()
        new = await store.create("new")
        assert ring.authenticate(new.token) is None
        await ring.refresh()
        assert ring.authenticate(new.token) is not None
        await store.revoke(new.key.id)
        await ring.refresh()
        assert ring.authenticate(new.token) is None
        await ring.close()

    with_store(tmp_path, work)


def test_what_another_process_changes_counts_soon(tmp_path: Path) -> None:
    """A key that the command line makes or revokes is known after the next look, without a restart."""

    async def work(store: KeyStore, _: Clock) -> None:
        ring = KeyRing(store, poll_s=POLL_S)
        await ring.open()
        directory = open_data_directory(tmp_path)
        elsewhere = open_database(directory)
        other = KeyStore(elsewhere, directory.pepper)
        new = await other.create("new")
        await eventually(lambda: ring.authenticate(new.token) is not None)
        await other.revoke(new.key.id)
        await eventually(lambda: ring.authenticate(new.token) is None)
        await elsewhere.close()
        await ring.close()

    with_store(tmp_path, work)


def test_a_database_that_cannot_be_read_for_a_while_changes_nothing(tmp_path: Path) -> None:
    """Known keys go on working, and the ring follows again once it can."""

    async def work(store: KeyStore, _: Clock) -> None:
        good = await store.create("good")
        ring = KeyRing(store, poll_s=POLL_S)
        await ring.open()
        with closing(sqlite3.connect(tmp_path / "pluggably.db")) as connection:
            connection.execute("ALTER TABLE api_keys RENAME TO away")
            connection.commit()
            with capture_logs() as lines:
                await eventually(lambda: [line["event"] for line in lines].count("keys_not_read") > 1)
            assert ring.authenticate(good.token) is not None
            connection.execute("ALTER TABLE away RENAME TO api_keys")
            connection.execute("UPDATE api_keys SET revoked_at = '2026-01-01 00:00:00.000000'")
            connection.commit()
        await eventually(lambda: ring.authenticate(good.token) is None)
        await ring.close()

    with_store(tmp_path, work)


def test_a_granted_token_lives_in_memory_only(tmp_path: Path) -> None:
    """The command line's own key survives every refresh, and is in no list."""

    async def work(store: KeyStore, _: Clock) -> None:
        ring = KeyRing(store, poll_s=POLL_S)
        await ring.open()
        principal = Principal("key_local", "local", frozenset({"admin"}))
        token = ring.grant(principal)
        await ring.refresh()
        assert ring.authenticate(token) == principal
        assert await store.list() == []
        await ring.close()

    with_store(tmp_path, work)


def test_a_ring_that_cannot_load_says_so(tmp_path: Path) -> None:
    """A broken database is an error of the start, not an empty ring."""

    async def work(store: KeyStore, _: Clock) -> None:
        with closing(sqlite3.connect(tmp_path / "pluggably.db")) as connection:
            connection.execute("DROP TABLE api_keys")
            connection.commit()
        with pytest.raises(StartupError, match="no such table"):
            await KeyRing(store).open()

    with_store(tmp_path, work)


def test_checking_a_key_asks_no_table(tmp_path: Path) -> None:
    """What a check needs is in memory, so that it may come before everything else."""

    async def work(store: KeyStore, _: Clock) -> None:
        new = await store.create("x")
        ring = KeyRing(store)
        await ring.open()
        with closing(sqlite3.connect(tmp_path / "pluggably.db")) as connection:
            connection.execute("DROP TABLE api_keys")
            connection.commit()
        assert ring.authenticate(new.token).id == new.key.id
        assert lines_run(lambda: ring.authenticate(new.token)) < 100
        await ring.close()

    with_store(tmp_path, work)


# ── registered models ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_registered_models_are_kept(tmp_path: Path) -> None:
    """They come back as they were, in the order of their registration, from another process too."""
    one = LocalModel(id="team/one:v1", runner="llama.cpp", weights="/m/1.gguf", source="api", options={"threads": 4})
    two = LocalModel(id="a-two", runner="llama.cpp", source="api", keep_alive_s=1.5)

    async def work(database: Database) -> None:
        store = ModelStore(database)
        await store.add(one)
        await store.add(two)
        with pytest.raises(Conflict):
            await store.add(LocalModel(id="team/one:v1", runner="other"))

    async def work_later(database: Database) -> None:
        store = ModelStore(database)
        assert await store.list() == [one, two]
        await store.remove(one.id)
        assert await store.list() == [two]
        with pytest.raises(ModelNotFound):
            await store.remove(one.id)

    for part in (work, work_later):
        _with_database(tmp_path, part)


def _with_database(path: Path, work: Callable[[Database], Awaitable[None]]) -> None:
    async def working() -> None:
        database = open_database(open_data_directory(path))
        try:
            await work(database)
        finally:
            await database.close()

    asyncio.run(working())
