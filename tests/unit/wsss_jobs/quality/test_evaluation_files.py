"""Boundary IoU and confusion matrices of a small run, summed image by image by plain code."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from wsss_jobs.quality.boundary_iou import boundary_counts
from wsss_jobs.quality.evaluate import evaluate_run, read_truth
from wsss_jobs.quality.evaluation_files import write_evaluations
from wsss_jobs.stage_io import stage_folder


def test_boundary_and_confusion_are_of_the_whole_set(make_job, run_of, tmp_path):
    job = make_job(run_of(keys=["a", "b", "c"], shift_px={"a": 0, "b": 1, "c": 5}))
    evaluations = {each.name: each for each in evaluate_run(job.plan, job.dataset, job.store)}
    assert evaluations["infer_cams"].boundary_miou is None
    assert evaluations["label_partially"].boundary_miou is None
    final = evaluations["gcn_masks"]
    outputs = stage_folder(job.plan.stage("gcn_masks"), job.store).outputs
    counts, confusion = np.zeros((2, 3)), np.zeros((3, 3))
    for item in job.dataset.items:
        label, truth = outputs.read_mask(item), read_truth(item)
        counts += boundary_counts(label, truth, 3)
        confusion += [[((truth == t) & (label == p)).sum() for p in range(3)] for t in range(3)]
    assert final.boundary_iou == pytest.approx(counts[0] / counts[1])
    assert final.boundary_miou == pytest.approx(np.mean(counts[0] / counts[1]))
    assert np.array_equal(final.confusion_CC, confusion)
    assert final.boundary_miou < final.scores.miou

    write_evaluations(job.store, "tiny", list(evaluations.values()))
    content = json.loads(job.store.get("evaluation/tiny.json"))
    assert content["gcn_masks"]["boundary_miou"] == pytest.approx(final.boundary_miou)
    assert content["gcn_masks"]["classes"]["cat"]["boundary_iou"] == pytest.approx(final.boundary_iou[1])
    assert content["infer_cams"]["boundary_miou"] is None
    path = tmp_path / "confusion.parquet"
    path.write_bytes(job.store.get("evaluation/tiny-confusion.parquet"))
    rows = {(r["truth"], r["label"]): r["num_px"] for r in pq.read_table(path).to_pylist() if r["step"] == "gcn_masks"}
    assert rows == {
        (names[t], names[p]): confusion[t, p]
        for names in [("background", "cat", "dog")]
        for t in range(3)
        for p in range(3)
        if confusion[t, p]
    }
