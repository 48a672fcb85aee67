import io

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.comparison.config import load_comparison
from wsss_jobs.comparison.examples import choose_examples
from wsss_jobs.comparison.jobs import prepare_comparison
from wsss_jobs.comparison.results import write_results
from wsss_jobs.comparison.run import run_variants
from wsss_jobs.comparison.score_files import CLASS_SCORES, SCORES
from wsss_jobs.comparison.scores import score_methods
from wsss_jobs.errors import StageError
from wsss_jobs.job import RunResult
from wsss_jobs.quality import evaluate
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.storage.tables import read_table


@pytest.fixture
def jobs(content, write_comparison, tiny_recipe, run_of):
    content["seeds"] = [0, 1]
    comparison = load_comparison(write_comparison(content, tiny_recipe(run_of())))
    return comparison, prepare_comparison(comparison)


@pytest.fixture
def run(fill_job, run_of):
    """Stands for `run_job`: fills the stages, but stops for one variant with one seed."""

    def fill(job):
        if job.recipe.name == "toy-plain-seed1":
            raise StageError("the classifier did not learn")
        fill_job(job, run_of(shift_px={"a": 2 + job.recipe.seed}))
        return RunResult(3, 0)

    return fill


def test_a_failed_variant_is_reported_and_the_others_are_complete(jobs, run):
    comparison, jobs = jobs
    outcomes = run_variants(jobs, run)
    assert [outcome.error for outcome in outcomes] == ["", "", "", "the classifier did not learn"]
    scores = score_methods(comparison, jobs)
    # What the failed variant shares with another is there; its own masks are not.
    assert {name: list(by_seed) for name, by_seed in scores.evaluations.items()} == {
        "walk": [0, 1], "gcn": [0, 1], "gcn_crf": [0, 1], "plain": [0],
    }  # fmt: skip
    page = write_results(comparison, jobs, scores, outcomes)
    text = jobs[0].job.store.get("comparison/toy/comparison.md").decode()
    assert page.endswith("comparison/toy/comparison.md")
    assert "| plain | 1 | the classifier did not learn |" in text


def test_an_interruption_is_no_failure(jobs):
    def interrupted(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_variants(jobs[1], interrupted)


def test_scores_are_those_of_the_evaluation_and_shared_stages_are_scored_once(jobs, run, monkeypatch):
    comparison, jobs = jobs
    run_variants(jobs, run)
    read = []
    monkeypatch.setattr(evaluate, "read_truth", lambda item, real=evaluate.read_truth: read.append(item) or real(item))
    scores = score_methods(comparison, jobs)
    # 3 images; walk_masks once a seed, gcn_masks once a variant that is done, with two products where there is a CRF.
    walk, with_crf, plain = 2 * 1, 2 * 2, 1
    assert len(read) == 3 * (walk + with_crf + plain)
    for each in jobs[:2]:
        for evaluation in evaluate_run(each.job.plan, each.job.dataset, each.job.store):
            for name, method in comparison.methods.items():
                if (method.variant, method.step) == (each.variant, evaluation.name):
                    assert scores.evaluations[name][0] == evaluation


def test_parquet_has_a_row_a_method_and_seed(jobs, run):
    comparison, jobs = jobs
    scores = score_methods(comparison, jobs)
    assert scores.evaluations == {}
    outcomes = run_variants(jobs, run)
    scores = score_methods(comparison, jobs)
    write_results(comparison, jobs, scores, outcomes)
    folder = jobs[0].job.store.child("comparison/toy")
    rows = read_table(folder, "scores.parquet", SCORES).to_pylist()
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("walk", 0), ("walk", 1), ("gcn", 0), ("gcn", 1), ("gcn_crf", 0), ("gcn_crf", 1), ("plain", 0),
    ]  # fmt: skip
    assert rows[0]["miou"] == pytest.approx(scores.evaluations["walk"][0].scores.miou)
    classes = read_table(folder, "class_scores.parquet", CLASS_SCORES).to_pylist()
    assert len(classes) == 7 * 3
    assert np.mean([row["iou"] for row in classes[:3]]) == pytest.approx(rows[0]["miou"])


def test_the_picture_grid_has_a_row_an_image_and_a_column_a_method(jobs, run):
    comparison, jobs = jobs
    outcomes = run_variants(jobs, run)
    write_results(comparison, jobs, score_methods(comparison, jobs), outcomes)
    grid = np.asarray(Image.open(io.BytesIO(jobs[0].job.store.get("comparison/toy/examples.png"))).convert("RGB"))
    cell_px, gap_px, head_px = (152, 200), 6, 34  # of 38 x 50 pixels
    assert grid.shape[:2] == (head_px + 3 * (cell_px[0] + gap_px) + gap_px, gap_px + 6 * (cell_px[1] + gap_px))
    columns = [grid[head_px : head_px + 152, gap_px + n * 206 : gap_px + n * 206 + 200].astype(int) for n in range(6)]
    photo, truth, _, gcn, gcn_crf, plain = columns
    assert (truth != photo).any()
    np.testing.assert_array_equal(gcn_crf, plain)  # filled with the same masks
    assert (gcn != gcn_crf).any()


def test_examples_are_chosen_by_name_alone(jobs):
    items = jobs[1][0].job.dataset.items
    chosen = choose_examples(items, 2)
    assert chosen == choose_examples(items[::-1], 2)
    assert len(chosen) == 2


def test_without_ground_truth_there_are_no_scores_but_a_page(content, write_comparison, tiny_recipe, run_of, run):
    comparison = load_comparison(write_comparison(content, tiny_recipe(run_of(with_truth=False))))
    jobs = prepare_comparison(comparison)
    outcomes = run_variants(jobs, run)
    scores = score_methods(comparison, jobs)
    assert scores.evaluations == {}
    write_results(comparison, jobs, scores, outcomes)
    assert "| IRNet |  | 66.5 | – |" in jobs[0].job.store.get("comparison/toy/comparison.md").decode()
