from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.pipeline import build_plan
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.quality.scores import scores
from wsss_jobs.report.generations import generations
from wsss_jobs.report.page import _environment
from wsss_jobs.report.score_tables import StepScore

STEP = StepScore("CAM mask", "isim_masks_1", "", 0.5, None, 0.5, 0.5, 0.5, None, 1, 0, False, False)
AFTER = [
    {"stage": "infer_cams"},
    {"stage": "read_cams"},
    {"stage": "refine_masks", "name": "cam_masks"},
    {"stage": "make_affinity_labels"},
    {"stage": "train_affinity"},
    {"stage": "random_walk"},
    {"stage": "refine_masks", "name": "walk_masks"},
]


def plan_of(*stages):
    dataset = {"format": "folder", "images": "i", "tags": "t", "classes": ["cat"]}
    return build_plan(parse_recipe({"name": "r", "dataset": dataset, "stages": list(stages)}).stages, "data", 0)


def evaluation(name, share, kind="mask"):
    """Scores of masks that hit `share` of two equally frequent classes, and call the rest the other one."""
    hits, misses = round(100 * share), 100 - round(100 * share)
    return Evaluation(name, kind, scores(np.array([[hits, misses], [misses, hits]]), ["cat"]), (), 0)


def iou(share):
    return 100 * share / (2 - share)


def test_each_product_has_a_curve_over_the_phases_that_it_comes_from():
    plan = plan_of({"stage": "isim", "keep_cams": True, "regenerate_after": [1, 2], "num_epochs": 3}, *AFTER)
    found = generations(
        plan,
        [
            evaluation("isim_cams_1", 0.5, "cam"),
            evaluation("isim_masks_1/before_crf", 0.4),
            evaluation("isim_masks_1", 0.6),
            evaluation("isim_cams_2", 0.7, "cam"),
            evaluation("isim_masks_2", 0.8),
            evaluation("infer_cams", 0.9, "cam"),
            evaluation("cam_masks", 0.95),
            evaluation("make_affinity_labels", 0.1, "partial"),
            evaluation("walk_masks", 0.99),
        ],
    )
    assert found.phases == (0, 1, 2)
    ends = {curve.name: (len(curve.points), curve.first, curve.last) for curve in found.curves}
    assert ends == {
        "CAM at its best threshold": (3, pytest.approx(iou(0.5)), pytest.approx(iou(0.9))),
        "CAM mask": (1, pytest.approx(iou(0.4)), pytest.approx(iou(0.4))),
        "CAM mask with CRF": (3, pytest.approx(iou(0.6)), pytest.approx(iou(0.95))),
    }


def test_without_a_crf_masks_are_plain_ones():
    section = {"stage": "isim", "regenerate_after": [1, 2], "num_epochs": 3, "masks": {"crf": None}}
    found = generations(plan_of(section), [evaluation("isim_masks_1", 0.5), evaluation("isim_masks_2", 0.6)])
    assert [curve.name for curve in found.curves] == ["CAM mask"]


def test_other_runs_have_none():
    plan = plan_of({"stage": "train_classifier"}, *AFTER)
    assert generations(plan, [evaluation("infer_cams", 0.5, "cam"), evaluation("cam_masks", 0.6)]) is None
    plan = plan_of({"stage": "isim", "regenerate_after": [1], "num_epochs": 3})
    assert generations(plan, [evaluation("isim_masks_1", 0.5)]) is None


ACR = {"stage": "train_acr", "schedule": {"num_epochs": 8}, "keep_epochs": [1, 2]}
GROWN = [
    {"stage": "infer_cams"},
    {"stage": "infer_cams", "name": "cams_1", "epoch": 1},
    {"stage": "infer_cams", "name": "cams_2", "epoch": 2},
]


def test_cams_of_kept_epochs_have_a_curve_on_which_epochs_are_as_far_apart_as_their_numbers():
    scores_of = [
        evaluation("infer_cams", 0.8, "cam"),
        evaluation("cams_1", 0.5, "cam"),
        evaluation("cams_2", 0.6, "cam"),
    ]
    found = generations(plan_of(ACR, *GROWN), scores_of)
    assert (found.unit, found.phases) == ("epoch", (1, 2, 8))
    [line] = found.curves
    assert (line.first, line.last) == (pytest.approx(iou(0.5)), pytest.approx(iou(0.8)))
    x1, x2, x8 = (x for x, _ in line.points)
    assert (x8 - x1) / (x2 - x1) == pytest.approx(7, abs=0.1)
    assert generations(plan_of(ACR, *GROWN), scores_of[:1]) is None


def test_trainings_of_other_lengths_are_no_curve():
    """Each stores its last epoch alone: 8 and 4 epochs of two trainings are no growth of one."""
    pair = [{**ACR, "keep_epochs": []}, {**ACR, "name": "short", "schedule": {"num_epochs": 4}, "keep_epochs": []}]
    ends = [
        {"stage": "infer_cams", "name": name, "inputs": {"classifier": name_of}}
        for name, name_of in (("long_cams", "train_acr"), ("short_cams", "short"))
    ]
    plan = plan_of(*pair, *ends)
    assert generations(plan, [evaluation("long_cams", 0.8, "cam"), evaluation("short_cams", 0.5, "cam")]) is None


def test_the_page_draws_them():
    section = {"stage": "isim", "regenerate_after": [1, 2], "num_epochs": 3}
    found = generations(plan_of(section), [evaluation("isim_masks_1", 0.5), evaluation("isim_masks_2", 0.6)])
    page = "{% import 'parts.html.j2' as parts %}{% include 'quality.html.j2' %}"
    nothing = dict.fromkeys(
        ("image_scores", "classes", "has_gains", "heat_light", "fraction_charts", "class_shares"), ()
    )
    content = {
        **nothing,
        "has_gains": False,
        "facts": SimpleNamespace(num_truths=1),
        "steps": [STEP],
        "chart_width": 240,
        "confusion": None,
    }
    epochs = replace(found, phases=(2, 8), unit="epoch")
    html = _environment().from_string(page).render(**content, chart_height=110, generations=epochs)
    assert "Over the epochs" in html
    assert "epoch 2</span>" in html
    assert "by epoch, from 33.3 to 42.9" in html
    assert "phase" not in html
    for shown, given in ((1, found), (0, None)):
        html = _environment().from_string(page).render(**content, chart_height=110, generations=given)
        assert html.count("Over the generations") == html.count(found.curves[0].path) == shown
        assert html.count("by phase, from 33.3 to 42.9") == shown
