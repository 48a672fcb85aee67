"""Losses of a pixel for labels that may be wrong. Ignored pixels (255) cost nothing.

Sources: symmetric cross-entropy, Wang et al., ICCV 2019, equations 5 to 8; bootstrapped cross-entropy ("hard"), Reed et
al., ICLR 2015 workshop, section 3.3.
"""

import torch
from torch.nn import functional as F

from models.segmentation.config import IGNORE_INDEX, PixelLossConfig


def pixel_losses(logits_BChw: torch.Tensor, label_Bhw: torch.Tensor, config: PixelLossConfig) -> torch.Tensor:
    """Returns the loss of each pixel, `[B, h, w]`, 0 where it is ignored.

    Args:
        logits_BChw: Float32.
        label_Bhw: Class ids (any integer type), 255 for ignore, at the size of the logits.
    """
    counted_Bhw = label_Bhw != IGNORE_INDEX
    label_B1hw = torch.where(counted_Bhw, label_Bhw, 0).long()[:, None]
    log_prob_BChw = F.log_softmax(logits_BChw, dim=1)
    log_own_Bhw = log_prob_BChw.gather(1, label_B1hw)[:, 0]
    losses_Bhw = _losses(log_own_Bhw, log_prob_BChw, config)
    return torch.where(counted_Bhw, losses_Bhw, 0.0)


def labels_at(label_BHW: torch.Tensor, size_hw: torch.Size) -> torch.Tensor:
    """Returns labels or weights at another size, nearest neighbour of the pixel centres; the type stays."""
    if label_BHW.shape[1:] == size_hw:
        return label_BHW
    resized = F.interpolate(label_BHW[:, None].float(), size=tuple(size_hw), mode="nearest-exact")
    return resized[:, 0].to(label_BHW.dtype)


def _losses(log_own_Bhw: torch.Tensor, log_prob_BChw: torch.Tensor, config: PixelLossConfig) -> torch.Tensor:
    if config.kind == "symmetric":
        # The label is 1 at its class and 0 elsewhere: the reverse term is -A times the probability of the others.
        reverse_Bhw = -config.log_zero * (1.0 - log_own_Bhw.exp())
        return -config.cross_entropy_weight * log_own_Bhw + config.reverse_weight * reverse_Bhw
    if config.kind == "bootstrapped":
        decided_Bhw = log_prob_BChw.amax(dim=1)
        return -config.label_trust * log_own_Bhw - (1.0 - config.label_trust) * decided_Bhw
    return -log_own_Bhw
