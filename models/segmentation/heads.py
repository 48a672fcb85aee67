"""Heads: from an encoder's taps to class logits.

Sources: Chen et al., "DeepLab", TPAMI 2018 (LargeFOV, v2); 2017 (v3); ECCV 2018 (v3+). LargeFOV on ResNet-38 as
MCTformer's released code has it, which ACR follows. In v3 the names of parameters are those of torchvision's
`DeepLabHead`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import Tap
from models.errors import InvalidInputError
from models.segmentation.aspp import Pyramid, SummedPyramid
from models.segmentation.config import DeepLabConfig
from models.segmentation.layers import LayerStyle, classifier, conv_norm_relu

_LOW_LEVEL_STRIDE = 4


class LastTapHead(nn.Sequential):
    """Layers on the last tap alone; the names of their parameters are their positions."""

    def forward(self, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns logits at the stride of the last tap."""
        features = taps[-1]
        for layer in self:
            features = layer(features)
        return features


class DecoderHead(nn.Module):
    """v3+: the pyramid, enlarged, beside the reduced features at stride 4; two 3 x 3 convolutions (ISIM: one); classes.

    Shapes:
        input: the taps; output: logits `[B, num_classes, ~H / 4, ~W / 4]`.
    """

    def __init__(self, taps: Sequence[Tap], num_classes: int, config: DeepLabConfig, num_convolutions: int = 2) -> None:
        super().__init__()
        self._low_index = _low_level_tap(taps)
        width, style = config.head_channels, LayerStyle(config.head_norm, config.separable)
        self._corner_aligned = config.encoder.is_corner_aligned
        self.pyramid = Pyramid(taps[-1].channels, width, config.rates, config.head_dropout, style)
        self.low_level = conv_norm_relu(taps[self._low_index].channels, config.low_level_channels, 1, style)
        widths = [width + config.low_level_channels, *[width] * num_convolutions]
        self.decoder = nn.Sequential(*(conv_norm_relu(a, b, 3, style) for a, b in pairwise(widths)))
        self.classifier = classifier(width, num_classes)

    def forward(self, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the logits."""
        low = self.low_level(taps[self._low_index])
        high = enlarge(self.pyramid(taps[-1]), low.shape[2:], corner_aligned=self._corner_aligned)
        logits: torch.Tensor = self.classifier(self.decoder(torch.cat([high, low], dim=1)))
        return logits


def build_head(taps: Sequence[Tap], num_classes: int, config: DeepLabConfig) -> nn.Module:
    """Returns the head that `config` names, randomly initialised.

    Raises:
        InvalidInputError: v3+ on an encoder without a tap at stride 4.
    """
    in_channels, width = taps[-1].channels, config.head_channels
    if config.head == "largefov":
        [rate] = config.rates
        hidden = _xavier(nn.Conv2d(in_channels, width, 3, padding=rate, dilation=rate))
        scores = _xavier(nn.Conv2d(width, num_classes, 3, padding=rate, dilation=rate))
        return LastTapHead(hidden, nn.ReLU(inplace=True), scores)
    if config.head == "v2":
        return LastTapHead(SummedPyramid(in_channels, num_classes, config.rates))
    if config.head == "v3":
        style = LayerStyle(config.head_norm, config.separable)
        pyramid = Pyramid(in_channels, width, config.rates, config.head_dropout, style)
        return LastTapHead(pyramid, *conv_norm_relu(width, width, 3, style), classifier(width, num_classes))
    return DecoderHead(taps, num_classes, config)


def enlarge(grid_BChw: torch.Tensor, size_hw: Sequence[int], *, corner_aligned: bool) -> torch.Tensor:
    """Returns a feature grid at another size, bilinear.

    Args:
        size_hw: `(height, width)`.
        corner_aligned: Whether the outermost cells lie on the outermost pixels.
    """
    return F.interpolate(grid_BChw, size=tuple(size_hw), mode="bilinear", align_corners=corner_aligned)


def _low_level_tap(taps: Sequence[Tap]) -> int:
    strides = [tap.stride for tap in taps]
    if _LOW_LEVEL_STRIDE not in strides:
        msg = f"head v3plus reads a tap at stride {_LOW_LEVEL_STRIDE}; the encoder's have {strides}: use v3"
        raise InvalidInputError(msg)
    return strides.index(_LOW_LEVEL_STRIDE)


def _xavier(layer: nn.Conv2d) -> nn.Conv2d:
    assert layer.bias is not None
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
