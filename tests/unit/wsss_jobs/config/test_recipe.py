"""Recipes: what is accepted, and what is said of what is not."""

import pytest

from wsss_jobs.config.recipe import load_recipe, parse_recipe, shipped_recipes
from wsss_jobs.errors import ConfigError

BASE = {
    "name": "small",
    "dataset": {"format": "voc", "root": "data"},
    "stages": [
        {"stage": "train_classifier", "classifier": {"encoder": {"name": "resnet18"}}},
        {"stage": "infer_cams", "scales": [1.0]},
        {"stage": "label_partially"},
    ],
}


def with_stage(**entry):
    return {**BASE, "stages": [entry]}


def test_defaults_are_filled_in():
    recipe = parse_recipe(BASE)
    assert recipe.run == "small"
    assert [stage.name for stage in recipe.stages] == ["train_classifier", "infer_cams", "label_partially"]
    assert recipe.stages[0].config.schedule.global_batch_size == 16
    assert recipe.stages[1].config.scales == (1.0,)
    assert recipe.stages[2].config.labels.alpha_high == 32


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({**BASE, "stagess": []}, "stagess: unknown key; did you mean 'stages'?"),
        ({**BASE, "seed": -1}, "seed: .*greater than or equal to 0"),
        ({**BASE, "run": "My Run"}, "run: use lower-case"),
        (with_stage(stage="train_clasifier"), "unknown stage 'train_clasifier'"),
        (with_stage(stage="infer_cams", scals=[1.0]), "stages.infer_cams.scals: unknown key; did you mean 'scales'?"),
        (with_stage(stage="infer_cams", scales="big"), "stages.infer_cams.scales"),
        (with_stage(stage="infer_cams", inputs={"clasifier": "x"}), "unknown input; this stage reads classifier"),
        (with_stage(stage="infer_cams", resources={"num_gpu": 1}), "did you mean 'num_gpus'?"),
        (
            with_stage(stage="train_classifier", classifier={"encoder": {"nam": "resnet18"}}),
            "stages.train_classifier.classifier.encoder.nam: unknown key; did you mean 'name'?",
        ),
        (
            with_stage(stage="propagate_gcn", gcn={"graph": {"radious": 5}}),
            "stages.propagate_gcn.gcn.graph.radious: unknown key; did you mean 'radius'?",
        ),
        (with_stage(stage="propagate_gcn", gcn={"dropout": 2.0}), "stages.propagate_gcn.gcn.*dropout must be in"),
        (
            {**BASE, "stages": [{"stage": "infer_cams"}, {"stage": "infer_cams"}]},
            "two are called 'infer_cams'",
        ),
    ],
)
def test_errors_name_the_place_the_value_and_the_remedy(content, words):
    with pytest.raises(ConfigError, match=words):
        parse_recipe(content)


def test_set_reaches_stages_by_name_and_parses_yaml():
    recipe = parse_recipe(BASE, ["stages.infer_cams.scales=[0.5, 1.0]", "seed=3", "store.uri=s3://b/x"])
    assert recipe.stages[1].config.scales == (0.5, 1.0)
    assert (recipe.seed, recipe.store.uri) == (3, "s3://b/x")
    assert BASE["stages"][1]["scales"] == [1.0]


def test_set_changes_one_stage_where_two_share_a_mapping_by_a_yaml_alias(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: a\ndataset: {format: voc, root: x}\nstages:\n"
        "- {stage: train_classifier, schedule: &schedule {num_epochs: 7}}\n"
        "- {stage: infer_cams}\n- {stage: make_affinity_labels}\n- {stage: train_affinity, schedule: *schedule}\n"
    )
    recipe = load_recipe(str(path), ["stages.train_affinity.schedule.num_epochs=2"])
    assert [recipe.stages[index].config.schedule.num_epochs for index in (0, 3)] == [7, 2]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "write it as path=value"),
        ("stages.nothing.x=1", "has no stage 'nothing'; it has train_classifier"),
        ("stages.infer_cams=1", "cannot be replaced"),
        ("seed.x=1", "'seed' is a plain value|seed"),
        ("stages.infer_cams.scals=[1]", "did you mean 'scales'"),
    ],
)
def test_bad_overrides_are_explained(override, words):
    with pytest.raises(ConfigError, match=words):
        parse_recipe({**BASE, "seed": 1}, [override])


def test_files_are_read_and_faults_in_them_named(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nname: b\n")
    with pytest.raises(ConfigError, match=r"r.yaml: key 'name' is given twice \(line 2\)"):
        load_recipe(str(path))
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="must hold a mapping"):
        load_recipe(str(path))
    path.write_text("a: [\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_recipe(str(path))
    with pytest.raises(ConfigError, match=r"no such file.*shipped: "):
        load_recipe("no_such_recipe")


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_shipped_recipes_are_valid(name):
    recipe = load_recipe(name)
    assert recipe.name == name


def test_small_recipes_of_irn_hold_the_stages_of_the_demo():
    demo, small, baseline = (load_recipe(name).content for name in ("demo", "wsgcn_i_small", "irn_small"))
    assert small["stages"] == demo["stages"]
    assert baseline["stages"] == demo["stages"][: len(baseline["stages"])]
    assert [stage["stage"] for stage in baseline["stages"][-2:]] == ["random_walk", "refine_masks"]
    own = {"stages", "name", "description"}
    assert {key: small[key] for key in small.keys() - own} == {key: baseline[key] for key in baseline.keys() - own}


def test_published_values_are_in_the_recipes_of_the_papers():
    """Values that `wsgcn_i_voc` and its relatives take from the papers and their code, by hand from there."""
    stages = {
        name: {each.get("name", each["stage"]): each for each in load_recipe(name).content["stages"]}
        for name in ("irn_voc", "psa_voc", "wsgcn_i_voc", "wsgcn_p_voc")
    }
    for name in ("wsgcn_i_voc", "wsgcn_p_voc"):
        gcn = stages[name]["propagate_gcn"]["gcn"]
        keys = ("num_steps", "hidden_channels", "dropout", "learning_rate", "weight_decay")
        assert [gcn[key] for key in keys] == [250, 16, 0.3, 0.01, 5e-4]
        assert (gcn["entropy_weight"], gcn["laplacian_weight"], gcn["graph"]["self_loop"]) == (10, 0.01, 1)
        labels = stages[name]["label_partially"]["labels"]
        assert (labels["alpha_low"], labels["alpha_high"], labels["foreground_fraction"]) == (4, 32, 0.3)
        assert stages[name]["gcn_masks"]["crf"] == "wsgcn_complete_labels"
    for name in ("irn_voc", "wsgcn_i_voc"):
        assert stages[name]["random_walk"]["walk"] == {"radius": 5, "beta": 10, "log2_steps": 8}
        assert stages[name]["random_walk"]["background_threshold"] == 0.25
        assert stages[name]["train_affinity"]["radius"] == 10
        labels = stages[name]["make_affinity_labels"]["labels"]
        assert (labels["foreground_threshold"], labels["background_threshold"]) == (0.3, 0.05)
    for name in ("psa_voc", "wsgcn_p_voc"):
        walk = stages[name]["random_walk_psa"]
        assert (walk["walk"]["beta"], walk["walk"]["log2_steps"], walk["alpha"]) == (8, 8, 16)
        assert stages[name]["make_affinity_scores"]["scores"]["alpha_high"] == 32
        assert stages[name]["train_affinitynet"]["crop_px"] == 448
