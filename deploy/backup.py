"""Writes a backup of the data directory to standard output, as a tar archive, while the gateway runs or not.

    python deploy/backup.py [FOLDER] > pluggably-backup.tar

FOLDER is the data directory; without it, PLUGGABLY_DATA_DIR. In the archive: the database, as one consistent copy that
SQLite makes through memory, and the pepper. docs/update-and-backup.md says how to restore it. It imports nothing of the
gateway, so that any Python runs it, inside a container or beside one.
"""

import io
import os
import sqlite3
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path


def main() -> None:
    named = sys.argv[1] if len(sys.argv) == 2 else os.environ.get("PLUGGABLY_DATA_DIR")
    if not named or sys.stdout.isatty():
        sys.exit("Usage: python deploy/backup.py FOLDER > pluggably-backup.tar")
    folder = Path(named)
    try:
        # All of it before the first byte is written: half an archive looks like a backup.
        files = {"pluggably.db": database(folder / "pluggably.db"), "pepper": (folder / "pepper").read_bytes()}
    except (OSError, sqlite3.Error) as error:
        sys.exit(f"{folder} cannot be backed up: {error}")
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, time.time()
            archive.addfile(entry, io.BytesIO(content))


def database(path: Path) -> bytes:
    """A copy of a database, as the bytes of its file. Raises: sqlite3.Error."""
    there = f"{path.absolute().as_uri()}?mode=rw"  # "rw" makes none where there is none
    with closing(sqlite3.connect(there, uri=True)) as source, closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        return copy.serialize()


if __name__ == "__main__":
    main()
