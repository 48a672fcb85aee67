"""The decoder of ACR's reconstructor: a U-Net that draws an image from masked features.

Sources: Ronneberger et al., MICCAI 2015 (U-Net); Isola et al., CVPR 2017 (pix2pix), whose generator ACR's released code
follows: 4 x 4 convolutions of stride 2, InstanceNorm, dropout in the deep levels, no activation at the end.

A grid of odd size is padded by one row or column before it is halved and cropped after it is doubled, so that every
size works; on multiples of 256 nothing is padded, and this is the released network.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from models.adversarial.config import UNetConfig

_FIRST_WITH_DROPOUT = 3


class UNet(nn.Module):
    """Draws `[B, 3, H, W]` from features.

    Shapes:
        features `[B, C, y, x]` with `y * upscale >= H > (y - 1) * upscale`, the same along the width.
    """

    def __init__(self, in_channels: int, config: UNetConfig, upscale: int = 1) -> None:
        """Builds it.

        Args:
            upscale: Pixels a feature cell has along each axis, a power of two; more than 1 adds doublings behind the
                U (ours, for masking at feature resolution).
        """
        super().__init__()
        widths = config.widths
        last = config.depth - 1
        self.down = nn.ModuleList(
            _Down(a, b, level, config.dropout, norm=0 < level < last)
            for level, (a, b) in enumerate(pairwise((in_channels, *widths)))
        )
        inner = [widths[-1], *(2 * width for width in widths[-2:0:-1])]
        self.up = nn.ModuleList(
            _Up(channels, widths[level], level, config.dropout)
            for channels, level in zip(inner, range(last - 1, -1, -1), strict=True)
        )
        wide, narrow = 2 * widths[0], widths[0]
        doublings = range(upscale.bit_length() - 1)
        self.doublings = nn.ModuleList(_Doubling(narrow if index else wide, narrow) for index in doublings)
        self.out = nn.Conv2d(narrow if doublings else wide, 3, 3, padding=1)

    def forward(self, features_BCyx: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
        """Returns the image, without an activation: the input it imitates is normalised, not in [0, 1]."""
        x, skips = features_BCyx, []
        for down in self.down:
            x = down(x)
            skips.append(x)
        for up, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([up(x, skip.shape[2:]), skip], dim=1)
        x = _doubled(x)[..., : features_BCyx.shape[2], : features_BCyx.shape[3]]
        for doubling in self.doublings:
            x = doubling(x)
        image: torch.Tensor = self.out(x[..., : size_hw[0], : size_hw[1]])
        return image


class _InstanceNorm(nn.InstanceNorm2d):
    """Without affine parameters; a single cell, which would become 0, stays as it is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.shape[2] * x.shape[3] == 1 else super().forward(x)


class _Down(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, level: int, dropout: float, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 4, 2, padding=1, bias=False)
        self.norm = _InstanceNorm(out_channels) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout if level >= _FIRST_WITH_DROPOUT else 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        even = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        halved: torch.Tensor = self.dropout(F.leaky_relu(self.norm(self.conv(even)), 0.2))
        return halved


class _Up(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, level: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, padding=1, bias=False)
        self.norm = _InstanceNorm(out_channels)
        self.dropout = nn.Dropout(dropout if level >= _FIRST_WITH_DROPOUT else 0.0)

    def forward(self, x: torch.Tensor, size_hw: torch.Size) -> torch.Tensor:
        cropped = self.conv(x)[..., : size_hw[0], : size_hw[1]]
        doubled: torch.Tensor = self.dropout(F.relu(self.norm(cropped)))
        return doubled


class _Doubling(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = _InstanceNorm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(_doubled(x))))


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
