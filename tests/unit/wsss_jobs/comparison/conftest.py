"""A comparison of two variants of the tiny recipe, and hand-made scores."""

import copy

import pytest
import yaml

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.quality.evaluation import Evaluation, ImageScore
from wsss_jobs.quality.scores import SegmentationScores

CONTENT = {
    "name": "toy",
    "variants": {
        "full": {"recipe": "tiny.yaml"},
        "plain": {"recipe": "tiny.yaml", "set": ["stages.gcn_masks.crf=null"]},
    },
    "methods": {
        "walk": {"title": "Walk", "variant": "full", "step": "walk_masks"},
        "gcn": {"title": "GCN", "variant": "full", "step": "gcn_masks/before_crf"},
        "gcn_crf": {"title": "GCN + CRF", "variant": "full", "step": "gcn_masks"},
        "plain": {"title": "GCN | plain", "variant": "plain", "step": "gcn_masks"},
    },
    "tables": {
        "one": {
            "title": "Table 1",
            "source": "A paper",
            "rows": [
                {"method": "IRNet", "published": 66.5, "ours": "walk"},
                {"method": "SEAM", "published": 63.6},
                {"method": "GCN", "cells": {"CRF": "yes"}, "published": 68.0, "ours": "gcn_crf"},
            ],
        }
    },
    "margins": {"gcn_minus_walk": {"above": "gcn_crf", "below": "walk", "aim": 1.5}},
}


@pytest.fixture
def content():
    """What the toy comparison's file says; a copy to change."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def comparison(content):
    return Comparison.model_validate(content)


@pytest.fixture
def write_comparison(tmp_path):
    """Writes a comparison file, and the recipe beside it where one is given; returns the path."""

    def write(content, recipe=None):
        if recipe is not None:
            (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return str(path)

    return write


@pytest.fixture
def scores_of():
    """Makes scores out of {method: {seed: (IoU of background, of cat, of dog)}}."""

    def make(ious):
        names = ("background", "cat", "dog")
        return MethodScores(
            {
                method: {
                    seed: Evaluation(
                        method,
                        "mask",
                        SegmentationScores(names, tuple(values), (0.5,) * 3, (0.25,) * 3, 0.75, 100),
                        (ImageScore("1", "a", 0.5), ImageScore("2", "b", 0.5)),
                        0,
                    )
                    for seed, values in by_seed.items()
                }
                for method, by_seed in ious.items()
            }
        )

    return make
