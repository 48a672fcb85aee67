"""Convolutions of the heads: with their normalisation, plain or separable, from one set of options."""

from dataclasses import dataclass

from torch import nn

from models.segmentation.config import NormName

_NUM_GROUPS = 4


@dataclass(frozen=True)
class LayerStyle:
    """How the layers of a head are built.

    Attributes:
        norm: `batch` or `group` (4 groups).
        separable: A 3 x 3 convolution is a depthwise and a 1 x 1 one, with normalisation and ReLU behind the second.
    """

    norm: NormName = "batch"
    separable: bool = False


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int, style: LayerStyle, dilation: int = 1
) -> nn.Sequential:
    """Returns convolution (no bias), normalisation and ReLU; the size of the grid stays."""
    convolutions: list[nn.Module] = []
    if style.separable and kernel_size > 1:
        convolutions.append(_conv(in_channels, in_channels, kernel_size, dilation, groups=in_channels))
        convolutions.append(_conv(in_channels, out_channels, 1))
    else:
        convolutions.append(_conv(in_channels, out_channels, kernel_size, dilation))
    return nn.Sequential(*convolutions, _norm(out_channels, style.norm), nn.ReLU(inplace=True))


def classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """Returns the last 1 x 1 convolution, with bias."""
    return nn.Conv2d(in_channels, num_classes, kernel_size=1)


def _conv(in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel_size - 1) // 2
    layer = nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(layer.weight)
    return layer


def _norm(channels: int, name: NormName) -> nn.Module:
    return nn.BatchNorm2d(channels) if name == "batch" else nn.GroupNorm(_NUM_GROUPS, channels)
