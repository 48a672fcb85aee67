"""Plans: who feeds whom, what runs together, and what a change invalidates."""

import pytest

from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.errors import ConfigError
from wsss_jobs.pipeline import build_plan

CHAIN = [
    {"stage": "train_classifier", "classifier": {"encoder": {"weights": None}}},
    {"stage": "infer_cams"},
    {"stage": "make_affinity_labels"},
    {"stage": "train_affinity"},
    {"stage": "random_walk"},
    {"stage": "refine_masks", "name": "walk_masks", "unary": "label"},
    {"stage": "label_partially"},
    {"stage": "propagate_gcn"},
    {"stage": "refine_masks"},
]


def plan(stages=CHAIN, overrides=(), dataset="d0", seed=0):
    content = {"name": "x", "dataset": {"format": "voc", "root": "."}, "stages": stages}
    return build_plan(parse_recipe(content, overrides).stages, dataset, seed)


def test_inputs_are_the_nearest_earlier_stage_of_the_right_kind():
    found = plan()
    assert found.stage("walk_masks").inputs == {"scores": "random_walk"}
    assert found.stage("refine_masks").inputs == {"scores": "propagate_gcn"}
    assert found.stage("propagate_gcn").inputs == {"partial": "label_partially", "affinity": "train_affinity"}


def test_streamed_stages_run_with_the_stage_that_stores():
    names = [[stage.name for stage in segment.stages] for segment in plan().segments]
    assert ["random_walk", "walk_masks"] in names
    assert ["propagate_gcn", "refine_masks"] in names
    assert [segment.sink.name for segment in plan().segments][:2] == ["train_classifier", "infer_cams"]


def changed(before, after):
    return {stage.name for stage in before.stages if stage.fingerprint != after.stage(stage.name).fingerprint}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("stages.refine_masks.unary=probability", {"refine_masks"}),
        ("stages.propagate_gcn.gcn.num_steps=10", {"propagate_gcn", "refine_masks"}),
        ("stages.label_partially.labels.alpha_low=6", {"label_partially", "propagate_gcn", "refine_masks"}),
        ("stages.refine_masks.resources.batch_size=7", set()),
        ("stages.propagate_gcn.resources.num_cpus=2", set()),
    ],
)
def test_a_change_invalidates_what_depends_on_it_and_nothing_else(override, expected):
    assert changed(plan(), plan(overrides=[override])) == expected


def test_data_set_and_seed_change_everything():
    everything = {stage.name for stage in plan().stages}
    assert changed(plan(), plan(dataset="d1")) == everything
    assert changed(plan(), plan(seed=1)) == everything


def test_a_version_bump_invalidates_the_stage(monkeypatch):
    before = plan()
    monkeypatch.setattr(before.stage("label_partially").spec, "VERSION", 99)
    assert changed(before, plan()) == {"label_partially", "propagate_gcn", "refine_masks"}


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([{"stage": "infer_cams"}], "no earlier stage writes ClassifierCheckpoint"),
        (CHAIN[:5], "random_walk: its ClassScores is streamed, and no later stage reads it"),
        (
            [*CHAIN[:2], {"stage": "label_partially", "inputs": {"cams": "train_classifier"}}],
            "is no earlier stage that",
        ),
    ],
)
def test_impossible_recipes_are_refused_before_anything_runs(stages, words):
    with pytest.raises(ConfigError, match=words):
        plan(stages)


PSA_CHAIN = [
    *CHAIN[:2],
    {"stage": "make_affinity_scores"},
    {"stage": "train_affinitynet"},
    {"stage": "random_walk_psa"},
    {"stage": "refine_masks", "name": "walk_masks", "unary": "label"},
    {"stage": "label_partially", "stride": 8},
    {"stage": "propagate_gcn"},
    {"stage": "refine_masks"},
]


def test_the_gcn_takes_either_affinity_network_and_each_walk_its_own():
    found = plan(PSA_CHAIN)
    assert found.stage("propagate_gcn").inputs["affinity"] == "train_affinitynet"
    assert found.stage("random_walk_psa").inputs["affinity"] == "train_affinitynet"
    assert found.stage("train_affinitynet").is_training
    both = plan([*PSA_CHAIN[:4], *CHAIN[2:6], {**PSA_CHAIN[4]}, {**PSA_CHAIN[5], "name": "psa_masks"}])
    assert both.stage("random_walk").inputs["affinity"] == "train_affinity"
    assert both.stage("random_walk_psa").inputs["affinity"] == "train_affinitynet"


def test_a_walk_without_its_affinity_network_is_refused():
    wrong = [stage for stage in PSA_CHAIN if stage["stage"] != "random_walk_psa"]
    wrong.insert(4, {"stage": "random_walk"})
    with pytest.raises(ConfigError, match="no earlier stage writes IRNetCheckpoint"):
        plan(wrong)
