"""ACR's reconstructor: an encoder of its own, features of several depths, a U-Net behind their masked copies.

Source: Kweon, Yoon, Yoon, CVPR 2023, sections 4.1 and 5.2; released code: a second ResNet-38, whose last three taps are
reduced to 64, 128 and 256 channels by 1x1 convolutions without bias and joined to 448, enlarged to the image's size,
and masked there. The paper masks at the features' size.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from models.adversarial.classifier import class_map_head
from models.adversarial.config import ReconstructorConfig
from models.adversarial.trained_encoder import build_trained_encoder, frozen_parameters
from models.adversarial.unet import UNet
from models.backbones import Encoder
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule, parameter_groups


class Reconstruction(NamedTuple):
    """What the reconstructor makes of a batch.

    Attributes:
        logits: `[1, B, C]` of its own head, or None.
        whole: `[B, 3, H, W]` from all features, without gradient to the encoder, or None.
        parts: `[B, 3, H, W]` from the features under each mask.
    """

    logits: torch.Tensor | None
    whole: torch.Tensor | None
    parts: tuple[torch.Tensor, ...]


class Reconstructor(nn.Module):
    """The network; with `num_classes` it also has a classification head."""

    def __init__(self, encoder: Encoder, config: ReconstructorConfig, num_classes: int | None = None) -> None:
        super().__init__()
        taps = encoder.taps[-len(config.tap_channels) :]
        if len(taps) < len(config.tap_channels):
            msg = f"tap_channels names {len(config.tap_channels)} taps; {config.encoder.name} has {len(encoder.taps)}"
            raise InvalidInputError(msg)
        self.config = config
        self.num_classes = num_classes
        self.encoder = encoder
        self.reduce = nn.ModuleList(
            nn.Conv2d(tap.channels, channels, 1, bias=False)
            for tap, channels in zip(taps, config.tap_channels, strict=True)
        )
        self.stride = taps[0].stride if config.masking == "grid" else 1
        self.decoder = UNet(sum(config.tap_channels), config.decoder, upscale=self.stride)
        last = encoder.taps[-1].channels
        self.head = None if num_classes is None else class_map_head(last, num_classes, config.head_channels)

    def forward(
        self, images_B3HW: torch.Tensor, fed_masks: Sequence[torch.Tensor], *, with_whole: bool = False
    ) -> Reconstruction:
        """Returns what it makes of the features under each mask.

        Args:
            images_B3HW: Normalised.
            fed_masks: `[B, 1, y, x]` each, of the size that `mask_size` says.
            with_whole: Reconstruct from all features too.
        """
        taps = self.encoder(images_B3HW, detach_after=self._detach_after)
        size_hw = (images_B3HW.shape[2], images_B3HW.shape[3])
        features = self._joined(taps, size_hw)
        logits = None if self.head is None else self.head(taps[-1]).mean(dim=(2, 3))[None]
        whole = self.decoder(features.detach(), size_hw) if with_whole else None
        return Reconstruction(logits, whole, self.draw(features, fed_masks, size_hw))

    def features(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns the joined features X, on the image's pixels or on their grid, `[B, sum(tap_channels), y, x]`."""
        return self._joined(self.encoder(images_B3HW), (images_B3HW.shape[2], images_B3HW.shape[3]))

    def draw(
        self, features: torch.Tensor, fed_masks: Sequence[torch.Tensor], size_hw: tuple[int, int]
    ) -> tuple[torch.Tensor, ...]:
        """Returns the images that the decoder makes of the features under each mask."""
        # A mask in float32 would bring half-precision features, the largest tensors of a step, back to float32.
        return tuple(self.decoder(features * fed.to(features.dtype), size_hw) for fed in fed_masks)

    def mask_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Returns the size of masks for images of `size_hw`."""
        return -(-size_hw[0] // self.stride), -(-size_hw[1] // self.stride)

    def parameter_groups(
        self, encoder_lr: float, new_lr: float, transposed_factor: float, biases: BiasRule
    ) -> list[dict[str, Any]]:
        """Returns optimizer groups: the encoder; new convolutions; transposed ones at `transposed_factor` times that.

        The released code has 10 there: its rule for "layers that are new" looks for transposed convolutions.
        """
        frozen = frozen_parameters(self.config, self.encoder)
        transposed = [module for module in self.modules() if isinstance(module, nn.ConvTranspose2d)]
        weights = [parameter for module in transposed for parameter in module.parameters()]
        new = [self.reduce, self.decoder, *([] if self.head is None else [self.head])]
        return [
            *parameter_groups([self.encoder], encoder_lr, biases, without=frozen),
            *parameter_groups(new, new_lr, biases, without=weights),
            *parameter_groups(transposed, new_lr * transposed_factor, biases),
        ]

    def _joined(self, taps: Sequence[torch.Tensor], size_hw: tuple[int, int]) -> torch.Tensor:
        used = taps[-len(self.reduce) :]
        reduced = [layer(tap) for layer, tap in zip(self.reduce, used, strict=True)]
        joined = torch.cat([self._resized(x, reduced[0].shape[2:]) for x in reduced], dim=1)
        return self._resized(joined, self.mask_size(size_hw))

    def _resized(self, x: torch.Tensor, size_hw: Sequence[int]) -> torch.Tensor:
        if tuple(x.shape[2:]) == tuple(size_hw):
            return x
        corner_aligned = self.config.encoder.is_corner_aligned
        return F.interpolate(x, size=tuple(size_hw), mode="bilinear", align_corners=corner_aligned)

    @property
    def _detach_after(self) -> int:
        return self.config.frozen_stages


def build_reconstructor(
    config: ReconstructorConfig, num_classes: int | None = None, *, load_weights: bool = True
) -> Reconstructor:
    """Returns the reconstructor; all but its encoder is randomly initialised."""
    return Reconstructor(build_trained_encoder(config, load_weights=load_weights), config, num_classes)
