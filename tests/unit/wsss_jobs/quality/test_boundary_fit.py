"""Borders on edges: hand-made images, and ranks counted one by one."""

import numpy as np
import pytest

from wsss_jobs.quality.boundary_fit import boundary_fit, gradient_magnitude, label_borders


def step_image(column, size=(20, 30)):
    image = np.full((*size, 3), 40, np.uint8)
    image[:, column:] = 200
    return image


def halves(column, size=(20, 30)):
    return (np.arange(size[1]) >= column).astype(np.uint8)[None].repeat(size[0], axis=0)


def test_borders_are_pixels_before_a_change():
    label = np.array([[0, 0, 1], [0, 0, 1], [2, 0, 1]], np.uint8)
    assert np.array_equal(label_borders(label), [[0, 1, 0], [1, 1, 0], [1, 1, 0]])


def test_gradient_of_a_ramp_is_its_slope():
    ramp = np.arange(40, dtype=np.uint8)[None, :, None].repeat(12, axis=0).repeat(3, axis=2) * np.uint8(3)
    assert gradient_magnitude(ramp)[:, 4:-4] == pytest.approx(3.0)
    assert gradient_magnitude(ramp.transpose(1, 0, 2))[4:-4] == pytest.approx(3.0)


def test_a_border_on_the_only_edge_beats_one_beside_it():
    on, beside = (boundary_fit(halves(column), step_image(15)) for column in (15, 25))
    assert on > 0.9
    # the edge reaches 4 px to each side (kernel 2, difference 1, neighbours 1); all else is flat: 2 * 4 of 30 columns
    # lie above, and the others share the middle of their ranks
    assert beside == pytest.approx((30 - 8) / 30 / 2, abs=0.02)


def test_a_flat_image_has_the_rank_of_chance():
    assert boundary_fit(halves(7), np.full((20, 30, 3), 90, np.uint8)) == pytest.approx(0.5)


def test_no_borders():
    assert boundary_fit(np.ones((4, 4), np.uint8), step_image(2, (4, 4))) is None


def test_one_pixel_image():
    assert boundary_fit(np.zeros((1, 1), np.uint8), np.zeros((1, 1, 3), np.uint8)) is None


def test_ranks_one_by_one():
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (9, 11, 3)).astype(np.uint8)
    label = rng.integers(0, 2, (9, 11)).astype(np.uint8)
    magnitude = np.pad(gradient_magnitude(image), 1, mode="edge")
    edge = np.array([[magnitude[y : y + 3, x : x + 3].max() for x in range(11)] for y in range(9)])
    ranks = [((edge < value).sum() + (edge <= value).sum()) / 2 / edge.size for value in edge[label_borders(label)]]
    assert boundary_fit(label, image) == pytest.approx(np.mean(ranks))
