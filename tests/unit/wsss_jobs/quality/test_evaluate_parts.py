"""Parts of a data set, scored in one pass, score as a data set of those images alone does."""

from dataclasses import replace

import numpy as np
import pytest

from wsss_jobs.quality import evaluate
from wsss_jobs.quality.evaluate import evaluate_parts, evaluate_run


def same(one, other):
    assert [each.name for each in one] == [each.name for each in other]
    for ours, theirs in zip(one, other, strict=True):
        assert np.array_equal(ours.confusion_CC, theirs.confusion_CC)
        assert (ours.images, ours.num_missing, ours.threshold) == (theirs.images, theirs.num_missing, theirs.threshold)
        assert ours.labelled_fraction == pytest.approx(theirs.labelled_fraction)
        assert ours.boundary_iou == pytest.approx(theirs.boundary_iou, nan_ok=True)


def test_each_part_scores_as_its_images_alone_and_is_read_once(make_job, run_of, monkeypatch):
    job = make_job(run_of(keys=["a", "b", "c", "d"], shift_px={"a": 0, "b": 1, "c": 5, "d": 3}))
    items = job.dataset.items
    wanted = {"first": items[:1], "some": items[1:3], "all": items}
    alone = [evaluate_run(job.plan, replace(job.dataset, items=kept), job.store) for kept in wanted.values()]

    reads = []
    read_truth = evaluate.read_truth
    monkeypatch.setattr(evaluate, "read_truth", lambda item: reads.append(item) or read_truth(item))
    parts = [lambda item, kept=kept: item in kept for kept in wanted.values()]
    together = evaluate_parts(job.plan, job.dataset, job.store, parts)
    assert len(reads) == len(items) * len(together[0])
    assert {each.scores.miou for each in together[0]} != {each.scores.miou for each in together[1]}
    for ours, theirs in zip(together, alone, strict=True):
        same(ours, theirs)


def test_a_part_without_images_scores_nothing(make_job, run_of):
    job = make_job(run_of(keys=["a", "b"], shift_px={"a": 0, "b": 1}))
    none, everything = evaluate_parts(job.plan, job.dataset, job.store, [lambda _: False, lambda _: True])
    assert [each.num_missing for each in none] == [0] * len(everything)
    assert all(np.isnan(each.scores.miou) for each in none)
