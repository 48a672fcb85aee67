"""ResNet-38, the wide pre-activation network "A1", as PSA uses it: output stride 8, taps behind BatchNorm and ReLU.

Sources: Wu, Shen, van den Hengel, "Wider or Deeper" (2016); Ahn and Kwak, CVPR 2018 (PSA), released code: strides,
dilations and dropout. Parameters carry PSA's names, so its checkpoints load as they are.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones.encoder import Encoder, Tap
from models.images import IMAGENET_NORMALISATION, Normalisation


class _Group(NamedTuple):
    """Blocks of one width: the first may change the stride and the width, the others repeat it."""

    in_channels: int
    mid_channels: int
    out_channels: int
    num_blocks: int
    stride: int
    first_dilation: int
    dilation: int


_GROUPS: Mapping[str, _Group] = MappingProxyType(
    {
        "b2": _Group(64, 128, 128, 3, 2, 1, 1),
        "b3": _Group(128, 256, 256, 3, 2, 1, 1),
        "b4": _Group(256, 512, 512, 6, 2, 1, 1),
        "b5": _Group(512, 512, 1024, 3, 1, 1, 2),
    }
)
_STAGES = (("conv1a", "b2"), ("b3",), ("b4",), ("b5",), ("b6", "b7"))
_TAPS = (Tap(128, 2, "b2"), Tap(256, 4, "b3"), Tap(512, 8, "b4"), Tap(1024, 8, "b5"), Tap(4096, 8, "b7"))


class _Block(nn.Module):
    """Two 3x3 convolutions, each behind BatchNorm and ReLU; a 1x1 shortcut where the shape changes."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, stride: int, *dilations: int) -> None:
        super().__init__()
        first, second = dilations
        self.bn_branch2a = nn.BatchNorm2d(in_channels)
        self.conv_branch2a = _conv3x3(in_channels, mid_channels, first, stride)
        self.bn_branch2b1 = nn.BatchNorm2d(mid_channels)
        self.conv_branch2b1 = _conv3x3(mid_channels, out_channels, second)
        if in_channels != out_channels or stride != 1:
            self.conv_branch1 = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the block's output, and its activated input: what the stage before offers as a tap."""
        activated = F.relu(self.bn_branch2a(x))
        shortcut = self.conv_branch1(activated) if hasattr(self, "conv_branch1") else x
        residual = F.relu(self.bn_branch2b1(self.conv_branch2a(activated)))
        return shortcut + self.conv_branch2b1(residual), activated


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution with dropout of whole channels before the second and the third."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        quarter, half = out_channels // 4, out_channels // 2
        self.bn_branch2a = nn.BatchNorm2d(in_channels)
        self.conv_branch2a = nn.Conv2d(in_channels, quarter, 1, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(quarter)
        self.dropout_2b1 = nn.Dropout2d(dropout)
        self.conv_branch2b1 = _conv3x3(quarter, half, dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(half)
        self.dropout_2b2 = nn.Dropout2d(dropout)
        self.conv_branch2b2 = nn.Conv2d(half, out_channels, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the block's output and its activated input."""
        activated = F.relu(self.bn_branch2a(x))
        residual = F.relu(self.bn_branch2b1(self.conv_branch2a(activated)))
        residual = F.relu(self.bn_branch2b2(self.conv_branch2b1(self.dropout_2b1(residual))))
        return self.conv_branch1(activated) + self.conv_branch2b2(self.dropout_2b2(residual)), activated


class ResNet38(nn.Module):
    """The layers, without a head: `conv1a`, `b2`, `b2_1`, ..., `b6`, `b7`, `bn7`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1a = _conv3x3(3, 64, 1)
        for name, group in _GROUPS.items():
            for index in range(group.num_blocks):
                self.add_module(name if index == 0 else f"{name}_{index}", _block(group, index))
        self.b6 = _Bottleneck(1024, 2048, dilation=4, dropout=0.3)
        self.b7 = _Bottleneck(2048, 4096, dilation=4, dropout=0.5)
        self.bn7 = nn.BatchNorm2d(4096)


class ResNet38Encoder(Encoder):
    """ResNet-38 behind the interface of encoders.

    A stage's own output is a sum that no activation has seen; its tap is what the next block makes of it first,
    BatchNorm and ReLU. The last tap is `relu(bn7)`.
    """

    net: ResNet38

    def __init__(self, normalisation: Normalisation = IMAGENET_NORMALISATION) -> None:
        net = ResNet38()
        names = [child for child, _ in net.named_children()]
        stages = [[name for name in names if name.split("_")[0] in stage] for stage in _STAGES]
        stages[-1].append("bn7")
        super().__init__(net, stages, _TAPS, normalisation)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """None: between its blocks runs a sum that no activation has seen."""
        return ()

    def with_layers(
        self,
        images_B3HW: torch.Tensor,
        layers: Sequence[str],  # noqa: ARG002 - there are none
        *,
        detach_after: int = 0,
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Returns the taps; there are no layers to show."""
        taps: list[torch.Tensor] = []
        x = images_B3HW
        for index in range(self.num_stages):
            x, activated = self._stage(index, x)
            if index > 0:
                taps.append(activated)
            if index + 1 == detach_after:
                x = x.detach()
        taps.append(F.relu(self.net.bn7(x)))
        return taps, []

    def _stage(self, index: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns a stage's output, and the activated input of its first block."""
        first: torch.Tensor | None = None
        for module in self.stage_modules(index):
            if isinstance(module, _Block | _Bottleneck):
                x, activated = module(x)
                first = activated if first is None else first
            elif module is not self.net.bn7:
                x = module(x)
        assert first is not None  # every stage has a block
        return x, first


def _conv3x3(in_channels: int, out_channels: int, dilation: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _block(group: _Group, index: int) -> _Block:
    if index == 0:
        widths = (group.in_channels, group.mid_channels, group.out_channels)
        return _Block(*widths, group.stride, group.first_dilation, group.dilation)
    return _Block(group.out_channels, group.mid_channels, group.out_channels, 1, group.dilation, group.dilation)
