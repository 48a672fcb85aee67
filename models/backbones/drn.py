"""Dilated residual networks of type D: output stride 8 without any pooling, smooth at the end against gridding.

Source: Yu, Koltun, Funkhouser, "Dilated Residual Networks", CVPR 2017, and its released code. Parameters carry its
names (`layer0` to `layer8`), so its ImageNet files load as they are.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn

from models.backbones.encoder import Encoder, Tap
from models.images import IMAGENET_NORMALISATION, Normalisation

DRN_BLOCKS: Mapping[str, tuple[int, int, int, int]] = MappingProxyType(
    {"drn_d_54": (3, 4, 6, 3), "drn_d_105": (3, 4, 23, 3)}
)
"""Bottlenecks in layer3 to layer6."""

_STAGES = (("layer0", "layer1", "layer2"), ("layer3",), ("layer4",), ("layer5",), ("layer6", "layer7", "layer8"))
_TAPS = (Tap(32, 2, "layer2"), Tap(256, 4, "layer3"), Tap(512, 8, "layer4"), Tap(1024, 8, "layer5"), Tap(512, 8))


class DilatedResNet(nn.Module):
    """The layers, without a head.

    layer5 and layer6 dilate by 2 and 4 instead of striding; layer7 and layer8, without shortcuts, go back to 2 and 1.
    """

    def __init__(self, num_blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.layer0 = _convolution(3, 16, 7)
        self.layer1 = _convolution(16, 16, 3)
        self.layer2 = _convolution(16, 32, 3, stride=2)
        self.layer3 = _bottlenecks(32, 64, num_blocks[0], stride=2)
        self.layer4 = _bottlenecks(256, 128, num_blocks[1], stride=2)
        self.layer5 = _bottlenecks(512, 256, num_blocks[2], dilation=2)
        self.layer6 = _bottlenecks(1024, 512, num_blocks[3], dilation=4)
        self.layer7 = _convolution(2048, 512, 3, dilation=2)
        self.layer8 = _convolution(512, 512, 3)

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns `[B, 512, ~H / 8, ~W / 8]`."""
        features = images_B3HW
        for layer in self.children():
            features = layer(features)
        return features


def drn_encoder(name: str, normalisation: Normalisation = IMAGENET_NORMALISATION) -> Encoder:
    """Returns one of `DRN_BLOCKS`, randomly initialised."""
    return Encoder(DilatedResNet(DRN_BLOCKS[name]), _STAGES, _TAPS, normalisation)


def _convolution(in_channels: int, out_channels: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size - 1) // 2
    layer = nn.Conv2d(in_channels, out_channels, size, stride, padding, dilation, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def _bottlenecks(in_channels: int, width: int, count: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    from torchvision.models.resnet import (
        Bottleneck,  # only for those who use it: every process would pay for its import
    )

    out_channels = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
    first = Bottleneck(in_channels, width, stride, shortcut, dilation=dilation)
    return nn.Sequential(first, *(Bottleneck(out_channels, width, dilation=dilation) for _ in range(count - 1)))
