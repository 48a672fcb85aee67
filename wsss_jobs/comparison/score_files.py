"""Scores of a comparison as Parquet: `scores.parquet`, a row a method and seed; `class_scores.parquet`, and class."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.quality.evaluation_files import evaluation_content
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.tables import TableKind, table_of_rows, write_table

SCORES_KEY, CLASS_SCORES_KEY = "scores.parquet", "class_scores.parquet"

_WHO = [("method", pa.string()), ("variant", pa.string()), ("step", pa.string()), ("seed", pa.int64())]
_SCORES = ("miou", "mean_precision", "mean_recall", "pixel_accuracy", "threshold", "labelled_fraction")
_COUNTS = ("num_images", "num_missing")
SCORES = TableKind(
    "comparison_scores",
    1,
    pa.schema([*_WHO, *((name, pa.float64()) for name in _SCORES), *((name, pa.int64()) for name in _COUNTS)]),
)
CLASS_SCORES = TableKind(
    "comparison_class_scores",
    1,
    pa.schema([*_WHO, ("class_name", pa.string()), *((name, pa.float64()) for name in ("iou", "precision", "recall"))]),
)


def write_scores(folder: ObjectStore, comparison: Comparison, scores: MethodScores) -> None:
    """Writes both files, fractions in [0, 1], replacing those of an earlier run."""
    rows = []
    class_rows = []
    for who, evaluation in _evaluations(comparison, scores):
        content = evaluation_content(evaluation)
        rows.append(who | {name: content[name] for name in (*_SCORES, *_COUNTS)})
        class_rows += [who | {"class_name": name} | values for name, values in content["classes"].items()]
    write_table(folder, SCORES_KEY, SCORES, table_of_rows(SCORES, rows))
    write_table(folder, CLASS_SCORES_KEY, CLASS_SCORES, table_of_rows(CLASS_SCORES, class_rows))


def _evaluations(comparison: Comparison, scores: MethodScores) -> Iterator[tuple[dict[str, Any], Evaluation]]:
    for name, method in comparison.methods.items():
        for seed, evaluation in scores.evaluations.get(name, {}).items():
            yield {"method": name, "variant": method.variant, "step": method.step, "seed": seed}, evaluation
