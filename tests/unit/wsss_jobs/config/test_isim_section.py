"""The section `isim` of a recipe: the chain of Algorithm 1, what its settings reach, and what it refuses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.crf.presets import PRESETS
from wsss_jobs.config.recipe import load_recipe, parse_recipe, shipped_recipes
from wsss_jobs.errors import ConfigError
from wsss_jobs.pipeline import build_plan
from wsss_jobs.report.steps import run_steps


def recipe_of(*after, overrides=(), **section):
    dataset = {"format": "voc", "root": "data"}
    return parse_recipe({"name": "r", "dataset": dataset, "stages": [{"stage": "isim", **section}, *after]}, overrides)


def plan_of(*after, **section):
    return build_plan(recipe_of(*after, **section).stages, "data", 0)


def fingerprints(plan):
    return {stage.name: stage.fingerprint for stage in plan.stages}


def test_the_default_is_the_papers_schedule():
    plan = plan_of()
    trainings = [stage for stage in plan.stages if stage.is_training]
    assert [stage.name for stage in trainings] == [f"isim_train_{k}" for k in range(6)]
    assert [stage.config.schedule.num_epochs for stage in trainings] == [5, 15, 25, 35, 45, 50]
    assert [stage.config.generation for stage in trainings] == [0, 1, 2, 3, 4, 5]
    assert [stage.config.network.decoder for stage in trainings] == ["none", *["deeplab_v3plus"] * 5]
    labelling = plan.stage("isim_scores_3").config, plan.stage("isim_masks_3").config
    assert labelling[0].background_threshold == 0.3
    assert labelling[0].scales == (1.0, 0.5, 1.5, 2.0)
    assert (labelling[1].unary, labelling[1].label_confidence) == ("label", 0.7)
    assert labelling[1].crf == PRESETS["isim_pseudo_labels"].config


def test_every_phase_reads_the_one_before_and_the_masks_made_of_it():
    plan = plan_of({"stage": "infer_cams"})
    for k in range(1, 6):
        assert plan.stage(f"isim_train_{k}").inputs == {"previous": f"isim_train_{k - 1}", "masks": f"isim_masks_{k}"}
        assert plan.stage(f"isim_scores_{k}").inputs == {"classifier": f"isim_train_{k - 1}"}
        assert [stage.name for stage in plan.segments[2 * k - 1].stages] == [f"isim_scores_{k}", f"isim_masks_{k}"]
    assert plan.stage("infer_cams").inputs == {"classifier": "isim_train_5"}


def test_cams_may_be_stored_too():
    plan = plan_of(keep_cams=True, regenerate_after=[2, 4], num_epochs=5)
    assert plan.stage("isim_scores_2").inputs == {"cams": "isim_cams_2"}
    assert plan.stage("isim_cams_2").inputs == {"classifier": "isim_train_1"}
    steps = [step.name for step in run_steps(plan)]
    assert steps[:3] == ["isim_cams_1", "isim_masks_1/before_crf", "isim_masks_1"]


def test_steps_of_streamed_cams_are_called_cam_masks():
    titles = [step.title for step in run_steps(plan_of(regenerate_after=[1], num_epochs=2))]
    assert titles == ["CAM mask", "CAM mask + CRF"]


def test_convergence_replaces_the_ends_of_phases():
    plan = plan_of(regenerate_after=[5], convergence={"num_generations": 3, "max_epochs": 8})
    trainings = [stage.config for stage in plan.stages if stage.is_training]
    assert trainings[0].convergence is None
    assert all(config.convergence.max_epochs == 8 for config in trainings[1:])
    # One epoch of the 50 is left to each phase that follows.
    assert [config.schedule.num_epochs for config in trainings] == [5, 48, 49, 50]


def test_without_generations_it_is_the_baseline():
    [only] = plan_of(regenerate_after=[], num_epochs=7).stages
    assert (only.name, only.config.schedule.num_epochs, only.config.network.decoder) == ("isim_train_0", 7, "none")
    assert plan_of(regenerate_after=[], num_epochs=5).stages[0].fingerprint == plan_of().stages[0].fingerprint


def test_settings_reach_their_stages_and_resources_change_no_fingerprint():
    recipe = recipe_of(
        overrides=[
            "stages.isim.training.decoder_lr=0.01",
            "stages.isim.masks.crf=null",
            "stages.isim.cams.scales=[1.0]",
        ],
        resources={"train": {"num_cpus": 3}, "cams": {"batch_size": 2}, "masks": {"max_workers": 5}},
    )
    by_name = {stage.name: stage for stage in recipe.stages}
    assert by_name["isim_train_2"].config.decoder_lr == 0.01
    assert by_name["isim_masks_1"].config.crf is None
    assert by_name["isim_scores_5"].config.scales == (1.0,)
    taken = [by_name[f"isim_{name}"].resources for name in ("train_0", "scores_1", "masks_1")]
    assert [taken[0].num_cpus, taken[1].batch_size, taken[2].max_workers] == [3, 2, 5]
    assert fingerprints(plan_of(resources={"train": {"num_cpus": 3}})) == fingerprints(plan_of())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True).map(sorted), st.integers(1, 30))
def test_more_generations_leave_the_earlier_ones_as_they_are(epochs, more):
    """What a longer training has in common with a shorter one is not done again."""
    short = plan_of(regenerate_after=epochs, num_epochs=epochs[-1] + more)
    longer = plan_of(regenerate_after=[*epochs, epochs[-1] + more], num_epochs=epochs[-1] + more + 1)
    common = fingerprints(short)
    assert common.items() <= fingerprints(longer).items()
    assert len(common) == 3 * len(epochs) + 1


def test_decoders_share_the_first_phase_and_its_labels():
    first = fingerprints(plan_of())
    for training in ({"network": {"decoder": "unet_learnable"}}, {"decoder_lr": 0.01}, {"segmentation_weight": 2.0}):
        other = fingerprints(plan_of(training=training))
        assert {name for name in first if first[name] == other[name]} == {
            "isim_train_0",
            "isim_scores_1",
            "isim_masks_1",
        }


def test_two_sections_have_names_of_their_own():
    plan = plan_of({"stage": "isim", "name": "second", "training": {"network": {"decoder": "deeplab_v3"}}})
    assert plan.stage("second_train_2").inputs == {"previous": "second_train_1", "masks": "second_masks_2"}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"regenerate_after": [5, 5]}, "ascending epochs from 1 up; got \\[5, 5\\]"),
        ({"regenerate_after": [0]}, "ascending epochs"),
        ({"num_epochs": 45}, "ends at 45, and no epoch of the 45"),
        ({"convergence": {}}, "regenerate_after is one number"),
        (
            {"regenerate_after": [5], "num_epochs": 7, "convergence": {"num_generations": 3}},
            "of the 7 of num_epochs there are not as many left as generations \\(3\\)",
        ),
        ({"training": {"encoder_lrr": 1}}, "stages.isim.training.encoder_lrr: unknown key; did you mean 'encoder_lr'?"),
        ({"training": {"schedule": {"num_epochs": 3}}}, "set num_epochs of the section instead"),
        ({"training": {"generation": 2}}, "set by the section"),
        ({"masks": {"crf": "isim"}}, "no preset 'isim'"),
        ({"cams": {"scale": [1]}}, "did you mean 'scales'?"),
        ({"resources": {"cams": {"num_gpu": 1}}}, "stages.isim_scores_1.resources.num_gpu.*did you mean 'num_gpus'?"),
        ({"name": "My Section"}, "use lower-case letters"),
        ({"trainingg": {}}, "stages.isim.trainingg: unknown key; did you mean 'training'?"),
    ],
)
def test_errors_name_the_place_and_the_remedy(section, words):
    with pytest.raises(ConfigError, match=words):
        recipe_of(**section)


def test_a_phase_written_by_hand_must_fit_the_one_before():
    first = {"stage": "train_isim", "name": "first", "generation": 0, "network": {"decoder": "none"}}
    labels = [{"stage": "infer_cam_scores"}, {"stage": "refine_masks"}]
    dataset = {"format": "voc", "root": "data"}

    def planned(**second):
        stages = [first, *labels, {"stage": "train_isim", "name": "second", **second}]
        return build_plan(parse_recipe({"name": "r", "dataset": dataset, "stages": stages}).stages, "data", 0)

    longer = {"schedule": {"num_epochs": 6}}
    assert planned(generation=1, **longer).stage("second").inputs["previous"] == "first"
    with pytest.raises(ConfigError, match="goes on from generation 1; its input is of generation 0"):
        planned(generation=2, **longer)
    with pytest.raises(ConfigError, match="the phase before may last until 5: no epoch would be left"):
        planned(generation=1)
    with pytest.raises(ConfigError, match="network: must be that of the phase before"):
        planned(generation=1, network={"classifier": {"frozen_stages": 1}}, **longer)


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if name.startswith("isim")])
def test_shipped_recipes_of_isim_can_be_planned(name):
    recipe = load_recipe(name)
    plan = build_plan(recipe.stages, "data", recipe.seed)
    assert any(stage.spec.NAME == "train_isim" for stage in plan.stages)


def test_small_recipes_have_their_stages_in_common():
    small, unet, wsgcn, irn = (
        load_recipe(name).content for name in ("isim_small", "isim_unetcam_small", "isim_wsgcn_small", "wsgcn_i_small")
    )
    own = {"stages", "name", "description"}
    for other in (unet, wsgcn):
        assert {key: other[key] for key in other.keys() - own} == {key: small[key] for key in small.keys() - own}
    num_common = len(small["stages"])
    assert wsgcn["stages"][:num_common] == small["stages"]
    of_cams = [stage for stage in irn["stages"] if stage["stage"] == "read_cams" or stage.get("name") == "cam_masks"]
    of_irn = [stage for stage in irn["stages"][2:] if stage not in of_cams]
    assert wsgcn["stages"][num_common:] == of_irn
    unet["stages"][0]["training"]["network"]["decoder"] = "deeplab_v3plus"
    assert unet["stages"] == small["stages"]


def test_the_gcn_of_the_small_recipe_stands_on_the_last_phase():
    plan = build_plan(load_recipe("isim_wsgcn_small").stages, "data", 0)
    assert plan.stage("infer_cams").inputs == {"classifier": "isim_train_3"}
    assert plan.stage("train_affinity").inputs["classifier"] == "isim_train_3"
    assert {plan.stage(name).inputs["cams"] for name in ("make_affinity_labels", "random_walk", "label_partially")} == {
        "infer_cams"
    }
