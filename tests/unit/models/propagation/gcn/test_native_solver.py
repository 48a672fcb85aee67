"""What is particular to the C++ backend: its builds, its fallback, and files that both sides of the border share."""

import ctypes
import logging

import numpy as np
import pytest
import torch

from models import native_library
from models.errors import InvalidInputError
from models.native_library import load_native_isa, supported_isas
from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn import native_solver
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.problem import prepare
from models.propagation.gcn.solve import solve_batch

PACKAGE, STEM = "models.propagation.gcn", "_gcn_solver"


@pytest.fixture(scope="module")
def builds():
    libraries = {isa: load_native_isa(PACKAGE, STEM, isa) for isa in supported_isas()}
    built = {isa: native_solver.declare(library) for isa, library in libraries.items() if library is not None}
    if not built:
        pytest.skip("the native library was not built on this machine")
    return built


def solve_with(library, graph, config):
    return native_solver.solve_native(prepare(graph, config), config, with_trace=True, library=library)


@pytest.mark.parametrize("size", [(13, 21), (4, 35)])
@pytest.mark.parametrize("radius", [5, 3])
def test_every_build_gives_the_oracle_s_result(builds, size, radius, graph_factory):
    graph = graph_factory(*size, num_features=37, num_classes=12)
    options = {"num_steps": 30, "graph": AffinityGraphConfig(radius=radius)}
    expected = solve_batch([graph], GCNConfig(backend="reference", compute_dtype="float64", **options))[0]
    for isa, library in builds.items():
        solution = solve_with(library, graph, GCNConfig(**options))
        assert torch.allclose(solution.prob_hwC, expected, rtol=0, atol=1e-4), isa


def test_avx2_and_avx512_give_the_same_bits(builds, graph_factory):
    if not {"avx2", "avx512"} <= builds.keys():
        pytest.skip("this CPU or this installation does not have both")
    for form in ("paper", "released"):
        config = GCNConfig(num_steps=40, loss_form=form)
        graph = graph_factory(21, 37, num_features=50, num_classes=21)
        first, second = (solve_with(builds[isa], graph, config) for isa in ("avx2", "avx512"))
        assert torch.equal(first.prob_hwC, second.prob_hwC)
        assert first.trace.losses == second.trace.losses


def test_general_kernels_give_the_bits_of_the_special_ones(builds, graph_factory):
    """A pair with weight 0 at distance 5 turns the radius-5 disc into a neighbourhood without a kernel of its own."""
    library = next(iter(builds.values()))
    graph, config = graph_factory(12, 20, num_features=20), GCNConfig(num_steps=10)
    problem = prepare(graph, config)
    special = native_solver.solve_native(problem, config, library=library)
    stencil = problem.adjacency.stencil
    wider = type(stencil)(
        (*stencil.offsets, (5, 0)),
        torch.cat([stencil.planes_Phw, torch.zeros_like(stencil.planes_Phw[:1])]),
        stencil.diagonal_hw,
    )
    adjacency = type(problem.adjacency)(wider, problem.adjacency.row_scale_hw, problem.adjacency.column_scale_hw)
    general_problem = type(problem)(**(vars(problem) | {"adjacency": adjacency}))
    general = native_solver.solve_native(general_problem, config, library=library)
    assert torch.equal(special.prob_hwC, general.prob_hwC)


def test_half_precision_features_are_rounded_to_nearest_even(builds, graph_factory):
    """The rounding in C++ against NumPy's float16 and PyTorch's bfloat16, through the loss of the first step."""
    library = next(iter(builds.values()))
    graph = graph_factory(9, 17, num_features=16)
    scales = torch.from_numpy(np.geomspace(1e-9, 1e2, 16).astype(np.float32))
    graph = graph_factory(9, 17, features_Dhw=graph.features_Dhw * scales[:, None, None])
    for dtype in ("float16", "bfloat16"):
        config = GCNConfig(num_steps=1, feature_dtype=dtype)
        exact = GCNConfig(num_steps=1, feature_dtype=dtype, backend="torch")
        expected = solve_batch([graph], exact)[0]
        assert torch.allclose(solve_with(library, graph, config).prob_hwC, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"graph": AffinityGraphConfig(graph="walk")}, "'walk' is not a stencil"),
        ({"graph": AffinityGraphConfig(graph="truncated")}, "'truncated' is not a stencil"),
        ({"hidden_channels": 17}, "hidden_channels=17 exceeds 16"),
    ],
)
def test_says_what_it_cannot_serve_and_auto_goes_elsewhere(changes, reason, graph_factory):
    graph = graph_factory(5, 6)
    with pytest.raises(InvalidInputError, match=reason):
        solve_batch([graph], GCNConfig(num_steps=1, backend="native", **changes))
    assert solve_batch([graph], GCNConfig(num_steps=1, backend="auto", **changes))[0].shape == (5, 6, 4)


def test_without_a_build_auto_takes_torch_and_says_so_once(monkeypatch, caplog, graph_factory):
    monkeypatch.setattr(native_library, "load_native_isa", lambda *_: None)
    native_solver.native_library.cache_clear()
    native_library._load_best.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            graph, config = graph_factory(5, 6), GCNConfig(num_steps=2)
            results = [solve_batch([graph], config)[0] for _ in range(3)]
        with pytest.raises(InvalidInputError, match="not built"):
            solve_batch([graph], GCNConfig(num_steps=2, backend="native"))
    finally:
        native_solver.native_library.cache_clear()
        native_library._load_best.cache_clear()
    assert len([record for record in caplog.records if "_gcn_solver" in record.getMessage()]) == 1
    expected = solve_batch([graph], GCNConfig(num_steps=2, backend="torch"))[0]
    assert all(torch.equal(result, expected) for result in results)


def test_a_library_of_another_version_is_refused():
    class Stranger:
        class gcn_interface_version:  # noqa: N801 - stands for a C function
            restype = ctypes.c_int32

            def __new__(cls):
                return 0

    with pytest.raises(ImportError, match="other sources"):
        native_solver.declare(Stranger)
