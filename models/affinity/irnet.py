"""IRNet: class boundaries and displacements from a frozen encoder.

Source: Ahn, Cho, Kwak, CVPR 2019, and the released code: every tap goes through its own 1x1 convolution and GroupNorm;
the boundary is one logit from the concatenation of five 32-channel paths at stride 4; the displacement is a 2-vector
(dy, dx, in cells) from a small top-down pathway. Encoder and heads share no trainable weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import Encoder, Tap
from models.errors import InvalidInputError

_EDGE_CHANNELS = 32
_GRID_STRIDE = 4


class _Path(nn.Module):
    """1x1 convolution, GroupNorm, bilinear up-sampling, ReLU: in this order, as released (up-sampling before ReLU)."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int, upsample: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.norm = nn.GroupNorm(num_groups, out_channels)
        self.upsample = upsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        if self.upsample > 1:
            x = F.interpolate(x, scale_factor=self.upsample, mode="bilinear", align_corners=False)
        return F.relu(x)


class EdgeBranch(nn.Module):
    """Class-boundary branch.

    Shapes:
        taps: `[B, c_i, y_i, x_i]`, tap 0 and 1 at stride 4. Output of `features`: `[B, 32 * num_taps, h, w]`, `h, w`
        those of tap 1. Output of `forward`: logits `[B, 1, h, w]`; `sigmoid` of them is the boundary probability.
    """

    def __init__(self, taps: Sequence[Tap]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            _Path(tap.channels, _EDGE_CHANNELS, num_groups=4, upsample=tap.stride // _GRID_STRIDE) for tap in taps
        )
        self.last = nn.Conv2d(_EDGE_CHANNELS * len(taps), 1, kernel_size=1, bias=True)

    def features(self, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns what the last 1x1 convolution reads: WSGCN-I's node features (paper form)."""
        size_hw = taps[1].shape[2:]
        return torch.cat([_fit(path(tap), size_hw) for path, tap in zip(self.paths, taps, strict=True)], dim=1)

    def forward(self, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns boundary logits."""
        logits: torch.Tensor = self.last(self.features(taps))
        return logits


class DisplacementBranch(nn.Module):
    """Displacement branch: where each cell's instance centroid lies, `[B, 2, h, w]`, channel 0 is dy, unit: cells.

    The released code's widths for ResNet-50 (64, 128, 256, 256, 256) are kept for any encoder. The stored mean
    displacement (computed once after training) is subtracted in evaluation only.
    """

    mean_shift: torch.Tensor

    def __init__(self, taps: Sequence[Tap]) -> None:
        super().__init__()
        if len(taps) != 5:
            msg = f"the displacement branch needs an encoder with 5 taps; this one has {len(taps)}"
            raise InvalidInputError(msg)
        to_8 = [max(tap.stride // 8, 1) for tap in taps]
        self.path1 = _Path(taps[0].channels, 64, 8)
        self.path2 = _Path(taps[1].channels, 128, 16)
        self.path3 = _Path(taps[2].channels, 256, 16)
        self.path4 = _Path(taps[3].channels, 256, 16, upsample=to_8[3])
        self.path5 = _Path(taps[4].channels, 256, 16, upsample=to_8[4])
        self.path6 = _Path(256 * 3, 256, 16, upsample=2)
        self.path7 = _Path(256 + 128 + 64, 256, 16)
        self.last = nn.Conv2d(256, 2, kernel_size=1, bias=False)
        self.register_buffer("mean_shift", torch.zeros(2))

    def forward(self, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns displacements."""
        mid_hw, fine_hw = taps[2].shape[2:], taps[1].shape[2:]
        coarse = [self.path3(taps[2]), _fit(self.path4(taps[3]), mid_hw), _fit(self.path5(taps[4]), mid_hw)]
        top_down = _fit(self.path6(torch.cat(coarse, dim=1)), fine_hw)
        fused = self.path7(torch.cat([_fit(self.path1(taps[0]), fine_hw), self.path2(taps[1]), top_down], dim=1))
        displacement: torch.Tensor = self.last(fused)
        return displacement if self.training else displacement - self.mean_shift.view(1, 2, 1, 1)


@dataclass(frozen=True)
class IRNetOutput:
    """What one forward pass gives.

    Attributes:
        edge_logits_B1hw: Boundary logits.
        edge_features_BDhw: Input of the last edge convolution.
        displacement_B2hw: Displacements in cells, or None when the branch was not built.
    """

    edge_logits_B1hw: torch.Tensor
    edge_features_BDhw: torch.Tensor
    displacement_B2hw: torch.Tensor | None


class IRNet(nn.Module):
    """A frozen encoder with an edge branch and, if wanted, a displacement branch."""

    def __init__(self, encoder: Encoder, *, with_displacement: bool = True) -> None:
        super().__init__()
        if min(tap.stride for tap in encoder.taps) > _GRID_STRIDE or encoder.taps[1].stride != _GRID_STRIDE:
            msg = f"IRNet reads its second tap at stride 4; this encoder has {[tap.stride for tap in encoder.taps]}"
            raise InvalidInputError(msg)
        encoder.requires_grad_(requires_grad=False)
        self.encoder = encoder
        taps = [Tap(tap.channels, max(tap.stride, _GRID_STRIDE)) for tap in encoder.taps]
        self.edge = EdgeBranch(taps)
        self.displacement = DisplacementBranch(taps) if with_displacement else None

    def taps(self, images_B3HW: torch.Tensor) -> list[torch.Tensor]:
        """Returns the encoder's taps without gradient, the first one max-pooled to stride 4 (ResNet's own pooling)."""
        with torch.no_grad():
            taps: list[torch.Tensor] = self.encoder(images_B3HW)
            if self.encoder.taps[0].stride < _GRID_STRIDE:
                taps[0] = _fit(F.max_pool2d(taps[0], kernel_size=3, stride=2, padding=1), taps[1].shape[2:])
        return taps

    def forward(self, images_B3HW: torch.Tensor) -> IRNetOutput:
        """Returns boundary logits, their features and displacements at stride 4."""
        taps = self.taps(images_B3HW)
        features = self.edge.features(taps)
        displacement = None if self.displacement is None else self.displacement(taps)
        return IRNetOutput(self.edge.last(features), features, displacement)

    def train(self, mode: bool = True) -> Self:
        """Switches the heads; the encoder always stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """Returns the parameters and buffers of the heads: what a checkpoint has to hold beside the encoder."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("encoder.")}


def _fit(x: torch.Tensor, size_hw: Sequence[int]) -> torch.Tensor:
    """Crops to `size_hw`; where the up-sampled map is a cell short, repeats its border."""
    short_h, short_w = max(size_hw[0] - x.shape[2], 0), max(size_hw[1] - x.shape[3], 0)
    if short_h or short_w:
        x = F.pad(x, (0, short_w, 0, short_h), mode="replicate")
    return x[:, :, : size_hw[0], : size_hw[1]]
