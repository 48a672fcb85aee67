"""The oracle against plain dense arithmetic: what is trusted everywhere else is checked here."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.affinity.pixel_pairs import half_square_offsets
from models.propagation.affinity_graph import one_hop_adjacency
from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.counter_random import dropout_keys, hash_bits, keep_threshold
from models.propagation.gcn.laplacian import color_affinity, laplacian
from models.propagation.gcn.problem import label_weights, prepare
from models.propagation.gcn.reference import edge_list, laplacian_loss, total_loss
from models.propagation.gcn.solve import solve_traced
from models.propagation.stencil import neighbour_sums


def dense_laplacian(graph, color_denominator, space_denominator, color_scale=1.0):
    """D - Phi by loops over pairs of cells (WSGCN, equation 7)."""
    height, width = graph.height, graph.width
    color = graph.image_hw3.double().numpy().reshape(-1, 3) / 255 * color_scale
    phi = np.zeros((height * width, height * width))
    for i in range(height * width):
        for j in range(height * width):
            dy, dx = j // width - i // width, j % width - i % width
            if i != j and max(abs(dy), abs(dx)) <= 2:
                color_distance = ((color[i] - color[j]) ** 2).sum()
                phi[i, j] = math.exp(-color_distance / color_denominator - (dy * dy + dx * dx) / space_denominator)
    return np.diag(phi.sum(axis=1)) - phi


@pytest.mark.parametrize(("form", "denominators"), [("released", (12.0, 20.0)), ("paper", (6.0, 200.0))])
@pytest.mark.parametrize("color_scale", [1.0, 255.0])
def test_laplacian_equals_loops_over_pairs(form, denominators, color_scale, graph_factory):
    graph = graph_factory(5, 6)
    stencil = laplacian(graph, GCNConfig(loss_form=form, color_scale=color_scale))
    matrix = stencil.to_csr(stencil.pattern()).to_dense().numpy()
    np.testing.assert_allclose(matrix, dense_laplacian(graph, *denominators, color_scale), rtol=1e-12, atol=1e-300)


def test_phi_stays_in_the_range_of_the_released_constants():
    colors = torch.stack([torch.zeros(3), torch.ones(3)]).T.reshape(3, 1, 2).repeat(1, 5, 3).double()
    offsets = tuple(half_square_offsets(2))
    phi = color_affinity(colors, offsets, 12.0, 20.0)
    phi = phi[phi > 0]
    assert phi.min() >= math.exp(-0.25) * math.exp(-8 / 20) - 1e-12
    assert phi.max() <= math.exp(-1 / 20) + 1e-12


def test_laplacian_loss_is_the_trace_form(graph_factory):
    graph = graph_factory(4, 7)
    values_NC = torch.rand(28, 4, dtype=torch.float64)
    matrix = dense_laplacian(graph, 12.0, 20.0)
    expected = np.trace(values_NC.numpy().T @ matrix @ values_NC.numpy()) / 28
    assert laplacian_loss(values_NC, laplacian(graph, GCNConfig())).item() == pytest.approx(expected, rel=1e-12)


def test_affinity_may_take_the_place_of_phi(graph_factory, dense):
    graph = graph_factory(4, 5)
    config = GCNConfig(laplacian_affinity="affinity", graph=AffinityGraphConfig(radius=3, beta=2.0))
    stencil = laplacian(graph, config)
    phi = dense.affinity(graph.boundary_hw.double().numpy(), 3) ** 2.0 - np.eye(20)
    expected = np.diag(phi.sum(axis=1)) - phi
    np.testing.assert_allclose(stencil.to_csr(stencil.pattern()).to_dense().numpy(), expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(stencil.diagonal_hw, neighbour_sums(-stencil.planes_Phw, stencil.offsets))


def test_total_loss_equals_the_equations(graph_factory):
    graph = graph_factory(5, 6)
    weights = {"foreground_weight": 0.7, "background_weight": 1.3, "entropy_weight": 4.0, "laplacian_weight": 0.5}
    log_prob_NC = torch.log_softmax(torch.randn(30, 4, dtype=torch.float64), dim=1)
    q = log_prob_NC.exp().numpy()
    label = graph.label_hw.numpy().ravel()
    groups = {"fg": (label > 0) & (label < 255), "bg": label == 0, "unknown": label == 255}
    cross_entropy = {
        name: -np.mean([math.log(q[i, label[i]]) for i in np.flatnonzero(groups[name])]) for name in ("fg", "bg")
    }
    entropy = -np.mean([(q[i] * np.log(q[i])).sum() for i in np.flatnonzero(groups["unknown"])])
    for form, per_class, values, denominators in (
        ("paper", 1, q, (6.0, 200.0)),
        ("released", 4, np.log(q), (12.0, 20.0)),
    ):
        smoothness = np.trace(values.T @ dense_laplacian(graph, *denominators) @ values) / 30
        expected = 0.7 * cross_entropy["fg"] + 1.3 * cross_entropy["bg"] + 4.0 * entropy / per_class + 0.5 * smoothness
        config = GCNConfig(loss_form=form, **weights)
        loss = total_loss(log_prob_NC, prepare(graph, config), config)
        assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("label", [[0, 0, 255], [1, 2, 255], [0, 1, 2]])
def test_empty_groups_add_nothing(label, graph_factory):
    graph = graph_factory(1, 3, label_hw=np.array([label], np.uint8))
    config = GCNConfig(laplacian_weight=0.0)
    log_prob_NC = torch.log_softmax(torch.randn(3, 4, dtype=torch.float64), dim=1)
    loss = total_loss(log_prob_NC, prepare(graph, config), config)
    assert torch.isfinite(loss)
    weights = label_weights(graph, config)
    labelled = -(weights.cross_entropy_N[:, None] * F.one_hot(weights.label_N, 256)[:, :4] * log_prob_NC).sum()
    entropy = -(weights.entropy_N[:, None] * log_prob_NC.exp() * log_prob_NC).sum()
    assert (labelled + entropy).item() == pytest.approx(loss.item(), rel=1e-12)


def test_edge_list_sends_messages_along_the_rows_of_the_matrix(graph_factory):
    adjacency = one_hop_adjacency(graph_factory(4, 5), AffinityGraphConfig())
    (source, target), weight = edge_list(adjacency, torch.float64)
    matrix = np.zeros((20, 20))
    matrix[target, source] = weight
    stencil = adjacency.stencil
    expected = stencil.to_csr(stencil.pattern(), adjacency.row_scale_hw, adjacency.column_scale_hw).to_dense()
    np.testing.assert_array_equal(matrix, expected.numpy())
    assert not np.allclose(matrix, matrix.T)


@pytest.mark.parametrize("bias", [True, False])
def test_first_step_equals_dense_arithmetic(bias, graph_factory):
    """Forward pass, mask and loss of step 0, written with dense matrices only."""
    graph = graph_factory(5, 6)
    config = GCNConfig(num_steps=1, backend="reference", compute_dtype="float64", bias=bias, seed=4)
    problem = prepare(graph, config)
    w1, b1, w2, b2 = (tensor.numpy() for tensor in problem.initial.tensors())
    adjacency = problem.adjacency
    stencil = adjacency.stencil
    matrix = stencil.to_csr(stencil.pattern(), adjacency.row_scale_hw, adjacency.column_scale_hw).to_dense().numpy()
    bits = hash_bits(np.arange(30 * 16, dtype=np.uint32), dropout_keys(4, "item", 1)[0]).reshape(30, 16)
    mask = (bits >= keep_threshold(0.3)) / 0.7
    hidden = np.maximum(matrix @ (graph.features_Dhw.numpy().reshape(6, 30).T @ w1) + b1, 0) * mask
    logits = torch.from_numpy(matrix @ (hidden @ w2) + b2)
    expected = total_loss(torch.log_softmax(logits, dim=1), problem, config).item()
    trace = solve_traced([graph], config, with_trace=True)[0].trace
    assert trace.losses[0] == pytest.approx(expected, rel=1e-12)
    assert (np.abs(b1).max() > 0) == bias
    assert (trace.final.bias1_U.abs().max() > 0) == bias


def test_initial_weights_have_the_released_bounds(graph_factory):
    initial = prepare(graph_factory(num_features=160, num_classes=21), GCNConfig()).initial
    assert sum(tensor.numel() for tensor in initial.tensors()) == 2933
    for tensor, bound in zip(initial.tensors(), (0.25, 0.25, 0.21822, 0.21822), strict=True):
        assert tensor.abs().max() <= bound + 1e-5
    assert initial.weight1_DU.abs().max() > 0.249
    assert initial.weight2_UC.abs().max() > 0.21


def test_glorot_has_no_bias_at_the_start(graph_factory):
    initial = prepare(graph_factory(), GCNConfig(init="glorot")).initial
    assert initial.bias1_U.abs().max() == 0
    assert 0.9 * math.sqrt(6 / 22) < initial.weight1_DU.abs().max() <= math.sqrt(6 / 22)


def test_paper_entropy_is_classes_times_the_released_one(graph_factory):
    graph = graph_factory()
    paper = label_weights(graph, GCNConfig(loss_form="paper")).entropy_N
    torch.testing.assert_close(label_weights(graph, GCNConfig()).entropy_N * 4, paper, rtol=1e-12, atol=0)
