"""The published tables of segmentation networks: numbers, sums, and ours beside them."""

import numpy as np
import pytest

from wsss_jobs.comparison.config import load_comparison, shipped_comparisons
from wsss_jobs.comparison.jobs import variant_recipes
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.comparison.tables import published_table
from wsss_jobs.datasets.class_lists import VOC_CLASSES
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.quality.scores import SegmentationScores

STUDENTS = [f"{name}_student_voc" for name in ("acr", "groupwise", "isim", "wsgcn", "wsgcn_drn")]


def table(source, key):
    return load_comparison(source).tables[key]


def published(source, key, method, **cells):
    rows = [
        row.published
        for row in table(source, key).rows
        if row.method == method and all(row.cells[name] == text for name, text in cells.items())
    ]
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize("source", STUDENTS)
def test_every_file_is_shipped_and_its_recipes_load(source):
    assert source in shipped_comparisons()
    comparison = load_comparison(source)
    recipes = variant_recipes(comparison)
    assert {name for name, _ in recipes} == set(comparison.variants)
    assert {tuple(recipe.dataset.splits) for recipe in recipes.values()} == {("val",)}
    for each in comparison.tables.values():  # test sets have no ground truth, and COCO is another data set
        for row in each.rows:
            assert not isinstance(row.ours, str)
            assert not {"test", "coco", "cam", "masks"} & set(row.ours or ())


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("wsgcn_student_voc", {"table_3": 10, "table_5": 2}),
        ("wsgcn_drn_student_voc", {"table_4": 4}),
        ("acr_student_voc", {"table_4": 18}),
        ("groupwise_student_voc", {"table_1": 24, "table_2": 5}),
        ("isim_student_voc", {"table_8": 7, "table_9": 7, "table_10": 3, "table_11": 18}),
    ],
)
def test_no_row_is_missing(source, counts):
    assert {key: len(each.rows) for key, each in load_comparison(source).tables.items()} == counts


def test_numbers_of_the_papers():
    assert published("wsgcn_student_voc", "table_3", "WSGCN-I") == {"val": 66.7, "test": 68.8}
    assert published("wsgcn_student_voc", "table_3", "WSGCN-I†") == {"val": 68.7, "test": 69.3}
    assert published("wsgcn_drn_student_voc", "table_4", "WSGCN-P") == {"val": 63.1, "test": 64.4}
    assert published("acr_student_voc", "table_4", "ACR") == {"val": 71.9, "test": 71.9, "coco": 45.3}
    assert published("acr_student_voc", "table_4", "ACR + ViT") == {"val": 72.4, "test": 72.4}
    assert published("acr_student_voc", "table_4", "SIPE", backbone="WRN38") == {"coco": 43.6}
    assert published("groupwise_student_voc", "table_1", "Group-wise", backbone="ResNet") == {"val": 68.7, "test": 69.0}
    assert published("groupwise_student_voc", "table_1", "MEFF") == {"test": 55.6}
    assert published("groupwise_student_voc", "table_2", "Group-wise") == {"coco": 28.7}
    resnest = {"masks by": "ResNeSt-200"}
    assert published("isim_student_voc", "table_8", "ISIM", **resnest) == {"val": 74.9, "test": 74.98}
    assert published("isim_student_voc", "table_9", "ISIM", **resnest) == {"val": 73.7, "test": 74.5}
    assert published("isim_student_voc", "table_10", "ISIM", **resnest) == {"val": 72.6, "test": 72.94}
    best = published("isim_student_voc", "table_11", "PuzzleCAM", backbone="ResNeSt-269")
    assert best == {"cam": 62.45, "masks": 74.67, "val": 71.9, "test": 72.2}


def test_the_classes_of_table_5_have_the_means_that_it_prints():
    for row in table("wsgcn_student_voc", "table_5").rows:
        values = [row.published[name] for name in ("background", *VOC_CLASSES)]
        assert row.published["miou"] == pytest.approx(np.mean(values), abs=0.06)


def test_ours_stand_beside_them():
    names = ("background", *VOC_CLASSES)
    ious = tuple(np.linspace(0.2, 0.6, 21).tolist())
    evaluation = Evaluation("predict_masks", "mask", SegmentationScores(names, ious, ious, ious, 0.9, 1), (), 0)
    scores = MethodScores({"wsgcn_i": {0: evaluation}})
    rows = published_table(table("wsgcn_student_voc", "table_3"), scores).rows
    by_method = {row[0]: row[3:] for row in rows}
    assert by_method["WSGCN-I"] == ("66.7", "40.0", "68.8", "–")
    assert by_method["WSGCN-I†"] == ("68.7", "–", "69.3", "–")
    classes = published_table(table("wsgcn_student_voc", "table_5"), scores)
    assert classes.rows[1][1:5] == ("91.0", "20.0", "79.8", "22.0")
