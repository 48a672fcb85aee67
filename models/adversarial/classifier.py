"""ACR's classifier: an encoder and a head whose class maps learn from tags and against a reconstructor.

Source: Kweon, Yoon, Yoon, CVPR 2023. The paper's head is one 1x1 convolution, that of the released code two, without
bias, Xavier-uniform, 256 channels between them. Logits are the mean of the signed class maps.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.adversarial.config import AcrClassifierConfig
from models.adversarial.trained_encoder import build_trained_encoder, frozen_parameters
from models.backbones import Encoder, EncoderConfig
from models.classifiers.cam import side_layer_channels
from models.classifiers.cam_network import CamNetwork
from models.classifiers.normalised_cam import divided_by_maximum, min_max
from models.errors import InvalidInputError
from models.images import Normalisation
from models.parameter_groups import BiasRule, parameter_groups


class AcrClassifier(CamNetwork):
    """The network; one head a tap that it looks at.

    Shapes:
        input `[B, 3, H, W]`, normalised; output: signed class maps `[num_heads, B, num_foreground, h, w]`.
    """

    def __init__(self, encoder: Encoder, num_foreground: int, config: AcrClassifierConfig) -> None:
        super().__init__()
        if num_foreground < 1:
            raise InvalidInputError(f"a classifier needs at least one foreground class; got {num_foreground}")
        self.config = config
        self.num_foreground = num_foreground
        self.encoder = encoder
        sides = side_layer_channels(encoder, config.side_layers, config.encoder.name)
        widths = [encoder.taps[-1].channels, *sides]
        self.heads = nn.ModuleList(class_map_head(n, num_foreground, config.head_channels) for n in widths)

    @property
    def encoder_config(self) -> EncoderConfig:
        """Stride, padding and alignment of the maps."""
        return self.config.encoder

    @property
    def normalisation(self) -> Normalisation:
        """The encoder's."""
        return self.encoder.normalisation

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns each head's signed class maps; their sum is the CAM before its ReLU, their means are logits."""
        taps, sides = self.encoder.with_layers(images_B3HW, self.config.side_layers, detach_after=self._detach_after)
        features = [taps[-1], *sides]
        return torch.stack([head(x) for head, x in zip(self.heads, features, strict=True)])

    def class_maps(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns `relu` of the class maps, added over heads, `[B, num_foreground, h, w]`."""
        return F.relu(self(images_B3HW).sum(dim=0))

    def normalised(self, cam_Khw: torch.Tensor) -> torch.Tensor:
        """Returns CAMs in [0, 1] as `cam_normalisation` says."""
        return min_max(cam_Khw) if self.config.cam_normalisation == "min_max" else divided_by_maximum(cam_Khw)

    def parameter_groups(self, encoder_lr: float, head_lr: float, biases: BiasRule) -> list[dict[str, Any]]:
        """Returns optimizer groups of what learns of the encoder, and of the heads."""
        frozen = frozen_parameters(self.config, self.encoder)
        return [
            *parameter_groups([self.encoder], encoder_lr, biases, without=frozen),
            *parameter_groups([self.heads], head_lr, biases),
        ]

    @property
    def _detach_after(self) -> int:
        # A side layer may lie before the end of the last stage: its gradient is switched off at the parameters instead.
        stages = self.config.frozen_stages
        return 0 if stages == self.encoder.num_stages else stages


def build_acr_classifier(
    config: AcrClassifierConfig, num_foreground: int, *, load_weights: bool = True
) -> AcrClassifier:
    """Returns the classifier; its heads are randomly initialised."""
    return AcrClassifier(build_trained_encoder(config, load_weights=load_weights), num_foreground, config)


def class_map_head(in_channels: int, num_foreground: int, hidden_channels: int | None) -> nn.Sequential:
    """Returns one or two 1x1 convolutions without bias, Xavier-uniform."""
    widths: Sequence[int] = [in_channels, num_foreground]
    if hidden_channels is not None:
        widths = [in_channels, hidden_channels, num_foreground]
    layers: list[nn.Module] = []
    for index in range(len(widths) - 1):
        layers += [nn.ReLU()] if index else []
        convolution = nn.Conv2d(widths[index], widths[index + 1], kernel_size=1, bias=False)
        nn.init.xavier_uniform_(convolution.weight)
        layers.append(convolution)
    return nn.Sequential(*layers)
