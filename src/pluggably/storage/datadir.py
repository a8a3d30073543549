"""The data directory: its lock, its pepper, and where the database stands.

One gateway process owns a data directory: it holds `gateway.lock` for as long as it lives. The operating
system frees that lock when the process ends, however it ends, so a lock is never stale and nothing needs to
be deleted by hand. The command line opens the same directory without that lock.

Whoever can write the directory can make itself an admin key. So one that somebody else can write is refused, rather
than taken as it is.

What surprises: a lock belongs to the open file, and a forked child that keeps the file open keeps the lock.
Child processes must be started by `exec` (as `subprocess` does), which closes it."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from pluggably.errors import StartupError

PEPPER_BYTES = 32
SETUP_WAIT_S = 15.0
LOCK = "gateway.lock"
PEPPER = "pepper"
LOCAL_CREDENTIAL = "local.json"
ADMIN_KEY = "admin-key"


class DirectoryLock:
    """The sign that this process owns the directory. Held until `release`, or until the process ends."""

    def __init__(self, file_descriptor: int) -> None:
        self._file_descriptor = file_descriptor

    def release(self) -> None:
        if self._file_descriptor >= 0:
            os.ftruncate(self._file_descriptor, 0)
            os.close(self._file_descriptor)
            self._file_descriptor = -1


class LocalCredential(Struct, frozen=True):
    """How a process of the same owner reaches the gateway that runs now: its address, and a key for this
    start."""

    url: str
    key: str


class DataDirectory:
    """An opened data directory. `pepper` is the secret without which the stored key hashes say nothing."""

    def __init__(self, path: Path, pepper: bytes) -> None:
        self.path = path
        self.pepper = pepper

    @property
    def database(self) -> Path:
        return self.path / "pluggably.db"

    @property
    def cache(self) -> Path:
        """A folder for what can be fetched again; it may be missing, and may be deleted at any time."""
        return self.path / "cache"

    def lock(self) -> DirectoryLock:
        """Makes this process the directory's owner.

        Raises: StartupError, naming the process that owns it."""
        path = self.path / LOCK
        with _told(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise StartupError(
                    f"Another gateway (process {owner}) uses the data directory {self.path}. Stop it, or give this "
                    "one a directory of its own with --data-dir or PLUGGABLY_DATA_DIR."
                ) from None
            except OSError:
                os.close(descriptor)
                raise
            # After the lock, so that it is always the owner's own id that stands here.
            os.ftruncate(descriptor, os.pwrite(descriptor, b"%d\n" % os.getpid(), 0))
        return DirectoryLock(descriptor)

    @contextmanager
    def setting_up(self, wait_s: float = SETUP_WAIT_S) -> Iterator[None]:
        """Alone in the directory for a short work: making the pepper, or changing the database's schema.

        Raises: StartupError where another process does not finish within `wait_s` seconds."""
        with _exclusive(self.path / "setup.lock", wait_s):
            yield

    @property
    def local_credential(self) -> Path:
        """Where a running gateway tells its owner's other processes its address and a key for this start."""
        return self.path / LOCAL_CREDENTIAL

    def write_private(self, path: Path, content: bytes) -> None:
        """As the function of this name. Raises: StartupError."""
        write_private(path, content)


