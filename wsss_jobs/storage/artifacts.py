"""Local copies of stored files, such as a checkpoint that every worker of a node loads."""

import hashlib
import os
import tempfile
from pathlib import Path

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.manifest import read_manifest
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore

_CHUNK_BYTES = 4 << 20


def local_copy(folder: ObjectStore, key: str, cache_root: Path | None = None) -> Path:
    """The path of a local copy of an artifact of a complete stage.

    A store that is a folder gives the file itself. From S3 it is fetched once a node, into a cache that is named by
    content: processes that fetch at the same time both fetch, and the second rename puts the same bytes.

    Args:
        folder: The stage's folder.
        key: Of the artifact, below it.
        cache_root: Where copies are kept; default is `WSSS_CACHE`, else a folder of this user's own in the system's
            temporary folder.

    Raises:
        ObjectNotFoundError: The stage is not complete or has no such artifact.
        StorageError: What was fetched is not what the manifest says.
    """
    if isinstance(folder, LocalStore):
        return _existing(folder.root / key)
    sha256 = _expected_sha256(folder, key)
    path = (cache_root or default_cache_root()) / sha256 / Path(key).name
    if not path.is_file():
        fresh = path.with_name(f".fetch-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            folder.download(key, fresh)
            _check(fresh, sha256, folder.uri_of(key))
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    return path


def default_cache_root() -> Path:
    """The folder of this node's copies, which only its user can write."""
    configured = os.environ.get("WSSS_CACHE")
    root = Path(configured) if configured else Path(tempfile.gettempdir()) / f"wsss-cache-{os.getuid()}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise StorageError(f"{root}: belongs to another user; set WSSS_CACHE to a folder of your own")
    return root


def object_sha256(folder: ObjectStore, key: str) -> str:
    """The SHA-256 of an object of any size, in hex."""
    filesystem, root = folder.arrow_filesystem()
    digest = hashlib.sha256()
    try:
        with filesystem.open_input_stream(f"{root}/{key}") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise StorageError(f"{folder.uri_of(key)}: cannot be read ({error}); check the store") from error
    return digest.hexdigest()


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ObjectNotFoundError(f"{path}: no such artifact; has its stage run?")
    return path


def _expected_sha256(folder: ObjectStore, key: str) -> str:
    manifest = read_manifest(folder)
    outputs = {} if manifest is None else {output.key: output.sha256 for output in manifest.outputs}
    if key not in outputs:
        raise ObjectNotFoundError(f"{folder.uri_of(key)}: not an artifact of a complete stage; has the stage run?")
    return outputs[key]


def _check(path: Path, sha256: str, uri: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise StorageError(f"{uri}: has SHA-256 {found}, its manifest says {sha256}; was the object replaced?")
