"""Labels from class activation maps and a saliency map.

Source: the released code of Zhou et al., "Group-Wise Learning for Weakly Supervised Semantic Segmentation" (IEEE TIP
2022). A pixel keeps a label only where the two agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInputError
from models.images import min_max

IGNORE_INDEX = 255


@dataclass(frozen=True)
class SaliencyRules:
    """When a pixel gets no label. Defaults: released code.

    Attributes:
        conflict: Two or more scores (the background's counts) above this contradict each other.
        strong_cam: A CAM above this is an object, whatever the saliency says.
        background_saliency: A background pixel keeps its label below this saliency only, in 0..255.
        min_foreground: An image with less labelled foreground than this share gets no labels at all.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    conflict: float = 0.9
    strong_cam: float = 0.8
    background_saliency: int = 32
    min_foreground: float = 0.01

    def __post_init__(self) -> None:
        for name in ("conflict", "strong_cam", "min_foreground"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                msg = f"{name} must be in [0, 1]; got {getattr(self, name)}"
                raise InvalidInputError(msg)
        if not 0 <= self.background_saliency <= 256:
            msg = f"background_saliency must be 0 to 256; got {self.background_saliency}"
            raise InvalidInputError(msg)


@dataclass(frozen=True)
class SaliencyLabel:
    """Labels, uint8 `[H, W]`.

    Attributes:
        label_HW: With 255 where the rules leave a pixel out.
        plain_HW: The best score of every pixel.
    """

    label_HW: NDArray[np.uint8]
    plain_HW: NDArray[np.uint8]


def saliency_label(
    cam_KHW: NDArray[np.float32], class_ids: Sequence[int], saliency_HW: NDArray[np.uint8], rules: SaliencyRules
) -> SaliencyLabel:
    """Returns the label of an image.

    Args:
        cam_KHW: In any range; each class is stretched to 0..1 here, as released.
        class_ids: Ids of the K classes, from 1.

    Raises:
        InvalidInputError: Map and CAMs have different sizes.
    """
    if cam_KHW.shape[1:] != saliency_HW.shape:
        msg = f"saliency map is {saliency_HW.shape}, CAMs are {cam_KHW.shape[1:]}; they must have one size"
        raise InvalidInputError(msg)
    cam_KHW = min_max(cam_KHW)
    scores_CHW = np.concatenate([1.0 - saliency_HW[None] / np.float32(255.0), cam_KHW])
    plain_HW = np.array((0, *class_ids), dtype=np.uint8)[scores_CHW.argmax(axis=0)]
    label_HW = plain_HW.copy()
    label_HW[(scores_CHW > rules.conflict).sum(axis=0) > 1] = IGNORE_INDEX
    is_object_HW = (saliency_HW >= rules.background_saliency) | (cam_KHW > rules.strong_cam).any(axis=0)
    label_HW[(label_HW == 0) & is_object_HW] = IGNORE_INDEX
    if np.mean((label_HW != 0) & (label_HW != IGNORE_INDEX)) < rules.min_foreground:
        label_HW[:] = IGNORE_INDEX
    return SaliencyLabel(label_HW, plain_HW)
