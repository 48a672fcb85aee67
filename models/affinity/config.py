"""What an AffinityNet is; apart from the network, which needs torch."""

from dataclasses import dataclass, field
from typing import ClassVar

from models.backbones.config import EncoderConfig
from models.errors import InvalidInputError

GRID_STRIDE = 8
"""Stride of AffinityNet's grid."""


@dataclass(frozen=True)
class AffinityNetConfig:
    """Encoder and norm.

    Attributes:
        encoder: With a tap at stride 8 before the last two; PSA: `resnet38`, or `vgg16_largefov` with `dilate`.
        frozen_stages: Gradient stops behind this many encoder stages. PSA: 1.
        group_norm: GroupNorm behind each of the first convolutions. PSA: for VGG-16, whose taps differ in scale; right
            for every encoder that does not normalise its taps.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig("resnet38", None, output_stride=8))
    frozen_stages: int = 1
    group_norm: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.frozen_stages <= 4:
            msg = f"frozen_stages must be 0 to 4; got {self.frozen_stages}"
            raise InvalidInputError(msg)
