"""Atrous spatial pyramid pooling: the same features seen through convolutions of several dilations.

Sources: Chen et al., "DeepLab", TPAMI 2018, section 3.2 (v2: the branches are class scores, and are summed); Chen et
al., "Rethinking Atrous Convolution", 2017, section 3.3 (v3: concatenated, with a 1 x 1 branch and image pooling).
"""

from collections.abc import Sequence

import torch
from torch import nn

from models.segmentation.layers import LayerStyle, conv_norm_relu

_V2_WEIGHT_STD = 0.01


class SummedPyramid(nn.Module):
    """DeepLab-v2's head: 3 x 3 convolutions to the classes, with bias, summed; weights N(0, 0.01), biases 0.

    Shapes:
        input `[B, in_channels, h, w]`; output: logits `[B, num_classes, h, w]`.
    """

    def __init__(self, in_channels: int, num_classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, 3, padding=rate, dilation=rate) for rate in rates
        )
        for branch in self.branches:
            assert isinstance(branch, nn.Conv2d)
            assert branch.bias is not None
            nn.init.normal_(branch.weight, std=_V2_WEIGHT_STD)
            nn.init.zeros_(branch.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the logits."""
        return torch.stack([branch(features) for branch in self.branches]).sum(dim=0)


class Pyramid(nn.Module):
    """The pyramid of v3 and v3+: 1 x 1, one 3 x 3 for each rate, image pooling; concatenated and mixed.

    With BatchNorm and plain convolutions, parameters have the names of torchvision's `ASPP`.

    Shapes:
        input `[B, in_channels, h, w]`; output `[B, out_channels, h, w]`, at least 0.
    """

    def __init__(
        self, in_channels: int, out_channels: int, rates: Sequence[int], dropout: float, style: LayerStyle
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                conv_norm_relu(in_channels, out_channels, 1, style),
                *(conv_norm_relu(in_channels, out_channels, 3, style, dilation=rate) for rate in rates),
                nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_norm_relu(in_channels, out_channels, 1, style)),
            ]
        )
        mixed = conv_norm_relu(len(self.convs) * out_channels, out_channels, 1, style)
        self.project = nn.Sequential(*mixed, nn.Dropout(dropout))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the mixed features."""
        branches = [branch(features) for branch in self.convs]
        branches[-1] = branches[-1].expand(-1, -1, *features.shape[2:])
        mixed: torch.Tensor = self.project(torch.cat(branches, dim=1))
        return mixed
