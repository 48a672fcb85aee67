"""Which DeepLab (encoder, head, normalisation, initial weights), which loss, and how views are fused."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from models.backbones.config import EncoderConfig
from models.errors import InvalidInputError

HeadName = Literal["largefov", "v2", "v3", "v3plus"]
NormName = Literal["batch", "group"]
Fusion = Literal["mean_probability", "max_probability", "sum_logits"]

IGNORE_INDEX = 255


@dataclass(frozen=True)
class DeepLabConfig:
    """Encoder and head.

    Attributes:
        encoder: The image encoder. DeepLab-v2: `resnet101` at output stride 8, dilated; ACR: `resnet38`; v3 and v3+:
            any encoder at 16 or 8.
        head: `largefov` (two 3 x 3 convolutions of dilation 12), `v2` (atrous convolutions to the classes, summed),
            `v3` (pyramid with image pooling) or `v3plus` (the same, and a decoder that adds the features at stride 4).
        rates: Dilations of the 3 x 3 convolutions of the pyramid. v2: 6, 12, 18, 24; v3 and v3+: 6, 12, 18 at output
            stride 16, twice that at 8; LargeFOV: 12.
        head_channels: Width of the pyramid and of the decoder of v3 and v3+ (256), of the hidden layer of LargeFOV (512
            in ACR and MCTformer).
        low_level_channels: To how many channels v3+ reduces the features at stride 4.
        separable: v3 and v3+: 3 x 3 convolutions of the head are a depthwise and a 1 x 1 one (Chen et al., ECCV 2018);
            a ninth of the work.
        head_norm: v3 and v3+: `batch`, or `group` (GroupNorm of 4 groups, ISIM's final network), which does not depend
            on the batch nor on how many workers share it.
        head_dropout: Behind the pyramid of v3 and v3+. Chen et al.: 0.1 (their code); torchvision, ISIM: 0.5.
        train_batch_norm: Let the encoder's BatchNorm follow the batches. False keeps the pretrained statistics, as
            DeepLab-v2 and ISIM do; on a CPU, several workers then learn what one learns.
        train_batch_norm_affine: Let the scales and shifts of the encoder's BatchNorm learn. DeepLab-v2: False.
        caffe_layout: ResNet as Caffe has it: stride in the first 1 x 1 convolution of a stage, pooling that rounds up.
            Weights of DeepLab-v2 in Caffe, and what kazuto1011/deeplab-pytorch converted, need it.
        training_scales: In training, further scales of the input with losses of their own, and one for the maximum over
            all of them (DeepLab-v2: 0.5 and 0.75); inference then takes the maximum too.
        weights: State dict of a whole network to start from (path; the service also takes `s3://`): of this project,
            torchvision's DeepLab-v3, or kazuto1011's DeepLab-v2. Its last layer is left out where it has other classes.
            None starts from the encoder's weights.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadName = "v3plus"
    rates: tuple[int, ...] = (6, 12, 18)
    head_channels: int = 256
    low_level_channels: int = 48
    separable: bool = False
    head_norm: NormName = "group"
    head_dropout: float = 0.1
    train_batch_norm: bool = False
    train_batch_norm_affine: bool = True
    caffe_layout: bool = False
    training_scales: tuple[float, ...] = ()
    weights: str | None = None

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates) < 1:
            msg = f"rates must be dilations of at least 1, and at least one; got {self.rates}"
            raise InvalidInputError(msg)
        if self.head == "largefov" and len(self.rates) != 1:
            msg = f"head largefov has one dilation (12); rates is {self.rates}"
            raise InvalidInputError(msg)
        if not 0.0 <= self.head_dropout < 1.0:
            msg = f"head_dropout must be in [0, 1); got {self.head_dropout}"
            raise InvalidInputError(msg)
        if (
            self.head_channels % 4
            or self.low_level_channels % 4
            or min(self.head_channels, self.low_level_channels) < 4
        ):
            msg = (
                "head_channels and low_level_channels must be multiples of 4 (GroupNorm of 4 groups); got "
                f"{self.head_channels} and {self.low_level_channels}"
            )
            raise InvalidInputError(msg)
        if any(scale <= 0 for scale in self.training_scales):
            msg = f"training_scales must be positive; got {self.training_scales}"
            raise InvalidInputError(msg)


@dataclass(frozen=True)
class PixelLossConfig:
    """Which loss, and how far it distrusts the label.

    Attributes:
        kind: `cross_entropy`; `symmetric`: cross-entropy plus the reverse one, from the prediction to the label, which
            is bounded and so cannot be driven by a few wrong labels; `bootstrapped`: part of the label is the network's
            own decision.
        cross_entropy_weight: Of `symmetric`: alpha. Wang et al. on CIFAR-10: 0.1.
        reverse_weight: Of `symmetric`: beta. Wang et al.: 1.
        log_zero: Of `symmetric`: what log 0 counts as, A. Wang et al.: -4 to -6.
        label_trust: Of `bootstrapped`: beta, the share of the label. Reed et al.: 0.8.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    kind: Literal["cross_entropy", "symmetric", "bootstrapped"] = "cross_entropy"
    cross_entropy_weight: float = 0.1
    reverse_weight: float = 1.0
    log_zero: float = -4.0
    label_trust: float = 0.8

    def __post_init__(self) -> None:
        if self.log_zero >= 0 or not 0.0 < self.label_trust <= 1.0:
            msg = f"log_zero must be negative and label_trust in (0, 1]; got {self.log_zero} and {self.label_trust}"
            raise InvalidInputError(msg)
