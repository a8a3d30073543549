"""What alembic runs: every missing revision in one transaction on the database that it is handed.

What surprises: alembic executes this file; it is never imported.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import context

from pluggably.storage.database import metadata


def migrate(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)

    # The driver must not begin by itself: it would leave the schema's changes outside of the transaction.
    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: object, _entry: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True, render_as_batch=True)
        context.run_migrations()


migrate(context.config.attributes["path"])
