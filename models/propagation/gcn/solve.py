"""Solve many images' GCNs: the entry to every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from models.errors import InvalidInputError
from models.propagation.gcn.backends import BACKENDS, choose_backend
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.problem import prepare
from models.propagation.gcn.solution import GCNSolution
from models.propagation.grid_graph import GridGraph


def solve_batch(
    graphs: Sequence[GridGraph], config: GCNConfig, *, device: torch.device | str = "cpu", num_threads: int = 1
) -> list[Tensor]:
    """Class probabilities of each image, from a GCN trained on it alone (WSGCN, section 3).

    An image's result depends on its graph, its item id and the config: not on the batch, its order, or the number of
    threads, bit for bit on a CPU.

    Args:
        device: where to compute. The graphs may be anywhere.
        num_threads: images solved at the same time on a CPU, one thread each; on CUDA it has no effect.

    Shapes:
        returns: [h, w, C] float32 on the CPU for every graph, rows sum to 1. All C classes are trained; to read out
            the classes present in an image is the caller's business.

    Raises:
        InvalidInputError: a graph and the config do not fit, the backend that the config names cannot serve it here,
            or an image's training left the finite numbers.
    """
    return [solution.prob_hwC for solution in solve_traced(graphs, config, device=device, num_threads=num_threads)]


def solve_traced(
    graphs: Sequence[GridGraph],
    config: GCNConfig,
    *,
    device: torch.device | str = "cpu",
    num_threads: int = 1,
    with_trace: bool = False,
) -> list[GCNSolution]:
    """`solve_batch`, with the number of steps taken and, `with_trace`, losses, first gradients and final weights."""
    if num_threads < 1:
        raise InvalidInputError(f"num_threads must be at least 1, got {num_threads}")
    target = torch.device(device)
    backend = BACKENDS[choose_backend(config, target)]
    if backend.solve_many is not None:
        problems = [prepare(graph.to(target), config) for graph in graphs]
        solutions = backend.solve_many(problems, config, with_trace=with_trace)
        return [_checked(solution, graph) for solution, graph in zip(solutions, graphs, strict=True)]
    solve_one = backend.solve
    assert solve_one is not None  # a backend has one of the two

    def solve_graph(graph: GridGraph) -> GCNSolution:
        return _checked(solve_one(prepare(graph.to(target), config), config, with_trace=with_trace), graph)

    return _on_threads(solve_graph, graphs, num_threads if target.type == "cpu" else 1)


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


def _checked(solution: GCNSolution, graph: GridGraph) -> GCNSolution:
    if not bool(torch.isfinite(solution.prob_hwC).all()):
        raise InvalidInputError(
            f"item {graph.item_id}: the GCN's training left the finite numbers; its features may be too large for "
            "feature_dtype, or learning_rate or a loss weight is too large"
        )
    return solution
