from collections.abc import Callable
from dataclasses import replace

import pytest

from wsss_jobs.failed_items import failed_items
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.report.dataset_facts import dataset_facts
from wsss_jobs.report.gallery import Card, gallery_cards
from wsss_jobs.report.layers import gallery_layers
from wsss_jobs.report.pictures import PictureFolder
from wsss_jobs.report.ranking import rank_images
from wsss_jobs.report.run_view import run_view


def cards_of(job: PreparedJob) -> dict[str, Card]:
    view = run_view(job, evaluate_run(job.plan, job.dataset, job.store))
    layers, ranking = gallery_layers(view), rank_images(view, 10)
    pictures = PictureFolder(job.store.child("report"))
    cards = gallery_cards(view, ranking, layers, dataset_facts(job).classes, failed_items(job), pictures)
    return {card.item.source_key: card for card in cards}


def shifted_iou(shift_px: int) -> float:
    """Returns the mean IoU of background and a 24 x 20 rectangle that lies `shift_px` to the right."""
    wrong, object_px, all_px = 20 * shift_px, 20 * 24, 50 * 38
    hits = object_px - wrong
    background = all_px - object_px
    return (hits / (object_px + wrong) + (background - wrong) / (background + wrong)) / 2


def test_each_step_has_the_score_of_the_image(make_job: Callable[..., PreparedJob], run_of):
    card = cards_of(make_job(run_of(keys=["a"], shift_px={"a": 4})))["a"]
    scores = {panel.title: panel.score for panel in card.panels}
    assert scores["GCN"] == pytest.approx(shifted_iou(7))
    assert scores["GCN + CRF"] == pytest.approx(shifted_iou(4))
    assert card.score == scores["GCN + CRF"]
    assert card.crf_gain == pytest.approx(shifted_iou(4) - shifted_iou(7))
    assert scores["Image"] is scores["Ground truth"] is None


def test_cards_have_the_tags_of_their_image_and_their_place(make_job: Callable[..., PreparedJob], run_of):
    cards = cards_of(make_job(run_of(shift_px={"a": 1, "b": 9, "c": 4})))
    assert {key: card.rank for key, card in cards.items()} == {"b": 1, "c": 2, "a": 3}
    assert [tag.name for tag in cards["b"].tags] == ["dog"]
    assert cards["a"].aspect == pytest.approx(50 / 38)


def test_the_first_failure_is_named(make_job: Callable[..., PreparedJob], run_of):
    card = cards_of(make_job(run_of(failed={"label_partially": ["b"]})))["b"]
    notes = {panel.title: panel.note for panel in card.panels}
    assert notes["GCN"] == notes["Partial label"] == "failed in label_partially: nan_cam"
    assert notes["CAM"] == ""
    assert card.score is None
    assert card.crf_gain is None


def test_very_long_images_get_panels_that_fit_a_page(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of(keys=["a", "b"], stages_done=0))
    wide, high = job.dataset.items
    items = (replace(wide, width_px=5000), replace(high, height_px=5000))
    cards = cards_of(replace(job, dataset=replace(job.dataset, items=items)))
    assert cards["a"].aspect == 2.0
    assert cards["b"].aspect == 0.6
