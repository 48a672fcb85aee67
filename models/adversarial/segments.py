"""What the decoder is fed of an image and where its answer counts, for both segments (ACR, equations 3, 8, 9 and 10).

The names are the paper's. (In the released code, `t` and `nt` of this phase are exchanged.)
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Segments:
    """Masks in [0, 1], all of one shape `[B, 1, y, x]`.

    Attributes:
        fed_target: Factor of the features from which the rest of the image is reconstructed.
        fed_rest: Factor of the features from which the target is reconstructed.
        valid_target: Where the reconstruction from `fed_target` counts: outside of the target.
        valid_rest: Where the reconstruction from `fed_rest` counts: on the target.
    """

    fed_target: torch.Tensor
    fed_rest: torch.Tensor
    valid_target: torch.Tensor
    valid_rest: torch.Tensor


def segments(cam_B1yx: torch.Tensor, leak_B1yx: torch.Tensor | None = None) -> Segments:
    """Returns the segments of a target CAM A, with leaks g or without.

    With X the features, X_t = A X + g (1 - A) X = X (1 - (1 - A) (1 - g)), and V_t = (1 - A) (1 - g): what is fed and
    what counts add up to 1. The same for the rest, with 1 - A in the place of A.
    """
    sealed = 1.0 if leak_B1yx is None else 1.0 - leak_B1yx
    valid_target = (1.0 - cam_B1yx) * sealed
    valid_rest = cam_B1yx * sealed
    return Segments(1.0 - valid_target, 1.0 - valid_rest, valid_target, valid_rest)


def enlarged(leak_B1ss: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """Returns the grid on `size_hw` pixels or feature cells, nearest neighbour."""
    return F.interpolate(leak_B1ss, size=size_hw, mode="nearest")
