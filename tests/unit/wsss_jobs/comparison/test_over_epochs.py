"""Fig. 5 of the ACR paper: a table whose columns are epochs, its curves and its pictures."""

import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.comparison.config import load_comparison
from wsss_jobs.comparison.epoch_curves import epoch_curves_svg
from wsss_jobs.comparison.jobs import prepare_comparison, variant_recipes
from wsss_jobs.comparison.results import write_results
from wsss_jobs.comparison.scores import score_methods
from wsss_jobs.errors import ConfigError
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.records import Cams
from wsss_jobs.report.charts import HEIGHT, WIDTH
from wsss_jobs.report.generations import generations
from wsss_jobs.report.run_view import run_view
from wsss_jobs.stage_io import stage_folder

SVG = "{http://www.w3.org/2000/svg}"
NETWORK = {"encoder": {"weights": None}}
EPOCHS = {"early": 1, "half": 3, "end": 9}
CELL_PX, GAP_PX, HEAD_PX, LABEL_PX = (152, 200), 6, 34, 90  # of images of 38 x 50 pixels
# How far CAMs lie from the truth, in cells of their grid, after how many epochs.
SHIFTS = {"slow": {1: 5, 3: 4, 9: 2}, "fast": {1: 4, 3: 1, 9: 0}}


def acr(run, tiny_recipe):
    training = {
        "stage": "train_acr",
        "classifier": NETWORK,
        "reconstructor": NETWORK,
        "schedule": {"num_epochs": 9},
    }
    return tiny_recipe(run) | {"stages": [training, {"stage": "infer_cams", "keep_high_res": False}]}


def cams(name, epoch):
    return {"stage": "infer_cams", "name": name, "epoch": epoch, "keep_high_res": False}


@pytest.fixture
def table():
    """What a comparison file says of two trainings over three epochs."""
    keep = "stages.train_acr.keep_epochs=[1, 3]"
    added = [cams("cams_early", 1), cams("cams_half", 3)]
    steps = {"early": "cams_early", "half": "cams_half", "end": "infer_cams"}
    return {
        "name": "toy",
        "variants": {
            "slow": {"recipe": "tiny.yaml", "set": [keep], "add": added},
            "fast": {"recipe": "tiny.yaml", "set": [keep, "stages.train_acr.losses.spoil_rest=0"], "add": added},
        },
        "methods": {
            f"{variant}_{column}": {"title": f"{variant}, {column}", "variant": variant, "step": step}
            for variant in SHIFTS
            for column, step in steps.items()
        },
        "tables": {
            "figure_5": {
                "title": "Fig. 5: growth",
                "source": "A paper",
                "over_epochs": True,
                # Not in the order of the epochs.
                "columns": {"end": {"title": "end"}, "early": {"title": "early"}, "half": {"title": "half"}},
                "rows": [
                    {"method": variant, "ours": {column: f"{variant}_{column}" for column in steps}}
                    for variant in SHIFTS
                ],
            }
        },
    }


@pytest.fixture
def prepared(table, write_comparison, tiny_recipe, run_of):
    """Returns the comparison, its jobs and the `Run`; nothing is filled."""
    run = run_of()
    comparison = load_comparison(write_comparison(table, acr(run, tiny_recipe)))
    return comparison, prepare_comparison(comparison), run


def fill(jobs, run, missing=()):
    """Stores CAMs that lie nearer to the truth after more epochs; none of the (variant, stage) in `missing`."""
    for each in jobs:
        for stage in each.job.plan.stages:
            if stage.is_training or (each.variant, stage.name) in missing:
                continue
            folder = stage_folder(stage, each.job.store)
            shift = SHIFTS[each.variant][stage.config.epoch or 9]
            for item in each.job.dataset.items:
                truth_hw = run.truth(item.source_key)[::4, ::4] > 0
                folder.commit(item, Cams(item.labels, np.roll(truth_hw, shift, axis=1)[None].astype(np.float16)))
            folder.outputs.finalise(each.job.dataset.items, "tensors")


