"""Masks packed into large Parquet files: the same PNG bytes under the same names, a few files instead of one a mask.

One row a mask, in the order of the plan; row groups of about a megabyte, so that one mask costs one range of that size,
and neighbours come along.
"""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.storage.object_store import ObjectInfo, ObjectStore
from wsss_jobs.storage.parts import group_by_size, next_part_number, open_part, part_key, unreadable
from wsss_jobs.storage.tables import TableKind, check_tag, with_tag

PACKED_PREFIX = "packed/"
PART_BYTES = 64 << 20
ROW_GROUP_BYTES = 1 << 20
MASK_ROWS = TableKind(
    "mask_rows",
    1,
    pa.schema(
        [
            ("item_id", pa.string()),
            ("source_key", pa.string()),
            ("variant", pa.string()),
            ("key", pa.string()),
            ("png", pa.binary()),
        ]
    ),
)
_NUM_READ_THREADS = 16


@dataclass(frozen=True, slots=True)
class MaskName:
    """One mask that is to be packed.

    Args:
        item_id: Of its item.
        source_key: Of its item.
        object: Its PNG, as listed.
    """

    item_id: str
    source_key: str
    object: ObjectInfo


@dataclass(frozen=True, slots=True)
class PackedMask:
    """Where a packed mask lies."""

    part: ObjectInfo
    row_group: int
    row: int


def mask_part_prefix(variant: str) -> str:
    """What the keys of a variant's parts start with."""
    return f"{PACKED_PREFIX}{variant}-"


def find_packed_masks(folder: ObjectStore, variant: str) -> dict[str, PackedMask]:
    """Every packed mask of a variant by its key; reads the names only, and those of a part once a process."""
    found: dict[str, PackedMask] = {}
    for part in folder.list(mask_part_prefix(variant)):
        found |= rows_of_part(folder, part)
    return found


@functools.lru_cache(maxsize=256)
def rows_of_part(folder: ObjectStore, part: ObjectInfo) -> dict[str, PackedMask]:
    """Every mask of one part by its key.

    Raises:
        StorageError: The part cannot be read.
    """
    rows: dict[str, PackedMask] = {}
    with open_part(folder, part) as file:
        check_tag(file.schema_arrow, MASK_ROWS, folder.uri_of(part.key))
        for group in range(file.num_row_groups):
            keys = _read_group(folder, part, file, group, "key").to_pylist()
            rows |= {key: PackedMask(part, group, row) for row, key in enumerate(keys)}
    return rows


def read_packed_mask(folder: ObjectStore, mask: PackedMask) -> bytes:
    """The PNG of a packed mask."""
    data: bytes = _pngs(folder, mask.part, mask.row_group)[mask.row].as_py()
    return data


def write_mask_parts(folder: ObjectStore, variant: str, masks: Sequence[MaskName], present: Sequence[str]) -> None:
    """Pack masks, in the order given, into parts of about 64 MB, numbered after the parts that are present.

    An interrupted run goes on with the same parts, because where a part ends depends on the masks in it alone.
    """
    prefix = mask_part_prefix(variant)
    by_key = {mask.object.key: mask for mask in masks}
    groups = group_by_size([mask.object for mask in masks], PART_BYTES)
    for number, group in enumerate(groups, start=next_part_number(prefix, present)):
        data = _pack(folder, variant, [by_key[info.key] for info in group])
        folder.put(part_key(prefix, number), data)


def _pack(folder: ObjectStore, variant: str, masks: Sequence[MaskName]) -> bytes:
    sink = pa.BufferOutputStream()
    sizes = {mask.object.key: mask for mask in masks}
    schema = with_tag(MASK_ROWS.schema.empty_table(), MASK_ROWS).schema  # type: ignore[union-attr]
    # PNGs are compressed already.
    packing = {name: "none" if name == "png" else "zstd" for name in schema.names}
    with (
        ThreadPoolExecutor(_NUM_READ_THREADS) as pool,
        pq.ParquetWriter(
            sink, schema, compression=packing, use_dictionary=["variant"], write_statistics=["item_id"]
        ) as writer,
    ):
        for group in group_by_size([mask.object for mask in masks], ROW_GROUP_BYTES):
            names = [sizes[info.key] for info in group]
            pngs = pool.map(lambda mask: folder.get(mask.object.key), names)
            rows = [
                {"item_id": n.item_id, "source_key": n.source_key, "variant": variant, "key": n.object.key, "png": png}
                for n, png in zip(names, pngs, strict=True)
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    data: bytes = sink.getvalue().to_pybytes()
    return data


@functools.lru_cache(maxsize=8)
def _pngs(folder: ObjectStore, part: ObjectInfo, group: int) -> pa.ChunkedArray:
    with open_part(folder, part) as file:
        return _read_group(folder, part, file, group, "png")


def _read_group(
    folder: ObjectStore, part: ObjectInfo, file: pq.ParquetFile, group: int, column: str
) -> pa.ChunkedArray:
    try:
        return file.read_row_group(group, columns=[column]).column(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(folder, part, error) from error
