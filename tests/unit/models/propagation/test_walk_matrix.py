import numpy as np
import pytest

from models.errors import InvalidInputError
from models.propagation import walk_matrix as module
from models.propagation.config import AffinityGraphConfig
from models.propagation.walk_matrix import truncated_walk_matrix, walk_matrix


def dense_walk(dense, graph, config):
    power = np.linalg.matrix_power(
        dense.transition(graph.boundary_hw.double().numpy(), config.radius, config.beta), 2**config.log2_steps
    )
    if config.symmetrise == "max":
        return np.maximum(power, power.T)
    return (power + power.T) / 2 if config.symmetrise == "mean" else power


def normalised(matrix, config):
    matrix = matrix + config.self_loop * np.eye(len(matrix))
    sums = matrix.sum(axis=1)
    if config.normalisation == "row":
        return matrix / sums[:, None]
    return matrix if config.normalisation == "none" else matrix / np.sqrt(np.outer(sums, sums))


@pytest.mark.parametrize("symmetrise", ["max", "mean", "none"])
@pytest.mark.parametrize("normalisation", ["row", "symmetric", "none"])
def test_walk_equals_the_dense_power(symmetrise, normalisation, graph_factory, dense):
    if normalisation == "symmetric" and symmetrise == "none":
        pytest.skip("this combination is rejected")
    config = AffinityGraphConfig(graph="walk", symmetrise=symmetrise, normalisation=normalisation)
    graph = graph_factory(6, 9)
    expected = normalised(dense_walk(dense, graph, config), config)
    np.testing.assert_allclose(walk_matrix(graph, config).numpy(), expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("symmetrise", ["max", "mean", "none"])
@pytest.mark.parametrize("normalisation", ["row", "none"])
def test_truncated_keeps_the_strongest_of_each_row(symmetrise, normalisation, graph_factory, dense, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 10)
    config = AffinityGraphConfig(
        graph="truncated", symmetrise=symmetrise, normalisation=normalisation, log2_steps=2, num_neighbours=5
    )
    graph = graph_factory(5, 7)
    full = dense_walk(dense, graph, config)
    threshold = np.sort(full, axis=1)[:, -5]
    kept = np.where(full >= threshold[:, None] * (1 - 1e-6), full, 0)
    matrix = truncated_walk_matrix(graph, config)
    np.testing.assert_allclose(matrix.to_dense().numpy(), normalised(kept, config), rtol=1e-4, atol=1e-8)
    assert matrix.values().numel() <= 35 * 6


def test_truncated_to_all_cells_is_the_walk(graph_factory):
    walk = AffinityGraphConfig(graph="walk", log2_steps=3)
    truncated = AffinityGraphConfig(graph="truncated", log2_steps=3, num_neighbours=1000)
    graph = graph_factory(4, 6)
    np.testing.assert_allclose(
        truncated_walk_matrix(graph, truncated).to_dense().numpy(), walk_matrix(graph, walk).numpy(), rtol=1e-4
    )


def test_a_dense_walk_too_large_for_a_cpu_says_what_to_do(graph_factory):
    with pytest.raises(InvalidInputError, match="use graph 'one_hop'"):
        walk_matrix(graph_factory(80, 80), AffinityGraphConfig(graph="walk"))
