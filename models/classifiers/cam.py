"""A multi-label image classifier whose class activation maps are its seeds.

Sources: Zhou et al., CVPR 2016 (CAM); Ahn et al., CVPR 2019 (IRN): 1x1 convolution without bias behind global average
pooling, BatchNorm at its stored statistics, gradient stopped behind an early stage; Ahn and Kwak, CVPR 2018 (PSA):
BatchNorm frozen entirely, dropout before the head, the square root of VGG-16's maps.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import Encoder, EncoderConfig, build_encoder
from models.classifiers.cam_network import CamNetwork
from models.classifiers.config import CamClassifierConfig
from models.errors import InvalidInputError
from models.images import Normalisation
from models.parameter_groups import BiasRule, parameter_groups

_PROBE_SIZE_PX = 65


class CamClassifier(CamNetwork):
    """Encoder, global average pooling, and 1x1 convolutions to the foreground classes.

    Output channel k is class id k + 1: the background has no tag and no channel.
    """

    def __init__(self, encoder: Encoder, num_foreground: int, config: CamClassifierConfig) -> None:
        super().__init__()
        if num_foreground < 1:
            msg = f"a classifier needs at least one foreground class; got {num_foreground}"
            raise InvalidInputError(msg)
        self.encoder = encoder
        self.num_foreground = num_foreground
        encoder.trains_batch_norm = config.train_batch_norm
        self.head = nn.Conv2d(encoder.taps[-1].channels, num_foreground, kernel_size=1, bias=False)
        if config.head_init == "xavier":
            nn.init.xavier_uniform_(self.head.weight)
        self.config = config
        widths = side_layer_channels(encoder, config.side_layers, config.encoder.name)
        self.side_heads = nn.ModuleList(nn.Conv2d(n, num_foreground, kernel_size=1, bias=False) for n in widths)

    @property
    def encoder_config(self) -> EncoderConfig:
        """Stride, padding and alignment of the maps."""
        return self.config.encoder

    @property
    def normalisation(self) -> Normalisation:
        """The encoder's."""
        return self.encoder.normalisation

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns each head's logits `[num_heads, B, num_foreground]`, that of the last tap first.

        Every head has a loss of its own (Lee et al., AISTATS 2015, deep supervision): one that explains the tags alone
        must look at all of the object.
        """
        return self.logits_and_taps(images_B3HW)[0]

    def logits_and_taps(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Returns what `forward` does, and the encoder's taps of the same pass, for a network that reads both."""
        taps, features = self._taps_and_head_inputs(images_B3HW, self.config.frozen_stages)
        logits = [head(self._pooled(x)).flatten(1) for head, x in zip(self._heads, features, strict=True)]
        return torch.stack(logits), taps

    def class_maps(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns unnormalised CAMs, `[B, num_foreground, h, w]`, at the encoder's stride.

        They are `relu(head(features))`, summed over heads before the relu, or the square root of it where the config
        says so.
        """
        _, features = self._taps_and_head_inputs(images_B3HW, 0)
        maps = [head(x) for head, x in zip(self._heads, features, strict=True)]
        cam: torch.Tensor = F.relu(torch.stack(maps).sum(dim=0))
        return cam.sqrt() if self.config.cam_form == "sqrt" else cam

    @property
    def _heads(self) -> list[nn.Module]:
        return [self.head, *self.side_heads]

    def _taps_and_head_inputs(
        self, images_B3HW: torch.Tensor, detach_after: int
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        taps, sides = self.encoder.with_layers(images_B3HW, self.config.side_layers, detach_after=detach_after)
        return taps, [taps[-1], *sides]

    def _pooled(self, features: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(F.dropout2d(features, self.config.head_dropout, self.training), 1)

    def parameter_groups(
        self, encoder_lr: float, head_lr: float, biases: BiasRule | None = None
    ) -> list[dict[str, Any]]:
        """Returns optimizer groups of what the gradient reaches: late encoder stages, and the head."""
        frozen = [] if self.config.train_batch_norm_affine else self.encoder.batch_norm_parameters()
        frozen += self.encoder.stage_parameters(min(self.config.frozen_stages, self.encoder.num_stages))
        rule = biases or BiasRule()
        return [
            *parameter_groups([self.encoder], encoder_lr, rule, without=frozen),
            *parameter_groups([self.head, *self.side_heads], head_lr, rule),
        ]


def build_cam_classifier(
    config: CamClassifierConfig, num_foreground: int, *, load_weights: bool = True
) -> CamClassifier:
    """Returns the classifier; its head is randomly initialised."""
    return CamClassifier(build_encoder(config.encoder, load_weights=load_weights), num_foreground, config)


@torch.no_grad()
def side_layer_channels(encoder: Encoder, side_layers: Sequence[str], name: str) -> list[int]:
    """Returns the width of each side layer.

    Args:
        name: The encoder, in messages.

    Raises:
        InvalidInputError: There is no such layer, or it has another stride than the last tap.
    """
    unknown = [layer for layer in side_layers if layer not in encoder.layer_names]
    if unknown:
        names = ", ".join(encoder.layer_names) or "none: this network cannot be cut"
        msg = f"side_layers: {name} has no layer {unknown[0]!r}; its layers are {names}"
        raise InvalidInputError(msg)
    if not side_layers:
        return []
    was_training = encoder.training
    taps, sides = encoder.eval().with_layers(torch.zeros(1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX), side_layers)
    encoder.train(was_training)
    for layer, features in zip(side_layers, sides, strict=True):
        if features.shape[2:] != taps[-1].shape[2:]:
            msg = f"side_layers: {layer!r} has another stride than the last tap; take a layer behind its last stride"
            raise InvalidInputError(msg)
    return [features.shape[1] for features in sides]
