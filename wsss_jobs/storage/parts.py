"""Large Parquet files out of many small objects: how objects are grouped, and how a file is opened.

Parts are only ever added: what a part holds stays where it is.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import ObjectInfo, ObjectStore


def part_key(prefix: str, number: int) -> str:
    """The key of a part below its stage's folder."""
    return f"{prefix}{number:05d}.parquet"


def next_part_number(prefix: str, part_keys: Iterable[str]) -> int:
    """The number of the part after these. Not their count: a torn one may have been taken away between others."""
    numbers = [int(key.removeprefix(prefix).removesuffix(".parquet")) for key in part_keys]
    return max(numbers, default=-1) + 1


def group_by_size(objects: Sequence[ObjectInfo], part_bytes: int) -> Iterator[list[ObjectInfo]]:
    """The objects, in order, in groups of about `part_bytes`. Where one ends depends on the objects in it alone."""
    group: list[ObjectInfo] = []
    size_bytes = 0
    for info in objects:
        if group and size_bytes + info.size_bytes > part_bytes:
            yield group
            group, size_bytes = [], 0
        group.append(info)
        size_bytes += info.size_bytes
    if group:
        yield group


def open_part(folder: ObjectStore, part: ObjectInfo, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """A part opened for reading ranges of it; with its footer, when that was read before.

    Raises:
        StorageError: It is not there, or no Parquet file.
    """
    filesystem, root = _filesystem(folder)
    try:
        return pq.ParquetFile(f"{root}/{part.key}", filesystem=filesystem, metadata=footer, pre_buffer=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(folder, part, error) from error


def unreadable(folder: ObjectStore, part: ObjectInfo, error: Exception) -> StorageError:
    """The error of a part that cannot be read."""
    hint = "check the store, or let `wsss verify --repair` remove it if it is damaged"
    return StorageError(f"{folder.uri_of(part.key)}: cannot be read ({error}); {hint}")


@functools.lru_cache(maxsize=16)
def _filesystem(folder: ObjectStore) -> tuple[Any, str]:
    return folder.arrow_filesystem()
