import numpy as np
import pytest
import torch

from models.affinity.pixel_pairs import half_plane_offsets
from models.propagation.pair_affinity import affinity_from_boundary, affinity_from_features
from models.propagation.stencil import GridStencil

GRIDS = [(1, 1), (1, 7), (6, 1), (2, 3), (5, 8)]


def as_dense(planes_Phw, offsets):
    stencil = GridStencil(tuple(offsets), planes_Phw, torch.ones_like(planes_Phw[0]))
    return stencil.to_csr(stencil.pattern()).to_dense().numpy()


@pytest.mark.parametrize(("height", "width"), GRIDS)
@pytest.mark.parametrize("radius", [2, 3, 5])
def test_boundary_affinity_equals_loops_over_pairs(height, width, radius, dense):
    boundary_hw = np.random.default_rng(height * width).random((height, width))
    offsets = half_plane_offsets(radius)
    planes_Phw = affinity_from_boundary(torch.from_numpy(boundary_hw), offsets)
    np.testing.assert_array_equal(as_dense(planes_Phw, offsets), dense.affinity(boundary_hw, radius))


def test_boundary_affinity_of_a_batch_is_that_of_each_image():
    boundary_Bhw = torch.rand(3, 5, 6)
    offsets = half_plane_offsets(4)
    together = affinity_from_boundary(boundary_Bhw, offsets)
    for boundary_hw, planes_Phw in zip(boundary_Bhw, together, strict=True):
        torch.testing.assert_close(planes_Phw, affinity_from_boundary(boundary_hw, offsets), rtol=0, atol=0)


def test_pairs_off_the_grid_have_no_affinity():
    planes_Phw = affinity_from_boundary(torch.zeros(3, 4), [(0, 2), (1, -1)])
    assert planes_Phw[0].tolist() == [[1, 1, 0, 0]] * 3
    assert planes_Phw[1].tolist() == [[0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_feature_affinity_equals_loops_over_pairs(height, width):
    features_Dhw = np.random.default_rng(1).standard_normal((5, height, width))
    offsets = half_plane_offsets(5)
    flat_ND = features_Dhw.reshape(5, -1).T
    distance_NN = np.abs(flat_ND[:, None] - flat_ND[None]).mean(axis=2)
    y, x = np.divmod(np.arange(height * width), width)
    is_near = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2 < 25
    planes_Phw = affinity_from_features(torch.from_numpy(features_Dhw), offsets)
    np.testing.assert_allclose(as_dense(planes_Phw, offsets), np.where(is_near, np.exp(-distance_NN), 0), rtol=1e-12)
