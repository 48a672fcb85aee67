"""Losses of IRNet over all pixel pairs within a radius.

Source: Ahn et al., CVPR 2019, Eq. 3 to 7, in the form of the released code (means over the whole batch).

Shapes:
    boundary_Bhw: boundary probabilities. label_Bhw: class ids, 255 is ignored. Pairs join a source cell to the cell at
    each half-plane offset; sources are the cells whose every offset stays inside: rows `0..h-r`, columns `r-1..w-r`.
"""

from dataclasses import dataclass

import torch

from models.affinity.pixel_pairs import half_plane_offsets, path_cells
from models.errors import InvalidInputError

_EPSILON = 1e-5
_FIRST_IGNORED = 255


@dataclass(frozen=True)
class PairLosses:
    """Scalars, each a mean over its pairs.

    Attributes:
        positive: Affinity loss of equal pairs, half background and half foreground.
        negative: Affinity loss of unequal pairs.
        displacement_foreground: Displacement differences of equal foreground pairs against their offsets.
        displacement_background: Displacement differences of background pairs against zero.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    displacement_foreground: torch.Tensor
    displacement_background: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """Half the affinity losses plus half the displacement losses, as released."""
        affinity = 0.5 * (self.positive + self.negative)
        return affinity + 0.5 * (self.displacement_foreground + self.displacement_background)


def irnet_losses(
    boundary_Bhw: torch.Tensor, displacement_B2hw: torch.Tensor | None, label_Bhw: torch.Tensor, radius: int
) -> PairLosses:
    """Returns the losses of one batch; without a displacement map its two terms are zero.

    Raises:
        InvalidInputError: The grid is too small for the radius.
    """
    h, w = boundary_Bhw.shape[1:]
    if h < radius or w < 2 * radius - 1:
        msg = f"grid {h} x {w} is too small for radius {radius}: use larger crops or a smaller radius"
        raise InvalidInputError(msg)
    window = _Window(h, w, radius)
    affinity_sums = boundary_Bhw.new_zeros(6)
    shift_sums = boundary_Bhw.new_zeros(2)
    for offset in half_plane_offsets(radius):
        affinity = 1.0 - window.path_maximum(boundary_Bhw, offset)
        masks = _pair_masks(window.source(label_Bhw), window.target(label_Bhw, offset))
        affinity_sums = affinity_sums + _affinity_sums(affinity, *masks)
        if displacement_B2hw is not None:
            delta = window.source(displacement_B2hw) - window.target(displacement_B2hw, offset)
            shift_sums = shift_sums + _displacement_sums(delta, offset, *masks[:2])
    return _means(affinity_sums, shift_sums)


class _Window:
    """The source cells of a grid, and the same cells shifted."""

    def __init__(self, h: int, w: int, radius: int) -> None:
        self.num_rows = h - radius + 1
        self.num_columns = w - 2 * (radius - 1)
        self.first_column = radius - 1

    def target(self, map_Bhw: torch.Tensor, offset: tuple[int, int]) -> torch.Tensor:
        top, left = offset[0], self.first_column + offset[1]
        return map_Bhw[..., top : top + self.num_rows, left : left + self.num_columns]

    def source(self, map_Bhw: torch.Tensor) -> torch.Tensor:
        return self.target(map_Bhw, (0, 0))

    def path_maximum(self, map_Bhw: torch.Tensor, offset: tuple[int, int]) -> torch.Tensor:
        """Returns the maximum over the path to `offset`; the gradient goes to one cell, as max-pooling gives it."""
        return torch.stack([self.target(map_Bhw, cell) for cell in path_cells(offset)]).max(dim=0).values


def _pair_masks(source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns background-equal, foreground-equal and unequal pairs, 0/1; pairs with an ignored end are in none."""
    valid = (source < _FIRST_IGNORED) & (target < _FIRST_IGNORED)
    equal = valid & (source == target)
    background = equal & (source == 0)
    return background.float(), (equal & (source > 0)).float(), (valid & (source != target)).float()


def _affinity_sums(
    affinity: torch.Tensor, background: torch.Tensor, foreground: torch.Tensor, unequal: torch.Tensor
) -> torch.Tensor:
    """Returns (loss sum, pair count) of background-equal, foreground-equal and unequal pairs, `[6]`."""
    positive = -torch.log(affinity + _EPSILON)
    negative = -torch.log(1.0 + _EPSILON - affinity)
    groups = ((positive, background), (positive, foreground), (negative, unequal))
    return torch.stack([term for loss, mask in groups for term in ((loss * mask).sum(), mask.sum())])


def _displacement_sums(
    delta_B2yx: torch.Tensor, offset: tuple[int, int], background: torch.Tensor, foreground: torch.Tensor
) -> torch.Tensor:
    """Returns the absolute errors of foreground-equal and background-equal pairs, `[2]`."""
    wanted = delta_B2yx.new_tensor(offset).view(1, 2, 1, 1)
    foreground_error = ((delta_B2yx - wanted).abs() * foreground[:, None]).sum()
    return torch.stack([foreground_error, (delta_B2yx.abs() * background[:, None]).sum()])


def _means(affinity_sums: torch.Tensor, shift_sums: torch.Tensor) -> PairLosses:
    background, num_background, foreground, num_foreground, unequal, num_unequal = affinity_sums.unbind()
    positive = 0.5 * background / (num_background + _EPSILON) + 0.5 * foreground / (num_foreground + _EPSILON)
    return PairLosses(
        positive,
        unequal / (num_unequal + _EPSILON),
        shift_sums[0] / (2.0 * num_foreground + _EPSILON),
        shift_sums[1] / (2.0 * num_background + _EPSILON),
    )
