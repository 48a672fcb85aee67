"""The images of a data set as columns: some hundred bytes an image, where an object of each takes a kilobyte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.storage.column_sequence import ColumnSequence
from wsss_jobs.storage.item_names import is_among

ITEM_COLUMNS = pa.schema(
    [
        ("item_id", pa.string()),
        ("source_key", pa.string()),
        ("uri", pa.string()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("labels", pa.list_(pa.uint8())),
        ("split", pa.string()),
        ("mask_uri", pa.string()),
        ("boxes_xywh", pa.list_(pa.list_(pa.float64()))),
    ]
)


class ItemTable(ColumnSequence[DatasetItem]):
    """Items that can be worked on, over a table with `ITEM_COLUMNS`."""

    @classmethod
    def of(cls, items: Iterable[DatasetItem]) -> ItemTable:
        """Returns the same items as columns."""
        if isinstance(items, ItemTable):
            return items
        return cls(pa.Table.from_pylist([asdict(item) for item in items], schema=ITEM_COLUMNS))

    @staticmethod
    def record(row: dict[str, Any]) -> DatasetItem:
        """Returns the item of a row."""
        boxes = row.get("boxes_xywh") or ()  # older files have none
        return DatasetItem(**(row | {"labels": tuple(row["labels"]), "boxes_xywh": tuple(map(tuple, boxes))}))

    def table(self) -> pa.Table:
        """Returns the items' rows."""
        return self._table if self._rows is None else self._table.take(pa.array(self._rows))

    def without(self, item_ids: frozenset[str]) -> ItemTable:
        """Returns all items but these."""
        return self.where(~is_among(self.column("item_id"), item_ids)) if item_ids else self

    def longest_first(self) -> ItemTable:
        """Returns large images with many classes first, so that no straggler is left at the end of a job."""
        num_labels = np.asarray(pc.list_value_length(self.column("labels")).to_numpy(), dtype=np.int64)
        width, height = (self.column(name).to_numpy().astype(np.int64) for name in ("width_px", "height_px"))
        work = pa.table({"work": width * height * (1 + num_labels), "item_id": self.column("item_id")})
        order = pc.sort_indices(work, sort_keys=[("work", "descending"), ("item_id", "ascending")])
        return self.take(order.to_numpy().astype(np.int64))
