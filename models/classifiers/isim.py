"""ISIM's networks: a segmentation network with a classification branch, whose CAMs become its own pseudo labels.

Source: Bircanoglu and Arica, "Iterative Self-Improved Model for Weakly Supervised Segmentation" (2022), sections 3.2
(figure 2: encoder, classification branch, decoder), 3.2.1 (DeepLabCAM) and 3.2.2 (UNetCAM).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from models.backbones import Encoder
from models.classifiers.cam import CamClassifier, CamClassifierConfig, build_cam_classifier
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule, parameter_groups
from models.segmentation.config import DeepLabConfig, NormName
from models.segmentation.heads import DecoderHead, build_head, enlarge
from models.segmentation.unet import UNetDecoder

DecoderName = Literal["none", "deeplab_v3plus", "deeplab_v3", "unet_learnable", "unet_bilinear"]
_NUM_DECODER_CONVOLUTIONS = 1  # of v3+ in the released code: 304 -> 256 -> classes; Chen et al. have two


@dataclass(frozen=True)
class IsimConfig:
    """Encoder, classification branch and decoder.

    Attributes:
        classifier: Encoder and branch (global average pooling and a 1 x 1 convolution without bias on the last tap).
            ISIM stops no gradient (`frozen_stages: 0`); BatchNorm stays at its pretrained statistics in ResNets and
            follows the batches in ResNeSts (`train_batch_norm: true`).
        decoder: `deeplab_v3plus` (what the released code has), `deeplab_v3` (what the paper says), `unet_learnable`
            (transposed convolutions), `unet_bilinear`, or `none`: the classification branch alone, which is all that
            learns before there are pseudo labels.
        rates: Dilations of DeepLab's pyramid.
        decoder_channels: Width of DeepLab's pyramid and decoder.
        low_level_channels: To how many channels v3+ reduces the features at stride 4.
        separable: DeepLab's 3 x 3 convolutions are a depthwise and a 1 x 1 one: a ninth of the work. ISIM: False.
        decoder_norm: DeepLab: `batch` (released), or `group`, which does not depend on how many workers share a batch.
        decoder_dropout: Behind DeepLab's pyramid.
        unet_channels: Width of U-Net's levels from coarse to fine, the last at the image's size. Not published; ours.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    classifier: CamClassifierConfig = field(default_factory=lambda: CamClassifierConfig(frozen_stages=0))
    decoder: DecoderName = "deeplab_v3plus"
    rates: tuple[int, ...] = (6, 12, 18)
    decoder_channels: int = 256
    low_level_channels: int = 48
    separable: bool = False
    decoder_norm: NormName = "batch"
    decoder_dropout: float = 0.1
    unet_channels: tuple[int, ...] = (512, 256, 128, 64, 32)

    def __post_init__(self) -> None:
        if self.decoder.startswith("unet") and (not self.unet_channels or min(self.unet_channels) < 1):
            msg = f"unet_channels must be widths of at least 1, and at least one; got {self.unet_channels}"
            raise InvalidInputError(msg)
        self.deeplab  # noqa: B018 - a wrong value is said where the config is written

    @property
    def deeplab(self) -> DeepLabConfig:
        """The same as the config of a DeepLab, whose head the decoder is."""
        return DeepLabConfig(
            self.classifier.encoder,
            head="v3" if self.decoder == "deeplab_v3" else "v3plus",
            rates=self.rates,
            head_channels=self.decoder_channels,
            low_level_channels=self.low_level_channels,
            separable=self.separable,
            head_norm=self.decoder_norm,
            head_dropout=self.decoder_dropout,
        )


class IsimNetwork(nn.Module):
    """DeepLabCAM or UNetCAM. Pixel channel c is class id c, tag channel k class id k + 1: the background has no tag.

    Inference needs `classifier` alone: its CAMs are the method's product, and the decoder only teaches the encoder.
    """

    def __init__(self, classifier: CamClassifier, num_foreground: int, config: IsimConfig) -> None:
        super().__init__()
        self.config = config
        self.classifier = classifier
        self.decoder = _build_decoder(classifier.encoder, num_foreground + 1, config)

    def forward(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns tag logits `[num_heads, B, num_foreground]` and pixel logits `[B, num_foreground + 1, H, W]`.

        Without a decoder, there are no pixel logits.

        Args:
            images_B3HW: Normalised.
        """
        logits_NBF, taps = self.classifier.logits_and_taps(images_B3HW)
        if self.decoder is None:
            return logits_NBF, None
        aligned = self.config.classifier.encoder.is_corner_aligned
        return logits_NBF, enlarge(self.decoder(taps), images_B3HW.shape[2:], corner_aligned=aligned)

    def parameter_groups(
        self, encoder_lr: float, head_lr: float, decoder_lr: float, biases: BiasRule | None = None
    ) -> list[dict[str, Any]]:
        """Returns optimizer groups of encoder, classification branch and decoder."""
        groups = self.classifier.parameter_groups(encoder_lr, head_lr, biases)
        if self.decoder is not None:
            groups += parameter_groups([self.decoder], decoder_lr, biases or BiasRule())
        return groups


def build_isim(config: IsimConfig, num_foreground: int, *, load_weights: bool = True) -> IsimNetwork:
    """Returns the network; all but the encoder is randomly initialised.

    Args:
        load_weights: False leaves the encoder so too, for callers that load weights of their own.
    """
    classifier = build_cam_classifier(config.classifier, num_foreground, load_weights=load_weights)
    return IsimNetwork(classifier, num_foreground, config)


def _build_decoder(encoder: Encoder, num_classes: int, config: IsimConfig) -> nn.Module | None:
    if config.decoder == "none":
        return None
    if config.decoder == "deeplab_v3plus":
        return DecoderHead(encoder.taps, num_classes, config.deeplab, _NUM_DECODER_CONVOLUTIONS)
    if config.decoder == "deeplab_v3":
        return build_head(encoder.taps, num_classes, config.deeplab)
    return UNetDecoder(
        encoder.taps,
        num_classes,
        config.unet_channels,
        learnable=config.decoder == "unet_learnable",
        corner_aligned=config.classifier.encoder.is_corner_aligned,
    )
