"""Affinity features of one whole image.

Source: PSA's released inference (Ahn and Kwak, CVPR 2018): the normalised image is padded with zeros, right and bottom,
to multiples of 8; one pass, without a mirror.
"""

import numpy as np
import torch
from torch.nn import functional as F

from models.affinity.affinitynet import AffinityNet
from models.affinity.config import GRID_STRIDE
from models.images import check_image, strided_size


@torch.no_grad()
def affinity_features(model: AffinityNet, image_HW3: np.ndarray) -> torch.Tensor:
    """Returns the affinity features of an image, on the model's device.

    An encoder with a size rule of its own pads by that; either way cell `(y, x)` belongs to the 8 x 8 pixels from
    `(8 y, 8 x)`.

    Shapes:
        returns: `[448, ceil(H / 8), ceil(W / 8)]`.
    """
    check_image(image_HW3)
    height, width = image_HW3.shape[:2]
    encoder = model.config.encoder
    if encoder.is_corner_aligned or encoder.size_multiple > 1:
        padded_h, padded_w = encoder.padded_size((height, width))
    else:
        padded_h, padded_w = (-(-size // GRID_STRIDE) * GRID_STRIDE for size in (height, width))
    image_3HW = model.encoder.normalisation(image_HW3).to(model.f9.weight.device)
    features_1Dyx: torch.Tensor = model(F.pad(image_3HW, (0, padded_w - width, 0, padded_h - height))[None])
    h, w = strided_size((height, width), GRID_STRIDE)
    return features_1Dyx[0, :, :h, :w].contiguous()
