"""Full-resolution maps and images brought to a grid of square cells: cell i covers the pixels from `stride * i` on.

PSA's network pads the image to a multiple of its stride, so the last row and column of the grid may reach beyond it.
"""

import numpy as np

from models.images import resize, strided_size


def cell_means(maps_KHW: np.ndarray, stride: int, *, count_padding: bool = False) -> np.ndarray:
    """Returns the mean of each cell, `[K, ceil(H / stride), ceil(W / stride)]` float32.

    Args:
        count_padding: Take what a cell covers beyond the image as zeros (PSA's random walk), not as missing.
    """
    import torch  # only here: stages that reduce images name this module where they are planned
    from torch.nn import functional as F

    maps_1KHW = torch.from_numpy(np.ascontiguousarray(maps_KHW, dtype=np.float32))[None]
    if not count_padding:
        return F.avg_pool2d(maps_1KHW, stride, ceil_mode=True)[0].numpy()
    height, width = maps_1KHW.shape[2:]
    padded = F.pad(maps_1KHW, (0, -width % stride, 0, -height % stride))
    return F.avg_pool2d(padded, stride)[0].numpy()


def reduced_image(image_HW3: np.ndarray, stride: int) -> np.ndarray:
    """Returns the image at one pixel a cell (Lanczos); beyond the image its border is repeated."""
    height, width = image_HW3.shape[:2]
    padding = ((0, -height % stride), (0, -width % stride), (0, 0))
    return resize(np.pad(image_HW3, padding, mode="edge"), strided_size((height, width), stride), "lanczos")
