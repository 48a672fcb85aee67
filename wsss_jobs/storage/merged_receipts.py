"""All receipts of a stage in item-id order, range by range: no more than one range is in memory."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.receipts import RECEIPTS, RECEIPTS_KEY, canonical_text, receipt_keys
from wsss_jobs.storage.tables import read_pieces, read_table, table_writer

_ROWS_AT_A_TIME = 1 << 14
_NO_RECEIPTS = pa.schema([("item_id", pa.string())])


@dataclass(frozen=True)
class MergedReceipts:
    """Receipts on this machine's disk, sorted and without repetitions.

    Attributes:
        schema: Of each range: `item_id`, then the other columns by name.
        paths: One Arrow file a range; None where a range has no receipts.
    """

    schema: pa.Schema
    paths: tuple[Path | None, ...]

    def __iter__(self) -> Iterator[pa.Table]:
        for path in self.paths:
            yield self.schema.empty_table() if path is None else feather.read_table(path, memory_map=False)


@contextlib.contextmanager
def merged_receipts(folder: ObjectStore, splitters: Sequence[str]) -> Iterator[MergedReceipts]:
    """Gives all receipts of a stage during the block, also written as `receipts.parquet`.

    The union makes it repeatable: merging what was merged before changes nothing.

    Args:
        folder: The stage's.
        splitters: Ascending; the item ids with which ranges begin, but for the first range.
    """
    with tempfile.TemporaryDirectory(prefix="wsss-receipts-") as scratch:
        new_keys = receipt_keys(folder)
        schema, pieces = _scatter(_all_rows(folder, new_keys), splitters, Path(scratch))
        merged = MergedReceipts(schema, tuple(_merge(pieces.get(n, []), schema) for n in range(len(splitters) + 1)))
        if new_keys:
            with table_writer(folder, RECEIPTS_KEY, RECEIPTS, schema) as writer:
                for table in merged:
                    writer.write_table(table)
        yield merged


def _all_rows(folder: ObjectStore, new_keys: Sequence[str]) -> Iterator[pa.Table]:
    """Yields what was merged before, and then what is new, some thousand rows at a time."""
    with contextlib.suppress(ObjectNotFoundError):  # the first merge of this stage
        yield from read_pieces(folder, RECEIPTS_KEY, RECEIPTS, _ROWS_AT_A_TIME)
    tables: list[pa.Table] = []
    for key in new_keys:
        tables.append(read_table(folder, key, RECEIPTS))
        if sum(table.num_rows for table in tables) >= _ROWS_AT_A_TIME:
            yield _together(tables)
            tables = []
    if tables:
        yield _together(tables)


def _scatter(
    tables: Iterator[pa.Table], splitters: Sequence[str], scratch: Path
) -> tuple[pa.Schema, dict[int, list[Path]]]:
    """Returns the columns of all tables together, and each range's rows in files."""
    schemas = [_NO_RECEIPTS]
    pieces: dict[int, list[Path]] = {}
    bounds = np.array(splitters, dtype=np.str_)
    for number, table in enumerate(tables):
        schemas = [pa.unify_schemas([*schemas, table.schema.remove_metadata()], promote_options="permissive")]
        ids = np.array(table.column("item_id").to_pylist(), dtype=np.str_)
        range_of_row = np.searchsorted(bounds, ids, side="right") if splitters else np.zeros(len(ids), dtype=np.int64)
        for each in np.unique(range_of_row):
            path = scratch / f"{each}-{number}.arrow"
            feather.write_feather(table.take(np.flatnonzero(range_of_row == each)), path, compression="lz4")
            pieces.setdefault(int(each), []).append(path)
    names = ["item_id", *sorted(name for name in schemas[0].names if name != "item_id")]
    return pa.schema([schemas[0].field(name) for name in names]), pieces


def _merge(pieces: Sequence[Path], schema: pa.Schema) -> Path | None:
    """Puts the sorted union of a range's files into the first of them."""
    if not pieces:
        return None
    tables = [feather.read_table(path, memory_map=False) for path in pieces]
    feather.write_feather(sorted_union(_together([schema.empty_table(), *tables])), pieces[0], compression="lz4")
    for path in pieces[1:]:
        path.unlink()
    return pieces[0]


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    bare = [table.replace_schema_metadata(None) for table in tables]
    # In one piece: picking rows out of hundreds of pieces takes ten times as long.
    return pa.concat_tables(bare, promote_options="permissive").combine_chunks()


def sorted_union(table: pa.Table) -> pa.Table:
    """Returns each row once, in item-id order; several rows of one item in the order of their text."""
    ids = table.column("item_id").to_pylist()
    count = Counter(ids)
    first_rows: dict[tuple[str, str], int] = {}
    for number, item_id in enumerate(ids):
        text = canonical_text(_row(table, number)) if count[item_id] > 1 else ""
        first_rows.setdefault((item_id, text), number)
    return table.take(pa.array([first_rows[key] for key in sorted(first_rows)], type=pa.int64()))


def _row(table: pa.Table, number: int) -> Mapping[str, Any]:
    row: Mapping[str, Any] = table.slice(number, 1).to_pylist()[0]
    return row
