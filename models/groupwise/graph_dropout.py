"""Graph dropout: now and then a node loses its strongest region, and the next step looks elsewhere (Eqs. 11 and 12)."""

import torch
from torch import nn

from models.groupwise.config import GraphDropoutConfig

PAPER = GraphDropoutConfig(drop_probability=0.2, weighted=True, residual=False)
"""Equations 11 and 12 as they are printed."""
RELEASED = GraphDropoutConfig(drop_probability=0.8, in_evaluation="random", before_readout=True)
"""What the released code does: the two branches have changed places."""


class GraphDropout(nn.Module):
    """Multiplies each node, at every position, with a mask.

    Shapes:
        nodes_BChw: nodes; returns the same.
    """

    def __init__(self, config: GraphDropoutConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, nodes_BChw: torch.Tensor) -> torch.Tensor:
        """Returns the masked nodes; each node is dropped or kept by a draw of its own."""
        mode = "random" if self.training else self.config.in_evaluation
        if mode == "off":
            return nodes_BChw
        size = len(nodes_BChw)
        if mode == "keep":
            dropped_B = torch.zeros(size, dtype=torch.bool, device=nodes_BChw.device)
        else:
            dropped_B = torch.rand(size, device=nodes_BChw.device) < self.config.drop_probability
        masked = nodes_BChw * dropout_mask(nodes_BChw, dropped_B, self.config)
        return (masked + nodes_BChw) / 2 if self.config.residual else masked


def dropout_mask(nodes_BChw: torch.Tensor, dropped_B: torch.Tensor, config: GraphDropoutConfig) -> torch.Tensor:
    """Returns the mask of each node, `[B, 1, h, w]`.

    Args:
        dropped_B: bool: the node loses its strongest region; else it is weighted with the sigmoid of its mean
            activation.
    """
    mean_B1hw = nodes_BChw.mean(dim=1, keepdim=True)
    is_weak = mean_B1hw < mean_B1hw.amax(dim=(2, 3), keepdim=True) * config.region_threshold
    weak_B1hw = mean_B1hw * is_weak if config.weighted else is_weak.to(mean_B1hw.dtype)
    return torch.where(dropped_B[:, None, None, None], weak_B1hw, torch.sigmoid(mean_B1hw))
