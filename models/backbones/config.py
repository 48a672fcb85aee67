"""Which encoder, from where, at what stride."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from models.errors import InvalidInputError

LIBRARY_WEIGHTS = ("imagenet", "coco")
"""Weights that are named and not addressed: the library's own download."""


@dataclass(frozen=True)
class EncoderConfig:
    """An image encoder with named taps.

    Attributes:
        name: `resnet50`, `mobilenet_v2`, any other torchvision classification network of the ResNet or `features`
            families, `timm/<name>` for any timm network that offers `features_only`, or one of output stride 8 that no
            library has: PSA's `resnet38` (Wide ResNet-38 A1) and `vgg16_largefov` (`wsss data convert-weights` makes
            their weight files out of the MXNet and Caffe originals), and `drn_d_54` and `drn_d_105`.
        weights: `imagenet` (the library's own download), `coco` (torchvision's, from a DeepLab-v3 trained with MS-COCO
            pixel labels: ResNet-50 and 101), a path to a state dict, or None for random initialisation. The service
            also takes `s3://` here and hands a local path down.
        output_stride: Stride of the last tap, 8, 16 or 32. IRN: 16.
        dilate: Replace the strides that are taken away by dilation, so that the receptive field stays. IRN takes the
            stride of ResNet-50's last stage away without dilation, so False is right for `irn_voc`. For
            `vgg16_largefov` it is the dilation of `fc6`: 4 instead of 1 (PSA: in AffinityNet, not in the classifier).
        normalisation: `imagenet` (mean and std of the torchvision networks), `symmetric` (x / 127.5 - 1), `caffe`
            (BGR in 0..255 minus its means), or `auto`: what the network's own configuration says, `imagenet` where it
            says nothing.
        size_multiple: Inference pads images (right and bottom, with the mean colour) to `size_multiple * k +
            size_offset` pixels a side. The released code takes images as they are (1 and 0). Offset 1 with a multiple
            of the stride puts cell i of a feature map exactly on pixel `stride * i`, of the image and of its mirror
            image; networks converted from TensorFlow need that (32 and 1) because they were trained so.
        size_offset: 0 or 1; see `size_multiple`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    name: str = "resnet50"
    weights: str | None = "imagenet"
    output_stride: Literal[8, 16, 32] = 16
    dilate: bool = False
    normalisation: Literal["auto", "imagenet", "symmetric", "caffe"] = "auto"
    size_multiple: int = 1
    size_offset: int = 0

    def __post_init__(self) -> None:
        if self.output_stride not in (8, 16, 32):
            msg = f"output_stride must be 8, 16 or 32; got {self.output_stride}"
            raise InvalidInputError(msg)
        if self.size_offset not in (0, 1) or self.size_multiple < 1:
            msg = f"size_multiple must be >= 1 and size_offset 0 or 1; got {self.size_multiple} and {self.size_offset}"
            raise InvalidInputError(msg)
        if self.size_offset == 1 and self.size_multiple % self.output_stride:
            msg = (
                f"with size_offset 1, size_multiple must be a multiple of the output stride {self.output_stride}; "
                f"got {self.size_multiple}"
            )
            raise InvalidInputError(msg)

    @property
    def is_corner_aligned(self) -> bool:
        """Whether cell i of a feature map of stride s lies exactly on pixel `s * i`."""
        return self.size_offset == 1

    def padded_size(self, size_hw: Sequence[int]) -> tuple[int, int]:
        """Returns the smallest allowed `(height, width)` that holds `size_hw`."""
        return self._pad(size_hw[0]), self._pad(size_hw[1])

    def _pad(self, pixels: int) -> int:
        return -(-max(pixels - self.size_offset, 0) // self.size_multiple) * self.size_multiple + self.size_offset
