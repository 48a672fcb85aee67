"""A folder as an object store."""

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.item_names import sorted_names
from wsss_jobs.storage.object_store import (
    TEMPORARY_PREFIX,
    AccessDeniedError,
    ObjectInfo,
    ObjectNotFoundError,
    check_key,
    check_segments,
)
from wsss_jobs.storage.observation import timed

_FOLDER_ATTEMPTS = 12
_COPY_BYTES = 1 << 20
_CANNOT_SYNC_FOLDERS = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF})  # some network file systems
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class LocalStore:
    """Objects as files below `root`, which need not exist yet.

    A file is written under a temporary name in its own folder, flushed to the disk and renamed, and the folder is
    flushed, so a reader sees it whole or not at all, after a crash too, and what was reported as written stays.
    Temporary files of a killed process are never listed.
    """

    root: Path

    @property
    def uri(self) -> str:
        """The absolute path."""
        return str(self.root)

    def uri_of(self, key: str) -> str:
        """The absolute path of an object."""
        return str(self._path(key))

    def get(self, key: str) -> bytes:
        """The object's bytes."""
        with timed("get"):
            return read_local_file(self._path(key))

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object."""
        with timed("put"):
            self._write(key, lambda temporary: _write_synced(temporary, data), _replace)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write unless the object exists; whether it was written."""
        if self._path(key).is_file():
            return False
        with timed("put"):
            return self._write(key, lambda temporary: _write_synced(temporary, data), _link)

    def exists(self, key: str) -> bool:
        """Whether the object exists."""
        return self._path(key).is_file()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """The objects whose key starts with `prefix`, in key order."""
        folder, _, name_prefix = prefix.rpartition("/")
        start = self.root / folder if folder else self.root
        return _walk(start, f"{folder}/" if folder else "", name_prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, and folders that this leaves empty."""
        for key in keys:
            path = self._path(key)
            with timed("delete"), _read_errors(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                self._prune(path.parent)

    def child(self, prefix: str) -> "LocalStore":
        """The same store seen from `prefix`."""
        return LocalStore(self._path(prefix.rstrip("/")))

    def arrow_filesystem(self) -> tuple[Any, str]:
        """Arrow's local file system and the absolute path."""
        from pyarrow import fs

        return fs.LocalFileSystem(), str(self.root)

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a local file."""
        source = self._path(key)
        with (
            timed("download"),
            _read_errors(source),
            source.open("rb") as reader,
            whole_file(path) as temporary,
            _write_errors(path),
            temporary.open("xb") as writer,
        ):
            shutil.copyfileobj(reader, writer, length=_COPY_BYTES)

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to an object."""
        if not path.is_file():
            raise ObjectNotFoundError(f"{path}: no such file to store as {key!r}")
        with timed("upload"):
            self._write(key, lambda temporary: _copy_synced(path, temporary), _replace)

    def _path(self, key: str) -> Path:
        return self.root / check_segments(key)

    def _write(self, key: str, fill: Callable[[Path], None], publish: Callable[[Path, Path], bool]) -> bool:
        path = self._path(check_key(key))
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        with _write_errors(path):
            try:
                _with_parent(path.parent, lambda: fill(temporary))
                published = publish(temporary, path)
                sync_folder(path.parent)
                return published
            finally:
                temporary.unlink(missing_ok=True)

    def _prune(self, folder: Path) -> None:
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:  # not empty, or already gone
                return
            folder = folder.parent


def read_local_file(path: Path) -> bytes:
    """A file's bytes, with a missing file as `ObjectNotFoundError`."""
    with _read_errors(path):
        return path.read_bytes()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends well, and vanishes when it does not."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    with _write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        with _write_errors(path):
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _walk(folder: Path, key_prefix: str, name_prefix: str) -> Iterator[ObjectInfo]:
    for name in _sorted_names(folder):
        if not name.startswith(name_prefix):
            continue
        if name.endswith("/"):
            yield from _walk(folder / name, f"{key_prefix}{name}", "")
        elif not name.startswith(TEMPORARY_PREFIX):
            with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                yield ObjectInfo(f"{key_prefix}{name}", os.stat(f"{folder}/{name}").st_size)  # noqa: PTH116 - a Path of each takes longer than the look


def _sorted_names(folder: Path) -> Iterator[str]:
    # A folder sorts by the keys inside it, which all start with its name and a slash: "a-b" < "a/c" < "ab".
    # Names only: a million directory entries would take some hundred megabytes.
    try:
        with _read_errors(folder), os.scandir(folder) as entries:
            return sorted_names(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
    except ObjectNotFoundError:
        return iter(())


def _with_parent(folder: Path, write: Callable[[], None]) -> None:
    # Another process that deletes its last object here also deletes the folder: at any moment, so mkdir itself can say
    # "exists" of a folder that is gone when it looks again. A real obstacle gives the same error every time.
    for attempt in range(_FOLDER_ATTEMPTS):
        try:
            _make_folder(folder)
            return write()
        except (FileNotFoundError, FileExistsError):
            if attempt == _FOLDER_ATTEMPTS - 1:
                raise
            time.sleep(0.0005 * attempt)
    return None


def _make_folder(folder: Path) -> None:
    # A new folder is an entry of the one above, which has to reach the disk as well.
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk: a rename survives a power cut only after this."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # another process has deleted the last object in it, ours included
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _copy_synced(source: Path, path: Path) -> None:
    with source.open("rb") as reader, path.open("xb") as writer:
        shutil.copyfileobj(reader, writer, length=_COPY_BYTES)
        writer.flush()
        os.fsync(writer.fileno())


def _replace(temporary: Path, path: Path) -> bool:
    temporary.replace(path)
    return True


def _link(temporary: Path, path: Path) -> bool:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: a racing writer may be overwritten, with the same bytes
        return _replace(temporary, path)
    return True


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ObjectNotFoundError(f"{path}: no such file") from error
    except PermissionError as error:
        raise AccessDeniedError(f"{path}: permission denied; check the owner and mode of it and its folders") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error}); check the disk or mount") from error


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise AccessDeniedError(f"{path}: permission denied; check the owner and mode of its folders") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise StorageError(f"{path}: a folder and a file of the same name are in each other's way") from error
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{path}: cannot be written ({reason}); {_write_hint(error)}") from error


def _write_hint(error: OSError) -> str:
    if error.errno in _FULL:
        return "free space or raise the quota, or choose another store; nothing half-written is left behind"
    if error.errno == errno.ENAMETOOLONG:
        return "the file system allows no name of this length"
    return "check the disk or mount"
