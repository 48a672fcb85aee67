"""The one interface that every method sees of an image encoder: five taps, from fine to coarse.

Sources: He et al., CVPR 2016 (ResNet); Sandler et al., CVPR 2018 (MobileNetV2); networks by torchvision and timm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from models.errors import InvalidInputError
from models.images import Normalisation


@dataclass(frozen=True)
class Tap:
    """Where an encoder can be read: channels, stride against the input, and the name that papers give the place."""

    channels: int
    stride: int
    name: str = ""


class Encoder(nn.Module):
    """A network cut into stages; `forward` returns the output of each.

    Attributes:
        trains_batch_norm: Whether BatchNorm follows the batches in training (its affine parameters learn either way).

    The wrapped network keeps its own parameter names (`net.…`), so its published state dicts load as they are.

    Shapes:
        input `[B, 3, H, W]`; output: one `[B, taps[i].channels, ~H / taps[i].stride, ~W / taps[i].stride]` a tap.
    """

    def __init__(
        self, net: nn.Module, stages: Sequence[Sequence[str]], taps: Sequence[Tap], normalisation: Normalisation
    ) -> None:
        super().__init__()
        self.net = net
        self.taps = tuple(taps)
        self.normalisation = normalisation
        self._stages = tuple(tuple(names) for names in stages)
        self.trains_batch_norm = True

    @property
    def num_stages(self) -> int:
        """How many stages, and so taps, there are."""
        return len(self._stages)

    def stage_modules(self, index: int) -> list[nn.Module]:
        """Returns the modules of one stage, in order."""
        return [self.net.get_submodule(name) for name in self._stages[index]]

    def forward(self, images_B3HW: torch.Tensor, *, detach_after: int = 0) -> list[torch.Tensor]:
        """Returns the output of every stage.

        Args:
            detach_after: Stop the gradient behind this many stages (0: nowhere). IRN detaches behind `layer2`: 3.
        """
        return self.with_layers(images_B3HW, (), detach_after=detach_after)[0]

    def stage_parameters(self, num_stages: int) -> list[nn.Parameter]:
        """Returns the parameters of the first stages."""
        modules = [module for index in range(num_stages) for module in self.stage_modules(index)]
        return [parameter for module in modules for parameter in module.parameters()]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers that `with_layers` can show, in order."""
        return tuple(name for names in self._stages for name in names)

    def with_layers(
        self, images_B3HW: torch.Tensor, layers: Sequence[str], *, detach_after: int = 0
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Returns the output of every stage, and of each of `layers`, which are among `layer_names`.

        Args:
            detach_after: See `forward`.
        """
        outputs = []
        kept: dict[str, torch.Tensor] = {}
        features = images_B3HW
        for index, names in enumerate(self._stages):
            for name, module in zip(names, self.stage_modules(index), strict=True):
                features = module(features)
                if name in layers:
                    kept[name] = features
            if index + 1 == detach_after:
                features = features.detach()
            outputs.append(features)
        return outputs, [kept[name] for name in layers]

    def train(self, mode: bool = True) -> Self:
        """Switches the mode; without `trains_batch_norm`, every BatchNorm stays at its stored statistics."""
        super().train(mode)
        if not self.trains_batch_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the base of BatchNorm1d/2d/3d
                    module.eval()
        return self

    def batch_norm_parameters(self) -> list[nn.Parameter]:
        """Returns the scales and shifts of every BatchNorm: PSA trains none of them, IRN all it does not detach."""
        norms = [module for module in self.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001
        return [parameter for norm in norms for parameter in norm.parameters()]


class UncutEncoder(Encoder):
    """A network that yields its taps by itself and cannot be cut; the gradient runs through all of it or none."""

    def __init__(self, net: nn.Module, taps: Sequence[Tap], normalisation: Normalisation) -> None:
        super().__init__(net, [() for _ in taps], taps, normalisation)

    def with_layers(
        self,
        images_B3HW: torch.Tensor,
        layers: Sequence[str],  # noqa: ARG002 - there are none
        *,
        detach_after: int = 0,
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Returns the taps; there are no layers to show.

        Raises:
            InvalidInputError: A gradient stop inside the network was asked for.
        """
        if detach_after:
            msg = f"{type(self.net).__name__} cannot be cut: set frozen_stages to 0, or choose another encoder"
            raise InvalidInputError(msg)
        return list(self.net(images_B3HW)), []
