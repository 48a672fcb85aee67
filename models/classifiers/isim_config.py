"""What ISIM's networks are; apart from the networks, which need torch."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from models.classifiers.config import CamClassifierConfig
from models.errors import InvalidInputError
from models.segmentation.config import DeepLabConfig, NormName

DecoderName = Literal["none", "deeplab_v3plus", "deeplab_v3", "unet_learnable", "unet_bilinear"]


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
