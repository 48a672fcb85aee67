"""The comparisons on real images can be read, and so can every recipe of theirs, without the images."""

import importlib
from pathlib import Path

import pytest

from wsss_jobs.comparison.config import load_comparison
from wsss_jobs.comparison.jobs import variant_recipes

FOLDER = Path(__file__).parents[3] / "benchmarks"
NAMES = ("real_voc_compare", "real_voc_acr", "real_voc_groupwise", "real_voc_isim")


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_is_a_recipe(name, tmp_path):
    module = importlib.import_module(f"benchmarks.{name}")
    places = getattr(module, "places", None) or module.all_places
    comparison = load_comparison(str(FOLDER / f"{name}.yaml"))
    recipes = variant_recipes(comparison, places(tmp_path, tmp_path))
    assert {variant for variant, _ in recipes} == set(comparison.variants)
    for method in comparison.methods.values():
        stages = {stage.name for stage in recipes[method.variant, comparison.seeds[0]].stages}
        assert method.step.partition("/")[0] in stages
    for variant in getattr(module, "EVERY_SEED", ()):
        assert variant in comparison.variants
