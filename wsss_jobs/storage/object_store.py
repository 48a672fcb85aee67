"""The one interface to bytes at rest: a folder and an S3 bucket look the same from above.

A key is a relative POSIX path ("masks/2007_000032.png"). Objects appear whole or not at all. Stores are picklable: what
is sent to a worker is an address, and each process opens its own connections.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wsss_jobs.errors import StorageError

TEMPORARY_PREFIX = ".tmp-"


class ObjectNotFoundError(StorageError):
    """There is no object under this key."""


class AccessDeniedError(StorageError):
    """The object may exist, but these credentials or this user may not touch it."""


class TornObjectError(StorageError):
    """The object is there, but its bytes are not those that were written, or cannot be decoded."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing says of one object."""

    key: str
    size_bytes: int


class ObjectStore(Protocol):
    """Objects below one folder or one bucket prefix. All errors are `StorageError`."""

    def __hash__(self) -> int:
        """Stores are compared and hashed by their address."""

    @property
    def uri(self) -> str:
        """The address that `open_store` opens again: an absolute path or `s3://bucket/prefix`, no trailing slash."""

    def uri_of(self, key: str) -> str:
        """The address of one object, as `read_uri` takes it."""

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            ObjectNotFoundError: There is no such object.
            TornObjectError: What is stored is not what was written, where the store can tell.
        """

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object. A reader sees the old bytes or the new ones, never a part."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write unless the object exists; whether it was written.

        Saves work only: some S3-compatible stores let several racing writers win, so nothing may rest on it as a lock.
        """

    def exists(self, key: str) -> bool:
        """Whether the object exists."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """The objects whose key starts with `prefix`, in the order of their keys (by code point)."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects. A key that does not exist is no error."""

    def child(self, prefix: str) -> "ObjectStore":
        """The same store seen from `prefix`."""

    def arrow_filesystem(self) -> tuple[Any, str]:
        """A `pyarrow.fs.FileSystem` and the path of this store in it, for readers that want ranges of large files."""

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a local file, which appears whole or not at all.

        Raises:
            ObjectNotFoundError: There is no such object.
        """

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to an object, in parts when it is large."""


def check_key(key: str) -> str:
    """The key, if every store can hold an object under it.

    Raises:
        StorageError: See `check_segments`; or the key has a control character or a lone surrogate, or its last segment
            looks like an unfinished file.
    """
    check_segments(key)
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in key):
        raise StorageError(f"object key {key!r}: control characters are not allowed; build it with object_key()")
    if key.rpartition("/")[2].startswith(TEMPORARY_PREFIX):
        raise StorageError(f"object key {key!r}: {TEMPORARY_PREFIX}* is kept for unfinished files")
    return key


def check_segments(key: str) -> str:
    """The key, if it stays inside its store.

    Raises:
        StorageError: The key is empty or absolute, or has an empty, `.` or `..` segment.
    """
    if any(segment in {"", ".", ".."} for segment in key.split("/")):
        raise StorageError(f"object key {key!r}: segments must not be empty, '.' or '..'; build it with object_key()")
    return key
