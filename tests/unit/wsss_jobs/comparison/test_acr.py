"""The comparisons of ACR: the paper's numbers, their differences as aims, and what the variants share."""

from pathlib import Path

import pytest

from wsss_jobs.comparison.config import load_comparison
from wsss_jobs.comparison.jobs import variant_recipes
from wsss_jobs.comparison.table_epochs import column_epochs
from wsss_jobs.pipeline import build_plan

REPOSITORY = Path(__file__).parents[4]
ALL = ["acr_voc", "acr_small", str(REPOSITORY / "benchmarks" / "real_voc_acr.yaml")]
ABLATIONS = ("adversarial", "adversarial_srf", "target_only", "rest_only")


def plans_of(source):
    recipes = variant_recipes(load_comparison(source))
    return {name: build_plan(recipe.stages, "data", seed) for (name, seed), recipe in recipes.items() if seed == 0}


@pytest.mark.parametrize("source", ALL)
def test_the_papers_tables_and_the_aims_that_follow_from_them(source):
    comparison = load_comparison(source)
    table_1 = {row.ours: row.published["miou"] for row in comparison.tables["table_1"].rows}
    assert list(table_1.values()) == [48.4, 52.9, 54.6, 55.8, 60.3]
    table_2 = {row.ours: row.published for row in comparison.tables["table_2"].rows}
    assert table_2["target_only"] == {"precision": 73.0, "recall": 68.0, "miou": 53.4}
    assert table_2["rest_only"] == {"precision": 58.0, "recall": 77.0, "miou": 51.5}
    published = {
        "miou": table_1 | {name: row["miou"] for name, row in table_2.items()},
        "mean_precision": {name: row["precision"] for name, row in table_2.items()},
        "mean_recall": {name: row["recall"] for name, row in table_2.items()},
    }
    for name, margin in comparison.margins.items():
        numbers = published[margin.metric]
        assert margin.aim == pytest.approx(numbers[margin.above] - numbers[margin.below]), name


def test_tables_3_and_4_hold_the_competitors():
    tables = load_comparison("acr_voc").tables
    seeds = {row.method: row.published for row in tables["table_3"].rows}
    assert (len(seeds), seeds["ACR"]) == (18, {"seed": 60.3, "crf": 65.9, "mask": 72.3})
    assert seeds["ACR + ViT"] == {"seed": 65.5, "mask": 70.9}
    assert max(row["seed"] for name, row in seeds.items() if not name.startswith("ACR")) == 61.7
    networks = [(row.method, row.published) for row in tables["table_4"].rows]
    assert len(networks) == 18
    assert ("ACR", {"val": 71.9, "test": 71.9, "coco": 45.3}) in networks
    assert max(published["val"] for _, published in networks if "val" in published) == 72.4


@pytest.mark.parametrize("source", ALL)
def test_variants_share_the_baseline_and_differ_in_one_thing(source):
    plans = plans_of(source)
    without, with_srf = plans["pretrained"], plans["pretrained_srf"]
    for stage in ("train_baseline", "baseline_cams"):
        assert without.stage(stage).fingerprint == with_srf.stage(stage).fingerprint
    assert without.stage("train_reconstructor").config.remnants.probability == 0
    assert with_srf.stage("train_reconstructor").config.remnants.probability == 0.8
    assert with_srf.stage("infer_cams").inputs == {"classifier": "train_acr"}
    trainings = {name: plans[name].stage("train_acr").config for name in ABLATIONS}
    full = trainings["adversarial_srf"]
    assert trainings["adversarial"].remnants.probability == 0
    for name, field in (("target_only", "spoil_rest"), ("rest_only", "spoil_target")):
        assert getattr(trainings[name].losses.terms, field) == 0
        assert trainings[name].remnants == full.remnants
    baseline = with_srf.stage("train_baseline").config
    for setting in ("classifier", "schedule", "augmentation", "encoder_lr", "head_lr"):
        assert getattr(baseline, setting) == getattr(full, setting)
    assert with_srf.stage("train_acr").config == full.model_copy(update={"adversary": "pretrained", "keep_epochs": ()})
    for stage in ("baseline_cams", "infer_cams"):
        assert with_srf.stage(stage).config == plans["adversarial_srf"].stage("infer_cams").config


@pytest.mark.parametrize("source", ALL)
def test_figure_5_is_of_the_classifiers_losses_over_the_epochs(source):
    comparison, plans = load_comparison(source), plans_of(source)
    trainings = {name: plans[name].stage("train_acr") for name in ("target_only", "rest_only", "adversarial_srf")}
    kept = trainings["target_only"].config.keep_epochs
    num_epochs = trainings["target_only"].config.schedule.num_epochs
    assert list(column_epochs(comparison, "figure_5", plans).values()) == [*kept, num_epochs]
    assert [epoch / num_epochs for epoch in kept] == pytest.approx([0.125, 0.25, 0.5], abs=0.03)
    rows = comparison.tables["figure_5"].rows
    assert [row.ours["end"] for row in rows] == list(trainings)
    for row, (name, training) in zip(rows, trainings.items(), strict=True):
        assert {comparison.methods[method].variant for method in row.ours.values()} == {name}
        end = plans[name].stage("infer_cams")
        for column in ("early", "quarter", "half"):
            stage = plans[name].stage(comparison.methods[row.ours[column]].step)
            assert stage.inputs == end.inputs == {"classifier": training.name}
            assert stage.config.model_copy(update={"epoch": None}) == end.config


def test_acr_and_its_vit_share_one_training():
    plans = plans_of("acr_voc")
    for stage in ("train_acr", "infer_cams"):
        assert plans["vit"].stage(stage).fingerprint == plans["adversarial_srf"].stage(stage).fingerprint
