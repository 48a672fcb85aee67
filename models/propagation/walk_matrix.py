"""Powers of the random walk's transition matrix: dense (`walk`), or each cell's strongest entries (`truncated`).

T = S D^-1 is similar to the symmetric M = D^-1/2 S D^-1/2, so T^n = D^1/2 M^n D^-1/2: squarings stay symmetric, and a
block of rows of T^n comes from stepping a block of unit vectors with the sparse M.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import InvalidInputError
from models.propagation.affinity_graph import sharpened_affinity
from models.propagation.config import AffinityGraphConfig
from models.propagation.grid_graph import GridGraph
from models.propagation.stencil import GridStencil, csr_tensor, neighbour_sums

MAX_DENSE_NODES_ON_CPU = 6144
"""Largest grid of a dense walk on a CPU: 150 MB a matrix, 8 squarings of 0.46 TFLOP each."""

ROWS_AT_ONCE = 256
"""Rows of the truncated matrix that are worked out together: bounds the memory at N x 256 numbers, a few at a time."""


def walk_matrix(graph: GridGraph, config: AffinityGraphConfig, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """The dense `walk` matrix of an image, symmetrised and normalised as the config says.

    Shapes:
        returns: [N, N] on the device of the graph; 552 MB for a 94x125 grid in float32.

    Raises:
        InvalidInputError: the grid has more than `MAX_DENSE_NODES_ON_CPU` cells and the graph is on a CPU.
    """
    if not graph.features_Dhw.is_cuda and graph.num_nodes > MAX_DENSE_NODES_ON_CPU:
        message = (
            f"item {graph.item_id}: the walk graph of {graph.num_nodes} cells is a dense matrix of "
            f"{graph.num_nodes**2 * 4 / 2**20:.0f} MiB; on a CPU at most {MAX_DENSE_NODES_ON_CPU} cells are taken: "
            "use graph 'one_hop', a coarser grid or a GPU"
        )
        raise InvalidInputError(message)
    step_NN, degree_N = _symmetric_step(graph, config)
    power_NN = step_NN.to_dense().to(dtype)
    for _ in range(config.log2_steps):
        power_NN = power_NN @ power_NN
    root_N = degree_N.sqrt().to(dtype)
    power_NN *= _symmetrising_ratio(root_N[:, None], root_N[None, :], config)
    power_NN.diagonal().add_(config.self_loop)
    return _normalised(power_NN, config)


def truncated_walk_matrix(
    graph: GridGraph, config: AffinityGraphConfig, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The `walk` matrix with only the `num_neighbours` largest entries of each row, normalised over what is kept.

    Shapes:
        returns: [N, N] sparse CSR; the diagonal is always stored.

    The time grows with N^2 * 2^log2_steps and the memory with N: meant for few steps, or for a GPU.
    """
    step_NN, degree_N = _symmetric_step(graph, config)
    step_NN, root_N = step_NN.to(dtype), degree_N.sqrt().to(dtype)
    num_nodes = graph.num_nodes
    num_kept = min(config.num_neighbours, num_nodes)
    rows, columns, values = [], [], []
    for start in range(0, num_nodes, ROWS_AT_ONCE):
        row_R = torch.arange(start, min(start + ROWS_AT_ONCE, num_nodes), device=root_N.device)
        block_NR = torch.zeros((num_nodes, len(row_R)), dtype=dtype, device=root_N.device)
        block_NR[row_R, torch.arange(len(row_R), device=root_N.device)] = 1.0
        for _ in range(2**config.log2_steps):
            block_NR = step_NN @ block_NR
        block_NR *= _symmetrising_ratio(root_N[row_R][None, :], root_N[:, None], config)
        strongest = block_NR.topk(num_kept, dim=0)
        rows.append(row_R[None, :].expand_as(strongest.indices).reshape(-1))
        columns.append(strongest.indices.reshape(-1))
        values.append(strongest.values.reshape(-1))
    node_N = torch.arange(num_nodes, device=root_N.device)
    loop_N = torch.full_like(root_N, config.self_loop)
    entries = torch.stack([torch.cat([*rows, node_N]), torch.cat([*columns, node_N])])
    shape = (num_nodes, num_nodes)
    matrix = torch.sparse_coo_tensor(entries, torch.cat([*values, loop_N]), shape, check_invariants=False).coalesce()
    row_E, column_E, value_E = *matrix.indices(), matrix.values()
    if config.normalisation == "row":
        value_E = value_E / torch.zeros_like(root_N).index_add_(0, row_E, value_E)[row_E]
    crow = torch.zeros(num_nodes + 1, dtype=torch.int32, device=root_N.device)
    crow[1:] = torch.bincount(row_E, minlength=num_nodes).cumsum(0)
    return csr_tensor(crow, column_E.to(torch.int32), value_E)


def _symmetric_step(graph: GridGraph, config: AffinityGraphConfig) -> tuple[Tensor, Tensor]:
    """M = D^-1/2 S D^-1/2 as float64 CSR, and the diagonal [N] of D."""
    offsets, affinity_Phw = sharpened_affinity(graph, config)
    degree_hw = 1.0 + neighbour_sums(affinity_Phw, offsets)
    stencil = GridStencil(offsets, affinity_Phw, torch.ones_like(degree_hw))
    scale_hw = degree_hw.rsqrt()
    return stencil.to_csr(stencil.pattern(), scale_hw, scale_hw), degree_hw.reshape(-1)


def _symmetrising_ratio(row_root: Tensor, column_root: Tensor, config: AffinityGraphConfig) -> Tensor:
    """What M^n is multiplied by, entry by entry, to give T^n symmetrised as the config says."""
    forward = row_root / column_root
    if config.symmetrise == "none":
        return forward
    backward = column_root / row_root
    return torch.maximum(forward, backward) if config.symmetrise == "max" else 0.5 * (forward + backward)


def _normalised(matrix_NN: Tensor, config: AffinityGraphConfig) -> Tensor:
    if config.normalisation == "none":
        return matrix_NN
    row_sums_N = matrix_NN.sum(dim=1)
    if config.normalisation == "row":
        return matrix_NN.div_(row_sums_N[:, None])
    scale_N = row_sums_N.rsqrt()
    return matrix_NN.mul_(scale_N[:, None]).mul_(scale_N[None, :])
