"""Every backend against the float64 oracle, and against itself under other company."""

import itertools

import numpy as np
import pytest
import torch

from models.errors import InvalidInputError
from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.solve import solve_batch, solve_traced

BACKENDS = ["reference", "torch", "native"]
ABLATIONS = [
    {"entropy_weight": 0.0, "laplacian_weight": 0.0},
    {"laplacian_weight": 0.0},
    {"entropy_weight": 0.0},
    {"foreground_weight": 0.0},
    {"background_weight": 0.0, "entropy_weight": 3.0, "laplacian_weight": 2.0},
]


def oracle(graph, /, **changes):
    config = GCNConfig(**{"num_steps": 30, "backend": "reference", "compute_dtype": "float64"} | changes)
    return solve_traced([graph], config, with_trace=True)[0]


def check_against_oracle(graph, /, backend, *, gradient_rtol=3e-6, loss_rtol=1e-6, **changes):
    expected = oracle(graph, **changes)
    config = GCNConfig(**{"num_steps": 30, "backend": backend} | changes)
    solution = solve_traced([graph], config, with_trace=True)[0]
    assert solution.num_steps == expected.num_steps
    pairs = zip(solution.trace.first_gradients.tensors(), expected.trace.first_gradients.tensors(), strict=True)
    for name, (gradient, exact) in zip(("weight1", "bias1", "weight2", "bias2"), pairs, strict=True):
        error = (gradient.double() - exact).norm() / exact.norm().clamp_min(1e-30)
        assert error <= gradient_rtol, name
    np.testing.assert_allclose(solution.trace.losses, expected.trace.losses, rtol=loss_rtol, atol=1e-7)
    torch.testing.assert_close(solution.prob_hwC, expected.prob_hwC, rtol=0, atol=2e-4)
    return solution


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", ["paper", "released"])
def test_sixty_steps_follow_the_oracle(backend, form, graph_factory):
    graph = graph_factory(20, 23, num_features=40, num_classes=21, seed=3)
    solution = check_against_oracle(graph, backend, gradient_rtol=1e-6, loss_form=form, num_steps=60)
    torch.testing.assert_close(solution.prob_hwC.sum(dim=2), torch.ones(20, 23), rtol=0, atol=1e-5)
    assert solution.trace.losses[-1] < 0.8 * solution.trace.losses[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (37, 1), (3, 17), (5, 4), (34, 16), (9, 33)])
