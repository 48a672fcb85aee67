"""The group-wise paper's tables as they are printed, and recipes that can be planned for every variant."""

from pathlib import Path

import pytest

from wsss_jobs.comparison.config import load_comparison
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.pipeline import build_plan

REAL = str(Path(__file__).parents[4] / "benchmarks" / "real_voc_groupwise.yaml")


def published(table, column):
    return {row.method: row.published.get(column) for row in table.rows}


def test_the_tables_of_the_paper():
    tables = load_comparison("groupwise_voc").tables
    assert [len(tables[f"table_{n}"].rows) for n in range(1, 6)] == [24, 5, 15, 19, 3]
    assert tables["table_1"].rows[-1].published == {"val": 68.7, "test": 69.0}
    assert published(tables["table_2"], "miou")["Group-wise"] == 28.7
    assert tables["table_3"].rows[-1].published == {"cls": 76.44, "loc": 60.18}
    parts = published(tables["table_4"], "seg")
    assert (parts["K 2"], parts["T 2"], parts["random"], parts["without edge-aware"]) == (66.1, 68.3, 67.1, 68.2)
    assert tables["table_5"].rows[0].published == {"vgg16": 56.3, "resnet38": 58.7, "seg": 64.5}


@pytest.mark.parametrize("source", ["groupwise_voc", "groupwise_small", REAL])
def test_margins_aim_at_what_the_paper_prints(source):
    comparison = load_comparison(source)
    table_5 = published(load_comparison("groupwise_voc").tables["table_5"], "vgg16")
    gains = {
        "full_minus_single": table_5["full model"] - table_5["without group-wise learning"],
        "full_minus_no_dropout": table_5["full model"] - table_5["without graph dropout"],
    }
    for name, gain in gains.items():
        assert comparison.margins[name].aim == pytest.approx(gain)


@pytest.mark.parametrize("source", ["groupwise_voc", "groupwise_small", REAL])
def test_every_variant_can_be_planned_and_is_another_one(source):
    comparison = load_comparison(source)
    ends = {}
    for name, variant in comparison.variants.items():
        plan = build_plan(load_recipe(variant.recipe, variant.set).stages, "0" * 16, 0)
        ends[name] = plan.stage("infer_groupwise_cams").fingerprint
    assert len(set(ends.values())) == len(ends)


@pytest.mark.parametrize("name", ["groupwise_voc", "groupwise_wsgcn_voc", "groupwise_coco", "groupwise_cub"])
def test_shipped_recipes_have_the_papers_values(name):
    train = next(stage for stage in load_recipe(name).stages if stage.spec.NAME == "train_groupwise").config
    network = train.network
    assert (network.group_size, network.num_steps, network.reduction) == (4, 3, 4)
    assert (network.loss.graph, network.loss.intermediate, network.loss.edge) == (0.7, 0.1, 0.2)
    assert (network.dropout.drop_probability, network.dropout.region_threshold) == (0.2, 0.7)
    assert (train.encoder_lr, train.new_lr, train.sampling, train.crop_px) == (1e-3, 1e-2, "greedy", 224)
    assert train.splits == (("train",) if name == "groupwise_cub" else ())  # never the test images
