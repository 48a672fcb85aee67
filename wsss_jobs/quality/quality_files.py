"""Quality at rest: `evaluation/<recipe>-quality.parquet`, a row an image, worst first."""

from typing import Any

import pyarrow as pa

from wsss_jobs.quality.estimate import QualityEstimate
from wsss_jobs.quality.image_quality import PART_NAMES, ImageQuality
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.tables import TableKind, metadata_of, read_table, table_of_rows, write_table

IMAGE_QUALITY = TableKind(
    "image_quality",
    1,
    pa.schema(
        [
            ("item_id", pa.string()),
            ("source_key", pa.string()),
            ("rank", pa.int64()),
            ("score", pa.float64()),
            ("weakest", pa.string()),
            ("reason", pa.string()),
            ("predicted_miou", pa.float64()),
            *((name, pa.float64()) for name in PART_NAMES),
        ]
    ),
)
_FIELDS = ("item_id", "source_key", "score", "weakest", "reason", "predicted_miou")
_STEP, _FINGERPRINT, _NUM_MISSING = "wsss.step", "wsss.fingerprint", "wsss.num_missing"


def quality_key(recipe_name: str) -> str:
    """Returns where the quality of a recipe's masks lies in the run's store."""
    return f"evaluation/{recipe_name}-quality.parquet"


def write_quality(run_store: ObjectStore, recipe_name: str, estimate: QualityEstimate) -> None:
    """Writes an estimate, replacing an earlier one."""
    rows = [_row(rank, image) for rank, image in enumerate(estimate.images, start=1)]
    metadata = {
        _STEP: estimate.step,
        _FINGERPRINT: estimate.fingerprint,
        _NUM_MISSING: str(estimate.num_missing),
    }
    write_table(run_store, quality_key(recipe_name), IMAGE_QUALITY, table_of_rows(IMAGE_QUALITY, rows), metadata)


def read_quality(run_store: ObjectStore, recipe_name: str) -> QualityEstimate | None:
    """Returns the estimate that was written last, whatever it is of; None where there is none."""
    try:
        table = read_table(run_store, quality_key(recipe_name), IMAGE_QUALITY)
    except ObjectNotFoundError:
        return None
    images = tuple(_image(row) for row in table.to_pylist())
    return QualityEstimate(
        step=metadata_of(table, _STEP) or "",
        fingerprint=metadata_of(table, _FINGERPRINT) or "",
        images=images,
        num_missing=int(metadata_of(table, _NUM_MISSING) or 0),
    )


def _row(rank: int, image: ImageQuality) -> dict[str, Any]:
    row = {name: getattr(image, name) for name in _FIELDS}
    return row | {"rank": rank} | {name: image.parts.get(name) for name in PART_NAMES}


def _image(row: dict[str, Any]) -> ImageQuality:
    parts = {name: row[name] for name in PART_NAMES}
    return ImageQuality(parts=parts, **{name: row[name] for name in _FIELDS})
