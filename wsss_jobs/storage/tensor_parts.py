"""Large Parquet files of tensor rows: finding one item in them, and making them out of many small objects.

A part holds one row group an item, so one item is read with a few range requests. Parts are only ever added: what a
part holds stays where it is, also when items that failed are redone later and fill further parts.
"""

import functools
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.errors import StageError
from wsss_jobs.storage.object_store import ObjectInfo, ObjectStore, TornObjectError
from wsss_jobs.storage.parts import group_by_size, open_part, part_key, unreadable
from wsss_jobs.storage.tables import check_tag
from wsss_jobs.storage.tensor_rows import TENSOR_ROWS, tensor_writer

PART_PREFIX = "part-"
PART_BYTES = 64 << 20
_NUM_READ_THREADS = 16


@dataclass(frozen=True, slots=True)
class PartRow:
    """Where an item lies."""

    part: ObjectInfo
    row_group: int


def find_part_rows(folder: ObjectStore) -> dict[str, PartRow]:
    """Every item of every part below a stage's folder, by item id; reads the footers only, and each once a process."""
    rows: dict[str, PartRow] = {}
    for part in folder.list(PART_PREFIX):
        footer = _footer(folder, part)
        for group in range(footer.num_row_groups):
            rows[_item_id_of(footer, group)] = PartRow(part, group)
    return rows


def read_part_row(folder: ObjectStore, row: PartRow) -> pa.Table:
    """The table of one row of one item."""
    with open_part(folder, row.part, _footer(folder, row.part)) as file:
        try:
            return file.read_row_group(row.row_group)
        except (pa.ArrowInvalid, OSError) as error:
            raise unreadable(folder, row.part, error) from error


def write_parts(folder: ObjectStore, objects: Sequence[ObjectInfo], first_number: int) -> None:
    """Pack tensor objects, in the order given, into parts of about 64 MB.

    Where a part ends depends on the objects in it alone, so a run that was interrupted between two parts goes on with
    the same parts.

    Raises:
        StageError: The items do not all have the same tensors.
    """
    for number, group in enumerate(group_by_size(objects, PART_BYTES), start=first_number):
        folder.put(part_key(PART_PREFIX, number), _pack(folder, group))


def _pack(folder: ObjectStore, objects: Sequence[ObjectInfo]) -> bytes:
    sink = pa.BufferOutputStream()
    with ThreadPoolExecutor(_NUM_READ_THREADS) as pool:
        tables = pool.map(lambda info: _read_row(folder, info.key), objects)
        first = next(tables)
        with tensor_writer(sink, first.schema) as writer:
            for info, table in zip(objects, itertools.chain([first], tables), strict=True):
                if not table.schema.equals(first.schema):
                    raise StageError(_other_tensors(objects[0], first, info, table))
                writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _read_row(folder: ObjectStore, key: str) -> pa.Table:
    try:
        table = pq.read_table(pa.BufferReader(folder.get(key)))
    except (pa.ArrowInvalid, OSError) as error:
        hint = "`wsss verify --repair` removes it"
        raise TornObjectError(f"{folder.uri_of(key)}: not a readable Parquet file ({error}); {hint}") from error
    check_tag(table.schema, TENSOR_ROWS, folder.uri_of(key))
    return table


def _other_tensors(first: ObjectInfo, first_table: pa.Table, other: ObjectInfo, other_table: pa.Table) -> str:
    def columns(table: pa.Table) -> str:
        return ", ".join(f"{field.name}: {field.type}" for field in table.schema)

    return (
        f"{other.key} has the columns ({columns(other_table)}) and {first.key} has ({columns(first_table)}); "
        "a stage must write the same tensors for every item"
    )


@functools.lru_cache(maxsize=256)
def _footer(folder: ObjectStore, part: ObjectInfo) -> pq.FileMetaData:
    with open_part(folder, part) as file:
        check_tag(file.schema_arrow, TENSOR_ROWS, folder.uri_of(part.key))
        return file.metadata


def _item_id_of(footer: pq.FileMetaData, group: int) -> str:
    item_id: str = footer.row_group(group).column(0).statistics.min  # one row: its smallest id is its id
    return item_id
