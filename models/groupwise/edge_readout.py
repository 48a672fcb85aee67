"""What two images have in common, read from their edge by dual attention (Eqs. 14 to 17; Fu et al., CVPR 2019)."""

import torch
from torch import nn

from models.groupwise.attention import attend


class EdgeReadout(nn.Module):
    """Class logits of pairs of nodes.

    Position attention gives `p = u g + g`, channel attention `c = g v + g`, with g the 2C channels of both nodes; a
    1x1 convolution each (2C to C), their sum, a 1x1 convolution to the classes, and the mean over positions. All behind
    the attention is linear, so the mean is taken first: the result is the same, without the maps.

    Shapes:
        first_BNC, second_BNC: the two nodes of each pair; returns logits of (first, second) and of (second, first),
        `[2, B, num_classes]`. Their attention is the same, with its channels in another order.
    """

    def __init__(self, channels: int, num_classes: int, *, scale: bool) -> None:
        super().__init__()
        self.scale = scale
        self.position = nn.Linear(2 * channels, channels)
        self.channel = nn.Linear(2 * channels, channels)
        self.head = nn.Linear(channels, num_classes, bias=False)

    def forward(self, first_BNC: torch.Tensor, second_BNC: torch.Tensor) -> torch.Tensor:
        """Returns the logits of both orders."""
        pair_BNc = torch.cat([first_BNC, second_BNC], dim=-1)
        position_Bc, channel_Bc = self._pooled(pair_BNc)
        half = first_BNC.shape[-1]
        both = [(position_Bc, channel_Bc), (position_Bc.roll(half, -1), channel_Bc.roll(half, -1))]
        return torch.stack([self.head(self.position(p) + self.channel(c)) for p, c in both])

    def _pooled(self, pair_BNc: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the means of p and c over positions."""
        num_positions, channels = pair_BNc.shape[1:]
        scales = (channels**-0.5, num_positions**-0.5) if self.scale else (1.0, 1.0)
        mean_Bc = pair_BNc.mean(dim=1)
        position_Bc = attend(pair_BNc, pair_BNc, pair_BNc, scale=scales[0]).mean(dim=1) + mean_Bc
        affinity_Bcc = torch.softmax(scales[1] * pair_BNc.transpose(1, 2) @ pair_BNc, dim=-1)
        return position_Bc, (mean_Bc[:, None] @ affinity_Bcc)[:, 0] + mean_Bc
