"""Re-reads the tensors of a stage: small objects while it runs, parts when it is complete."""

import hashlib
import io
import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.storage.findings import Examination, must_have_sha256
from wsss_jobs.storage.manifest import Manifest
from wsss_jobs.storage.object_store import TornObjectError
from wsss_jobs.storage.tables import check_tag
from wsss_jobs.storage.tensor_parts import PART_PREFIX
from wsss_jobs.storage.tensor_rows import TENSOR_ROWS, tensor_names

if TYPE_CHECKING:
    from wsss_jobs.storage.item_names import ItemRef
    from wsss_jobs.storage.stage_outputs import StageOutputs

RECEIPT_COLUMN = "tensors_sha256"


def check_tensors(
    outputs: "StageOutputs",
    items: Collection["ItemRef"],
    present: Collection[str],
    manifest: Manifest | None,
    receipts: pa.Table,
    found: Examination,
) -> None:
    """Examines every tensor row that is there, and notes whose are sound.

    Args:
        outputs: The stage.
        items: All items of the data set.
        present: Keys of the stage's objects.
        manifest: Of a complete stage.
        receipts: Of the stage, as far as they can be read.
        found: Gets the findings.
    """
    from wsss_jobs.storage.stage_outputs import tensor_key

    own = {tensor_key(item.item_id): item.item_id for item in items}
    hashes = _hashes_in_receipts(receipts)
    looks = [
        (key, _look_at_object(outputs, key, own[key], hashes.get(own[key], set()))) for key in present if key in own
    ]
    found.done_ids |= {own[key] for key in found.look_at_all(looks)}
    written = {output.key: output.sha256 for output in manifest.outputs} if manifest else {}
    for part in sorted({key for key in (*present, *written) if key.startswith(PART_PREFIX)}):
        ids: list[str] = []

        def read(part: str = part, ids: list[str] = ids) -> None:
            data = outputs.folder.get(part)
            must_have_sha256(written.get(part), hashlib.sha256(data).hexdigest())
            ids.extend(_check_rows(data, part))

        if found.look_at(part, read):
            found.done_ids |= set(ids)
            found.num_sound += len(ids)


def _look_at_object(outputs: "StageOutputs", key: str, item_id: str, hashes: set[str]) -> Callable[[], object]:
    def look() -> None:
        data = outputs.folder.get(key)
        sha256 = hashlib.sha256(data).hexdigest()
        if hashes and sha256 not in hashes:
            must_have_sha256(next(iter(hashes)), sha256)
        ids = _check_rows(data, key)
        if ids != [item_id]:
            raise TornObjectError(f"holds the tensors of {', '.join(ids) or 'nothing'}, expected those of {item_id}")

    return look


def _check_rows(data: bytes, key: str) -> list[str]:
    """Item ids of the rows of a Parquet file, all of whose tensors have the sizes that their shapes say."""
    file = pq.ParquetFile(io.BytesIO(data))
    check_tag(file.schema_arrow, TENSOR_ROWS, key)
    ids: list[str] = []
    for group in range(file.num_row_groups):
        row = file.read_row_group(group)
        ids += row.column("item_id").to_pylist()
        for name in tensor_names(row):
            size = len(row.column(name).combine_chunks().flatten())
            shape = row.column(f"{name}_shape")[0].as_py()
            if size != math.prod(shape):
                raise TornObjectError(f"{ids[-1]}: {name} has {size} values, its shape is {shape}")
    return ids


def _hashes_in_receipts(receipts: pa.Table) -> dict[str, set[str]]:
    """What receipts say of each item's object; several where it was made more than once."""
    columns = [name for name in receipts.column_names if name.endswith(RECEIPT_COLUMN)]
    hashes: dict[str, set[str]] = {}
    for column in columns:
        pairs = zip(receipts.column("item_id").to_pylist(), receipts.column(column).to_pylist(), strict=True)
        for item_id, sha256 in pairs:
            if sha256 is not None:
                hashes.setdefault(item_id, set()).add(sha256)
    return hashes
