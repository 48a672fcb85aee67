"""Multi-granularity supervision: tags of images behind and before the graph, common tags of pairs (Eq. 13)."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from models.groupwise.network import GroupOutput


@dataclass(frozen=True)
class LossPart:
    """One term before its mean is taken.

    Attributes:
        losses: One an image or a pair.
        weights: 1 where it counts, 0 for what is absent; of the same shape. The term is the weighted mean: the paper
            prints sums, in which the edges would count the more, the larger the group.
    """

    losses: torch.Tensor
    weights: torch.Tensor


def group_losses(output: GroupOutput, target_GKL: torch.Tensor, present_GK: torch.Tensor) -> dict[str, LossPart]:
    """Returns the terms by name (`graph`, `intermediate`, `edge`) that the network has.

    Args:
        target_GKL: 0 or 1: the images' tags.
        present_GK: bool.
    """
    here_GK = present_GK.to(target_GKL.dtype)
    parts = {
        name: LossPart(_tag_loss(logits_GKL, target_GKL), here_GK)
        for name, logits_GKL in (("graph", output.graph_GKL), ("intermediate", output.intermediate_GKL))
        if logits_GKL is not None
    }
    if output.edge_GKKL is not None:
        common_GKKL = target_GKL[:, :, None] * target_GKL[:, None]
        pairs_GKK = here_GK[:, :, None] * here_GK[:, None]
        pairs_GKK = pairs_GKK * (1 - torch.eye(pairs_GKK.shape[1], device=pairs_GKK.device))
        parts["edge"] = LossPart(_tag_loss(output.edge_GKKL, common_GKKL), pairs_GKK)
    return parts


def _tag_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns the mean binary cross-entropy over the classes (the last dimension)."""
    return F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none").mean(dim=-1)
