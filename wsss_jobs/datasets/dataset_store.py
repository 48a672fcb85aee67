"""A data set at rest: `items.parquet` and, for what could not be used, `rejected.parquet`."""

import json
from collections.abc import Iterable

import pyarrow as pa

from wsss_jobs.datasets.item_table import ITEM_COLUMNS, ItemTable
from wsss_jobs.datasets.records import Dataset
from wsss_jobs.errors import DataError
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.tables import TableKind, metadata_of, read_columns, read_table, table_of_rows, write_table

ITEMS_KEY = "items.parquet"
REJECTED_KEY = "rejected.parquet"
ITEMS = TableKind("dataset_items", 1, ITEM_COLUMNS)
REJECTED = TableKind(
    "dataset_rejected", 1, pa.schema([(name, pa.string()) for name in ("source_key", "reason", "message")])
)


def save_dataset(store: ObjectStore, dataset: Dataset, errors: Iterable[DataError] = ()) -> None:
    """Write a data set and the errors of its index below a store; `items.parquet` is written last.

    The run's layout puts them into `store.child(f"dataset-{dataset.fingerprint}")`.
    """
    rejected = [{"source_key": e.item, "reason": e.reason, "message": _text(e.message)} for e in errors]
    write_table(store, REJECTED_KEY, REJECTED, table_of_rows(REJECTED, rejected))
    metadata = {"class_names": json.dumps(dataset.class_names), "fingerprint": dataset.fingerprint}
    write_table(store, ITEMS_KEY, ITEMS, ItemTable.of(dataset.items).table(), metadata)


def load_dataset(store: ObjectStore) -> Dataset:
    """The data set that `save_dataset` wrote.

    Raises:
        ObjectNotFoundError: There is none.
    """
    table = read_columns(store, ITEMS_KEY, ITEMS)
    class_names = tuple(json.loads(metadata_of(table, "class_names") or "[]"))
    return Dataset(class_names, ItemTable(table), metadata_of(table, "fingerprint") or "")


def load_rejected(store: ObjectStore) -> list[DataError]:
    """The errors that `save_dataset` wrote; empty where no data set is."""
    try:
        table = read_table(store, REJECTED_KEY, REJECTED)
    except ObjectNotFoundError:
        return []
    return [DataError(row["source_key"], row["reason"], row["message"]) for row in table.to_pylist()]


def _text(message: str) -> str:
    return message.encode("utf-8", "backslashreplace").decode()
