from collections.abc import Callable

import pytest

from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.report.ranking import Ranking, rank_images
from wsss_jobs.report.run_view import RunView, run_view


def viewed(job: PreparedJob) -> RunView:
    return run_view(job, evaluate_run(job.plan, job.dataset, job.store))


def ranked(job: PreparedJob, max_images: int = 60) -> Ranking:
    return rank_images(viewed(job), max_images)


def keys(ranking: Ranking) -> list[str]:
    return [item.source_key for item in ranking.items]


def test_the_worst_image_comes_first(make_job: Callable[..., PreparedJob], run_of):
    ranking = ranked(make_job(run_of(keys=["a", "b", "c", "d"], shift_px={"a": 3, "b": 9, "c": 0, "d": 6})))
    assert keys(ranking) == ["b", "d", "a", "c"]
    assert ranking.basis == "mIoU of GCN + CRF"
    assert ranking.num_worst == 4


def test_without_ground_truth_the_least_confident_comes_first(make_job: Callable[..., PreparedJob], run_of):
    confidence = {"a": 0.9, "b": 0.4, "c": 0.6}
    ranking = ranked(make_job(run_of(with_truth=False, confidence=confidence)))
    assert keys(ranking) == ["b", "c", "a"]
    assert ranking.basis == "mean confidence of GCN + CRF"


def test_without_anything_to_go_by_names_decide(make_job: Callable[..., PreparedJob], run_of):
    ranking = ranked(make_job(run_of(keys=["z", "m", "a"], with_truth=False, stages_done=2)))
    assert keys(ranking) == ["a", "m", "z"]
    assert ranking.basis == ""


def test_images_without_a_score_come_last(make_job: Callable[..., PreparedJob], run_of):
    ranking = ranked(make_job(run_of(failed={"gcn_masks": ["a"]}, shift_px={"b": 1, "c": 8})))
    assert keys(ranking) == ["c", "b", "a"]


def test_images_without_a_score_take_no_place_from_others(make_job: Callable[..., PreparedJob], run_of):
    run = run_of(keys=["a", "b", "c", "d"], failed={"gcn_masks": ["a"]}, shift_px={"b": 1, "c": 8, "d": 4})
    assert keys(ranked(make_job(run), max_images=3)) == ["c", "d", "b"]


@pytest.fixture
def ten_images(make_job: Callable[..., PreparedJob], run_of) -> PreparedJob:
    names = [f"i{number}" for number in range(10)]
    return make_job(run_of(keys=names, shift_px={name: 10 - number for number, name in enumerate(names)}))


def test_a_selection_holds_the_worst_and_some_of_the_rest_up_to_the_best(ten_images: PreparedJob):
    ranking = ranked(ten_images, max_images=6)
    assert ranking.num_worst == 4
    assert keys(ranking) == ["i0", "i1", "i2", "i3", "i6", "i9"]


def test_a_selection_has_the_size_that_was_asked_for_and_no_image_twice(ten_images: PreparedJob):
    view = viewed(ten_images)
    for max_images in range(12):
        shown = keys(rank_images(view, max_images))
        assert len(shown) == len(set(shown)) == min(max_images, 10)
        assert shown == sorted(shown)
