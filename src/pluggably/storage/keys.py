"""API keys: made, listed and revoked in the database, and checked from memory.

A key's text (its token) is shown once, when it is made. What is kept is HMAC-SHA256 of it under the data
directory's pepper. A slow password hash would add nothing: the secret in a token has 256 bits.

What surprises: `KeyRing.authenticate` never asks the database. A key that another process makes or revokes
(the command line does) is known here within a second, by a poll that asks SQLite for one number."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from pluggably.domain.access import DEFAULT_SCOPES, ApiKey, Principal, Scope
from pluggably.domain.generation import Location
from pluggably.domain.ids import new_id
from pluggably.errors import NotFound, StartupError
from pluggably.storage.database import Database, api_keys, data_version

POLL_S = 1.0
MAX_TOKEN_LENGTH = 512
PRESET_ADMIN_ID = "key_admin"
_PRESET_TOKEN = re.compile(r"[A-Za-z0-9._~-]{32,512}")

log = structlog.get_logger()


class NewKey(Struct, frozen=True):
    """A key that was just made; `token` is what its holder sends, and is kept nowhere."""

    key: ApiKey
    token: str

    def __repr__(self) -> str:
        return f"NewKey(key={self.key!r}, token=***)"


def utc_now() -> datetime:
    return datetime.now(UTC)


def keyed_digest(pepper: bytes) -> Callable[[str], bytes]:
    """HMAC-SHA256 under `pepper`, of text.

    The pepper is hashed in once, here, and not with every key: 1.0 µs for a token, where `hmac.digest` takes
    3.1 (OpenSSL 3.0 looks the algorithm up each time). Source: RFC 2104."""
    block = pepper.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(token: str) -> bytes:
        first = inner.copy()
        first.update(token.encode("utf-8", "replace"))
        second = outer.copy()
        second.update(first.digest())
        return second.digest()

    return digest


class KeyStore:
    """The keys in the database."""

    def __init__(self, database: Database, pepper: bytes, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._digest = keyed_digest(pepper)
        self._now = now

    async def create(
        self,
        name: str,
        scopes: Sequence[Scope] = DEFAULT_SCOPES,
        expires_at: datetime | None = None,
        location: Location | None = None,
    ) -> NewKey:
        """With a `location`, what its holder sends goes nowhere else."""
        new = self._new(name, scopes, expires_at, location)
        async with self._database.write() as connection:
            await self._insert(connection, new.key, new.token)
        return new

    async def create_first(self, name: str = "admin") -> NewKey | None:
        """An admin key where there is no key at all, else None. Of two processes, one makes it."""
        new = self._new(name, ["admin"], None)
        async with self._database.write() as connection:
            if (await connection.execute(sa.select(sa.exists(sa.select(api_keys.c.id))))).scalar_one():
                return None
            await self._insert(connection, new.key, new.token)
        return new

    async def set_preset_admin(self, token: str | None) -> None:
        """Makes `token`, which the operator chose, the one preset admin key; None takes it away. One that was revoked
        stays so, which is told, since whoever sets the variable expects the key to work.

        Raises: StartupError where it would be too easy to guess, or could not be sent in a header."""
        if token is not None and not _PRESET_TOKEN.fullmatch(token):
            raise StartupError(
                "PLUGGABLY_ADMIN_KEY must have 32 to 512 letters, digits and . _ ~ - only. Make one with: "
                'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        async with self._database.read() as connection:
            kept = (await connection.execute(sa.select(api_keys).where(api_keys.c.id == PRESET_ADMIN_ID))).one_or_none()
        if (kept.secret_hmac if kept is not None else None) == (None if token is None else self.digest(token)):
            if kept is not None and kept.revoked_at is not None:
                detail = "The key in PLUGGABLY_ADMIN_KEY was revoked and is refused; set the variable to another one."
                log.warning("admin_key_revoked", detail=detail)
            return
        key = ApiKey(id=PRESET_ADMIN_ID, name="PLUGGABLY_ADMIN_KEY", scopes=["admin"], created_at=self._now())
        async with self._database.write() as connection:
            await connection.execute(sa.delete(api_keys).where(api_keys.c.id == PRESET_ADMIN_ID))
            if token is not None:
                await self._insert(connection, key, token)

    async def list(self) -> list[ApiKey]:
        """Every key that was ever made, the oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
            return [_key(row) for row in rows]

    async def revoke(self, key_id: str) -> ApiKey:
        """Ends a key; ending it again changes nothing. Raises: NotFound."""
        async with self._database.write() as connection:
            is_live = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
            await connection.execute(sa.update(api_keys).where(is_live).values(revoked_at=self._now()))
            row = (await connection.execute(sa.select(api_keys).where(api_keys.c.id == key_id))).one_or_none()
        if row is None:
            raise NotFound("There is no key with this id.")
        return _key(row)

    async def live(self) -> dict[bytes, ApiKey]:
        """Digest to key, without the revoked ones."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(api_keys).where(api_keys.c.revoked_at.is_(None)))
            return {row.secret_hmac: _key(row) for row in rows}

    def digest(self, token: str) -> bytes:
        return self._digest(token)

    def watch(self) -> Any:
        """A connection for `data_version`, as a context manager."""
        return self._database.watch()

    def _new(
        self, name: str, scopes: Sequence[Scope], expires_at: datetime | None, location: Location | None = None
    ) -> NewKey:
        public_id = new_id("")
        key = ApiKey(
            id=f"key_{public_id}",
            name=name,
            scopes=list(scopes),
            location=location,
            created_at=self._now(),
            expires_at=expires_at,
        )
        return NewKey(key, f"plg_{public_id}_{secrets.token_urlsafe(32)}")

    async def _insert(self, connection: AsyncConnection, key: ApiKey, token: str) -> None:
        row = {
            "id": key.id,
            "name": key.name,
            "scopes": key.scopes,
            "secret_hmac": self.digest(token),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "location": key.location,
        }
        await connection.execute(sa.insert(api_keys).values(row))


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        location=row.location,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


# Who it is, and until when in Unix seconds.
_Entry = tuple[Principal, float]
_NEVER = float("inf")


class KeyRing:
    """The live keys in memory. `open` before use, `close` at the end."""

    def __init__(self, store: KeyStore, *, poll_s: float = POLL_S, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._poll_s = poll_s
        self._clock = clock
        self._digest = store.digest
        self._entries: dict[bytes, _Entry] = {}
        self._granted: dict[bytes, _Entry] = {}
        self._polling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Loads every key, and from now on follows what other processes change. Raises: StartupError."""
        watching = asyncio.Event()
        self._polling = asyncio.create_task(self._poll(watching))
        started = asyncio.create_task(watching.wait())
        await asyncio.wait([self._polling, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._polling.done():
            try:
                await self._polling
            except sa.exc.DBAPIError as error:
                raise StartupError(f"The keys cannot be read from the database: {error.orig}.") from error

    def authenticate(self, token: str) -> Principal | None:
        """The holder of a key, or None: unknown, revoked, expired. No I/O."""
        if len(token) > MAX_TOKEN_LENGTH:
            return None
        entry = self._entries.get(self._digest(token))
        if entry is None or entry[1] <= self._clock():
            return None
        return entry[0]

    def grant(self, principal: Principal) -> str:
        """A token for `principal` that lives in memory only, until this process ends."""
        token = f"plg_local_{secrets.token_urlsafe(32)}"
        self._granted[self._digest(token)] = (principal, _NEVER)
        self._entries = {**self._entries, **self._granted}
        return token

    async def refresh(self) -> None:
        """Reads the keys again; what this process itself changed counts from then on."""
        entries = {}
        for digest, key in (await self._store.live()).items():
            until = key.expires_at.timestamp() if key.expires_at else _NEVER
            entries[digest] = (Principal(key.id, key.name, frozenset(key.scopes), key.location), until)
        self._entries = {**entries, **self._granted}

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    async def _poll(self, watching: asyncio.Event) -> None:
        async with self._store.watch() as connection:
            # The version first: a change between it and the reading is then read twice, never missed.
            seen = await data_version(connection)
            await self.refresh()
            watching.set()
            while True:
                await asyncio.sleep(self._poll_s)
                try:
                    version = await data_version(connection)
                    if version != seen:
                        await self.refresh()
                        seen = version
                except sa.exc.SQLAlchemyError:
                    # Those that are known so far go on.
                    log.warning("keys_not_read", exc_info=True)
