from pathlib import Path

import pytest
import yaml

from wsss_jobs.comparison.config import load_comparison
from wsss_jobs.comparison.jobs import prepare_comparison, variant_recipes
from wsss_jobs.comparison.sharing import shared_stages
from wsss_jobs.errors import ConfigError
from wsss_jobs.pipeline import build_plan

REPOSITORY = Path(__file__).parents[4]
SMALL = ["wsgcn_small", str(REPOSITORY / "benchmarks" / "real_voc_compare.yaml")]


@pytest.mark.parametrize("source", [*SMALL, "wsgcn_voc"])
def test_ablations_share_all_but_the_gcn(source):
    plans = plans_of(source)
    last = {"propagate_gcn", "gcn_masks"}
    for ablation in ("fg_bg", "entropy", "laplacian"):
        ours, full = fingerprints(plans[ablation]), fingerprints(plans["wsgcn_i"])
        assert {name for name in full if ours[name] != full[name]} == last


@pytest.mark.parametrize("source", SMALL)
def test_both_chains_have_one_classifier_and_may_have_one_set_of_cams(source):
    plans = plans_of(source)
    i, p = fingerprints(plans["wsgcn_i"]), fingerprints(plans["wsgcn_p"])
    shared = {name for name in i if p.get(name) == i[name]}
    assert {"train_classifier"} <= shared <= {"train_classifier", "infer_cams", "read_cams", "cam_masks"}


def plans_of(source):
    comparison = load_comparison(source)
    recipes = variant_recipes(comparison)
    return {name: build_plan(recipe.stages, "data", seed) for (name, seed), recipe in recipes.items() if seed == 0}


def fingerprints(plan):
    return {stage.name: stage.fingerprint for stage in plan.stages}


def test_jobs_run_all_variants_of_a_seed_before_the_next_seed(content, write_comparison, tiny_recipe, run_of):
    content["seeds"] = [5, 6]
    jobs = prepare_comparison(load_comparison(write_comparison(content, tiny_recipe(run_of()))))
    assert [(each.variant, each.seed) for each in jobs] == [("full", 5), ("plain", 5), ("full", 6), ("plain", 6)]
    assert {each.job.store.uri.rsplit("/", 1)[1] for each in jobs} == {"toy"}
    assert len({each.job.recipe.name for each in jobs}) == 4
    shared = [(each.status.stage.name, each.seeds, each.users) for each in shared_stages(jobs)]
    assert ("train_classifier", (5,), ("full", "plain")) in shared
    assert ("gcn_masks", (6,), ("plain",)) in shared
    assert len(shared) == 2 * (9 + 1)  # of the plain variant, the masks alone differ


def test_a_change_of_a_stage_counts_where_the_stage_is(content, write_comparison, tiny_recipe, run_of):
    recipe = tiny_recipe(run_of())
    other = recipe | {"stages": recipe["stages"][:6]}
    content["variants"]["short"] = {"recipe": "short.yaml"}
    path = write_comparison(content, recipe)
    Path(path).with_name("short.yaml").write_text(yaml.safe_dump(other))
    recipes = variant_recipes(load_comparison(path), ["stages.propagate_gcn.gcn.num_steps=3"])
    assert stage(recipes["full", 0], "propagate_gcn").config.gcn.num_steps == 3
    assert [entry.name for entry in recipes["short", 0].stages][-1] == "walk_masks"
    with pytest.raises(ConfigError, match="no variant has the stage 'refine'; they have gcn_masks"):
        variant_recipes(load_comparison(path), ["stages.refine.crf=null"])


def test_a_variants_own_changes_stay(content, write_comparison, tiny_recipe, run_of):
    path = write_comparison(content, tiny_recipe(run_of()))
    recipes = variant_recipes(load_comparison(path), ["stages.gcn_masks.crf=irn_affinity_labels"])
    assert stage(recipes["full", 0], "gcn_masks").config.crf is not None
    assert stage(recipes["plain", 0], "gcn_masks").config.crf is None


@pytest.mark.parametrize("override", ["seed=3", "run=x", "name=x"])
def test_what_tells_jobs_apart_cannot_be_set(content, write_comparison, tiny_recipe, run_of, override):
    path = write_comparison(content, tiny_recipe(run_of()))
    with pytest.raises(ConfigError, match="not for a comparison"):
        variant_recipes(load_comparison(path), [override])
    content["variants"]["plain"]["set"].append(override)
    with pytest.raises(ConfigError, match="not for a comparison"):
        variant_recipes(load_comparison(write_comparison(content)))


def test_variants_on_different_data_are_refused(content, write_comparison, tiny_recipe, run_of):
    content["variants"]["plain"]["set"].append("dataset.split=other")
    path = write_comparison(content, tiny_recipe(run_of()))
    with pytest.raises(ConfigError, match=r"variants\.plain: its dataset is not that of 'full'"):
        variant_recipes(load_comparison(path))


def test_a_wrong_recipe_is_named_with_its_variant(content, write_comparison, tiny_recipe, run_of):
    content["variants"]["plain"]["set"].append("stages.gcn_masks.unery=label")
    path = write_comparison(content, tiny_recipe(run_of()))
    with pytest.raises(ConfigError, match=r"variants\.plain .*did you mean 'unary'"):
        variant_recipes(load_comparison(path))


@pytest.mark.parametrize("step", ["gcn_mask", "gcn_masks/before_crf", "make_affinity_labels"])
def test_a_step_that_the_variant_does_not_have_is_refused(content, write_comparison, tiny_recipe, run_of, step):
    content["methods"]["plain"]["step"] = step  # no CRF in this variant, so nothing is before it
    path = write_comparison(content, tiny_recipe(run_of()))
    with pytest.raises(ConfigError, match=r"methods\.plain\.step: variant 'plain' has no .*; it has .*gcn_masks"):
        prepare_comparison(load_comparison(path))


def test_a_split_that_is_not_there_is_refused(content, write_comparison, tiny_recipe, run_of):
    content["score_splits"] = ["val"]
    path = write_comparison(content, tiny_recipe(run_of()))
    with pytest.raises(ConfigError, match="score_splits: the data set has no split 'val'; it has train"):
        prepare_comparison(load_comparison(path))


def stage(recipe, name):
    return next(entry for entry in recipe.stages if entry.name == name)
