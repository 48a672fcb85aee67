"""Evaluations at rest, under `evaluation/`.

`<recipe>.json` holds all scores, `<recipe>-images.parquet` a row an image, `<recipe>-confusion.parquet` the confusion
matrices (pixels of each pair of classes that occurs), `<recipe>-label-free.json` what was found without masks,
`<recipe>-localisation.json` how CAMs fit boxes.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.quality.label_free import LabelFree
from wsss_jobs.quality.localisation import Localisation
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.tables import TableKind, table_of_rows, write_table

_IMAGES = TableKind("image_scores", 1)
CONFUSIONS = TableKind(
    "confusions",
    1,
    pa.schema(
        [("step", pa.string()), ("truth", pa.string()), ("label", pa.string()), ("num_px", pa.int64())],
    ),
)


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
    confusions = table_of_rows(CONFUSIONS, [row for evaluation in evaluations for row in _confusion_rows(evaluation)])
    write_table(run_store, f"evaluation/{recipe_name}-confusion.parquet", CONFUSIONS, confusions)


def write_label_free(run_store: ObjectStore, recipe_name: str, found: LabelFree) -> None:
    """Writes what the stages of a run say of each other, replacing an earlier one."""
    run_store.put(f"evaluation/{recipe_name}-label-free.json", json.dumps(asdict(found), indent=1).encode() + b"\n")


def write_localisation(run_store: ObjectStore, recipe_name: str, found: Sequence[Localisation]) -> None:
    """Writes how CAMs fit boxes, replacing an earlier one."""
    content = [asdict(each) for each in found]
    run_store.put(f"evaluation/{recipe_name}-localisation.json", json.dumps(content, indent=1).encode() + b"\n")


def evaluation_content(evaluation: Evaluation) -> dict[str, Any]:
    """Returns an evaluation as JSON types; NaN becomes null."""
    scores = evaluation.scores
    boundary = evaluation.boundary_iou or [float("nan")] * len(scores.class_names)
    per_class = zip(scores.class_names, scores.iou, scores.precision, scores.recall, boundary, strict=True)
    return {
        "kind": evaluation.kind,
        "miou": _number(scores.miou),
        "boundary_miou": _number(evaluation.boundary_miou),
        "mean_precision": _number(scores.mean_precision),
        "mean_recall": _number(scores.mean_recall),
        "pixel_accuracy": _number(scores.pixel_accuracy),
        "num_images": len(evaluation.images),
        "num_missing": evaluation.num_missing,
        "threshold": evaluation.threshold,
        "labelled_fraction": evaluation.labelled_fraction,
        "classes": {
            name: {
                "iou": _number(iou),
                "precision": _number(precision),
                "recall": _number(recall),
                "boundary_iou": _number(boundary_iou),
            }
            for name, iou, precision, recall, boundary_iou in per_class
        },
    }


def _confusion_rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    confusion_CC = evaluation.confusion_CC
    if confusion_CC is None:
        return
    names = evaluation.scores.class_names
    for truth, label in np.argwhere(confusion_CC).tolist():
        num_px = int(confusion_CC[truth, label])
        yield {"step": evaluation.name, "truth": names[truth], "label": names[label], "num_px": num_px}


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
