"""Solve many images' GCNs: the entry to every backend."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.errors import InvalidInputError
from models.propagation.gcn.backends import BACKENDS, choose_backend
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.solution import GCNSolution
from models.propagation.grid_graph import GridGraph


def solve_batch(
    graphs: Sequence[GridGraph], config: GCNConfig, *, device: torch.device | str = "cpu", num_threads: int = 1
) -> list[Tensor]:
    """Class probabilities of each image, from a GCN trained on it alone (WSGCN, section 3).

    An image's result depends on its graph, its item id and the config: not on the batch, its order, or the number of
    threads, bit for bit.

    Args:
        device: where to compute. The graphs may be anywhere.
        num_threads: images solved at the same time on a CPU, one thread each; on CUDA it has no effect.

    Shapes:
        returns: [h, w, C] float32 on the CPU for every graph, rows sum to 1. All C classes are trained; to read out
            the classes present in an image is the caller's business.

    Raises:
        InvalidInputError: a graph and the config do not fit, or the backend that the config names cannot serve it here.
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
    device = torch.device(device)
    backend = BACKENDS[choose_backend(config, device)]
    return backend.solve([graph.to(device) for graph in graphs], config, num_threads, with_trace)
