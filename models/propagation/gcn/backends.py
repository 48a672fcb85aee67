"""Which backend solves: what each can serve, and what `auto` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from models.errors import InvalidInputError
from models.propagation.gcn import native_solver
from models.propagation.gcn.closed_form import solve_closed_form
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.native_solver import solve_native
from models.propagation.gcn.problem import GCNProblem, prepare
from models.propagation.gcn.solution import GCNSolution
from models.propagation.grid_graph import GridGraph


@dataclass(frozen=True)
class Backend:
    """One way to solve.

    Attributes:
        reason_unavailable: why it cannot serve a config on a device, in words; None where it can.
        solve: solves graphs that are on the device; the arguments are graphs, config, num_threads and with_trace.
    """

    reason_unavailable: Callable[[GCNConfig, torch.device], str | None]
    solve: Callable[[Sequence[GridGraph], GCNConfig, int, bool], list[GCNSolution]]


def choose_backend(config: GCNConfig, device: torch.device) -> str:
    """Name of the backend that solves: the config's; for `auto` the first of triton, native and torch that can.

    Raises:
        InvalidInputError: the named backend cannot serve the config on the device.
    """
    if config.backend == "auto":
        return next(name for name in AUTO_ORDER if BACKENDS[name].reason_unavailable(config, device) is None)
    reason = BACKENDS[config.backend].reason_unavailable(config, device)
    if reason is not None:
        raise InvalidInputError(f"backend {config.backend!r} cannot serve this: {reason}; 'auto' takes one that can")
    return config.backend


SolveProblem = Callable[[GCNProblem, GCNConfig, bool], GCNSolution]


def _one_by_one(
    solve_problem: SolveProblem,
) -> Callable[[Sequence[GridGraph], GCNConfig, int, bool], list[GCNSolution]]:
    def solve(graphs: Sequence[GridGraph], config: GCNConfig, num_threads: int, with_trace: bool) -> list[GCNSolution]:
        def solve_graph(graph: GridGraph) -> GCNSolution:
            return _checked(solve_problem(prepare(graph, config), config, with_trace), graph)

        return _on_threads(solve_graph, graphs, num_threads)

    return solve


def _checked(solution: GCNSolution, graph: GridGraph) -> GCNSolution:
    if not bool(torch.isfinite(solution.prob_hwC).all()):
        raise InvalidInputError(
            f"item {graph.item_id}: the GCN's training left the finite numbers; its features may be too large for "
            "feature_dtype, or learning_rate or a loss weight is too large"
        )
    return solution


def _on_threads(
    solve_graph: Callable[[GridGraph], GCNSolution], graphs: Sequence[GridGraph], num_threads: int
) -> list[GCNSolution]:
    """One image a thread, and one thread inside of PyTorch, so that sums are always formed in the same order."""
    num_inside = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        if num_threads == 1 or len(graphs) <= 1:
            return [solve_graph(graph) for graph in graphs]
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(solve_graph, graphs))
    finally:
        torch.set_num_threads(num_inside)


def _solve_reference(problem: GCNProblem, config: GCNConfig, with_trace: bool) -> GCNSolution:
    from models.propagation.gcn.reference import solve_reference  # imports PyG, which takes seconds

    return solve_reference(problem, config, with_trace=with_trace)


def _solve_torch(problem: GCNProblem, config: GCNConfig, with_trace: bool) -> GCNSolution:
    return solve_closed_form(problem, config, with_trace=with_trace)


def _solve_native(problem: GCNProblem, config: GCNConfig, with_trace: bool) -> GCNSolution:
    return solve_native(problem, config, with_trace=with_trace)


def _always(_config: GCNConfig, _device: torch.device) -> None:
    return None


def _native_reason(config: GCNConfig, device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"it runs on a CPU, and the device is {device}"
    return native_solver.reason_unavailable(config)


BACKENDS = {
    "reference": Backend(_always, _one_by_one(_solve_reference)),
    "torch": Backend(_always, _one_by_one(_solve_torch)),
    "native": Backend(_native_reason, _one_by_one(_solve_native)),
}
AUTO_ORDER = ("native", "torch")