def test_any_grid(backend, height, width, graph_factory):
    check_against_oracle(graph_factory(height, width, num_features=11, seed=height), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("num_features", [1, 16, 50, 161])
@pytest.mark.parametrize("num_classes", [2, 7, 33])
def test_any_number_of_features_and_classes(backend, num_features, num_classes, graph_factory):
    graph = graph_factory(12, 18, num_features=num_features, num_classes=num_classes)
    check_against_oracle(graph, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("radius", [2, 3, 5, 7, 10])
@pytest.mark.parametrize(
    "laplacian", [{"laplacian_radius": 1}, {"laplacian_radius": 3}, {"laplacian_affinity": "affinity"}]
)
def test_any_radius(backend, radius, laplacian, graph_factory):
    graph = graph_factory(19, 21, seed=radius)
    check_against_oracle(graph, backend, graph=AffinityGraphConfig(radius=radius, beta=2.0), **laplacian)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("form", "weights"), itertools.product(["paper", "released"], ABLATIONS))
def test_any_loss_weights(backend, form, weights, graph_factory):
    # Without a background the last bias's gradient is a small difference of large sums.
    tolerance = {"gradient_rtol": 1e-5} if "background_weight" in weights else {}
    check_against_oracle(graph_factory(11, 17), backend, loss_form=form, **tolerance, **weights)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.0},
        {"dropout": 0.7},
        {"bias": False},
        {"hidden_channels": 5},
        {"init": "glorot"},
        {"weight_decay": 0.0},
        {"learning_rate": 0.1},
        {"feature_dtype": "float16"},
        {"feature_dtype": "bfloat16"},
        {"affinity_dtype": "bfloat16"},
        {"laplacian_on": "prob"},
        {"num_steps": 0},
    ],
)
def test_any_option(backend, changes, graph_factory):
    if changes == {"num_steps": 0}:
        graph = graph_factory(11, 17)
        probabilities = [solve_batch([graph], GCNConfig(num_steps=0, backend=b))[0] for b in (backend, "reference")]
        torch.testing.assert_close(*probabilities, rtol=1e-5, atol=1e-6)
        return
    # A value that lies half-way between two 16-bit numbers may be rounded either way by float32 and float64 sums.
    is_rounded = "feature_dtype" in changes
    tolerance = {"gradient_rtol": 1e-3, "loss_rtol": 1e-3} if is_rounded else {}
    check_against_oracle(graph_factory(11, 17), backend, **tolerance, **changes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "config",
    [
        AffinityGraphConfig(transition=False, symmetrise="none", normalisation="none", self_loop=1.0),
        AffinityGraphConfig(symmetrise="none"),
        AffinityGraphConfig(symmetrise="mean", normalisation="symmetric"),
        AffinityGraphConfig(symmetrise="none", normalisation="none", self_loop=0.0),
    ],
)
def test_any_one_hop_matrix(backend, config, graph_factory):
    check_against_oracle(graph_factory(11, 17), backend, graph=config)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize(
    "config",
    [
        AffinityGraphConfig(graph="walk", log2_steps=4),
        AffinityGraphConfig(graph="truncated", log2_steps=3, num_neighbours=9),
    ],
)
def test_walk_graphs(backend, config, graph_factory):
    check_against_oracle(graph_factory(7, 9), backend, graph=config, gradient_rtol=1e-5, loss_rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("missing", ["foreground", "background", "unknown", "all but one cell"])
def test_missing_groups(backend, missing, graph_factory):
    graph = graph_factory(11, 17)
    label_hw = graph.label_hw.clone()
    is_foreground = (label_hw > 0) & (label_hw < 255)
    if missing == "foreground":
        label_hw[is_foreground] = 255
    elif missing == "background":
        label_hw[label_hw == 0] = 255
    elif missing == "unknown":
        label_hw[label_hw == 255] = 0
    else:
        label_hw.fill_(255)
        label_hw[3, 3] = 2
    solution = check_against_oracle(graph_factory(11, 17, label_hw=label_hw), backend)
    assert torch.isfinite(solution.prob_hwC).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_result_does_not_depend_on_batch_order_or_threads(backend, graph_factory):
    graphs = [graph_factory(9 + i, 20 - i, seed=i, item_id=f"item{i}") for i in range(5)]
    config = GCNConfig(num_steps=6, backend=backend)
    alone = [solve_batch([graph], config)[0] for graph in graphs]
    together = solve_batch(graphs, config)
    threaded = solve_batch(graphs, config, num_threads=3)
    reversed_back = solve_batch(graphs[::-1], config, num_threads=2)[::-1]
    for results in zip(alone, together, threaded, reversed_back, strict=True):
        for other in results[1:]:
            assert torch.equal(results[0], other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_item_id_and_seed_key_the_draws(backend, graph_factory):
    graph, renamed = graph_factory(), graph_factory(item_id="other")
    config = GCNConfig(num_steps=3, backend=backend)
    first, other_item = solve_batch([graph, renamed], config)
    other_seed = solve_batch([graph], GCNConfig(num_steps=3, backend=backend, seed=1))[0]
    assert not torch.equal(first, other_item)
    assert not torch.equal(first, other_seed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tolerance_stops_early_and_says_so(backend, graph_factory):
    graph = graph_factory(11, 17)
    solution = solve_traced([graph], GCNConfig(num_steps=200, backend=backend, tolerance=0.02), with_trace=True)[0]
    assert 20 <= solution.num_steps < 200
    assert len(solution.trace.losses) == solution.num_steps
    full = solve_traced([graph], GCNConfig(num_steps=solution.num_steps, backend=backend))[0]
    assert full.num_steps == solution.num_steps
    assert torch.equal(solution.prob_hwC, full.prob_hwC)


@pytest.mark.parametrize("backend", BACKENDS)
def test_divergence_is_an_error_not_a_label(backend, graph_factory):
    graph = graph_factory(6, 7)
    huge = graph_factory(6, 7, features_Dhw=graph.features_Dhw * 1e6)
    with pytest.raises(InvalidInputError, match="item item: the GCN's training left the finite numbers"):
        solve_batch([huge], GCNConfig(num_steps=3, backend=backend, feature_dtype="float16"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_batch(backend):
    assert solve_batch([], GCNConfig(backend=backend)) == []


def test_rejects_zero_threads(graph_factory):
    with pytest.raises(InvalidInputError, match="num_threads"):
        solve_batch([graph_factory()], GCNConfig(), num_threads=0)
