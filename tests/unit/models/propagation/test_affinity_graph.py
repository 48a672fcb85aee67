import numpy as np
import pytest
import torch

from models.affinity.pixel_pairs import half_plane_offsets
from models.errors import InvalidInputError
from models.propagation.affinity_graph import one_hop_adjacency
from models.propagation.config import AffinityGraphConfig
from models.propagation.pair_affinity import affinity_from_features


def as_dense(adjacency):
    stencil = adjacency.stencil
    matrix = stencil.to_csr(stencil.pattern(), adjacency.row_scale_hw, adjacency.column_scale_hw)
    return matrix.to_dense().numpy()


def expected_matrix(dense, boundary_hw, config):
    """The four steps of the config's docstring, on dense matrices."""
    matrix = dense.affinity(boundary_hw, config.radius) ** config.beta
    if config.transition:
        matrix = matrix / matrix.sum(axis=0, keepdims=True)
    if config.symmetrise == "max":
        matrix = np.maximum(matrix, matrix.T)
    elif config.symmetrise == "mean":
        matrix = (matrix + matrix.T) / 2
    matrix = matrix + config.self_loop * np.eye(len(matrix))
    row_sums = matrix.sum(axis=1)
    if config.normalisation == "row":
        return matrix / row_sums[:, None]
    if config.normalisation == "symmetric":
        return matrix / np.sqrt(row_sums[:, None] * row_sums[None, :])
    return matrix


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (4, 2), (6, 7)])
@pytest.mark.parametrize("transition", [True, False])
@pytest.mark.parametrize("symmetrise", ["max", "mean", "none"])
@pytest.mark.parametrize("normalisation", ["row", "symmetric", "none"])
def test_equals_the_dense_construction(height, width, transition, symmetrise, normalisation, graph_factory, dense):
    if normalisation == "symmetric" and symmetrise == "none" and transition:
        pytest.skip("this combination is rejected")
    config = AffinityGraphConfig(
        radius=4, beta=3.0, transition=transition, symmetrise=symmetrise, self_loop=0.5, normalisation=normalisation
    )
    graph = graph_factory(height, width)
    expected = expected_matrix(dense, graph.boundary_hw.double().numpy(), config)
    np.testing.assert_allclose(as_dense(one_hop_adjacency(graph, config)), expected, rtol=1e-12)


def test_given_affinities_take_the_place_of_the_boundary(graph_factory):
    features_Dhw = torch.rand(3, 5, 6, dtype=torch.float64)
    planes_Phw = affinity_from_features(features_Dhw, half_plane_offsets(5))
    junk_Phw = planes_Phw.clone()
    junk_Phw[0, :, -1] = 0.7  # pairs that leave the grid must not count
    config = AffinityGraphConfig(beta=8.0)
    matrices = [
        as_dense(one_hop_adjacency(graph_factory(5, 6, boundary_hw=None, affinity_Phw=planes), config))
        for planes in (planes_Phw, junk_Phw)
    ]
    np.testing.assert_array_equal(*matrices)
    first = torch.exp(-(features_Dhw[:, 0, 0] - features_Dhw[:, 0, 1]).abs().mean()) ** 8
    second = torch.exp(-(features_Dhw[:, 0, 0] - features_Dhw[:, 1, 0]).abs().mean()) ** 8
    assert matrices[0][0, 1] > 0
    unnormalised = AffinityGraphConfig(beta=8.0, transition=False, normalisation="none")
    matrix = as_dense(one_hop_adjacency(graph_factory(5, 6, boundary_hw=None, affinity_Phw=planes_Phw), unnormalised))
    np.testing.assert_allclose(matrix[0, [0, 1, 6]], [2.0, first, second], rtol=1e-12)


def test_wrong_number_of_affinity_planes_is_named(graph_factory):
    graph = graph_factory(5, 6, boundary_hw=None, affinity_Phw=torch.rand(12, 5, 6))
    with pytest.raises(InvalidInputError, match="12 planes, radius 5 needs 34"):
        one_hop_adjacency(graph, AffinityGraphConfig())


def test_rounded_rows_still_sum_to_one(graph_factory):
    adjacency = one_hop_adjacency(graph_factory(6, 8), AffinityGraphConfig(), storage_dtype=torch.bfloat16)
    exact = one_hop_adjacency(graph_factory(6, 8), AffinityGraphConfig())
    np.testing.assert_allclose(as_dense(adjacency).sum(axis=1), 1.0, rtol=1e-12)
    difference = (adjacency.stencil.planes_Phw / exact.stencil.planes_Phw - 1).nan_to_num().abs().max()
    assert 0 < difference <= 2**-8


@pytest.mark.parametrize(
    "changes",
    [
        {"radius": 1},
        {"beta": 0},
        {"log2_steps": -1},
        {"num_neighbours": 0},
        {"self_loop": -1.0},
        {"graph": "walk", "transition": False},
        {"normalisation": "symmetric", "symmetrise": "none"},
        {"normalisation": "symmetric", "graph": "truncated"},
    ],
)
def test_config_rejects(changes):
    with pytest.raises(InvalidInputError, match=next(iter(changes))):
        AffinityGraphConfig(**changes)