def written(comparison, jobs):
    """Returns the scores, and the folder with what the comparison leaves."""
    scores = score_methods(comparison, jobs)
    write_results(comparison, jobs, scores, [])
    return scores, jobs[0].job.store.child("comparison/toy")


def miou(scores, method):
    return 100 * scores.evaluations[method][0].scores.miou


def test_the_curves_are_the_scores_at_their_epochs(prepared):
    comparison, jobs, run = prepared
    fill(jobs, run)
    scores, folder = written(comparison, jobs)
    root = ET.fromstring(folder.get("figure_5.svg"))
    circles = [(float(each.get("cx")), float(each.get("cy"))) for each in root.iter(f"{SVG}circle")]
    xs, ys = np.array(circles).reshape(2, 3, 2).transpose(2, 0, 1)
    np.testing.assert_allclose(xs[0], xs[1])
    assert (xs[0, 1] - xs[0, 0]) / (xs[0, 2] - xs[0, 0]) == pytest.approx((3 - 1) / (9 - 1), abs=0.01)
    # One vertical axis for both: heights are proportional to scores, the best at the top of the box.
    means = np.array([[miou(scores, f"{variant}_{column}") for column in EPOCHS] for variant in SHIFTS])
    expected = 10 + (means.max() - means) / (means.max() - means.min()) * (HEIGHT - 18)
    np.testing.assert_allclose(ys, expected, atol=0.06)
    assert np.unravel_index(means.argmax(), means.shape) == (1, 2)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert [text for text in texts if text in {"1", "3", "9"}] == ["1", "3", "9"]
    assert {"slow", "fast", f"{means[0, 0]:.1f} → {means[0, 2]:.1f}"} <= set(texts)
    assert xs.max() <= WIDTH


def test_the_grid_has_a_column_an_epoch_and_a_row_a_training(prepared):
    comparison, jobs, run = prepared
    fill(jobs, run, missing={("slow", "cams_half")})
    _, folder = written(comparison, jobs)
    grid = np.asarray(Image.open(io.BytesIO(folder.get("figure_5.png"))).convert("RGB")).astype(int)
    rows, columns = 3 * len(SHIFTS), 2 + len(EPOCHS)
    left = GAP_PX + LABEL_PX
    assert grid.shape[:2] == (
        HEAD_PX + rows * (CELL_PX[0] + GAP_PX) + GAP_PX,
        left + columns * (CELL_PX[1] + GAP_PX),
    )

    def cell(row, column):
        top, x = HEAD_PX + row * (CELL_PX[0] + GAP_PX), left + column * (CELL_PX[1] + GAP_PX)
        return grid[top : top + CELL_PX[0], x : x + CELL_PX[1]]

    def has_label(row):
        top = HEAD_PX + row * (CELL_PX[0] + GAP_PX)
        return (grid[top : top + CELL_PX[0], GAP_PX:left] < 128).any()

    np.testing.assert_array_equal(cell(0, 0), cell(1, 0))  # one image,
    assert (cell(0, 0) != cell(2, 0)).any()  # then the next one
    assert all(has_label(row) for row in range(rows))
    assert (cell(0, 3) == 225).all()  # `slow` has none of epoch 3
    for column in (2, 3, 4):
        assert (cell(1, column) != cell(1, 0)).any()
    assert (cell(1, 2) != cell(1, 3)).any()  # the epochs in their order: the shifts are 4, 1 and 0
    colour = [np.abs(cell(1, column) - cell(1, 1)).sum() for column in (2, 3, 4)]
    assert colour[0] > colour[1] > colour[2]  # nearer and nearer to the truth


def test_the_page_shows_both_and_no_column_of_numbers_that_nobody_published(prepared):
    comparison, jobs, run = prepared
    fill(jobs, run)
    scores, folder = written(comparison, jobs)
    page = folder.get("comparison.md").decode()
    assert "![Fig. 5: growth](figure_5.svg)" in page
    assert "(figure_5.png)" in page
    assert "| method | end | early | half |" in page
    assert f"| slow | {miou(scores, 'slow_end'):.1f} | {miou(scores, 'slow_early'):.1f} |" in page
    assert "- `slow`: `tiny.yaml` with `stages.train_acr.keep_epochs=[1, 3]`, and `cams_early`, `cams_half`" in page


