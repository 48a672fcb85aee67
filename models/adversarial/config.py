"""ACR's networks as configs: their encoders, heads and decoder; apart from the networks, which need torch."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from models.backbones.config import EncoderConfig
from models.errors import InvalidInputError

Masking = Literal["image", "grid"]


@dataclass(frozen=True)
class TrainedEncoderConfig:
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


@dataclass(frozen=True)
class AcrClassifierConfig(TrainedEncoderConfig):
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


@dataclass(frozen=True)
class UNetConfig:
    """Size of the U-Net; the defaults are ACR's.

    Attributes:
        depth: How often the grid is halved. 8: down to one cell at 256.
        base_channels: Width of the first level; each next one has twice as many,
        max_channels: up to this.
        dropout: Probability in the fourth level and deeper, downwards and upwards.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    depth: int = 8
    base_channels: int = 64
    max_channels: int = 512
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if not 2 <= self.depth <= 10:
            raise InvalidInputError(f"U-Net: depth must be 2 to 10; got {self.depth}")
        if not 1 <= self.base_channels <= self.max_channels:
            widths = f"{self.base_channels} and {self.max_channels}"
            raise InvalidInputError(f"U-Net: base_channels must be 1 to max_channels; got {widths}")
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidInputError(f"U-Net: dropout must be in [0, 1); got {self.dropout}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from fine to coarse."""
        return tuple(min(self.base_channels * 2**level, self.max_channels) for level in range(self.depth))


@dataclass(frozen=True)
class ReconstructorConfig(TrainedEncoderConfig):
    """Encoder, joined features, decoder.

    Attributes:
        tap_channels: Channels that each of the encoder's last taps is reduced to, from fine to coarse. All are brought
            to the grid of the finest.
        head_channels: Of a classification head of its own, where the losses have that term; see `AcrClassifierConfig`.
        decoder: The U-Net.
        masking: `image`: features are enlarged to the image and masked there (released). `grid`: masked on their own
            grid (the paper's equation 3), and the decoder does the enlarging: for a grid of stride s, 1 / s^2 of the
            memory.
    """

    tap_channels: tuple[int, ...] = (64, 128, 256)
    head_channels: int | None = 256
    decoder: UNetConfig = field(default_factory=UNetConfig)
    masking: Masking = "image"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tap_channels or min(self.tap_channels) < 1:
            raise InvalidInputError(f"tap_channels must be positive, and at least one; got {self.tap_channels}")
