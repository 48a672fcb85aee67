"""What a classifier is, and how its maps are taken; apart from the networks, which need torch."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from models.backbones.config import EncoderConfig
from models.errors import InvalidInputError

CAM_STRIDE = 4
DEFAULT_SCALES = (1.0, 0.5, 1.5, 2.0)
CamResampling = Literal["irn", "psa"]


@dataclass(frozen=True)
class CamClassifierConfig:
    """Encoder and head.

    Attributes:
        encoder: The image encoder.
        frozen_stages: Gradient stops behind this many encoder stages; 5: only the heads learn. IRN: 3 (conv1, layer1,
            layer2) for ResNet-50. PSA: 1 (conv1a and b2 of ResNet-38, conv1 and conv2 of VGG-16).
        train_batch_norm: Let BatchNorm follow the batches. IRN keeps the pretrained statistics (False); a network
            trained from scratch needs True.
        train_batch_norm_affine: Let BatchNorm's scales and shifts learn. IRN: True. PSA: False.
        head_dropout: Probability that a channel is dropped before the head. IRN: 0. PSA: 0.5.
        head_init: `pytorch` is the library's default for convolutions (IRN), `xavier` Xavier-uniform (PSA).
        cam_form: What a CAM is of the head's maps: `relu`, or `sqrt` of that (PSA with VGG-16).
        side_layers: Further layers of the network, by module name, of the last tap's stride; each gets a head of its
            own, and their maps are added up. None in the papers. A small network finds the object better in the layers
            before its last ones (docs/recipes.md has the figures).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    frozen_stages: int = 3
    train_batch_norm: bool = False
    train_batch_norm_affine: bool = True
    head_dropout: float = 0.0
    head_init: Literal["pytorch", "xavier"] = "pytorch"
    cam_form: Literal["relu", "sqrt"] = "relu"
    side_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.head_dropout < 1.0:
            msg = f"head_dropout must be in [0, 1); got {self.head_dropout}"
            raise InvalidInputError(msg)
        if not 0 <= self.frozen_stages <= 5:
            msg = f"frozen_stages must be 0 to 5; got {self.frozen_stages}"
            raise InvalidInputError(msg)
