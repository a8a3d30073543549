"""What we keep: the data directory with its lock and its pepper, and the database with keys and registered
models.

The only importer of SQLAlchemy. Nothing here is on the request path: keys are checked from memory
(`keys.KeyRing`)."""
