"""How much memory one image takes, before it is solved: to size batches, and to refuse what cannot fit."""

from __future__ import annotations

import torch

from models.affinity.pixel_pairs import half_plane_offsets, half_square_offsets
from models.propagation.gcn.backends import choose_backend
from models.propagation.gcn.config import GCNConfig
from models.propagation.grid_graph import GridGraph

MIB = 2**20
LANES = 16
"""The native backend pads rows, features and hidden units to whole vectors of this many numbers."""

ALLOCATOR_SHARE, ALLOCATOR_MIB = 1.5, 8.0
"""What allocators and sparse kernels keep beside the arrays: measured, at most this factor and this much.

glibc raises the size from which it maps blocks of their own as such blocks are freed, and how much of its heap then
lies idle depends on where the heap begins: the same solve with `torch` peaks at 145 MiB (all blocks mapped), and in
the ordinary case anywhere from 162 to 208 MiB.
"""


def memory_mib(graph: GridGraph, config: GCNConfig, *, device: torch.device | str = "cpu") -> float:
    """Predicted peak memory of solving one image, its own tensors included; see `memory_mib_of_size`."""
    return memory_mib_of_size(graph.height, graph.width, graph.num_features, graph.num_classes, config, device=device)


def memory_mib_of_size(
    height: int,
    width: int,
    num_features: int,
    num_classes: int,
    config: GCNConfig,
    *,
    device: torch.device | str = "cpu",
) -> float:
    """Predicted peak memory, in MiB, of solving one image with the backend that the config takes on a device.

    A batch takes this once a thread on a CPU; on CUDA once with `torch`, which solves images one after the other, and
    once an image with `triton`, which solves as many at once as the free memory holds. The inputs of images that wait,
    and the libraries themselves, come on top.

    Args:
        height: rows of the grid, in cells; width: columns.
        device: where it will be solved; it decides what `auto` takes.
    """
    device = torch.device(device)
    sizes = _Sizes(height, width, num_features, num_classes, config)
    name = choose_backend(config, device)
    if config.graph.graph != "one_hop":
        num_bytes = sizes.walk_bytes() + sizes.torch_bytes(is_sparse=False)
    elif name == "native":
        num_bytes = sizes.native_bytes()
    elif name == "torch":
        num_bytes = sizes.torch_bytes(is_sparse=True)
    elif name == "triton":
        num_bytes = sizes.triton_bytes()
    else:
        num_bytes = sizes.reference_bytes()
    return ALLOCATOR_MIB + ALLOCATOR_SHARE * (sizes.input_bytes() + num_bytes) / MIB


class _Sizes:
    """Counts of numbers, from which the bytes of every backend are added up."""

    def __init__(self, height: int, width: int, num_features: int, num_classes: int, config: GCNConfig) -> None:
        self.config = config
        self.width = width
        self.nodes = height * width
        self.padded_width = _round_up(width)
        self.padded_nodes = height * self.padded_width
        self.features, self.hidden, self.classes = num_features, config.hidden_channels, num_classes
        self.planes = len(half_plane_offsets(config.graph.radius))
        is_color = config.laplacian_affinity == "color"
        self.laplacian_reach = config.laplacian_radius if is_color else config.graph.radius - 1
        self.laplacian_planes = len(half_square_offsets(self.laplacian_reach)) if is_color else self.planes
        self.width_bytes = 8 if config.compute_dtype == "float64" else 4

    def input_bytes(self) -> int:
        """Features in float32, boundary, image, label."""
        return self.nodes * (4 * self.features + 8)

    def graph_bytes(self) -> int:
        """Planes in float64 while they are made: the affinities, their power, and the symmetrised ones."""
        return self.nodes * 8 * (3 * self.planes + self.laplacian_planes)

    def native_bytes(self) -> int:
        """The packed matrices, A X, rings of rows; the float64 planes and their float32 copies stay meanwhile."""
        reach = self.config.graph.radius - 1
        pitch = _round_up(self.features)
        per_node = pitch + 2 * self.planes + 2 * self.laplacian_planes + 7
        node_rows = _power_of_two(2 * reach + self.laplacian_reach + 1) + _power_of_two(2 * reach + 1)
        ring = node_rows * LANES + _power_of_two(2 * reach + 1) * pitch
        ring += 2 * _power_of_two(2 * self.laplacian_reach + 1) * self.classes
        solving = 4 * (self.padded_nodes * per_node + (self.padded_width + 4 * LANES) * ring)
        kept = self.nodes * (8 + 4) * (self.planes + self.laplacian_planes)
        results = self.nodes * self.classes * 4
        return max(self.graph_bytes(), kept + solving + results)

    def torch_bytes(self, *, is_sparse: bool) -> int:
        """The planes, and then the larger of making two CSR matrices by their pattern and of solving with them."""
        entries = self.nodes * (2 * self.planes + 1) if is_sparse else 0
        laplacian_entries = self.nodes * (2 * self.laplacian_planes + 1)
        making = entries * (4 + 8 + self.width_bytes + 2 * 8)  # columns, sources, one matrix, the other in float64
        matrices = entries * (4 + 2 * self.width_bytes) + laplacian_entries * (4 + self.width_bytes)
        per_node = 2 * self.features + 6 * self.hidden + 9 * self.classes
        solving = matrices + self.nodes * per_node * self.width_bytes
        return self.nodes * 8 * (self.planes + self.laplacian_planes) + max(making, solving)

    def triton_bytes(self) -> int:
        """The planes while they are made and copied, and the arrays of one place in a batch."""
        from models.propagation.gcn.triton_batch import BatchShape  # Triton is not everywhere

        disc, square = half_plane_offsets(self.config.graph.radius), half_square_offsets(self.laplacian_reach)
        laplacian_offsets = square if self.laplacian_planes == len(square) else disc
        shape = BatchShape(1, self.nodes, self.features, self.classes, tuple(disc), tuple(laplacian_offsets))
        return self.graph_bytes() + shape.bytes_per_image(self.config.num_steps)

    def reference_bytes(self) -> int:
        """PyG makes a message of every edge: as many rows as edges, kept for the way back."""
        edges = self.nodes * (2 * self.planes + 1)
        messages = edges * 3 * max(self.hidden, self.classes)
        return self.graph_bytes() + edges * (8 + 8 + 8) + messages * self.width_bytes

    def walk_bytes(self) -> int:
        """Three dense matrices while one is squared; a truncated one needs its entries and a block of rows."""
        if self.config.graph.graph == "walk":
            return 3 * self.nodes * self.nodes * self.width_bytes
        from models.propagation.walk_matrix import ROWS_AT_ONCE

        kept = min(self.config.graph.num_neighbours, self.nodes) + 1
        return self.nodes * (kept * (8 + 8 + 4 * self.width_bytes) + 4 * ROWS_AT_ONCE * self.width_bytes)


def _round_up(size: int) -> int:
    return (size + LANES - 1) // LANES * LANES


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
