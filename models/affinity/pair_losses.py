"""Losses of IRNet over all pixel pairs within a radius.

Source: Ahn et al., CVPR 2019, Eq. 3 to 7, in the form of the released code (means over the whole batch).

Shapes:
    boundary_Bhw: boundary probabilities. label_Bhw: class ids, 255 is ignored. Pairs join a source cell to the cell at
    each half-plane offset; sources are the cells whose every offset stays inside: rows `0..h-r`, columns `r-1..w-r`.
"""

from dataclasses import dataclass

import torch

from models.affinity.pair_sums import EPSILON, PairWindow, affinity_sums, pair_masks
from models.affinity.pixel_pairs import half_plane_offsets


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
    window = PairWindow(boundary_Bhw.shape[1:], radius)
    sums = boundary_Bhw.new_zeros(6)
    shift_sums = boundary_Bhw.new_zeros(2)
    for offset in half_plane_offsets(radius):
        affinity = 1.0 - window.path_maximum(boundary_Bhw, offset)
        masks = pair_masks(window.source(label_Bhw), window.target(label_Bhw, offset))
        sums = sums + affinity_sums(affinity, *masks)
        if displacement_B2hw is not None:
            delta = window.source(displacement_B2hw) - window.target(displacement_B2hw, offset)
            shift_sums = shift_sums + _displacement_sums(delta, offset, *masks[:2])
    return _means(sums, shift_sums)


def _displacement_sums(
    delta_B2yx: torch.Tensor, offset: tuple[int, int], background: torch.Tensor, foreground: torch.Tensor
) -> torch.Tensor:
    """Returns the absolute errors of foreground-equal and background-equal pairs, `[2]`."""
    wanted = delta_B2yx.new_tensor(offset).view(1, 2, 1, 1)
    foreground_error = ((delta_B2yx - wanted).abs() * foreground[:, None]).sum()
    return torch.stack([foreground_error, (delta_B2yx.abs() * background[:, None]).sum()])


def _means(sums: torch.Tensor, shift_sums: torch.Tensor) -> PairLosses:
    background, num_background, foreground, num_foreground, unequal, num_unequal = sums.unbind()
    positive = 0.5 * background / (num_background + EPSILON) + 0.5 * foreground / (num_foreground + EPSILON)
    return PairLosses(
        positive,
        unequal / (num_unequal + EPSILON),
        shift_sums[0] / (2.0 * num_foreground + EPSILON),
        shift_sums[1] / (2.0 * num_background + EPSILON),
    )
