"""Augmentations of the released training codes, on arrays; every draw comes from the generator that is passed in."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.images import resize


def resize_long_side(image_HW3: np.ndarray, low_px: int, high_px: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the image with its longer side drawn from low..high (IRN: 320..640), bicubic."""
    target = int(rng.integers(low_px, high_px + 1))
    height, width = image_HW3.shape[:2]
    scale = target / max(height, width)
    return resize(image_HW3, (max(1, round(height * scale)), max(1, round(width * scale))))


def flip(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the array mirrored left to right with probability one half."""
    return array[:, ::-1] if rng.random() < 0.5 else array


def crop(arrays: list[tuple[np.ndarray, float]], crop_px: int, rng: np.random.Generator | None) -> list[np.ndarray]:
    """Returns the same random `crop_px` square of every array; small ones are placed at random in a filled square.

    Args:
        arrays: `([H, W, ...], fill value)` of one common height and width.
        rng: None crops, and places, at the top left.
    """
    height, width = arrays[0][0].shape[:2]
    top, out_top, rows = _placement(height, crop_px, rng)
    left, out_left, columns = _placement(width, crop_px, rng)
    crops = []
    for array, fill in arrays:
        square = np.full((crop_px, crop_px, *array.shape[2:]), fill, dtype=array.dtype)
        square[out_top : out_top + rows, out_left : out_left + columns] = array[top : top + rows, left : left + columns]
        crops.append(square)
    return crops


def colour_jitter(image_HW3: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the uint8 image with brightness, contrast and saturation changed, and hue by a third (PSA: 0.3).

    Nothing is drawn where `strength` is 0.
    """
    if strength == 0.0:
        return image_HW3
    import torch
    from torchvision.transforms import v2  # takes seconds to import, and most recipes do not jitter

    jitter = v2.ColorJitter(strength, strength, strength, hue=strength / 3.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        # Pillow's integer arithmetic takes a tenth of the time of torchvision's on tensors, as in PSA's own code.
        return np.asarray(jitter(Image.fromarray(image_HW3)))


def resize_label(label_HW: np.ndarray, size_hw: Sequence[int]) -> np.ndarray:
    """Returns the label at another size, nearest neighbour of the pixel centres."""
    indices = [
        ((np.arange(new) + 0.5) * (old / new)).astype(np.int64)
        for new, old in zip(size_hw, label_HW.shape, strict=True)
    ]
    resized: np.ndarray = label_HW[np.ix_(*indices)]
    return resized


def _placement(size: int, crop_px: int, rng: np.random.Generator | None) -> tuple[int, int, int]:
    """Returns (first source index, first crop index, length) along one axis."""
    spare = abs(size - crop_px)
    first = 0 if rng is None else int(rng.integers(spare + 1))
    return (first, 0, crop_px) if size >= crop_px else (0, first, size)