def test_a_variant_that_is_left_out_leaves_the_others_figure(prepared):
    """As `--only` of the benchmarks leaves it out."""
    comparison, jobs, run = prepared
    fast = [each for each in jobs if each.variant == "fast"]
    fill(fast, run)
    _, folder = written(comparison, fast)
    lines = {element.text for element in ET.fromstring(folder.get("figure_5.svg")).iter(f"{SVG}text")}
    assert "fast" in lines
    assert "slow" not in lines


def test_before_anything_is_scored_there_is_no_figure(prepared):
    comparison, jobs, _ = prepared
    scores, folder = written(comparison, jobs)
    assert epoch_curves_svg(comparison, "figure_5", EPOCHS, scores) is None
    assert not [info.key for info in folder.list() if info.key.startswith("figure_5")]
    assert "figure_5" not in folder.get("comparison.md").decode()


def test_added_stages_are_the_variants_own_and_can_be_set(table, write_comparison, tiny_recipe, run_of):
    del table["variants"]["fast"]["add"]
    path = write_comparison(table, acr(run_of(), tiny_recipe))
    recipes = variant_recipes(load_comparison(path), ["stages.cams_half.scales=[2.0]"])
    stages = {name: {entry.name: entry.config for entry in recipe.stages} for (name, _), recipe in recipes.items()}
    assert list(stages["slow"]) == ["train_acr", "infer_cams", "cams_early", "cams_half"]
    assert list(stages["fast"]) == ["train_acr", "infer_cams"]
    assert stages["slow"]["cams_half"].scales == (2.0,)
    assert stages["slow"]["cams_early"].scales != (2.0,)
    with pytest.raises(ConfigError, match="no variant has the stage 'cams_late'"):
        variant_recipes(load_comparison(path), ["stages.cams_late.scales=[2.0]"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table["variants"]["fast"]["add"].__setitem__(0, cams("cams_early", 2)), "stores no weights"),
        (
            lambda table: table["tables"]["figure_5"]["rows"][1]["ours"].update(early="fast_half"),
            r"tables\.figure_5\.columns\.early: 'fast_half' is of epoch 3, another row of epoch 1",
        ),
        (
            lambda table: (
                table["variants"]["slow"]["add"].append({"stage": "read_cams"}),
                table["variants"]["slow"]["add"].append({"stage": "refine_masks", "name": "cam_masks"}),
                table["methods"]["slow_end"].update(step="cam_masks"),
            ),
            "over_epochs is for CAMs of infer_cams, and 'slow_end' is 'cam_masks'",
        ),
        (
            lambda table: [
                row["ours"].update(half=row["ours"]["early"]) for row in table["tables"]["figure_5"]["rows"]
            ],
            "figure_5: two columns are of one epoch",
        ),
        (lambda table: table["variants"]["slow"]["add"].append(cams("infer_cams", 1)), "two are called 'infer_cams'"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(table, write_comparison, tiny_recipe, run_of, change, message):
    table["variants"]["fast"]["add"] = [dict(each) for each in table["variants"]["fast"]["add"]]
    change(table)
    with pytest.raises(ConfigError, match=message):
        prepare_comparison(load_comparison(write_comparison(table, acr(run_of(), tiny_recipe))))


def test_the_report_of_one_run_draws_its_epochs_and_counts_the_last_alone(prepared):
    _, jobs, run = prepared
    fill(jobs, run)
    job = jobs[1].job
    evaluations = evaluate_run(job.plan, job.dataset, job.store)
    assert [each.name for each in evaluations] == ["infer_cams", "cams_early", "cams_half"]
    found = generations(job.plan, evaluations)
    assert (found.unit, found.phases) == ("epoch", (1, 3, 9))
    [line] = found.curves
    by_name = {each.name: 100 * each.scores.miou for each in evaluations}
    assert (line.first, line.last) == (by_name["cams_early"], by_name["infer_cams"])
    assert "train_acr" in line.name
    view = run_view(job, evaluations[::-1])
    assert (view.headline.name, view.baseline.name) == ("infer_cams", "infer_cams")
