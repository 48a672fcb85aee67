"""Evaluations at rest, under `evaluation/`.

`<recipe>.json` holds all scores, `<recipe>-images.parquet` a row an image, `<recipe>-label-free.json` what was found
without masks.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from wsss_jobs.quality.evaluate import Evaluation
from wsss_jobs.quality.label_free import LabelFree
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.tables import TableKind, write_table

_IMAGES = TableKind("image_scores", 1)


def write_evaluations(run_store: ObjectStore, recipe_name: str, evaluations: Sequence[Evaluation]) -> None:
    """Writes the scores of a run, replacing those of an earlier evaluation."""
    content = {evaluation.name: evaluation_content(evaluation) for evaluation in evaluations}
    run_store.put(f"evaluation/{recipe_name}.json", json.dumps(content, indent=1).encode() + b"\n")
    rows = [
        {"step": evaluation.name, "item_id": image.item_id, "source_key": image.source_key, "miou": image.miou}
        for evaluation in evaluations
        for image in evaluation.images
    ]
    write_table(run_store, f"evaluation/{recipe_name}-images.parquet", _IMAGES, pa.Table.from_pylist(rows))


def write_label_free(run_store: ObjectStore, recipe_name: str, found: LabelFree) -> None:
    """Writes what the stages of a run say of each other, replacing an earlier one."""
    run_store.put(f"evaluation/{recipe_name}-label-free.json", json.dumps(asdict(found), indent=1).encode() + b"\n")


def evaluation_content(evaluation: Evaluation) -> dict[str, Any]:
    """Returns an evaluation as JSON types; NaN becomes null."""
    scores = evaluation.scores
    per_class = zip(scores.class_names, scores.iou, scores.precision, scores.recall, strict=True)
    return {
        "kind": evaluation.kind,
        "miou": _number(scores.miou),
        "mean_precision": _number(scores.mean_precision),
        "mean_recall": _number(scores.mean_recall),
        "pixel_accuracy": _number(scores.pixel_accuracy),
        "num_images": len(evaluation.images),
        "num_missing": evaluation.num_missing,
        "threshold": evaluation.threshold,
        "labelled_fraction": evaluation.labelled_fraction,
        "classes": {
            name: {"iou": _number(iou), "precision": _number(precision), "recall": _number(recall)}
            for name, iou, precision, recall in per_class
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
