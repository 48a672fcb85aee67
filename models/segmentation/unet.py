"""U-Net's decoder over any encoder's taps, with learnt or bilinear up-sampling.

Sources: Ronneberger et al., MICCAI 2015 (skips, two 3 x 3 convolutions a level); ISIM (Bircanoglu and Arica), section
3.2.2: the same decoder with transposed convolutions, or with bilinear interpolation. Widths are not published.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from models.backbones import Tap
from models.errors import InvalidInputError
from models.segmentation.heads import enlarge
from models.segmentation.layers import LayerStyle, classifier, conv_norm_relu


class UNetDecoder(nn.Module):
    """From the coarsest tap to the image's size, one finer tap beside it at every level, then classes.

    Taps of one stride (an encoder whose last stride was taken away) are joined without up-sampling between them.

    Shapes:
        input: the taps, from fine to coarse; output: logits `[B, num_classes, H', W']`, H' being the height h of the
        finest tap times its stride s, or `(h - 1) * s + 1` where the grid is corner-aligned.
    """

    def __init__(
        self, taps: Sequence[Tap], num_classes: int, channels: Sequence[int], *, learnable: bool, corner_aligned: bool
    ) -> None:
        """Builds the levels.

        Args:
            taps: Of the encoder.
            num_classes: With the background.
            channels: Width behind each joined tap, from coarse to fine, and at the image's size: as many as taps; the
                first ones are left out where the encoder has fewer.
            learnable: Transposed convolutions instead of bilinear interpolation.
            corner_aligned: Whether the outermost cells lie on the outermost pixels.

        Raises:
            InvalidInputError: There are fewer widths than taps.
        """
        super().__init__()
        if len(channels) < len(taps):
            msg = f"unet_channels must have a width for each of the {len(taps)} taps of the encoder; got {channels}"
            raise InvalidInputError(msg)
        *widths, last_width = channels[len(channels) - len(taps) :]
        self._finest_stride, self._corner_aligned = taps[0].stride, corner_aligned
        self.levels = nn.ModuleList()
        below = taps[-1].channels
        for (coarse, fine), width in zip(pairwise(reversed(taps)), widths, strict=True):
            ratio = coarse.stride // fine.stride
            up = None if ratio == 1 else _UpSampling(below, width, ratio, learnable, corner_aligned)
            self.levels.append(_Level(up, (below if up is None else width) + fine.channels, width))
            below = width
        self.to_image = _UpSampling(below, last_width, self._finest_stride, learnable, corner_aligned)
        self.classifier = classifier(last_width, num_classes)

    def forward(self, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the logits."""
        features = taps[-1]
        for level, skip in zip(self.levels, reversed(taps[:-1]), strict=True):
            features = level(features, skip)
        size_hw = [self._image_side(cells) for cells in taps[0].shape[2:]]
        logits: torch.Tensor = self.classifier(self.to_image(features, size_hw))
        return logits

    def _image_side(self, cells: int) -> int:
        stride = self._finest_stride
        return (cells - 1) * stride + 1 if self._corner_aligned else cells * stride


class _Level(nn.Module):
    """Up-samples what comes from below, puts a tap beside it, and mixes both."""

    def __init__(self, up: nn.Module | None, in_channels: int, width: int) -> None:
        super().__init__()
        self.up = up
        style = LayerStyle("batch")
        self.mix = nn.Sequential(conv_norm_relu(in_channels, width, 3, style), conv_norm_relu(width, width, 3, style))

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        if self.up is not None:
            features = self.up(features, skip.shape[2:])
        mixed: torch.Tensor = self.mix(torch.cat([features, skip], dim=1))
        return mixed


class _UpSampling(nn.Module):
    """Enlarges a grid by a whole factor; what lies beyond the wanted size is cropped."""

    def __init__(self, in_channels: int, out_channels: int, factor: int, learnable: bool, corner_aligned: bool) -> None:
        super().__init__()
        self._learnable, self._corner_aligned = learnable, corner_aligned
        self.conv: nn.Module = (
            nn.ConvTranspose2d(in_channels, out_channels, factor, stride=factor)
            if learnable
            else nn.Conv2d(in_channels, out_channels, kernel_size=1)
        )

    def forward(self, features: torch.Tensor, size_hw: Sequence[int]) -> torch.Tensor:
        narrowed: torch.Tensor = self.conv(features)
        if self._learnable:
            return narrowed[..., : size_hw[0], : size_hw[1]]
        # A 1 x 1 convolution and an interpolation can change places; this order takes a quarter of the work.
        return enlarge(narrowed, size_hw, corner_aligned=self._corner_aligned)
