"""ISIM's networks: a segmentation network with a classification branch, whose CAMs become its own pseudo labels.

Source: Bircanoglu and Arica, "Iterative Self-Improved Model for Weakly Supervised Segmentation" (2022), sections 3.2
(figure 2: encoder, classification branch, decoder), 3.2.1 (DeepLabCAM) and 3.2.2 (UNetCAM).
"""

from typing import Any

import torch
from torch import nn

from models.backbones import Encoder
from models.classifiers.cam import CamClassifier, build_cam_classifier
from models.classifiers.isim_config import IsimConfig
from models.parameter_groups import BiasRule, parameter_groups
from models.segmentation.heads import DecoderHead, build_head, enlarge
from models.segmentation.unet import UNetDecoder

_NUM_DECODER_CONVOLUTIONS = 1  # of v3+ in the released code: 304 -> 256 -> classes; Chen et al. have two


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
