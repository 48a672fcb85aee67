"""The review queue in the page, and which estimate it may show."""

from dataclasses import replace

import pytest

from wsss_jobs.quality.estimate import estimate_quality
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.quality.quality_files import write_quality
from wsss_jobs.report.build import build_report
from wsss_jobs.report.ranking import rank_images
from wsss_jobs.report.run_view import run_view

KEYS = ["a", "b", "c", "d"]
SHIFTS = {"a": 2, "b": 12, "c": 4, "d": 9}


@pytest.fixture
def job(make_job, run_of):
    return make_job(run_of(keys=KEYS, shift_px=SHIFTS))


def page(job, evaluations=()):
    build_report(job, evaluations)
    return job.store.child("report/tiny").get("index.html").decode()


def test_the_queue_shows_the_worst_with_reasons_and_pictures(job):
    estimate = estimate_quality(job.plan, job.dataset, job.store)
    write_quality(job.store, "tiny", estimate)
    html = page(job, evaluate_run(job.plan, job.dataset, job.store))
    section = html[html.index('id="review"') : html.index('id="gallery"')]
    assert section.count('<figure class="review">') == 4
    positions = [section.index(f"<bdi>{image.source_key}</bdi>") for image in estimate.images]
    assert positions == sorted(positions)
    assert section.count("pictures/") == 8  # photo and mask
    assert estimate.images[0].reason in section
    assert "Confusion matrix" in html


def test_without_an_estimate_the_page_says_how_to_get_one(job):
    assert "have no quality scores yet" in page(job)


def test_an_estimate_of_other_masks_is_not_shown(job):
    estimate = estimate_quality(job.plan, job.dataset, job.store)
    write_quality(job.store, "tiny", replace(estimate, fingerprint="0" * 12))
    assert run_view(job, ()).quality is None
    assert "have no quality scores yet" in page(job)


def test_without_truth_the_gallery_goes_by_the_score(make_job, run_of):
    job = make_job(run_of(keys=KEYS, shift_px=SHIFTS, with_truth=False, confidence={"a": 0.1}))
    assert "confidence" in rank_images(run_view(job, ()), 4).basis
    estimate = estimate_quality(job.plan, job.dataset, job.store)
    write_quality(job.store, "tiny", estimate)
    ranking = rank_images(run_view(job, ()), 4)
    assert ranking.basis == "quality score of GCN + CRF"
    assert [item.item_id for item in ranking.items] == [image.item_id for image in estimate.images]
