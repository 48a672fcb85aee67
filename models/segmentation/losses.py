"""Losses of a pixel for labels that may be wrong. Ignored pixels (255) cost nothing.

Sources: symmetric cross-entropy, Wang et al., ICCV 2019, equations 5 to 8; bootstrapped cross-entropy ("hard"), Reed et
al., ICLR 2015 workshop, section 3.3.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch.nn import functional as F

from models.errors import InvalidInputError

IGNORE_INDEX = 255


@dataclass(frozen=True)
class PixelLossConfig:
    """Which loss, and how far it distrusts the label.

    Attributes:
        kind: `cross_entropy`; `symmetric`: cross-entropy plus the reverse one, from the prediction to the label, which
            is bounded and so cannot be driven by a few wrong labels; `bootstrapped`: part of the label is the network's
            own decision.
        cross_entropy_weight: Of `symmetric`: alpha. Wang et al. on CIFAR-10: 0.1.
        reverse_weight: Of `symmetric`: beta. Wang et al.: 1.
        log_zero: Of `symmetric`: what log 0 counts as, A. Wang et al.: -4 to -6.
        label_trust: Of `bootstrapped`: beta, the share of the label. Reed et al.: 0.8.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    kind: Literal["cross_entropy", "symmetric", "bootstrapped"] = "cross_entropy"
    cross_entropy_weight: float = 0.1
    reverse_weight: float = 1.0
    log_zero: float = -4.0
    label_trust: float = 0.8

    def __post_init__(self) -> None:
        if self.log_zero >= 0 or not 0.0 < self.label_trust <= 1.0:
            msg = f"log_zero must be negative and label_trust in (0, 1]; got {self.log_zero} and {self.label_trust}"
            raise InvalidInputError(msg)


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
