"""Models that were registered through the API, so that they are there again after a restart.

The document of a model is its `LocalModel`. Models of the config file are never kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
import sqlalchemy as sa

from pluggably.domain.catalog import LocalModel
from pluggably.errors import Conflict, ModelNotFound
from pluggably.storage.database import Database, models
from pluggably.storage.keys import utc_now


class ModelStore:
    """The registered models in the database."""

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    async def add(self, model: LocalModel) -> None:
        """Raises: Conflict where the id is taken."""
        row = {"id": model.id, "document": msgspec.to_builtins(model), "created_at": self._now()}
        async with self._database.write() as connection:
            taken = await connection.execute(sa.select(models.c.id).where(models.c.id == model.id))
            if taken.first() is not None:
                raise Conflict(f"There is a model {model.id!r} already.", pointer="/id")
            await connection.execute(sa.insert(models).values(row))

    async def remove(self, model_id: str) -> None:
        """Raises: ModelNotFound."""
        async with self._database.write() as connection:
            removed = await connection.execute(sa.delete(models).where(models.c.id == model_id))
            if removed.rowcount == 0:
                raise ModelNotFound("No registered model has this id.")

    async def list(self) -> list[LocalModel]:
        """The oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(models).order_by(models.c.created_at, models.c.id))
            return [msgspec.convert(row.document, LocalModel) for row in rows]
