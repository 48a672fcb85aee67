"""Group-wise learning: a classifier that sees several images at once, as nodes of a graph.

Source: Zhou et al., "Group-Wise Learning for Weakly Supervised Semantic Segmentation" (IEEE TIP 2022).
"""

from typing import TYPE_CHECKING

from models.groupwise.config import GraphDropoutConfig, GroupwiseConfig, LossWeights
from models.on_demand import on_demand

if TYPE_CHECKING:
    from models.groupwise.network import GroupMaps, GroupOutput, GroupwiseNet, build_groupwise
else:
    _NETWORK = ("GroupMaps", "GroupOutput", "GroupwiseNet", "build_groupwise")
    __getattr__ = on_demand(__name__, dict.fromkeys(_NETWORK, "network"))

__all__ = [
    "GraphDropoutConfig",
    "GroupMaps",
    "GroupOutput",
    "GroupwiseConfig",
    "GroupwiseNet",
    "LossWeights",
    "build_groupwise",
]