def open_data_directory(path: Path) -> DataDirectory:
    """Opens the directory, and makes what is missing. Safe to call from several processes at once.

    Raises: StartupError."""
    path = path.absolute()
    with _told(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise StartupError(_refused(path))
    directory = DataDirectory(path, b"")
    _check_writers(directory)
    with directory.setting_up():
        directory.pepper = _pepper(directory)
    return directory


def is_data_directory(path: Path) -> bool:
    """Whether keys are kept there. What may not be looked at is told when it is opened."""
    try:
        return DataDirectory(path, b"").database.exists()
    except PermissionError:
        return True


def read_local_credential(path: Path) -> LocalCredential | None:
    """What the gateway that owns the data directory at `path` wrote there. It may have died since."""
    try:
        return msgspec.json.decode((path / LOCAL_CREDENTIAL).read_bytes(), type=LocalCredential)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def lock_owner(path: Path) -> int | None:
    """The id of the live process that owns the data directory at `path`, as far as can be told from outside."""
    try:
        owner = int((path / LOCK).read_text("ascii"))
        os.kill(owner, 0)
    except PermissionError:
        return owner
    except (OSError, ValueError, OverflowError):
        return None
    return owner


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read, whole or not at all. Raises: StartupError."""
    with _told(path):
        _write_whole(path, content)


def _check_writers(directory: DataDirectory) -> None:
    """Raises: StartupError where somebody else can write the directory, the pepper or the database.

    Root may take a directory of another user's, as with `sudo` and in containers: its owner is the administrator. All
    of it must then be that one's."""
    owners = {0, os.geteuid()}
    for path in (directory.path, directory.path / PEPPER, directory.database):
        with _told(path):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
        if path == directory.path and os.geteuid() == 0:
            owners.add(status.st_uid)
        if status.st_uid not in owners:
            raise StartupError(
                f"{path} belongs to the user id {status.st_uid}, who could make an admin key of this gateway, and this "
                f"process runs as {os.geteuid()}. Run it as that user, give the directory and its files to this one "
                "(chown), or choose another data directory with --data-dir or PLUGGABLY_DATA_DIR."
            )
        others = "everybody" if status.st_mode & stat.S_IWOTH else None
        if others is None and status.st_mode & stat.S_IWGRP and not _is_ours_alone(status.st_gid, owners):
            others = f"the group id {status.st_gid}"
        if others is not None:
            raise StartupError(
                f"{path} can be written by {others}, who could make an admin key of this gateway. Take that away: "
                f"`chmod go-w {path}`. Where that changes nothing, the file system has no such rights: choose another "
                "data directory with --data-dir or PLUGGABLY_DATA_DIR, in a container a volume."
            )


def _is_ours_alone(group: int, owners: set[int]) -> bool:
    """Whether nobody else is known to be in a group: many systems give each user one, and orchestrators give a volume
    one that no user has."""
    try:
        members = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(group).gr_mem}
    except KeyError:  # the group has no name here, or a member is no user
        members = set()
    return members | {user.pw_uid for user in pwd.getpwall() if user.pw_gid == group} <= owners


def _pepper(directory: DataDirectory) -> bytes:
    path = directory.path / PEPPER
    with _told(path):
        if not path.exists():
            if directory.database.exists():
                raise StartupError(
                    f"{path} is gone, and without it no key in {directory.database} can be checked. Restore it from "
                    "a backup. Without one, move the database away: the gateway then starts anew, without the old "
                    "keys and registered models."
                )
            _write_whole(path, secrets.token_bytes(PEPPER_BYTES))
        pepper = path.read_bytes()
    if len(pepper) != PEPPER_BYTES:
        raise StartupError(f"{path} is damaged: it must have {PEPPER_BYTES} bytes. Restore it from a backup.")
    return pepper


def _write_whole(path: Path, content: bytes) -> None:
    """Writes beside the file and renames, so that a reader or a crash sees the old file or the whole new
    one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


@contextmanager
def _exclusive(path: Path, wait_s: float) -> Iterator[None]:
    with _told(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while not _try_lock(descriptor, path):
            if time.monotonic() > deadline:
                raise StartupError(f"Another process is setting up {path.parent}, and does not finish. Try again.")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, path: Path) -> bool:
    with _told(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tells an operating system's error in the operator's terms. Raises: StartupError."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise StartupError(
            f"{path} cannot be made: a file stands where a directory is wanted. Choose another data directory with "
            "--data-dir or PLUGGABLY_DATA_DIR."
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StartupError(f"The disk is full: {path} cannot be written. Free some space.") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StartupError(_refused(path)) from None
        if error.errno in (errno.ENOLCK, errno.ENOTSUP):
            raise StartupError(
                f"The file system of {path} knows no locks. Keep the data directory on a local disk."
            ) from None
        raise StartupError(f"{path} cannot be used: {error.strerror}.") from None


def _refused(path: Path) -> str:
    place, owner = _nearest(path)
    return (
        f"{place} cannot be written: it is read-only, or it belongs to the user id {owner}, and this process runs as "
        f"{os.geteuid()}. Make it writable for this process, or choose another data directory with --data-dir or "
        "PLUGGABLY_DATA_DIR."
    )


def _nearest(path: Path) -> tuple[Path, int]:
    """The path itself, or else the folder above it that can be seen, and its owner."""
    for place in (path, *path.parents):
        with suppress(OSError):
            return place, place.stat().st_uid
    return path, os.geteuid()
