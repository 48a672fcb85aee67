"""Class probabilities of one image over several scales and their mirror images.

Sources: Chen et al., TPAMI 2018, section 4.1; fusions of the released codes: mean of softmax
(kazuto1011/deeplab-pytorch), maximum of softmax (MCTformer), softmax of the summed logits (ISIM).
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from models.images import check_image, resize, scaled_size
from models.segmentation.config import Fusion
from models.segmentation.deeplab import DeepLab


@torch.no_grad()
def class_probabilities(
    model: DeepLab, image_HW3: np.ndarray, scales: Sequence[float], fusion: Fusion, *, flip: bool
) -> np.ndarray:
    """Returns `prob_CHW`, float32 in [0, 1], at the image's size.

    They sum to one over the classes, but for `max_probability`, which is the maximum of each class over the views.

    Args:
        model: In evaluation mode.
        scales: Of the image; at least one.
        flip: See each scale mirrored too.

    Raises:
        InvalidInputError: Not an RGB image.
    """
    check_image(image_HW3)
    of_view, combine = _FUSIONS[fusion]
    fused_CHW: torch.Tensor | None = None
    num_views = 0
    for logits_CHW in _views(model, image_HW3, scales, flip=flip):
        view_CHW = of_view(logits_CHW)
        fused_CHW = view_CHW if fused_CHW is None else combine(fused_CHW, view_CHW)
        num_views += 1
    assert fused_CHW is not None  # there is at least one scale
    if fusion == "sum_logits":
        fused_CHW = fused_CHW.softmax(dim=0)
    elif fusion == "mean_probability":
        fused_CHW = fused_CHW / num_views
    prob_CHW: np.ndarray = fused_CHW.cpu().numpy()
    return prob_CHW


def _views(model: DeepLab, image_HW3: np.ndarray, scales: Sequence[float], *, flip: bool) -> Iterator[torch.Tensor]:
    """Yields the logits of each view, mirrored back and at the image's size, `[C, H, W]`."""
    for scale in scales:
        scaled_HW3 = resize(image_HW3, scaled_size(image_HW3.shape[:2], scale))
        for mirrored in (False, True) if flip else (False,):
            logits_1CHW = _logits(model, scaled_HW3, mirrored=mirrored)
            if logits_1CHW.shape[2:] != image_HW3.shape[:2]:
                size_hw = image_HW3.shape[:2]
                logits_1CHW = F.interpolate(logits_1CHW, size=size_hw, mode="bilinear", align_corners=False)
            yield logits_1CHW[0]


def _logits(model: DeepLab, image_HW3: np.ndarray, *, mirrored: bool) -> torch.Tensor:
    """Returns the logits of an image, `[1, C, H, W]`, seen mirrored or not; where it must be padded, by mean colour."""
    height, width = image_HW3.shape[:2]
    padded_height, padded_width = model.config.encoder.padded_size((height, width))
    image_3HW = model.encoder.normalisation(image_HW3).to(next(model.parameters()).device)
    image_13HW = F.pad(image_3HW, (0, padded_width - width, 0, padded_height - height))[None]
    logits_1CHW = model.pixel_logits(image_13HW.flip(-1) if mirrored else image_13HW)
    if mirrored:
        logits_1CHW = logits_1CHW.flip(-1)
    return logits_1CHW[..., :height, :width].float()


_FUSIONS: dict[
    Fusion, tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]
] = {
    "mean_probability": (lambda logits: logits.softmax(dim=0), torch.add),
    "max_probability": (lambda logits: logits.softmax(dim=0), torch.maximum),
    "sum_logits": (lambda logits: logits, torch.add),
}
