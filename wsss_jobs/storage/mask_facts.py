"""What is known of a committed mask without opening it, and the table of all masks of a stage."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsss_jobs.errors import StageError
from wsss_jobs.storage.instance_rows import INSTANCES, InstanceRow, rows_of_png
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.receipts import latest_by_item
from wsss_jobs.storage.tables import TableKind, read_table

MASKS_KEY = "masks.parquet"
MASKS = TableKind("masks", 1)  # the columns of `_COLUMNS`, then those of the receipts
_COLUMNS = pa.schema(
    [
        ("item_id", pa.string()),
        ("source_key", pa.string()),
        ("variant", pa.string()),
        ("key", pa.string()),
        ("sha256", pa.string()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("class_pixels", pa.map_(pa.uint8(), pa.int64())),
        ("instances", INSTANCES),
    ]
)


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """One mask object.

    Args:
        variant: The folder that it lies in, such as `masks`.
        key: Its key below the stage's folder.
        sha256: Of the PNG's bytes, in hex.
        width_px: Its width.
        height_px: Its height.
        class_pixels: Pairs of class id (of an instance mask: instance id) and number of pixels, ids ascending, absent
            ones left out.
        instances: The objects of an instance mask; empty for others.
    """

    variant: str
    key: str
    sha256: str
    width_px: int
    height_px: int
    class_pixels: tuple[tuple[int, int], ...]
    instances: tuple[InstanceRow, ...] = ()

    def as_receipt(self) -> dict[str, Any]:
        """A form that fits a receipt's `masks` column."""
        pairs = [{"class_id": class_id, "num_px": num_px} for class_id, num_px in self.class_pixels]
        receipt = self.as_row() | {"class_pixels": pairs}
        if not self.instances:  # Arrow could not tell what an empty list holds
            del receipt["instances"]
        return receipt

    def as_row(self) -> dict[str, Any]:
        """Its attributes by name; `asdict` of all would copy each pair of numbers."""
        row = {name: getattr(self, name) for name in self.__slots__}
        return row | {"instances": [asdict(each) for each in self.instances]}


def facts_of_mask(variant: str, key: str, data: bytes, label_HW: NDArray[np.uint8] | None = None) -> MaskFacts:
    """The facts of a PNG's bytes; its labels, where they are at hand, save decoding it."""
    label_HW = decode_mask(data, key) if label_HW is None else label_HW
    counts = np.bincount(label_HW.ravel(), minlength=256)
    pairs = tuple((int(class_id), int(counts[class_id])) for class_id in np.flatnonzero(counts))
    height_px, width_px = label_HW.shape
    sha256 = hashlib.sha256(data).hexdigest()
    return MaskFacts(variant, key, sha256, width_px, height_px, pairs, rows_of_png(data))


def facts_from_receipts(receipts: pa.Table) -> dict[str, MaskFacts]:
    """The facts that receipts carry in their `masks` column, by key.

    A mask of which receipts say different things is left out: it was made again, and only its bytes tell which is true.
    """
    if "masks" not in receipts.column_names:
        return {}
    facts: dict[str, set[MaskFacts]] = {}
    for row in (row for masks in receipts.column("masks").to_pylist() for row in masks or []):
        facts.setdefault(row["key"], set()).add(_from_receipt(row))
    return {key: next(iter(found)) for key, found in facts.items() if len(found) == 1}


def masks_schema(receipts: pa.Schema) -> pa.Schema:
    """The columns of `masks_table`."""
    beside = [receipts.field(name) for name in receipts.names if name not in {*_COLUMNS.names, "masks"}]
    return pa.schema([*_COLUMNS, *beside])


def masks_table(masks: Iterable[tuple[str, str, MaskFacts]], receipts: pa.Table) -> pa.Table:
    """One row for every (item id, source key, facts), with the columns of the item's latest receipt beside it."""
    rows = [facts.as_row() | {"item_id": item_id, "source_key": source_key} for item_id, source_key, facts in masks]
    table = pa.Table.from_pylist(rows, schema=_COLUMNS)
    latest = latest_by_item(receipts)
    indices = pa.array([latest.get(row["item_id"]) for row in rows], type=pa.int64())
    for name in masks_schema(receipts.schema).names[len(_COLUMNS) :]:
        table = table.append_column(name, receipts.column(name).take(indices))
    return table


def score_column(folder: ObjectStore, column: str) -> dict[str, float | None]:
    """The numbers of a column of a complete stage's table of masks, by item id; None where a row has none.

    Raises:
        StageError: There is no such column of numbers.
    """
    table = read_table(folder, MASKS_KEY, MASKS)
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    if column not in numbers:
        raise StageError(
            f"{folder.uri_of(MASKS_KEY)}: has no numbers {column!r}; it has {', '.join(numbers) or 'none'}"
        )
    return dict(zip(table.column("item_id").to_pylist(), table.column(column).to_pylist(), strict=True))


def _from_receipt(row: dict[str, Any]) -> MaskFacts:
    pairs = tuple((pair["class_id"], pair["num_px"]) for pair in row["class_pixels"])
    instances = tuple(InstanceRow(**found) for found in row.get("instances") or ())
    return MaskFacts(**(row | {"class_pixels": pairs, "instances": instances}))
