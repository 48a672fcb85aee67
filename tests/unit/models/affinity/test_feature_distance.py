"""Distances of features, and their gradient, against autograd on the plain formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.affinity.feature_distance import mean_distances
from models.affinity.pair_sums import PairWindow
from models.affinity.pixel_pairs import half_plane_offsets


def plain(features_BDhw, radius):
    """The formula, pair by pair: sources are the cells whose every offset stays inside."""
    _, _, height, width = features_BDhw.shape
    rows, columns = range(height - radius + 1), range(radius - 1, width - radius + 1)
    planes = []
    for dy, dx in half_plane_offsets(radius):
        pairs = [
            [(features_BDhw[:, :, y + dy, x + dx] - features_BDhw[:, :, y, x]).abs().mean(dim=1) for x in columns]
            for y in rows
        ]
        planes.append(torch.stack([torch.stack(row, dim=-1) for row in pairs], dim=-2))
    return torch.stack(planes, dim=1)


@settings(deadline=None, max_examples=15)
@given(
    st.integers(1, 2), st.integers(1, 4), st.integers(3, 5), st.integers(5, 7), st.integers(2, 3), st.integers(0, 99)
)
def test_distances_and_gradient_are_those_of_the_plain_formula(batch, channels, height, width, radius, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    found = mean_distances(ours, PairWindow((height, width), radius), half_plane_offsets(radius))
    expected = plain(theirs, radius)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=0, atol=1e-12)


def test_equal_features_have_no_distance_and_no_gradient():
    features = torch.full((1, 3, 4, 6), 2.0, requires_grad=True)
    distances = mean_distances(features, PairWindow((4, 6), 2), half_plane_offsets(2))
    distances.sum().backward()
    assert distances.eq(0).all()
    assert features.grad.eq(0).all()


def test_it_keeps_the_features_alone_for_the_backward_pass():
    features = torch.randn(1, 8, 12, 12, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        mean_distances(features, PairWindow((12, 12), 5), half_plane_offsets(5))
    assert kept == [features.numel()]


def test_a_window_that_is_too_small_says_so():
    with pytest.raises(ValueError, match="too small for radius 5"):
        mean_distances(torch.zeros(1, 2, 3, 3), PairWindow((3, 3), 5), half_plane_offsets(5))
