"""A multi-label image classifier whose class activation maps are its seeds.

Sources: Zhou et al., CVPR 2016 (CAM); Ahn et al., CVPR 2019 (IRN): 1x1 convolution without bias behind global average
pooling, BatchNorm at its stored statistics, gradient stopped behind an early stage; Ahn and Kwak, CVPR 2018 (PSA):
BatchNorm frozen entirely, dropout before the head, the square root of VGG-16's maps.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import Encoder, EncoderConfig, build_encoder
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule, parameter_groups


@dataclass(frozen=True)
class CamClassifierConfig:
    """Encoder and head.

    Attributes:
        encoder: The image encoder.
        frozen_stages: Gradient stops behind this many encoder stages. IRN: 3 (conv1, layer1, layer2) for ResNet-50.
            PSA: 1 (conv1a and b2 of ResNet-38, conv1 and conv2 of VGG-16).
        train_batch_norm: Let BatchNorm follow the batches. IRN keeps the pretrained statistics (False); a network
            trained from scratch needs True.
        train_batch_norm_affine: Let BatchNorm's scales and shifts learn. IRN: True. PSA: False.
        head_dropout: Probability that a channel is dropped before the head. IRN: 0. PSA: 0.5.
        head_init: `pytorch` is the library's default for convolutions (IRN), `xavier` Xavier-uniform (PSA).
        cam_form: What a CAM is of the head's maps: `relu`, or `sqrt` of that (PSA with VGG-16).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    frozen_stages: int = 3
    train_batch_norm: bool = False
    train_batch_norm_affine: bool = True
    head_dropout: float = 0.0
    head_init: Literal["pytorch", "xavier"] = "pytorch"
    cam_form: Literal["relu", "sqrt"] = "relu"

    def __post_init__(self) -> None:
        if not 0.0 <= self.head_dropout < 1.0:
            msg = f"head_dropout must be in [0, 1); got {self.head_dropout}"
            raise InvalidInputError(msg)
        if not 0 <= self.frozen_stages <= 4:
            msg = f"frozen_stages must be 0 to 4; got {self.frozen_stages}"
            raise InvalidInputError(msg)


class CamClassifier(nn.Module):
    """Encoder, global average pooling, and a 1x1 convolution to the foreground classes.

    Output channel k is class id k + 1: the background has no tag and no channel.
    """

    def __init__(self, encoder: Encoder, num_foreground: int, config: CamClassifierConfig) -> None:
        super().__init__()
        if num_foreground < 1:
            msg = f"a classifier needs at least one foreground class; got {num_foreground}"
            raise InvalidInputError(msg)
        self.encoder = encoder
        self.head = nn.Conv2d(encoder.taps[-1].channels, num_foreground, kernel_size=1, bias=False)
        if config.head_init == "xavier":
            nn.init.xavier_uniform_(self.head.weight)
        self.config = config

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns logits `[B, num_foreground]`."""
        features = self.encoder(images_B3HW, detach_after=self.config.frozen_stages)[-1]
        features = F.dropout2d(features, self.config.head_dropout, self.training)
        logits: torch.Tensor = self.head(F.adaptive_avg_pool2d(features, 1)).flatten(1)
        return logits

    def class_maps(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns unnormalised CAMs, `[B, num_foreground, h, w]`, at the encoder's stride.

        They are `relu(head(features))`, or its square root where the config says so.
        """
        maps: torch.Tensor = F.relu(self.head(self.encoder(images_B3HW)[-1]))
        return maps.sqrt() if self.config.cam_form == "sqrt" else maps

    def train(self, mode: bool = True) -> Self:
        """Switches the mode; BatchNorm stays at its stored statistics unless the config lets it train."""
        super().train(mode)
        if not self.config.train_batch_norm:
            self.encoder.freeze_batch_norm()
        return self

    def parameter_groups(
        self, encoder_lr: float, head_lr: float, biases: BiasRule | None = None
    ) -> list[dict[str, Any]]:
        """Returns optimizer groups of what the gradient reaches: late encoder stages, and the head."""
        frozen = [] if self.config.train_batch_norm_affine else self.encoder.batch_norm_parameters()
        for index in range(self.config.frozen_stages):
            frozen += [parameter for module in self.encoder.stage_modules(index) for parameter in module.parameters()]
        rule = biases or BiasRule()
        return [
            *parameter_groups([self.encoder], encoder_lr, rule, without=frozen),
            *parameter_groups([self.head], head_lr, rule),
        ]


def build_cam_classifier(
    config: CamClassifierConfig, num_foreground: int, *, load_weights: bool = True
) -> CamClassifier:
    """Returns the classifier; its head is randomly initialised."""
    return CamClassifier(build_encoder(config.encoder, load_weights=load_weights), num_foreground, config)
