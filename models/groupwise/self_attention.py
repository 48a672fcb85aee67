"""The edge of a node to itself (Eq. 6)."""

import torch
from torch import nn

from models.groupwise.attention import attend_alike
from models.groupwise.config import Similarity

_REDUCTION = 8  # of queries and keys; the paper gives no widths


class SelfEdge(nn.Module):
    """`softmax(f(g) h(g)^T) v(g) + g` with 1x1 convolutions f, h (C to C / 8) and v (C to C).

    `similarity` as in `models.groupwise.config`.

    Shapes:
        nodes_BNC: nodes, positions, channels; returns the same.
    """

    def __init__(self, channels: int, similarity: Similarity = "product") -> None:
        super().__init__()
        self.similarity = similarity
        width = max(channels // _REDUCTION, 1)
        self.query = nn.Linear(channels, width)
        self.key = nn.Linear(channels, width)
        self.value = nn.Linear(channels, channels)

    def forward(self, nodes_BNC: torch.Tensor) -> torch.Tensor:
        """Returns the message of each node to itself."""
        query, key, value = self.query(nodes_BNC), self.key(nodes_BNC), self.value(nodes_BNC)
        return attend_alike(query, key, value, self.similarity) + nodes_BNC
