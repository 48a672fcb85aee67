"""What losses over pixel pairs have in common: which pairs there are, of which kind, and sums over each kind.

Source: IRN and PSA (Ahn et al., CVPR 2019 and 2018), released code.

Shapes:
    label_Bhw: class ids, 255 is ignored. Pairs join a source cell to the cell at each half-plane offset; sources are
    the cells whose every offset stays inside: rows `0..h-r`, columns `r-1..w-r`.
"""

from collections.abc import Sequence

import torch

from models.affinity.pixel_pairs import path_cells
from models.errors import InvalidInputError

EPSILON = 1e-5
_FIRST_IGNORED = 255


class PairWindow:
    """The source cells of a grid, and the same cells shifted.

    Raises:
        InvalidInputError: The grid is too small for the radius.
    """

    def __init__(self, size_hw: Sequence[int], radius: int) -> None:
        h, w = size_hw
        if h < radius or w < 2 * radius - 1:
            msg = f"grid {h} x {w} is too small for radius {radius}: use larger crops or a smaller radius"
            raise InvalidInputError(msg)
        self.num_rows = h - radius + 1
        self.num_columns = w - 2 * (radius - 1)
        self.first_column = radius - 1

    def target(self, map_Bhw: torch.Tensor, offset: tuple[int, int]) -> torch.Tensor:
        """Returns the values at the cells that lie at `offset` from the sources."""
        top, left = offset[0], self.first_column + offset[1]
        return map_Bhw[..., top : top + self.num_rows, left : left + self.num_columns]

    def source(self, map_Bhw: torch.Tensor) -> torch.Tensor:
        """Returns the values at the sources."""
        return self.target(map_Bhw, (0, 0))

    def path_maximum(self, map_Bhw: torch.Tensor, offset: tuple[int, int]) -> torch.Tensor:
        """Returns the maximum over the path to `offset`; the gradient goes to one cell, as max-pooling gives it."""
        return torch.stack([self.target(map_Bhw, cell) for cell in path_cells(offset)]).max(dim=0).values


def pair_masks(source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns background-equal, foreground-equal and unequal pairs, 0/1; pairs with an ignored end are in none."""
    valid = (source < _FIRST_IGNORED) & (target < _FIRST_IGNORED)
    equal = valid & (source == target)
    background = equal & (source == 0)
    return background.float(), (equal & (source > 0)).float(), (valid & (source != target)).float()


def affinity_sums(
    affinity: torch.Tensor, background: torch.Tensor, foreground: torch.Tensor, unequal: torch.Tensor
) -> torch.Tensor:
    """Returns (loss sum, pair count) of background-equal, foreground-equal and unequal pairs, `[6]`."""
    positive = -torch.log(affinity + EPSILON)
    negative = -torch.log(1.0 + EPSILON - affinity)
    groups = ((positive, background), (positive, foreground), (negative, unequal))
    return torch.stack([term for loss, mask in groups for term in ((loss * mask).sum(), mask.sum())])
