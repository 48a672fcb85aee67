"""Receipts: one row of free columns for each item that was worked on (timings, device, node, attempt, scores, ...)."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.tables import TableKind, encode_table, read_table, table_of_rows, write_table

RECEIPTS = TableKind("receipts", 1)
RECEIPTS_KEY = "receipts.parquet"
RECEIPTS_PREFIX = "receipts/"


def write_receipts(folder: ObjectStore, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows. Written again, the same rows are one object."""
    if not rows:
        return
    data = encode_table(RECEIPTS, table_of_rows(RECEIPTS, rows))
    folder.put(f"{RECEIPTS_PREFIX}{hashlib.sha256(data).hexdigest()[:20]}.parquet", data)


def merge_receipts(folder: ObjectStore) -> pa.Table:
    """All rows of a stage as one sorted table without repetitions, also written as `receipts.parquet`.

    The union makes it repeatable: merging what was merged before changes nothing.
    """
    keys = [info.key for info in folder.list(RECEIPTS_PREFIX)]
    tables = [read_table(folder, key, RECEIPTS) for key in keys]
    with contextlib.suppress(ObjectNotFoundError):  # the first merge of this stage
        tables.insert(0, read_table(folder, RECEIPTS_KEY, RECEIPTS))
    merged = _sorted_union([table.replace_schema_metadata(None) for table in tables])
    if keys:
        write_table(folder, RECEIPTS_KEY, RECEIPTS, merged)
    return merged


def latest_by_item(receipts: pa.Table) -> dict[str, int]:
    """For each item the row number of its receipt with the highest `attempt`; the last of several."""
    if receipts.num_rows == 0:
        return {}
    item_ids = receipts.column("item_id").to_pylist()
    has_attempt = "attempt" in receipts.column_names
    attempts = receipts.column("attempt").to_pylist() if has_attempt else [0] * len(item_ids)
    order = sorted(range(len(item_ids)), key=lambda row: attempts[row] or 0)
    return {item_ids[row]: row for row in order}


def receipt_keys(folder: ObjectStore) -> list[str]:
    """The small objects that `merge_receipts` has merged."""
    return [info.key for info in folder.list(RECEIPTS_PREFIX)]


def _sorted_union(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return pa.table({"item_id": pa.array([], type=pa.string())})
    together = pa.concat_tables(tables, promote_options="permissive")
    names = ["item_id", *sorted(name for name in together.column_names if name != "item_id")]
    together = together.select(names)
    first_rows: dict[tuple[str, str], int] = {}
    for number, row in enumerate(together.to_pylist()):
        first_rows.setdefault((row["item_id"], _canonical(row)), number)
    return together.take([first_rows[key] for key in sorted(first_rows)])


def _canonical(row: Mapping[str, Any]) -> str:
    filled = {name: value for name, value in row.items() if value is not None}
    return json.dumps(filled, sort_keys=True, default=str)
