from collections.abc import Callable

import numpy as np
import pytest

from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.report.layers import gallery_layers
from wsss_jobs.report.overlays import EXTRA_COLOUR, MISSED_COLOUR, label_overlay
from wsss_jobs.report.picture_sizes import picture_size
from wsss_jobs.report.run_view import run_view
from wsss_jobs.storage.object_store import ObjectNotFoundError

SIZE = (50, 38)


@pytest.fixture
def drawn(make_job: Callable[..., PreparedJob], run_of) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the overlay of each layer for one image, and its ground truth."""
    run = run_of(keys=["a"])
    job = make_job(run)
    [item] = job.dataset.items
    assert picture_size(item) == SIZE
    layers = gallery_layers(run_view(job, evaluate_run(job.plan, job.dataset, job.store)))
    return {layer.title: layer.draw(item, SIZE) for layer in layers}, run.truth("a")


def test_all_steps_are_layers_in_the_order_of_the_plan(drawn):
    overlays, _ = drawn
    assert list(overlays) == [
        "CAM", "Affinity label", "Random walk", "Partial label", "GCN", "GCN + CRF", "Ground truth", "Mistakes",
    ]  # fmt: skip
    assert all(overlay.shape == (38, 50, 4) for overlay in overlays.values())


def test_labels_are_drawn_as_they_are_stored(drawn):
    overlays, truth_HW = drawn
    assert (overlays["Ground truth"] == label_overlay(truth_HW)).all()
    assert (overlays["GCN + CRF"] == label_overlay(np.roll(truth_HW, 2, axis=1))).all()
    assert (overlays["GCN"] == label_overlay(np.roll(truth_HW, 5, axis=1))).all()
    affinity_HW = np.where(np.arange(50) < 24, truth_HW, 255).astype(np.uint8)
    assert (overlays["Affinity label"] == label_overlay(affinity_HW)).all()


def test_a_partial_label_is_enlarged_to_the_image(drawn):
    overlays, truth_HW = drawn
    grid_hw = np.where(np.arange(13) < 6, truth_HW[::4, ::4], 255).astype(np.uint8)
    enlarged_HW = grid_hw[np.ix_(np.arange(38) // 4, np.arange(50) // 4)]
    assert (overlays["Partial label"] == label_overlay(enlarged_HW)).all()


def test_a_cam_is_strongest_within_the_object(drawn):
    overlays, truth_HW = drawn
    alpha_HW = overlays["CAM"][..., 3]
    assert alpha_HW[12:24, 12:28].min() > 200
    assert alpha_HW[:4].max() == 0
    assert (overlays["CAM"][truth_HW > 0][:, :3] == (128, 0, 0)).all()


def test_mistakes_are_those_of_the_final_mask(drawn):
    overlays, _ = drawn
    mistakes = overlays["Mistakes"]
    assert (mistakes[8:28, 8:10, :3] == MISSED_COLOUR).all()  # the object lies 2 pixels to the left of its mask
    assert (mistakes[8:28, 32:34, :3] == EXTRA_COLOUR).all()
    assert np.count_nonzero(mistakes[..., 3]) == 20 * 4


def test_a_record_that_was_not_made_is_not_drawn(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of(keys=["a", "b"], failed={"infer_cams": ["b"]}, with_truth=False))
    for layer in gallery_layers(run_view(job, [])):
        with pytest.raises(ObjectNotFoundError):
            layer.draw(job.dataset.items[1], SIZE)


def test_instances_are_drawn_beside_the_masks_of_their_walk(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of(keys=["a"], with_instances=True, with_truth=False))
    layers = {layer.title: layer for layer in gallery_layers(run_view(job, []))}
    assert list(layers)[2:4] == ["Random walk", "Instances (Random walk)"]
    overlay = layers["Instances (Random walk)"].draw(job.dataset.items[0], SIZE)
    id_HW = np.zeros((38, 50), dtype=np.uint8)
    id_HW[8:18, 8:32], id_HW[18:28, 8:32] = 1, 2
    assert (overlay == label_overlay(id_HW)).all()
    assert [title for title, layer in layers.items() if layer.is_instances] == ["Instances (Random walk)"]


@pytest.mark.parametrize("with_instances", [True, False])
def test_the_legend_says_what_the_colours_of_instances_are(make_report, run_of, with_instances):
    _, page = make_report(run_of(keys=["a"], with_instances=with_instances))
    assert ("a colour an object" in page) is with_instances
