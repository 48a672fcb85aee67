"""Group-wise learning: a classifier that sees several images at once, as nodes of a graph.

Source: Zhou et al., "Group-Wise Learning for Weakly Supervised Semantic Segmentation" (IEEE TIP 2022).
"""

from models.groupwise.config import GraphDropoutConfig, GroupwiseConfig, LossWeights
from models.groupwise.network import GroupMaps, GroupOutput, GroupwiseNet, build_groupwise

__all__ = [
    "GraphDropoutConfig",
    "GroupMaps",
    "GroupOutput",
    "GroupwiseConfig",
    "GroupwiseNet",
    "LossWeights",
    "build_groupwise",
]
