"""The data directory: one owner, private files, and errors that say what to do."""

from __future__ import annotations

import grp
import multiprocessing
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pluggably.errors import StartupError
from pluggably.storage.datadir import (
    ADMIN_KEY,
    LocalCredential,
    lock_owner,
    open_data_directory,
    read_local_credential,
    write_private,
)

OWNER = """
import sys, time
from pathlib import Path
from pluggably.storage.datadir import open_data_directory
lock = open_data_directory(Path(sys.argv[1])).lock()
print("locked", flush=True)
time.sleep(60)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def start_owner(path: Path) -> subprocess.Popen[str]:
    """Another process that owns the directory."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_everything_in_it_is_private(tmp_path: Path) -> None:
    """The folder, the pepper and the lock can be read by their owner only, whatever the umask."""
    before = os.umask(0)
    try:
        directory = open_data_directory(tmp_path / "a" / "b")
        directory.lock().release()
        write_private(directory.path / ADMIN_KEY, b"k\n")
    finally:
        os.umask(before)
    assert mode(directory.path) == 0o700
    assert {path.name: mode(path) for path in directory.path.iterdir()} == {
        "admin-key": 0o600,
        "gateway.lock": 0o600,
        "pepper": 0o600,
        "setup.lock": 0o600,
    }


def test_the_pepper_stays(tmp_path: Path) -> None:
    """It is made once, of 32 random bytes; another directory has another."""
    first = open_data_directory(tmp_path / "a")
    assert len(first.pepper) == 32
    assert open_data_directory(tmp_path / "a").pepper == first.pepper
    assert open_data_directory(tmp_path / "b").pepper != first.pepper


def test_a_lost_pepper_is_not_made_anew_over_old_keys(tmp_path: Path) -> None:
    """Another pepper would silently end every key; so the operator is asked."""
    directory = open_data_directory(tmp_path)
    directory.database.touch()
    (tmp_path / "pepper").unlink()
    with pytest.raises(StartupError, match="Restore it from"):
        open_data_directory(tmp_path)


def test_a_damaged_pepper_is_told(tmp_path: Path) -> None:
    """A file that was cut short is no pepper."""
    (tmp_path / "pepper").write_bytes(b"short")
    with pytest.raises(StartupError, match="damaged"):
        open_data_directory(tmp_path)


def test_a_second_gateway_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    """The message names the process, and says what to do."""
    owner = start_owner(tmp_path)
    try:
        directory = open_data_directory(tmp_path)
        with pytest.raises(StartupError, match=rf"process {owner.pid}\b.*--data-dir"):
            directory.lock()
        assert lock_owner(tmp_path) == owner.pid
    finally:
        end(owner)


def test_a_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    """After kill -9 the next start just works."""
    owner = start_owner(tmp_path)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    assert lock_owner(tmp_path) is None
    lock = open_data_directory(tmp_path).lock()
    assert lock_owner(tmp_path) == os.getpid()
    lock.release()
    lock.release()
    open_data_directory(tmp_path).lock().release()


def test_a_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A worker that outlives its gateway for a moment must not keep the next gateway from starting."""
    lock = open_data_directory(tmp_path).lock()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.release()
        open_data_directory(tmp_path).lock().release()
        child.kill()


def _open_once(path: str, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    results.put(open_data_directory(Path(path)).pepper)  # type: ignore[attr-defined]


def test_processes_that_open_it_at_once_agree_on_the_pepper(tmp_path: Path) -> None:
    """Four first starts at the same moment make one pepper."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_open_once, args=(str(tmp_path), barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    peppers = {results.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()
    assert len(peppers) == 1


