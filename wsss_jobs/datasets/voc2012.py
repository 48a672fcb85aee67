"""Fetching PASCAL VOC 2012 (training and validation images) from its official place."""

import hashlib
import http.client
import json
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsss_jobs.errors import ConfigError, StorageError
from wsss_jobs.storage.object_store import check_segments

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_ATTEMPTS_WITHOUT_PROGRESS = 4
_MARKER = "voc2012.json"  # written last
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, OSError)


@dataclass(frozen=True, slots=True)
class Archive:
    """A file to fetch.

    Args:
        url: Where it is.
        md5: Of its bytes, as published; it guards against broken transfers, not against forgers.
        folder: The folder inside it that becomes the data set's root.
    """

    url: str
    md5: str
    folder: str


VOC2012 = Archive(
    url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    folder="VOCdevkit/VOC2012/",
)


def download(
    root: str | Path, archive: Archive = VOC2012, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Fetch and unpack VOC 2012 below `root` (2 GB, as much again while it unpacks); the folder, as `dataset.root`.

    What is there already is kept: a finished set is not fetched again, a broken-off file is continued. The archive can
    also be put there by hand. `train_aug` needs the masks of SBD, which are not part of VOC and not fetched.

    Args:
        root: A local folder.
        archive: What to fetch.
        on_progress: Called with the number of bytes at hand and their total.

    Raises:
        StorageError: The server cannot be reached or the file is not the published one; the message says what to do.
        ConfigError: The address is not http or https.
    """
    root = Path(root).expanduser()
    if not (root / _MARKER).is_file():
        path = root / archive.url.rpartition("/")[2]
        try:
            _fetch(archive, path, on_progress)
        except _NETWORK_ERRORS as error:
            remedy = f"check the network and run again to continue, or put the file at {path} by hand and run again"
            raise StorageError(f"{archive.url}: cannot be fetched ({error}); {remedy}") from error
        _verify(archive, path)
        _unpack(archive, path, root)
        (root / _MARKER).write_text(json.dumps({"url": archive.url, "md5": archive.md5}))
        path.unlink()
    return root


def _fetch(archive: Archive, path: Path, on_progress: Callable[[int, int], None] | None) -> None:
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    num_failed = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            _continue(archive.url, part, before, on_progress)
        except _NETWORK_ERRORS:
            num_failed = num_failed + 1 if part.is_file() and part.stat().st_size == before else 0
            if not part.is_file() or num_failed == _ATTEMPTS_WITHOUT_PROGRESS:
                raise
            time.sleep(num_failed)
        else:
            part.replace(path)
            return


def _continue(url: str, part: Path, start: int, on_progress: Callable[[int, int], None] | None) -> None:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url}: not an http or https address")
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310 (checked)
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 (checked above)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return  # all of it is here; the checksum will tell
        raise
    with answer, part.open("ab") as file:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()  # the server sends all of it again
        total = file.tell() + int(answer.headers.get("Content-Length", 0))
        while chunk := answer.read(_CHUNK_BYTES):
            file.write(chunk)
            if on_progress is not None:
                on_progress(file.tell(), total)
        if file.tell() < total:
            raise http.client.IncompleteRead(b"", total - file.tell())


def _verify(archive: Archive, path: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != archive.md5:
        path.unlink()
        found = f"what came has MD5 {digest.hexdigest()}, the published file {archive.md5}"
        raise StorageError(f"{archive.url}: {found}; it was deleted, run again to fetch it anew")


def _unpack(archive: Archive, path: Path, root: Path) -> None:
    with tarfile.open(path) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if member.isfile() and name.startswith(archive.folder) else None
            if content is not None:
                target = root / check_segments(name.removeprefix(archive.folder))
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
