"""Items that a stage gave up on: a small JSON object each while it runs, one Parquet afterwards."""

import json
from collections.abc import Container
from dataclasses import asdict, dataclass

import pyarrow as pa

from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.tables import TableKind, read_table, table_of_rows, write_table

FAILURES = TableKind(
    "failures", 1, pa.schema([(name, pa.string()) for name in ("item_id", "source_key", "reason", "message")])
)
FAILURES_KEY = "failed.parquet"
FAILURES_PREFIX = "failed/"


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """Why an item has no output.

    Args:
        item_id: Which item.
        source_key: The user's own name of it.
        reason: Stable code, such as `cannot_decode`.
        message: One sentence: rule, value found, what to change.
    """

    item_id: str
    source_key: str
    reason: str
    message: str


def write_failure(folder: ObjectStore, failure: ItemFailure) -> None:
    """Record a failure; the item's earlier one, if any, is replaced."""
    # Messages quote file names, which need not be valid Unicode; Parquet text must be.
    clean = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in asdict(failure).items()}
    data = json.dumps(clean, sort_keys=True, ensure_ascii=False, indent=1).encode()
    folder.put(f"{FAILURES_PREFIX}{failure.item_id}.json", data)


def failed_item_ids(folder: ObjectStore) -> set[str]:
    """Ids of the items with a recorded failure, from a listing and the compacted table."""
    return set(_small_ids(folder)) | {failure.item_id for failure in _compacted(folder)}


def read_failures(folder: ObjectStore) -> list[ItemFailure]:
    """All recorded failures in item-id order; of an item that failed twice, the later one."""
    failures = {failure.item_id: failure for failure in _compacted(folder)}
    for item_id in _small_ids(folder):
        failures[item_id] = ItemFailure(**json.loads(folder.get(f"{FAILURES_PREFIX}{item_id}.json")))
    return [failures[item_id] for item_id in sorted(failures)]


def merge_failures(folder: ObjectStore, done_item_ids: Container[str]) -> list[ItemFailure]:
    """The failures of items that are not done after all, also written as `failed.parquet`."""
    failures = [failure for failure in read_failures(folder) if failure.item_id not in done_item_ids]
    rows = [asdict(failure) for failure in failures]
    write_table(folder, FAILURES_KEY, FAILURES, table_of_rows(FAILURES, rows))
    return failures


def clear_failures(folder: ObjectStore) -> int:
    """Forget all failures; how many there were."""
    ids = failed_item_ids(folder)
    folder.delete([FAILURES_KEY])
    folder.delete(failure_keys(folder))
    return len(ids)


def failure_keys(folder: ObjectStore) -> list[str]:
    """The small objects that `merge_failures` has merged."""
    return [info.key for info in folder.list(FAILURES_PREFIX)]


def _small_ids(folder: ObjectStore) -> list[str]:
    return [key.removeprefix(FAILURES_PREFIX).removesuffix(".json") for key in failure_keys(folder)]


def _compacted(folder: ObjectStore) -> list[ItemFailure]:
    try:
        table = read_table(folder, FAILURES_KEY, FAILURES)
    except ObjectNotFoundError:
        return []
    return [ItemFailure(**row) for row in table.to_pylist()]
