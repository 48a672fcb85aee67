from typing import Any

from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.pipeline import Plan, build_plan
from wsss_jobs.report.steps import run_steps


def plan_of(*stages: dict[str, Any]) -> Plan:
    dataset = {"format": "folder", "images": "i", "tags": "t", "classes": ["cat"]}
    recipe = parse_recipe({"name": "r", "dataset": dataset, "stages": list(stages)})
    return build_plan(recipe.stages, "data", 0)


BASE = ({"stage": "train_classifier"}, {"stage": "infer_cams"}, {"stage": "make_affinity_labels"})


def test_steps_have_the_names_of_evaluations_and_titles_of_methods():
    plan = plan_of(
        *BASE,
        {"stage": "train_affinity"},
        {"stage": "read_cams"},
        {"stage": "refine_masks", "name": "cam_masks"},
        {"stage": "random_walk"},
        {"stage": "refine_masks", "name": "walk_masks", "crf": None},
        {"stage": "label_partially"},
        {"stage": "propagate_gcn"},
        {"stage": "refine_masks"},
    )
    assert [(step.name, step.title, step.variant) for step in run_steps(plan)] == [
        ("infer_cams", "CAM", "masks"),
        ("make_affinity_labels", "Affinity label", "masks"),
        ("cam_masks/before_crf", "CAM mask", "masks_before_crf"),
        ("cam_masks", "CAM mask + CRF", "masks"),
        ("walk_masks", "Random walk", "masks"),
        ("label_partially", "Partial label", "masks"),
        ("refine_masks/before_crf", "GCN", "masks_before_crf"),
        ("refine_masks", "GCN + CRF", "masks"),
    ]


def test_masks_of_a_network_are_named_after_it_trained_here_or_not():
    train, predict = {"stage": "train_segmentation"}, {"stage": "predict_masks"}
    plan = plan_of({"stage": "read_masks", "source": "masks"}, train, predict)
    assert [(step.name, step.title) for step in run_steps(plan)] == [
        ("read_masks", "read_masks"),
        ("predict_masks/before_crf", "Segmentation network"),
        ("predict_masks", "Segmentation network + CRF"),
    ]
    [step] = run_steps(plan_of(predict | {"checkpoint": {"weights": "model.pt"}, "crf": None}))
    assert step.title == "Segmentation network"


def test_steps_of_one_method_are_told_apart_by_their_stage():
    walk = {"stage": "random_walk"}
    plan = plan_of(
        *BASE,
        {"stage": "train_affinity"},
        walk,
        {"stage": "refine_masks", "name": "first", "crf": None},
        walk | {"name": "longer", "walk": {"log2_steps": 9}},
        {"stage": "refine_masks", "name": "second", "crf": None},
    )
    assert [step.title for step in run_steps(plan)[2:]] == ["Random walk (first)", "Random walk (second)"]
