"""From an image's and its records' resolutions to that of the report's pictures.

Shapes:
    size: (width, height) of a picture, as Pillow has it.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.images import stride_of
from wsss_jobs.datasets.records import DatasetItem

Size = tuple[int, int]

MAX_SIDE_PX = 512
_CAM_STRIDE = 4  # a cell lies on every fourth pixel


def picture_size(item: DatasetItem) -> Size:
    """Returns the size of an image's pictures: its own, or reduced to `MAX_SIDE_PX`."""
    scale = min(1.0, MAX_SIDE_PX / max(item.width_px, item.height_px))
    return max(1, round(item.width_px * scale)), max(1, round(item.height_px * scale))


def fit_photo(image_HW3: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Returns an image at picture size."""
    return np.asarray(Image.fromarray(image_HW3).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def fit_label(label_HW: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Returns a full-resolution label at picture size; no value is mixed with another."""
    return np.asarray(Image.fromarray(label_HW).resize(size, Image.Resampling.NEAREST))


def fit_grid_label(label_hw: NDArray[np.uint8], item: DatasetItem, size: Size) -> NDArray[np.uint8]:
    """Returns a grid's label at picture size."""
    image = Image.fromarray(label_hw)
    stride = stride_of(label_hw.shape, (item.height_px, item.width_px))
    return np.asarray(image.resize(size, Image.Resampling.NEAREST, box=_covered(item, image.size, stride)))


def fit_cam(cam_Khw: NDArray[np.floating], item: DatasetItem, size: Size) -> NDArray[np.float32]:
    """Returns stride-4 CAMs at picture size, interpolated bilinearly."""
    finite_Khw = np.nan_to_num(cam_Khw.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    images = [Image.fromarray(np.ascontiguousarray(cam_hw)) for cam_hw in finite_Khw]
    box = _covered(item, images[0].size, _CAM_STRIDE)
    return np.stack([np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box)) for image in images])


def _covered(item: DatasetItem, grid_size: Size, stride: int) -> tuple[float, float, float, float]:
    """Returns the part of the grid that the image covers: its last row and column may reach beyond the image."""
    return (
        0.0,
        0.0,
        min(item.width_px / stride, grid_size[0]),
        min(item.height_px / stride, grid_size[1]),
    )
