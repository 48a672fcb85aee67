"""What every object store promises: on a folder, on moto's server process and on an OpenStack Swift process."""

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_keys import object_key
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.uris import open_store, read_uri

ODD_NAMES = [
    "plain", "with space", " leading and trailing ", "a#b", "a%b", "a%20b", "a+b", "a&b=c;d", "ünïcode",
    "日本語/写真 1",
    "e\u0301 and \u00e9", "../../etc/passwd", "/etc/passwd", "a//b", "a/", "./a", "..", ".", ".hidden", ".tmp-x",
    "tab\there", "new\nline", "nul\0byte", "bell\x07", "\x85\xa0", "back\\slash", "c:\\x", "what?*", "'quotes\"",
    "~", "%empty", "\udcff", "\ufffe\uffff", "\U0001f600", "x" * 300, "ü" * 200, "d/" * 400 + "x",
    "a.png/b", "a.png", "a",
]  # fmt: skip


def test_get_returns_what_put_wrote(store):
    store.put("a/b.bin", b"\x00\xffdata")
    assert store.get("a/b.bin") == b"\x00\xffdata"


def test_put_replaces(store):
    store.put("a", b"old")
    store.put("a", b"")
    assert store.get("a") == b""


def test_a_missing_object_is_said_to_be_missing(store):
    for key in ("a", "a/b/c"):
        with pytest.raises(ObjectNotFoundError, match=key):
            store.get(key)
        assert not store.exists(key)


def test_a_folder_is_no_object(store):
    store.put("a/b", b"x")
    assert not store.exists("a")
    with pytest.raises(ObjectNotFoundError):
        store.get("a")


def test_put_if_absent_writes_once(store):
    assert store.put_if_absent("deep/a", b"first") is True
    assert store.put_if_absent("deep/a", b"second") is False
    assert store.get("deep/a") == b"first"


def test_put_if_absent_by_many_threads_leaves_one_writers_bytes(store):
    written = []
    barrier = threading.Barrier(8)

    def race(number):
        barrier.wait()
        if store.put_if_absent("a", str(number).encode() * 1000):
            written.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(written) >= 1
    assert store.get("a") in {str(number).encode() * 1000 for number in written}


def test_list_is_sorted_by_whole_key_and_bounded_by_prefix(store):
    keys = ["a-b", "a.txt", "a/b", "a/b/c", "a0", "ab", "b/é", "b/z", "\U0001f600", "\uffee"]
    keys.remove("a/b")  # a folder cannot also be a file
    for key in reversed(keys):
        store.put(key, key.encode())
    assert [info.key for info in store.list()] == sorted(keys)
    assert [info.key for info in store.list("a")] == ["a-b", "a.txt", "a/b/c", "a0", "ab"]
    assert [info.key for info in store.list("a/")] == ["a/b/c"]
    assert [info.key for info in store.list("b/\u00e9")] == ["b/é"]
    assert list(store.list("nothing/")) == []
    assert {info.key: info.size_bytes for info in store.list("b/")} == {"b/é": 4, "b/z": 3}


def test_list_of_an_empty_store_is_empty(store):
    assert list(store.list()) == []


def test_list_has_more_than_a_page(store, request):
    num_keys = 103 if "swift" in request.node.name else 1003  # tests/swift_process.py has pages of 100
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"many/{number:04d}", b"x"), range(num_keys)))
    assert [info.key for info in store.list("many/")] == [f"many/{number:04d}" for number in range(num_keys)]
    store.delete(info.key for info in store.list("many/"))
    assert list(store.list()) == []


def test_delete_is_silent_about_what_is_missing(store):
    store.put("a/b", b"x")
    store.put("a/c", b"x")
    store.delete(["a/b", "nothing", "a/c/d"])
    store.delete([])
    assert [info.key for info in store.list()] == ["a/c"]


def test_child_is_the_same_store_seen_from_below(store):
    child = store.child("run-1").child("stage/")
    child.put("x", b"1")
    assert store.get("run-1/stage/x") == b"1"
    assert [info.key for info in child.list()] == ["x"]
    assert child.uri == store.uri + "/run-1/stage"


def test_the_uri_opens_the_same_store(store):
    store.put("x y#z", b"1")
    assert open_store(store.uri).get("x y#z") == b"1"
    assert open_store(store.uri + "/").get("x y#z") == b"1"
    assert read_uri(store.uri_of("x y#z")) == b"1"


def test_a_pickled_store_works_in_another_process(store):
    store.put("x", b"from here")
    program = (
        "import pickle, sys; store = pickle.load(sys.stdin.buffer);"
        "store.put('y', store.get('x') + b' and there'); print(store.uri)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(store), capture_output=True, timeout=60, check=True
    )
    assert result.stdout.decode().strip() == store.uri
    assert store.get("y") == b"from here and there"


def test_a_used_store_pickles_and_compares_by_address(store):
    store.put("x", b"1")
    assert pickle.loads(pickle.dumps(store)) == store


def test_any_name_can_be_stored_listed_and_deleted(store):
    keys = {object_key(name) + ".png": name for name in ODD_NAMES}
    assert len(keys) == len(ODD_NAMES)
    for key, name in keys.items():
        store.put(key, name.encode("utf-8", "surrogatepass"))
    assert [info.key for info in store.list()] == sorted(keys)
    for key, name in keys.items():
        assert store.get(key).decode("utf-8", "surrogatepass") == name
        assert store.exists(key)
    store.delete(keys)
    assert list(store.list()) == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", "a\nb", "\x7f", ".tmp-a", "\udcff"]
)
def test_unsafe_keys_are_refused_before_anything_is_written(store, key):
    with pytest.raises(StorageError, match="object key"):
        store.put(key, b"x")
    with pytest.raises(StorageError, match="object key"):
        store.put_if_absent(key, b"x")
    assert list(store.list()) == []


def test_upload_and_download(store, tmp_path):
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(b"abc" * 1000)
    store.upload(source, "checkpoint/model.pt")
    store.download("checkpoint/model.pt", target)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(ObjectNotFoundError):
        store.download("nothing", tmp_path / "never")
    assert not (tmp_path / "never").exists()
    with pytest.raises(ObjectNotFoundError):
        store.upload(tmp_path / "nothing", "x")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["target"]


def test_objects_larger_than_one_part(store, tmp_path):
    data = bytes(range(256)) * (65 * 4096)  # 65 MiB: S3 takes it in parts
    store.put("big", data)
    assert store.get("big") == data
    store.download("big", tmp_path / "big")
    assert (tmp_path / "big").stat().st_size == len(data)


def test_arrow_reads_and_writes_below_the_store(store):
    filesystem, root = store.arrow_filesystem()
    store.put("a/b", b"0123456789")
    with filesystem.open_input_file(f"{root}/a/b") as file:
        assert file.read_at(3, 4) == b"456"
    with filesystem.open_output_stream(f"{root}/a/c") as file:
        file.write(b"by arrow")
    assert store.get("a/c") == b"by arrow"
