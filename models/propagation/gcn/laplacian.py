"""The matrix of the Laplacian loss: `(1 / N) trace(O^T (D - Phi) O)` (WSGCN, equations 6 and 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.affinity.pixel_pairs import half_square_offsets, pair_windows
from models.propagation.affinity_graph import sharpened_affinity
from models.propagation.gcn.config import GCNConfig
from models.propagation.grid_graph import GridGraph
from models.propagation.stencil import GridStencil, neighbour_sums


def laplacian(graph: GridGraph, config: GCNConfig) -> GridStencil:
    """`D - Phi` of an image, with D the row sums of Phi, in float64.

    The trace counts each unordered pair once, as the paper's half of the sum over ordered pairs does.
    """
    if config.laplacian_affinity == "affinity":
        offsets, phi_Phw = sharpened_affinity(graph, config.graph)
    else:
        offsets = tuple(half_square_offsets(config.laplacian_radius))
        form = config.loss
        color_3hw = graph.image_hw3.permute(2, 0, 1).to(torch.float64) * (config.color_scale / 255.0)
        phi_Phw = color_affinity(color_3hw, offsets, form.color_denominator, form.space_denominator)
    return GridStencil(offsets, -phi_Phw, neighbour_sums(phi_Phw, offsets))


def color_affinity(
    color_3hw: Tensor, offsets: tuple[tuple[int, int], ...], color_denominator: float, space_denominator: float
) -> Tensor:
    """Planes of Phi: `exp(-|I_i - I_j|^2 / color_denominator - |f_i - f_j|^2 / space_denominator)`.

    Shapes:
        color_3hw: [3, h, w].
        returns: [P, h, w]; 0 for pairs that leave the grid.
    """
    height, width = color_3hw.shape[-2:]
    planes_Phw = color_3hw.new_zeros((len(offsets), height, width))
    for plane, (dy, dx) in zip(planes_Phw, offsets, strict=True):
        windows = pair_windows((dy, dx), height, width)
        if windows is None:
            continue
        first, second = windows
        color_distance = (color_3hw[:, first[0], first[1]] - color_3hw[:, second[0], second[1]]).square().sum(dim=0)
        exponent = color_distance / color_denominator + (dy * dy + dx * dx) / space_denominator
        plane[first] = torch.exp(-exponent)
    return planes_Phw
