"""ISIM's segmentation loss, which ignores pseudo masks without any object.

Source: Bircanoglu and Arica (2022), equations 1 to 3.
"""

import torch

from models.segmentation.config import IGNORE_INDEX, PixelLossConfig
from models.segmentation.losses import pixel_losses

_CROSS_ENTROPY = PixelLossConfig()


def has_object(label_BHW: torch.Tensor) -> torch.Tensor:
    """Returns r of equation 3, `[B]` bool: whether a mask holds any class but the background; 255 is none."""
    is_object_BHW = (label_BHW != 0) & (label_BHW != IGNORE_INDEX)
    return is_object_BHW.flatten(1).any(dim=1)


def modified_cross_entropy(logits_BCHW: torch.Tensor, label_BHW: torch.Tensor) -> torch.Tensor:
    """Returns CE(r * logits, mask) of each pixel (equation 2), `[B, H, W]`, 0 where it is ignored.

    A pixel of a mask without objects has the constant loss ln C, whatever the logits: no gradient, but it stays in the
    mean, as released.

    Args:
        logits_BCHW: Float32.
        label_BHW: Class ids (any integer type), 255 for ignore.
    """
    r_B111 = has_object(label_BHW).to(logits_BCHW.dtype)[:, None, None, None]
    return pixel_losses(logits_BCHW * r_B111, label_BHW, _CROSS_ENTROPY)
