"""All 250 steps on image-like problems: float32 drifts from float64 (Adam amplifies rounding), labels must not."""

import numpy as np
import pytest
import torch

from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.solve import solve_batch

BACKENDS = ["torch", "native"]


@pytest.fixture(scope="module")
def blobs():
    """Arguments of a graph whose four regions have features and a few labels of their own, and noise on both."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:32, :40]
    region_hw = (np.hypot(y - 12, x - 10) < 8) + 2 * (np.hypot(y - 20, x - 29) < 9) + 3 * ((y > 26) & (x < 20))
    directions = rng.standard_normal((4, 24))
    features_Dhw = directions[region_hw].transpose(2, 0, 1) + 1.5 * rng.standard_normal((24, 32, 40))
    edges_hw = np.maximum(np.abs(np.gradient(region_hw, axis=0)), np.abs(np.gradient(region_hw, axis=1))) > 0
    return {
        "features_Dhw": torch.from_numpy(np.maximum(features_Dhw, 0)).float(),
        "label_hw": np.where(rng.random((32, 40)) < 0.15, region_hw, 255).astype(np.uint8),
        "boundary_hw": torch.from_numpy(np.where(edges_hw, 0.8, 0.05)).float(),
        "num_classes": 21,
    }, torch.from_numpy(region_hw)


def solve(graph, backend, **changes):
    return solve_batch([graph], GCNConfig(backend=backend, **changes))[0]


def agreement(first_hwC, second_hwC):
    return (first_hwC.argmax(dim=2) == second_hwC.argmax(dim=2)).double().mean().item()


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_are_those_of_float64(backend, blobs, graph_factory):
    arguments, region_hw = blobs
    graph = graph_factory(32, 40, **arguments)
    exact = solve(graph, "torch", compute_dtype="float64")
    assert exact.argmax(dim=2).unique().tolist() == [0, 1, 2, 3]
    assert (exact.argmax(dim=2) == region_hw).double().mean() > 0.9
    probabilities = solve(graph, backend)
    assert agreement(probabilities, exact) >= 0.999
    assert (probabilities - exact).abs().mean() <= 1e-4
    assert agreement(solve(graph, backend, seed=1), exact) < 1  # another seed changes what the backends agree on


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "changes", [{"feature_dtype": "float16"}, {"feature_dtype": "bfloat16"}, {"affinity_dtype": "bfloat16"}]
)
def test_half_precision_changes_few_labels(backend, changes, blobs, graph_factory):
    graph = graph_factory(32, 40, **blobs[0])
    full, rounded = solve(graph, backend), solve(graph, backend, **changes)
    assert not torch.equal(full, rounded)
    assert agreement(full, rounded) >= 0.99


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_on_cuda_gives_the_labels_of_the_cpu(blobs, graph_factory):
    graph = graph_factory(32, 40, **blobs[0])
    on_cuda = solve_batch([graph, graph], GCNConfig(), device="cuda", num_threads=2)
    assert all(result.device.type == "cpu" for result in on_cuda)
    assert agreement(on_cuda[0], solve(graph, "torch", compute_dtype="float64")) >= 0.999
