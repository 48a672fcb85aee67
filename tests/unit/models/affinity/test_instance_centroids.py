"""Centroids and clusters against the published procedure written out cell by cell."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from models.affinity.instance_centroids import cluster_cells, refine_centroids
from models.errors import InvalidInputError


def refined(field, num_steps):
    """IRN's loop: bilinear look-up between the cells below and above, move, stay inside."""
    _, h, w = field.shape
    centroids = np.zeros((2, h, w))
    for y in range(h):
        for x in range(w):
            cy, cx = float(y), float(x)
            for _ in range(num_steps):
                y0, y1, x0, x1 = math.floor(cy), math.ceil(cy), math.floor(cx), math.ceil(cx)
                fy, fx = cy - y0, cx - x0
                move = (
                    field[:, y1, x1] * fy * fx
                    + field[:, y1, x0] * fy * (1 - fx)
                    + field[:, y0, x1] * (1 - fy) * fx
                    + field[:, y0, x0] * (1 - fy) * (1 - fx)
                )
                cy, cx = min(max(cy + move[0], 0), h - 1), min(max(cx + move[1], 0), w - 1)
            centroids[:, y, x] = cy, cx
    return centroids


def field_towards(centres, cell_owner, shrink=1.0):
    """A field that points from each cell to the centre of its owner."""
    rows, columns = np.mgrid[: cell_owner.shape[0], : cell_owner.shape[1]]
    wanted = np.array(centres)[cell_owner]
    return shrink * np.stack([wanted[..., 0] - rows, wanted[..., 1] - columns]).astype(np.float64)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 7), st.integers(0, 6))
def test_refinement_is_the_published_loop(seed, h, w, num_steps):
    field = np.random.default_rng(seed).normal(0, 2, (2, h, w))
    found = refine_centroids(torch.from_numpy(field), num_steps).numpy()
    np.testing.assert_allclose(found, refined(field, num_steps), atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_centroids_stay_inside(seed):
    field = torch.from_numpy(np.random.default_rng(seed).normal(0, 30, (2, 5, 9)))
    y_hw, x_hw = refine_centroids(field, 7)
    assert 0 <= y_hw.min() <= y_hw.max() <= 4
    assert 0 <= x_hw.min() <= x_hw.max() <= 8


@pytest.mark.parametrize("shrink", [1.0, 0.3])  # a field that is too short still leads there, in more steps
def test_known_centres_are_found(shrink):
    owner = (np.arange(24)[None, :] >= 11).astype(int).repeat(15, axis=0)
    centres = [(7, 5), (4, 18)]
    centroids = refine_centroids(torch.from_numpy(field_towards(centres, owner, shrink)))
    np.testing.assert_allclose(centroids.numpy(), np.moveaxis(np.array(centres)[owner], -1, 0), atol=0.51)


def test_clusters_are_the_weak_regions_that_hold_the_centroids():
    owner = (np.arange(24)[None, :] >= 11).astype(int).repeat(15, axis=0)
    field = torch.from_numpy(field_towards([(7, 5), (4, 18)], owner))
    clusters = cluster_cells(field, refine_centroids(field))
    np.testing.assert_array_equal(clusters.numpy(), owner if clusters[0, 0] == 0 else 1 - owner)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_clustering_is_the_published_one(seed):
    """Label the short displacements, look every centroid up, renumber; label 0 is a cluster like any other."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 12, (2, 9, 13)), (0, 1.5, 1.5))
    centroids = refine_centroids(torch.from_numpy(field), 20)
    weak, _ = ndimage.label(np.hypot(*field) < 2.5)
    rows, columns = np.round(centroids.numpy()).astype(int)
    _, expected = np.unique(weak[rows, columns], return_inverse=True)
    found = cluster_cells(torch.from_numpy(field), centroids).numpy()
    np.testing.assert_array_equal(found, expected.reshape(found.shape))


@pytest.mark.parametrize("field", [torch.zeros(3, 4, 4), torch.zeros(2, 0, 4), torch.full((2, 3, 3), float("nan"))])
def test_bad_fields_are_refused(field):
    with pytest.raises(InvalidInputError, match="displacement_2hw"):
        refine_centroids(field)
