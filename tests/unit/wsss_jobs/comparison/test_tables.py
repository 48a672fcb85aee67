import math
import statistics
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.comparison.bars import bars_svg, published_mious
from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.markdown import comparison_page, markdown_table
from wsss_jobs.comparison.published import Column
from wsss_jobs.comparison.run import VariantOutcome
from wsss_jobs.comparison.scores import figure_of
from wsss_jobs.comparison.tables import class_table, failure_table, margin_table, method_table, published_table

WALK = {0: (0.9, 0.3, 0.3), 1: (0.9, 0.6, 0.6)}  # mIoU 50 and 70
GCN = {0: (0.9, 0.6, 0.3), 1: (0.9, 0.9, 0.6)}  # mIoU 60 and 80


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6))
def test_mean_and_spread_over_seeds(values):
    figure = figure_of([*values, math.nan])
    assert figure.num_seeds == len(values)
    assert figure.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert figure.spread == pytest.approx(statistics.stdev(values), abs=1e-6)


def test_one_value_has_no_spread_and_none_no_mean():
    assert figure_of([3.0]).spread is None
    assert figure_of([]) is None
    assert figure_of([math.nan]) is None


def test_ours_stand_beside_the_published_numbers(comparison, scores_of):
    table = published_table(comparison.tables["one"], scores_of({"walk": WALK, "gcn_crf": {0: GCN[0]}}))
    assert table.headings == ("method", "CRF", "mIoU (%), published", "ours")
    assert table.rows == (
        ("IRNet", "", "66.5", "60.0 ± 14.1"),
        ("SEAM", "", "63.6", "–"),
        ("GCN", "yes", "68.0", "60.0"),
    )
    assert table.num_texts == 2


def test_a_column_may_hold_one_class_or_another_score(content, scores_of):
    content["tables"]["one"] = {
        "title": "Table 5",
        "source": "A paper",
        "columns": {
            "cat": {"title": "cat", "class_name": "cat"},
            "cow": {"title": "cow", "class_name": "cow"},
            "recall": {"title": "recall", "metric": "mean_recall"},
        },
        "rows": [
            {"method": "IRNet", "published": {"cat": 82.7, "cow": 77.5}, "ours": {"cat": "walk", "recall": "walk"}},
            {"method": "GCN", "ours": "gcn"},
        ],
    }
    table = Comparison.model_validate(content).tables["one"]
    rows = published_table(table, scores_of({"walk": {0: WALK[0]}, "gcn": {0: GCN[0]}})).rows
    assert rows == (
        ("IRNet", "82.7", "30.0", "77.5", "–", "–", "25.0"),
        ("GCN", "–", "60.0", "–", "–", "–", "25.0"),  # this data set has no cow
    )


def test_margins_are_of_the_same_seeds_and_as_measured(comparison, scores_of):
    margin = comparison.margins["gcn_minus_walk"]
    both = scores_of({"gcn_crf": GCN, "walk": WALK}).margin(margin)
    assert (both.mean, both.spread) == (pytest.approx(10.0), pytest.approx(0.0, abs=1e-9))
    one = scores_of({"gcn_crf": {0: WALK[0], 2: WALK[1]}, "walk": {0: GCN[0], 1: GCN[1]}})
    assert one.margin(margin).mean == pytest.approx(-10.0)
    assert margin_table(comparison, one).rows == (("GCN + CRF over Walk", "-10.0", "+1.5"),)
    assert scores_of({"walk": WALK}).margin(margin) is None


def test_methods_without_scores_are_named_below_the_others(comparison, scores_of):
    table = method_table(comparison, scores_of({"walk": WALK}))
    assert table.rows == (("Walk", "60.0 ± 14.1", "50.0 ± 0.0", "25.0 ± 0.0", "75.0 ± 0.0", "2", "2", ""),)
    others = [method.title for name, method in comparison.methods.items() if name != "walk"]
    assert table.note.endswith(f" Without scores: {', '.join(others)}.")
    assert "Without scores" not in method_table(comparison, scores_of(dict.fromkeys(comparison.methods, WALK))).note
    assert margin_table(comparison, scores_of({"walk": WALK})).rows == ()


def test_classes_of_the_plotted_methods(comparison, scores_of):
    table = class_table(comparison, scores_of({"walk": {0: WALK[0]}, "gcn": {0: GCN[0]}}))
    assert table.headings == ("class", "Walk", "GCN")
    assert table.rows == (("background", "90.0", "90.0"), ("cat", "30.0", "60.0"), ("dog", "30.0", "30.0"))


def test_failures_say_why():
    outcomes = [VariantOutcome("a", 0, 0), VariantOutcome("b", 1, 2), VariantOutcome("c", 0, 0, "no room\nmore")]
    assert failure_table(outcomes).rows == (("b", "1", "2 images failed"), ("c", "0", "no room"))


def test_markdown_keeps_its_columns(comparison, scores_of):
    table = method_table(comparison, scores_of(dict.fromkeys(comparison.methods, WALK)))
    lines = [line for line in markdown_table(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(comparison.methods)
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(table.headings) + 1}
    page = comparison_page(comparison, [table], [("Bars", "miou.svg")])
    assert "- `plain`: `tiny.yaml` with `stages.gcn_masks.crf=null`" in page
    assert "![Bars](miou.svg)" in page


def test_bars_are_as_long_as_their_scores(comparison, scores_of):
    scores = scores_of({"walk": WALK, "plain": {0: GCN[0]}})
    root = ET.fromstring(bars_svg(comparison, scores))
    rectangles = [element.attrib for element in root if element.tag.endswith("rect")]
    whole = [float(each["width"]) for each in rectangles if each["height"] == "18"]
    assert whole == pytest.approx([0.60 * 520, 0.60 * 520])
    thin = [float(each["width"]) for each in rectangles if each["height"] == "4"]
    assert thin == pytest.approx([520 * iou for iou in (0.9, 0.9, 0.45, 0.6, 0.45, 0.3)])
    texts = [element.text for element in root if element.tag.endswith("text")]
    assert {"Walk", "GCN | plain", "60.0 ± 14.1", "cat"} <= set(texts)


def test_marks_of_published_numbers_are_of_miou_alone(comparison):
    assert published_mious(comparison) == {"walk": 66.5, "gcn_crf": 68.0}
    table = comparison.tables["one"].model_copy(update={"columns": {"miou": Column(class_name="cat")}})
    assert published_mious(comparison.model_copy(update={"tables": {"one": table}})) == {}
