"""The `triton` backend: several images in the same launches on CUDA, all steps of a training in one CUDA graph.

The kernels are in `triton_kernels`, their memory and order in `triton_batch`; `triton_support` says when it can serve.
Here a batch is split into parts that fit the device's free memory, and what was recorded is kept for the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from models.propagation.affinity_graph import StencilAdjacency
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.problem import GCNProblem
from models.propagation.gcn.solution import GCNSolution, GCNTrace
from models.propagation.gcn.triton_batch import BatchShape, TritonBatch

MAX_IMAGES = 64
"""Images in a launch, at most: enough to fill the largest GPUs and to hide the launches."""

NODES_STEP = 4096
"""Room for cells grows in steps of this many, so that images of like sizes share one recording."""

MEMORY_SHARE = 0.7
"""Share of the free device memory that a batch may take; the rest is for preparing it and for its neighbours."""

_kept_batches: dict[Any, TritonBatch] = {}


def solve_many(problems: Sequence[GCNProblem], config: GCNConfig, *, with_trace: bool = False) -> list[GCNSolution]:
    """Trains the GCNs of all images, as many at once as memory allows, up to 64.

    Args:
        with_trace: also return losses, first gradients and final weights; the steps are then launched one by one.
    """
    return [
        solution
        for part in parts_of(problems, config)
        for solution in _solve_together(part, config, with_trace=with_trace)
    ]


def images_at_once(problem: GCNProblem, config: GCNConfig) -> int:
    """How many images of this size are trained together: what the device's free memory holds, 1 to 64."""
    device = problem.graph.label_hw.device
    if device.type != "cuda":
        return MAX_IMAGES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    free_bytes += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free_bytes += sum(batch.num_bytes for batch in _kept_batches.values())
    own_bytes = _shape([problem]).bytes_per_image(config.num_steps)
    return int(min(max(MEMORY_SHARE * free_bytes // own_bytes, 1), MAX_IMAGES))


def parts_of(problems: Sequence[GCNProblem], config: GCNConfig) -> Iterator[list[GCNProblem]]:
    """Consecutive images with as many features and classes, as many as fit the memory together."""
    part: list[GCNProblem] = []
    for problem in problems:
        largest = max([problem, *part], key=lambda one: one.num_nodes)
        if part and (_kind(problem) != _kind(part[0]) or len(part) >= images_at_once(largest, config)):
            yield part
            part = []
        part.append(problem)
    if part:
        yield part


def _solve_together(problems: Sequence[GCNProblem], config: GCNConfig, *, with_trace: bool) -> list[GCNSolution]:
    batch = _batch_for(problems, config)
    batch.load(problems)
    first_gradients = None
    if with_trace and config.num_steps:
        batch.train_step()
        first_gradients = batch.gradients.clone()
        for _ in range(config.num_steps - 1):
            batch.train_step()
    else:
        batch.train()
    batch.read_out()
    losses_SB = batch.losses.cpu()
    solutions = []
    for place, problem in enumerate(problems):
        graph = problem.graph
        prob_hwC = batch.probabilities(place, graph.num_nodes).reshape(graph.height, graph.width, -1).cpu()
        trace = None
        if first_gradients is not None:
            first, final = (batch.parameters(place, flat) for flat in (first_gradients, batch.weights))
            trace = GCNTrace(tuple(losses_SB[:, place].tolist()), first, final)
        solutions.append(GCNSolution(prob_hwC.contiguous(), config.num_steps, trace))
    return solutions


def _batch_for(problems: Sequence[GCNProblem], config: GCNConfig) -> TritonBatch:
    """The kept batch where these images fit into it, else a larger one in its place; one is kept at a time."""
    wanted = _shape(problems)
    key = (config, problems[0].graph.label_hw.device, _kind(problems[0]))
    kept = _kept_batches.get(key)
    if kept is not None and kept.shape.num_images >= wanted.num_images and kept.shape.max_nodes >= wanted.max_nodes:
        return kept
    _kept_batches.clear()  # frees its memory before the new one takes its own
    _kept_batches[key] = TritonBatch(wanted, config, key[1])
    return _kept_batches[key]


def _shape(problems: Sequence[GCNProblem]) -> BatchShape:
    places = 1 << (len(problems) - 1).bit_length()
    largest = max(problem.num_nodes for problem in problems)
    return BatchShape(places, -(-largest // NODES_STEP) * NODES_STEP, *_kind(problems[0]))


def _kind(problem: GCNProblem) -> tuple[Any, ...]:
    """What images must share to be in one launch: features, classes, and the offsets of both stencils."""
    assert isinstance(problem.adjacency, StencilAdjacency)  # `reason_unavailable` lets no other graph come here
    graph = problem.graph
    return graph.num_features, graph.num_classes, problem.adjacency.stencil.offsets, problem.laplacian.offsets
