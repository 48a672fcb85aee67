"""What only a folder can get wrong: writers killed half-way, permissions, files in the way of folders."""

import errno
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError
from wsss_jobs.storage.uris import open_store

SIZE = 4 << 20


def _write_for_ever(store):
    while True:
        for letter in (b"a", b"b"):
            store.put("folder/object", letter * SIZE)


def test_a_reader_never_sees_half_an_object_while_writers_are_killed(tmp_path):
    store = LocalStore(tmp_path)
    whole = {b"a" * SIZE, b"b" * SIZE}
    for delay_s in (0.02, 0.05, 0.08, 0.11):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(store,))
        writer.start()
        while not store.exists("folder/object"):
            time.sleep(0.001)
        deadline = time.monotonic() + delay_s
        while time.monotonic() < deadline:
            assert store.get("folder/object") in whole
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert store.get("folder/object") in whole
        assert [info.key for info in store.list()] == ["folder/object"], "what the killed writer left is not listed"


def _touch_and_delete(store, number):
    for _ in range(300):
        store.put(f"shared/{number}", b"x")
        store.delete([f"shared/{number}"])


def test_folders_that_vanish_under_a_writer_are_made_again(tmp_path):
    store = LocalStore(tmp_path)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_touch_and_delete, args=(store, number)) for number in range(2)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert list(tmp_path.iterdir()) == []


def test_files_have_the_mode_that_the_umask_gives(tmp_path):
    previous = os.umask(0o022)
    try:
        store = LocalStore(tmp_path)
        store.put("a", b"x")
        store.put_if_absent("b", b"x")
    finally:
        os.umask(previous)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o644, 0o644]


def test_a_file_in_the_way_of_a_folder_is_a_storage_error(tmp_path):
    store = LocalStore(tmp_path)
    store.put("a", b"x")
    for write in (store.put, store.put_if_absent):
        with pytest.raises(StorageError, match="in each other's way"):
            write("a/b", b"x")
    with pytest.raises(ObjectNotFoundError):
        store.get("a/b")
    assert list(store.list("a/")) == []
    store.delete(["a/b"])
    store.put("c/d", b"x")
    with pytest.raises(StorageError, match="in each other's way"):
        store.put("c", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_said_so(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(AccessDeniedError, match="permission denied"):
        LocalStore(tmp_path).put("locked/a", b"x")


def test_a_name_that_the_file_system_cannot_hold_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        LocalStore(tmp_path).put("x" * 300, b"x")


FULL_DISK = """
import pathlib, sys
from wsss_jobs.errors import StorageError
from wsss_jobs.storage.local_store import LocalStore
folder, spare = map(pathlib.Path, sys.argv[1:])
store = LocalStore(folder)
store.put("kept", b"k" * 300_000)
spare.write_bytes(b"s" * 900_000)
writes = {
    "put": lambda: store.put("kept", b"n" * 900_000),
    "put_if_absent": lambda: store.put_if_absent("new/a", b"n" * 900_000),
    "upload": lambda: store.upload(spare, "new/b"),
    "download": lambda: LocalStore(spare.parent).download(spare.name, folder / "new" / "c"),
}
for name, write in writes.items():
    try:
        write()
    except StorageError as error:
        print(name, error)
assert store.get("kept") == b"k" * 300_000
assert [path for path in folder.rglob("*") if path.is_file()] == [folder / "kept"], list(folder.rglob("*"))
store.put("small", b"there is room for this")
"""


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_written(tmp_path):
    """On a real file system of 1 MiB, mounted in a name space of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, folder]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {getattr(error, 'stderr', error)}")
    program = [sys.executable, "-c", FULL_DISK, folder, tmp_path / "spare"]
    done = subprocess.run([*command, *program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["put", "put_if_absent", "upload", "download"]
    assert all("No space left on device); free space or raise the quota" in line for line in lines)


def test_a_write_that_the_system_cuts_off_leaves_nothing(tmp_path, monkeypatch):
    """Quotas and network file systems may say no as late as at the flush."""
    store = LocalStore(tmp_path)
    store.put("a", b"old")

    def refuse(_descriptor):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", refuse)
    for write in (store.put, store.put_if_absent):
        with pytest.raises(StorageError, match=r"quota exceeded.*nothing half-written"):
            write("b" if write == store.put_if_absent else "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_file_and_folders_are_flushed_before_a_write_is_reported(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd)))
    LocalStore(tmp_path).put("new/folder/object", b"x")
    assert synced[:2] == [str(tmp_path), str(tmp_path / "new")], "the entries of the new folders"
    assert ".tmp-" in synced[2], "the bytes, before they get their name"
    assert synced[3:] == [str(tmp_path / "new/folder")], "the name"


def test_put_if_absent_without_hard_links(tmp_path, monkeypatch):
    def no_links(self, target):
        raise OSError("no hard links here")

    monkeypatch.setattr("pathlib.Path.hardlink_to", no_links)
    store = LocalStore(tmp_path)
    assert store.put_if_absent("a", b"1") is True
    assert store.put_if_absent("a", b"2") is False
    assert store.get("a") == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_broken_links_and_foreign_names_do_not_stop_a_listing(tmp_path):
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / os.fsdecode(b"latin-\xff")).write_bytes(b"x")
    (tmp_path / "new\nline").write_bytes(b"y")
    store = open_store(tmp_path)
    keys = [info.key for info in store.list()]
    assert keys == ["latin-\udcff", "new\nline"]
    assert [store.get(key) for key in keys] == [b"x", b"y"]


def test_relative_paths_and_file_addresses_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store("run #1").put("a", b"x")
    assert open_store("run #1").uri == str(tmp_path / "run #1")
    assert open_store((tmp_path / "run #1").as_uri()).get("a") == b"x"
