"""Loss of AffinityNet over all pixel pairs within a radius.

Source: Ahn and Kwak, CVPR 2018 (PSA), equations 3 and 5 to 8, in the form of the released code (means over the batch).

Shapes:
    features_BDhw: affinity features. label_Bhw: class ids, 255 is ignored; pairs as in `pair_sums`.
"""

from dataclasses import dataclass

import torch

from models.affinity.feature_distance import mean_distances
from models.affinity.pair_sums import EPSILON, PairWindow, affinity_sums, pair_masks
from models.affinity.pixel_pairs import half_plane_offsets


@dataclass(frozen=True)
class AffinityNetLosses:
    """Scalars, each a mean over its pairs.

    Attributes:
        background: Of pairs within the background, `-ln a`.
        foreground: Of pairs within one class, `-ln a`.
        negative: Of pairs of different classes, `-ln (1 - a)`.
    """

    background: torch.Tensor
    foreground: torch.Tensor
    negative: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """A quarter, a quarter and a half of them, as released."""
        return 0.25 * self.background + 0.25 * self.foreground + 0.5 * self.negative


def affinitynet_losses(features_BDhw: torch.Tensor, label_Bhw: torch.Tensor, radius: int) -> AffinityNetLosses:
    """Returns the losses of one batch.

    Raises:
        InvalidInputError: The grid is too small for the radius.
    """
    window = PairWindow(features_BDhw.shape[2:], radius)
    offsets = half_plane_offsets(radius)
    affinity_BPyx = torch.exp(-mean_distances(features_BDhw, window, offsets))
    sums = features_BDhw.new_zeros(6)
    for index, offset in enumerate(offsets):
        masks = pair_masks(window.source(label_Bhw), window.target(label_Bhw, offset))
        sums = sums + affinity_sums(affinity_BPyx[:, index], *masks)
    background, num_background, foreground, num_foreground, unequal, num_unequal = sums.unbind()
    return AffinityNetLosses(
        background / (num_background + EPSILON),
        foreground / (num_foreground + EPSILON),
        unequal / (num_unequal + EPSILON),
    )
