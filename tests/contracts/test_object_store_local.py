"""What only a folder can get wrong: writers killed half-way, permissions, files in the way of folders."""

import multiprocessing
import os
import signal
import stat
import time

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
