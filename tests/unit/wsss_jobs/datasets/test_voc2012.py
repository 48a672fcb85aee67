import hashlib
import io
import multiprocessing
import socket
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from wsss_jobs.datasets.config import VocConfig
from wsss_jobs.datasets.sources import load_sources
from wsss_jobs.datasets.voc2012 import Archive, download
from wsss_jobs.errors import ConfigError, StorageError

ANNOTATION = b"<annotation><object><name>dog</name></object></annotation>"
FILES = {
    "VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg": b"J" * 3_000_000,
    "VOCdevkit/VOC2012/Annotations/2007_000001.xml": ANNOTATION,
    "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt": b"2007_000001\n",
    "elsewhere/secret": b"not ours",
}


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


CONTENT = tar_of(FILES)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /whole.tar; /breaks.tar breaks off after 1 MB an answer; /no_ranges.tar knows no ranges."""

    def do_GET(self):
        if self.path == "/missing.tar":
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.path != "/no_ranges.tar" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        stop = start + 1_000_000 if self.path == "/breaks.tar" else len(CONTENT)
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *arguments):
        pass


def serve(listening):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()


@pytest.fixture(scope="module")
def server():
    listening = socket.create_server(("127.0.0.1", 0))
    process = multiprocessing.get_context("fork").Process(target=serve, args=(listening,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    process.kill()
    process.join()
    listening.close()


def archive(url, md5=MD5):
    return Archive(url, md5, "VOCdevkit/VOC2012/")


def check(root, returned):
    assert returned == root
    assert (root / "JPEGImages/2007_000001.jpg").read_bytes() == FILES["VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg"]
    assert [(source.source_key, source.labels) for source in load_sources(VocConfig(root=str(root)))] == [
        ("2007_000001", (12,))
    ]
    names = sorted(path.name for path in root.iterdir())
    assert names == ["Annotations", "ImageSets", "JPEGImages", "voc2012.json"]


@pytest.mark.parametrize("name", ["whole", "breaks", "no_ranges"])
def test_fetch_and_unpack(server, tmp_path, name):
    seen = []
    root = tmp_path / "deep" / "VOC2012"
    returned = download(root, archive(f"{server}/{name}.tar"), lambda done, total: seen.append((done, total)))
    check(root, returned)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_finished_set_is_not_fetched_again(server, tmp_path):
    download(tmp_path, archive(f"{server}/whole.tar"))
    check(tmp_path, download(tmp_path, archive("http://127.0.0.1:9/nowhere.tar")))


@pytest.mark.parametrize("num_bytes", [1, 1_234_567, len(CONTENT)])
@pytest.mark.parametrize("name", ["whole", "no_ranges"])
def test_a_part_is_continued(server, tmp_path, name, num_bytes):
    (tmp_path / f"{name}.tar.part").write_bytes(CONTENT[:num_bytes])
    seen = []
    returned = download(tmp_path, archive(f"{server}/{name}.tar"), lambda done, total: seen.append(done))
    check(tmp_path, returned)
    assert name == "no_ranges" or not seen or seen[0] > num_bytes


def test_a_file_put_there_by_hand_is_used(tmp_path):
    (tmp_path / "whole.tar").write_bytes(CONTENT)
    check(tmp_path, download(tmp_path, archive("http://127.0.0.1:9/whole.tar")))


def test_a_wrong_file_is_deleted_and_said_so(server, tmp_path):
    with pytest.raises(StorageError, match="it was deleted, run again to fetch it anew"):
        download(tmp_path, archive(f"{server}/whole.tar", "0" * 32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/voc.tar", "http://no.such.host.invalid/voc.tar"])
def test_without_a_network_the_message_says_what_to_do(tmp_path, url):
    with pytest.raises(StorageError, match=r"cannot be fetched.*put the file at .*voc\.tar by hand"):
        download(tmp_path, archive(url))


def test_a_server_without_the_file_and_other_addresses(server, tmp_path):
    with pytest.raises(StorageError, match="404"):
        download(tmp_path, archive(f"{server}/missing.tar"))
    with pytest.raises(ConfigError, match="not an http"):
        download(tmp_path, archive("file:///etc/passwd"))


def test_an_archive_cannot_write_outside(tmp_path):
    data = tar_of({"VOCdevkit/VOC2012/../../../escaped": b"x"})
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    (root / "x.tar").write_bytes(data)
    with pytest.raises(StorageError, match="segments must not be"):
        download(root, archive("http://127.0.0.1:9/x.tar", hashlib.md5(data).hexdigest()))
    assert not list(tmp_path.rglob("escaped"))
