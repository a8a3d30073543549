"""Alembic's scripts: how an older database becomes one of today. Run by `storage.database`, never by hand."""
