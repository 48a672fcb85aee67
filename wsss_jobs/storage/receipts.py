"""Receipts: one row of free columns for each item that was worked on (timings, device, node, attempt, scores, ...)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.tables import TableKind, encode_table, table_of_rows

RECEIPTS = TableKind("receipts", 1)
RECEIPTS_KEY = "receipts.parquet"
RECEIPTS_PREFIX = "receipts/"


def write_receipts(folder: ObjectStore, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows. Written again, the same rows are one object."""
    if not rows:
        return
    data = encode_table(RECEIPTS, table_of_rows(RECEIPTS, rows))
    folder.put(f"{RECEIPTS_PREFIX}{hashlib.sha256(data).hexdigest()[:20]}.parquet", data)


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
    """The small objects, which `merged_receipts` merges."""
    return [info.key for info in folder.list(RECEIPTS_PREFIX)]


def canonical_text(row: Mapping[str, Any]) -> str:
    """A text that equal rows share, whichever columns without a value came with them."""
    filled = {name: value for name, value in row.items() if value is not None}
    return json.dumps(filled, sort_keys=True, default=str)
