"""What the report reads from a run's store: stages, trainings, receipts, statistics of labels, score tables."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import yaml

from wsss_jobs.failed_items import failed_items
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.quality.evaluation import Evaluation, ImageScore
from wsss_jobs.quality.scores import SegmentationScores
from wsss_jobs.receipt_columns import StageReceipts
from wsss_jobs.report.dataset_facts import dataset_facts
from wsss_jobs.report.failure_table import failure_table
from wsss_jobs.report.label_statistics import class_shares, fraction_charts
from wsss_jobs.report.recipe_text import resolved_recipe
from wsss_jobs.report.run_view import RunView, run_view
from wsss_jobs.report.score_tables import class_rows, step_scores
from wsss_jobs.report.stage_table import stage_rows
from wsss_jobs.report.summary import summary_figures
from wsss_jobs.report.training_curves import trainings

MakeJob = Callable[..., PreparedJob]


def viewed(job: PreparedJob) -> RunView:
    return run_view(job, evaluate_run(job.plan, job.dataset, job.store))


def evaluation(name: str, kind: str, iou: tuple[float, ...], threshold: float | None = None) -> Evaluation:
    scores = SegmentationScores(("background", "cat", "dog"), iou, iou, iou, 0.9, 100)
    return Evaluation(name, kind, scores, (ImageScore("id", "key", iou[0]),), 0, threshold)


def test_work_is_summed_over_attempts_and_devices_are_named(make_job: MakeJob, run_of):
    rows = {row.name: row for row in stage_rows(make_job(run_of()))}
    assert rows["infer_cams"].seconds == pytest.approx(3 * 0.5)
    assert rows["infer_cams"].seconds_per_image == pytest.approx(0.5)
    assert rows["propagate_gcn"].seconds == pytest.approx(3 * 1.5)  # streamed: recorded with the stage that stores
    assert rows["propagate_gcn"].devices == "cuda"
    assert rows["train_affinity"].seconds == pytest.approx(6.0)
    assert rows["random_walk"].seconds is None
    assert rows["gcn_masks"].kind == "refine_masks"
    assert all(row.is_complete for row in rows.values())


def test_stages_say_how_far_they_are(make_job: MakeJob, run_of):
    rows = {row.name: row for row in stage_rows(make_job(run_of(failed={"infer_cams": ["b"]}, stages_done=6)))}
    assert rows["infer_cams"].state == "done, 1 failed"
    assert rows["walk_masks"].state == "done"
    assert rows["random_walk"].state == "streamed"
    assert rows["random_walk"].is_complete
    assert rows["gcn_masks"].state == "not done"
    assert not rows["propagate_gcn"].is_complete


def test_the_last_attempt_counts_and_all_attempts_cost():
    receipts = StageReceipts(
        pa.table(
            {
                "item_id": ["x", "x", "y"],
                "attempt": [2, 1, 1],
                "score": [0.9, 0.1, None],
                "s": [1.0, 2.0, 4.0],
                "device": ["cuda", None, "cpu"],
            }
        )
    )
    assert receipts.latest("score") == {"x": 0.9}
    assert receipts.latest("nothing") == {}
    assert receipts.total("s") == 7.0
    assert receipts.total("nothing") is None
    assert receipts.distinct("device") == ("cpu", "cuda")


def test_trainings_have_a_curve_for_each_loss_the_sum_first(make_job: MakeJob, run_of):
    found = trainings(make_job(run_of(stages_done=1)))
    assert [(one.stage, one.num_epochs, one.num_steps, one.seconds) for one in found] == [
        ("train_classifier", 3, 30, 6.0)
    ]
    assert [curve.name for curve in found[0].curves] == ["loss", "part"]
    assert found[0].curves[0].first == 1.0
    assert found[0].curves[0].last == pytest.approx(1 / 3)


def test_the_data_set_is_counted_by_tag(make_job: MakeJob, run_of):
    facts = dataset_facts(make_job(run_of(keys=["a", "b", "c"], stages_done=0)))
    assert (facts.num_images, facts.num_truths, facts.num_rejected, facts.tags_per_image) == (3, 3, 0, 1.0)
    assert facts.splits == (("train", 3),)
    assert [(tag.class_id, tag.name, tag.num_images, tag.share) for tag in facts.classes] == [
        (1, "cat", 2, 1.0),
        (2, "dog", 1, 0.5),
    ]


def test_class_shares_are_those_of_the_final_masks(make_job: MakeJob, run_of):
    background, cat, dog = class_shares(viewed(make_job(run_of(keys=["a", "b", "c"]))))
    object_share = 20 * 24 / (50 * 38)
    assert cat.pixels == pytest.approx(2 / 3 * object_share)
    assert dog.pixels == pytest.approx(1 / 3 * object_share)
    assert background.pixels == pytest.approx(1 - object_share)
    assert (cat.relative, dog.relative) == (1.0, 0.5)
    assert (cat.num_tagged, cat.num_found, dog.num_tagged, dog.num_found) == (2, 2, 1, 1)


def test_shares_and_confidences_wait_for_masks(make_job: MakeJob, run_of):
    view = viewed(make_job(run_of(stages_done=2)))
    assert class_shares(view) == ()
    assert fraction_charts(view) == ()


def test_confidences_are_charted_by_stage(make_job: MakeJob, run_of):
    view = viewed(make_job(run_of(confidence={"a": 0.2, "b": 0.4, "c": 0.9})))
    [chart] = fraction_charts(view)
    assert chart.stage == "gcn_masks"
    assert chart.histogram.mean == pytest.approx(0.5)


def test_steps_are_compared_with_the_first_cams(make_job: MakeJob, run_of):
    evaluations = [
        evaluation("infer_cams", "cam", (0.8, 0.4, np.nan), threshold=0.3),
        evaluation("label_partially", "partial", (1.0, 0.9, 0.9)),
        evaluation("gcn_masks", "mask", (0.9, 0.5, np.nan)),
    ]
    view = run_view(make_job(run_of()), evaluations)
    cam, partial, gcn = step_scores(view)
    assert (cam.title, partial.title, gcn.title) == ("CAM", "Partial label", "GCN + CRF")
    assert gcn.gain == pytest.approx(0.1)
    assert cam.gain is None
    assert partial.gain is None
    assert [step.is_best for step in (cam, partial, gcn)] == [False, False, True]
    assert "0.30" in cam.note
    background, cat, dog = class_rows(view)
    assert [cell.value for cell in cat.cells] == [0.4, 0.9, 0.5]
    assert [cell.level for cell in cat.cells] == [8, 18, 10]
    assert background.gain == pytest.approx(0.1)
    assert dog.cells[0].value is None
    assert dog.gain is None


def test_the_first_figure_is_the_quality_that_is_known(make_job: MakeJob, run_of):
    def first(job: PreparedJob) -> tuple[str, str, str]:
        view = viewed(job)
        facts, failures = dataset_facts(job), failure_table(failed_items(job))
        figure = summary_figures(view, facts, stage_rows(job), failures, fraction_charts(view))[0]
        return figure.label, figure.value, figure.remark

    label, value, remark = first(make_job(run_of(shift_px=dict.fromkeys("abc", 0))))
    assert (label, value, remark) == ("mIoU", "100.0", "GCN + CRF, ±0.0 over the best CAM")
    label, value, _ = first(make_job(run_of(keys=["d", "e"], with_truth=False, confidence={"d": 0.5, "e": 0.6})))
    assert (label, value) == ("Mean confidence", "55.0")


def test_the_recipe_is_written_with_all_settings(make_job: MakeJob, run_of):
    job = make_job(run_of(stages_done=0))
    content = yaml.safe_load(resolved_recipe(job))
    assert content["seed"] == 7
    gcn = next(stage for stage in content["stages"] if stage["name"] == "propagate_gcn")
    assert gcn["gcn"]["num_steps"] == job.plan.stage("propagate_gcn").config.gcn.num_steps
    assert gcn["fingerprint"] == job.plan.stage("propagate_gcn").fingerprint
