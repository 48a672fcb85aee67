"""From IRNet's displacement field to groups of cells that point at the same centroid: class-agnostic instances.

Source: Ahn et al., CVPR 2019, section on class-agnostic instance maps, and the released code.

Shapes:
    displacement_2hw: [2, h, w], (dy, dx) in cells, of `DisplacementBranch` in evaluation.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.affinity.connected_components import connected_components
from models.errors import InvalidInputError


def refine_centroids(displacement_2hw: Tensor, num_steps: int = 300) -> Tensor:
    """Returns the centroid of every cell, `[2, h, w]` float64, (y, x) in cells, inside the grid.

    A cell's estimate starts at the cell and moves by the displacement that it finds where it is (bilinear), again and
    again: `c <- c + D(c)`. One displacement of a far cell is too short or too long; where the field is right near the
    centroid, all estimates of an instance end there.

    Args:
        displacement_2hw: The field.
        num_steps: Moves. Released: 300, any number from 100 on does.

    Raises:
        InvalidInputError: The field is no `[2, h, w]`, or not finite.
    """
    _check(displacement_2hw)
    height, width = displacement_2hw.shape[1:]
    field_12hw = displacement_2hw[None].to(torch.float64)
    rows, columns = (torch.arange(size, device=field_12hw.device, dtype=torch.float64) for size in (height, width))
    centroid_2hw = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    limit_211 = centroid_2hw.new_tensor([height - 1, width - 1]).view(2, 1, 1)
    for _ in range(num_steps):
        # grid_sample wants (x, y) with -1 and 1 at the centres of the outermost cells
        place_hw2 = (2 * centroid_2hw / limit_211.clamp_min(1) - 1).flip(0).permute(1, 2, 0)
        moved_12hw = F.grid_sample(field_12hw, place_hw2[None], padding_mode="border", align_corners=True)
        centroid_2hw = torch.minimum((centroid_2hw + moved_12hw[0]).clamp_min(0), limit_211)
    return centroid_2hw


def cluster_cells(displacement_2hw: Tensor, centroid_2hw: Tensor, max_displacement: float = 2.5) -> Tensor:
    """Returns which instance each cell belongs to, `[h, w]` int64 from 0, without gaps.

    Where the field is shorter than `max_displacement`, a centroid is near: the connected components of these cells are
    the instances, and a cell belongs to the one that holds its centroid. Cells whose centroid lies in none of them form
    an instance of their own, as released.

    Args:
        displacement_2hw: The field.
        centroid_2hw: Of `refine_centroids`.
        max_displacement: In cells. Released: 2.5.
    """
    _check(displacement_2hw)
    component_hw = connected_components(displacement_2hw.norm(dim=0) < max_displacement)
    row_hw, column_hw = centroid_2hw.round().long()
    _, cluster_hw = torch.unique(component_hw[row_hw, column_hw], return_inverse=True)
    assert isinstance(cluster_hw, Tensor)
    return cluster_hw


def _check(displacement_2hw: Tensor) -> None:
    if displacement_2hw.dim() != 3 or displacement_2hw.shape[0] != 2 or displacement_2hw.numel() == 0:
        raise InvalidInputError(f"displacement_2hw must be a non-empty [2, h, w], got {list(displacement_2hw.shape)}")
    if not bool(torch.isfinite(displacement_2hw).all()):
        raise InvalidInputError("displacement_2hw holds NaN or infinite values")
