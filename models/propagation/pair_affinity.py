"""Affinity of neighbouring grid cells as planes: one map for each offset of a half plane, on the device of the input.

A plane `k` holds at `(y, x)` the affinity of cell `(y, x)` and cell `(y + dy_k, x + dx_k)`, and 0 where that cell is
outside of the grid. Planes of an undirected neighbourhood take `34 * h * w` numbers where the matrix takes `(h * w)^2`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.affinity.pixel_pairs import Offset, pair_windows, path_cells


def affinity_from_boundary(
    boundary_hw: Tensor, offsets: Sequence[Offset], *, dtype: torch.dtype | None = None
) -> Tensor:
    """Affinity planes of a boundary map: `a = 1 - max of b over the path between the two cells` (IRN, equation 3).

    Args:
        dtype: of the result and of the subtraction; the maximum is exact in the type of the boundary map.

    Shapes:
        boundary_hw: [..., h, w], boundary probability in 0..1; leading dimensions are a batch.
        returns: [..., P, h, w], in 0..1, P = len(offsets); 0 for pairs that leave the grid.
    """
    height, width = boundary_hw.shape[-2:]
    reach = max((max(abs(dy), abs(dx)) for dy, dx in offsets), default=0)
    padded = F.pad(boundary_hw, (reach, reach, reach, reach), value=1.0)
    planes = boundary_hw.new_empty((*boundary_hw.shape[:-2], len(offsets), height, width))
    for index, offset in enumerate(offsets):
        plane = planes[..., index, :, :]
        for rank, (y, x) in enumerate(path_cells(offset)):
            shifted = padded[..., reach + y : reach + y + height, reach + x : reach + x + width]
            if rank == 0:
                plane.copy_(shifted)
            else:
                torch.maximum(plane, shifted, out=plane)
    return 1.0 - planes.to(dtype or boundary_hw.dtype)


def affinity_from_features(features_Dhw: Tensor, offsets: Sequence[Offset]) -> Tensor:
    """Affinity planes of PSA: `a = exp(-mean over channels of |f(i) - f(j)|)` (Ahn & Kwak 2018, equation 3).

    Shapes:
        features_Dhw: [..., D, h, w], the affinity features; leading dimensions are a batch.
        returns: [..., P, h, w], in 0..1, P = len(offsets); 0 for pairs that leave the grid.

    The graph is complete: PSA's released code leaves border cells without some of their edges, this does not.
    """
    height, width = features_Dhw.shape[-2:]
    planes = features_Dhw.new_zeros((*features_Dhw.shape[:-3], len(offsets), height, width))
    for index, offset in enumerate(offsets):
        windows = pair_windows(offset, height, width)
        if windows is None:
            continue
        first, second = windows
        distance = (features_Dhw[..., first[0], first[1]] - features_Dhw[..., second[0], second[1]]).abs().mean(dim=-3)
        planes[..., index, first[0], first[1]] = torch.exp(-distance)
    return planes
