"""ACR's classifier: an encoder and a head whose class maps learn from tags and against a reconstructor.

Source: Kweon, Yoon, Yoon, CVPR 2023. The paper's head is one 1x1 convolution, that of the released code two, without
bias, Xavier-uniform, 256 channels between them. Logits are the mean of the signed class maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import Encoder, EncoderConfig, build_encoder
from models.classifiers.cam import side_layer_channels
from models.classifiers.cam_network import CamNetwork
from models.classifiers.normalised_cam import divided_by_maximum, min_max
from models.errors import InvalidInputError
from models.images import Normalisation
from models.parameter_groups import BiasRule, parameter_groups


@dataclass(frozen=True)
class TrainedEncoder:
    """An encoder and how it is trained.

    Attributes:
        encoder: The image encoder.
        frozen_stages: This many encoder stages do not learn. 0: ACR.
        train_batch_norm: Let BatchNorm follow the batches. False: ACR.
        train_batch_norm_affine: Let BatchNorm's scales and shifts learn. False: ACR.
        dropout: Replaces the probability of every dropout layer of the encoder. 0.2: ACR, of ResNet-38's last two
            blocks. None: as the encoder has them.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    frozen_stages: int = 0
    train_batch_norm: bool = False
    train_batch_norm_affine: bool = False
    dropout: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.frozen_stages <= 5:
            raise InvalidInputError(f"frozen_stages must be 0 to 5; got {self.frozen_stages}")
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise InvalidInputError(f"dropout must be in [0, 1); got {self.dropout}")

    def build(self, *, load_weights: bool = True) -> Encoder:
        """Returns the encoder, with BatchNorm and dropout as these settings say."""
        encoder = build_encoder(self.encoder, load_weights=load_weights)
        encoder.trains_batch_norm = self.train_batch_norm
        if self.dropout is not None:
            for module in encoder.modules():
                if isinstance(module, nn.Dropout | nn.Dropout2d):
                    module.p = self.dropout
        return encoder

    def frozen_parameters(self, encoder: Encoder) -> list[nn.Parameter]:
        """Returns what of the encoder stays as it is."""
        frozen = [] if self.train_batch_norm_affine else encoder.batch_norm_parameters()
        return frozen + encoder.stage_parameters(min(self.frozen_stages, encoder.num_stages))


@dataclass(frozen=True)
class AcrClassifierConfig(TrainedEncoder):
    """Encoder and head.

    Attributes:
        head_channels: Channels between the two 1x1 convolutions of the head. 256: released. None: one convolution, as
            the paper writes.
        side_layers: Further layers of the last tap's stride, each with a head of its own, whose maps are added up (see
            `CamClassifierConfig`). None in ACR.
        cam_normalisation: Of finished CAMs. `min_max`: ACR; `max`: IRN.
    """

    head_channels: int | None = 256
    side_layers: tuple[str, ...] = ()
    cam_normalisation: Literal["min_max", "max"] = "min_max"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_channels is not None and self.head_channels < 1:
            raise InvalidInputError(f"head_channels must be at least 1, or null; got {self.head_channels}")


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
        frozen = self.config.frozen_parameters(self.encoder)
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
    return AcrClassifier(config.build(load_weights=load_weights), num_foreground, config)


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
