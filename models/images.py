"""Array-level image operations that several methods share, with the resampling filters that their papers used.

Shapes: `image_HW3` is RGB `uint8`; `tensor_3HW` is float32, normalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
}


@dataclass(frozen=True)
class Normalisation:
    """Per-channel affine map of pixels: `(x / scale - mean) / std`.

    Attributes:
        mean: In the channel order that the network gets.
        std: Likewise.
        scale: 255 for means in 0..1; 1 for means in grey levels.
        bgr: Whether the network gets blue first.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 255.0
    bgr: bool = False

    def __call__(self, image_HW3: np.ndarray) -> torch.Tensor:
        """Returns `tensor_3HW`, float32."""
        import torch  # only here: sizes of images are needed without it

        pixels_3HW = torch.from_numpy(np.array(image_HW3, dtype=np.float32)).permute(2, 0, 1) / self.scale
        if self.bgr:
            pixels_3HW = pixels_3HW.flip(0)
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        return ((pixels_3HW - mean) / std).contiguous()


IMAGENET_NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SYMMETRIC_NORMALISATION = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CAFFE_NORMALISATION = Normalisation((104.008, 116.669, 122.675), (1.0, 1.0, 1.0), scale=1.0, bgr=True)


def check_image(image_HW3: np.ndarray) -> None:
    """Raises `InvalidInputError` unless the array is RGB `uint8` `[H, W, 3]` and not empty."""
    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.dtype != np.uint8 or image_HW3.size == 0:
        msg = f"image must be a non-empty uint8 array [H, W, 3]; got {image_HW3.dtype} {list(image_HW3.shape)}"
        raise InvalidInputError(msg)


def resize(image_HW3: np.ndarray, size_hw: Sequence[int], method: str = "bicubic") -> np.ndarray:
    """Returns the image at `size_hw = (height, width)`, resampled as Pillow does (`bicubic`, `lanczos`, `bilinear`)."""
    check_image(image_HW3)
    height, width = int(size_hw[0]), int(size_hw[1])
    if image_HW3.shape[:2] == (height, width):
        return image_HW3
    return np.asarray(Image.fromarray(image_HW3).resize((width, height), _FILTERS[method]))


def scaled_size(size_hw: Sequence[int], scale: float) -> tuple[int, int]:
    """Returns `size_hw` times `scale`, rounded half to even as the released code does, at least one pixel a side."""
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def strided_size(size_hw: Sequence[int], stride: int) -> tuple[int, int]:
    """Returns the feature grid `(h, w)` of an image: `ceil(H / stride), ceil(W / stride)`."""
    return (size_hw[0] - 1) // stride + 1, (size_hw[1] - 1) // stride + 1


def min_max(maps_KHW: np.ndarray) -> np.ndarray:
    """Returns each float map stretched to 0..1; a map without contrast becomes 0."""
    lowest_K11 = maps_KHW.min(axis=(1, 2), keepdims=True)
    span_K11 = maps_KHW.max(axis=(1, 2), keepdims=True) - lowest_K11
    stretched_KHW: np.ndarray = (maps_KHW - lowest_K11) / np.where(span_K11 > 0, span_K11, np.ones_like(span_K11))
    return stretched_KHW


def stride_of(grid_hw: Sequence[int], size_hw: Sequence[int]) -> int:
    """Returns the stride of a feature grid of an image: the smallest power of two for which the sizes fit.

    Raises:
        InvalidInputError: There is none up to 32.
    """
    for stride in (1, 2, 4, 8, 16, 32):
        if strided_size(size_hw, stride) == (grid_hw[0], grid_hw[1]):
            return stride
    msg = f"a grid of {grid_hw[0]} x {grid_hw[1]} cells is no grid of an image of {size_hw[0]} x {size_hw[1]} pixels"
    raise InvalidInputError(msg)
