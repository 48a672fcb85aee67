"""AffinityNet: semantic features whose distance is the affinity of neighbouring cells.

Source: Ahn and Kwak, CVPR 2018 (PSA), section 3.2, and the released code: the last three taps of the encoder go
through a 1x1 convolution each to 64, 128 and 256 channels (behind it GroupNorm for VGG-16, nothing for ResNet-38) and
ELU; `f9`, another 1x1 convolution with ELU, mixes all 448. The encoder learns along, but for its first stage and
BatchNorm.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.affinity.config import GRID_STRIDE, AffinityNetConfig
from models.backbones import Encoder, build_encoder
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule, parameter_groups

NUM_FEATURES = 448
_WIDTHS = (64, 128, 256)
_CHANNELS_A_GROUP = 8  # 8, 16 and 32 groups
_F9_GAIN = 4.0


class AffinityNet(nn.Module):
    """The network.

    Shapes:
        input `[B, 3, H, W]`; output: affinity features `[B, 448, ~H / 8, ~W / 8]`, above -1 (ELU).
    """

    def __init__(self, encoder: Encoder, config: AffinityNetConfig) -> None:
        super().__init__()
        taps = encoder.taps[-3:]
        if len(taps) < 3 or taps[0].stride != GRID_STRIDE:
            strides = [tap.stride for tap in encoder.taps]
            msg = f"AffinityNet reads the last three taps, the first of them at stride {GRID_STRIDE}; got {strides}"
            raise InvalidInputError(msg)
        self.config = config
        self.encoder = encoder
        encoder.trains_batch_norm = False
        self.f8 = nn.ModuleList(_new_layer(tap.channels, width) for tap, width in zip(taps, _WIDTHS, strict=True))
        self.norms = nn.ModuleList(
            nn.GroupNorm(width // _CHANNELS_A_GROUP, width) if config.group_norm else nn.Identity() for width in _WIDTHS
        )
        self.f9 = nn.Conv2d(NUM_FEATURES, NUM_FEATURES, kernel_size=1, bias=False)
        nn.init.xavier_uniform_(self.f9.weight, gain=_F9_GAIN)

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns the affinity features."""
        return self.features(self.encoder(images_B3HW, detach_after=self.config.frozen_stages))

    def features(self, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the affinity features of an encoder's taps; a tap coarser than stride 8 is up-sampled bilinearly."""
        size_hw = taps[-3].shape[2:]
        reduced = [F.elu(norm(f8(tap))) for f8, norm, tap in zip(self.f8, self.norms, taps[-3:], strict=True)]
        fitted = [
            x if x.shape[2:] == size_hw else F.interpolate(x, size=size_hw, mode="bilinear", align_corners=False)
            for x in reduced
        ]
        features: torch.Tensor = F.elu(self.f9(torch.cat(fitted, dim=1)))
        return features

    def parameter_groups(self, encoder_lr: float, new_lr: float, biases: BiasRule) -> list[dict[str, Any]]:
        """Returns optimizer groups: the encoder and GroupNorm at one rate, the new convolutions at another."""
        frozen = self.encoder.batch_norm_parameters() + self.encoder.stage_parameters(self.config.frozen_stages)
        return [
            *parameter_groups([self.encoder, self.norms], encoder_lr, biases, without=frozen),
            *parameter_groups([self.f8, self.f9], new_lr, biases),
        ]


def _new_layer(in_channels: int, out_channels: int) -> nn.Conv2d:
    layer = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(layer.weight)
    return layer


def build_affinitynet(config: AffinityNetConfig, *, load_weights: bool = True) -> AffinityNet:
    """Returns the network with its encoder's weights; the new layers are randomly initialised."""
    return AffinityNet(build_encoder(config.encoder, load_weights=load_weights), config)