def test_setting_up_waits_for_another_only_so_long(tmp_path: Path) -> None:
    """A process that hangs while it sets up is told about, not waited for forever."""
    directory = open_data_directory(tmp_path)
    with (
        directory.setting_up(),
        pytest.raises(StartupError, match="does not finish"),
        directory.setting_up(wait_s=0.05),
    ):
        pass


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    """A data directory that is a file, or below one."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StartupError, match="a file stands where a directory is wanted"):
            open_data_directory(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The message names the folder, its owner and the two ways out."""
    tmp_path.chmod(0o500)
    try:
        for path in (tmp_path, tmp_path / "below"):
            with pytest.raises(StartupError, match=r"cannot be written.*--data-dir"):
                open_data_directory(path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """No room for the lock's few bytes."""
    directory = open_data_directory(tmp_path)
    (tmp_path / "gateway.lock").symlink_to("/dev/full")
    with pytest.raises(StartupError, match="disk is full"):
        directory.lock()


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    """Nothing is left beside it, and an old content or mode does not survive."""
    path = tmp_path / "x"
    path.write_text("a much longer text")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path), [found.name for found in tmp_path.iterdir()]) == (b"new", 0o600, ["x"])


def test_the_local_credential_is_read_back(tmp_path: Path) -> None:
    """What a gateway writes for its owner's other processes; anything else there is as good as nothing."""
    directory = open_data_directory(tmp_path)
    assert read_local_credential(tmp_path) is None
    directory.write_private(directory.local_credential, b'{"url":"http://x","key":"k"}')
    assert read_local_credential(tmp_path) == LocalCredential("http://x", "k")
    directory.local_credential.write_bytes(b'{"url"')
    assert read_local_credential(tmp_path) is None


@pytest.mark.parametrize("name", ["", "pepper", "pluggably.db"])
def test_what_everybody_can_write_is_refused(tmp_path: Path, name: str) -> None:
    """Whoever writes the directory, or one of the two files that keys are checked with, could make an admin key."""
    directory = open_data_directory(tmp_path / "a")
    directory.database.touch(0o600)
    (directory.path / name).chmod(0o702)
    with pytest.raises(StartupError, match=r"can be written by everybody.*chmod go-w"):
        open_data_directory(tmp_path / "a")
    (directory.path / name).chmod(0o755)
    assert open_data_directory(tmp_path / "a").pepper == directory.pepper


def test_a_group_of_others_may_not_write(tmp_path: Path) -> None:
    """One that has nobody else in it may: many systems give each user such a group."""
    directory = open_data_directory(tmp_path / "a")
    directory.path.chmod(0o770)
    if os.geteuid() == 0:
        unused = next(gid for gid in range(54321, 65000) if not _has_members(gid))
        os.chown(directory.path, -1, unused)
        assert open_data_directory(tmp_path / "a").pepper == directory.pepper
        shared = next(user.pw_gid for user in pwd.getpwall() if user.pw_uid != 0 and user.pw_gid != 0)
        os.chown(directory.path, -1, shared)
        with pytest.raises(StartupError, match=f"can be written by the group id {shared}"):
            open_data_directory(tmp_path / "a")


def _has_members(group: int) -> bool:
    return any(user.pw_gid == group for user in pwd.getpwall()) or any(one.gr_gid == group for one in grp.getgrall())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["pepper", "pluggably.db"])
def test_files_of_a_third_party_are_refused(tmp_path: Path, name: str) -> None:
    """Root may take another user's directory, but all of it must be that user's or its own."""
    directory = open_data_directory(tmp_path / "a")
    directory.database.touch(0o600)
    os.chown(directory.path, 54321, -1)
    assert open_data_directory(tmp_path / "a").pepper == directory.pepper
    os.chown(directory.path / name, 54322, -1)
    with pytest.raises(StartupError, match="belongs to the user id 54322"):
        open_data_directory(tmp_path / "a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_directory_is_refused() -> None:
    """Also where everything in it could be read and written."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        directory = open_data_directory(Path(folder) / "a")
        for path in (*directory.path.iterdir(), directory.path):
            os.chown(path, 54321, 54322)
            path.chmod(0o770)
        os.setegid(54322)
        os.seteuid(54323)
        try:
            with pytest.raises(StartupError, match="belongs to the user id 54321"):
                open_data_directory(directory.path)
        finally:
            os.seteuid(0)
            os.setegid(0)


def test_a_damaged_credential_is_none(tmp_path: Path) -> None:
    """The command line then looks for a gateway elsewhere, and does not break."""
    (tmp_path / "local.json").write_bytes(b'{"url": "\xff"}')
    assert read_local_credential(tmp_path) is None
