"""The update of a node by its messages: a GRU whose matrices are convolutions (Ballas et al., ICLR 2016)."""

import torch
from torch import nn


class ConvGRU(nn.Module):
    """`h' = (1 - u) h + u tanh(W [m, r h])`, with gates `u, r = sigmoid(W [m, h])`.

    Shapes:
        messages_BChw, states_BChw: nodes; returns the new states.
    """

    def __init__(self, channels: int, kernel: int = 1) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, kernel, padding=kernel // 2)
        self.candidate = nn.Conv2d(2 * channels, channels, kernel, padding=kernel // 2)

    def forward(self, messages_BChw: torch.Tensor, states_BChw: torch.Tensor) -> torch.Tensor:
        """Returns the new states."""
        update, reset = torch.sigmoid(self.gates(torch.cat([messages_BChw, states_BChw], dim=1))).chunk(2, dim=1)
        candidate = torch.tanh(self.candidate(torch.cat([messages_BChw, reset * states_BChw], dim=1)))
        return (1 - update) * states_BChw + update * candidate
