"""What a classifier takes an image for."""

import numpy as np
import torch
from torch.nn import functional as F

from models.classifiers.cam import CamClassifier
from models.images import check_image, resize, scaled_size


@torch.no_grad()
def class_probabilities(model: CamClassifier, image_HW3: np.ndarray, long_side_px: int) -> torch.Tensor:
    """Returns the softmax over the mean logits of image, mirror image and heads, `[C - 1]`, on the CPU.

    For networks that learned images of one class each. Entry l is class id l + 1.

    Args:
        long_side_px: The image's longer side is resized to this.

    Raises:
        InvalidInputError: Not an RGB image.
    """
    check_image(image_HW3)
    size_hw = scaled_size(image_HW3.shape[:2], long_side_px / max(image_HW3.shape[:2]))
    image_3HW = model.encoder.normalisation(resize(image_HW3, size_hw)).to(model.head.weight.device)
    height, width = model.config.encoder.padded_size(size_hw)
    image_3HW = F.pad(image_3HW, (0, width - size_hw[1], 0, height - size_hw[0]))
    logits_NBF = model(torch.stack([image_3HW, image_3HW.flip(-1)]))
    return torch.softmax(logits_NBF.mean(dim=(0, 1)), dim=0).cpu()
