"""Affinity labels: where a CAM, refined by a CRF, is sure of foreground or of background.

Source: IRN's released code: the class map against a high and a low constant background score, each through a dense CRF
on hard labels with confidence 0.7; foreground from the first, background from the second, the rest is ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.crf.presets import PRESETS
from models.crf.unaries import unary_from_labels
from models.errors import InvalidInputError

IGNORE_INDEX = 255


@dataclass(frozen=True)
class AffinityLabelConfig:
    """Thresholds and CRF of the affinity labels.

    Attributes:
        foreground_threshold: Constant background score for the sure foreground, 0 to 1. IRN: 0.30.
        background_threshold: Constant background score for the sure background, 0 to 1. IRN: 0.05.
        label_confidence: Probability given to the hard label in the CRF's unary. IRN: 0.7.
        crf: Dense CRF. IRN: Gaussian 3/3, bilateral 50/5/10, 10 iterations.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    foreground_threshold: float = 0.30
    background_threshold: float = 0.05
    label_confidence: float = 0.7
    crf: DenseCRFConfig = field(default_factory=lambda: PRESETS["irn_affinity_labels"].config)

    def __post_init__(self) -> None:
        if not 0.0 <= self.background_threshold <= self.foreground_threshold <= 1.0:
            msg = (
                "thresholds must satisfy 0 <= background_threshold <= foreground_threshold <= 1; "
                f"got {self.background_threshold} and {self.foreground_threshold}"
            )
            raise InvalidInputError(msg)


def affinity_label(
    cam_KHW: np.ndarray, class_ids: Sequence[int], image_HW3: np.ndarray, config: AffinityLabelConfig, crf: DenseCRF
) -> np.ndarray:
    """Returns the affinity label `[H, W]` uint8: class id where foreground is sure, 0 where background is, else 255.

    Args:
        cam_KHW: Full-resolution CAMs in [0, 1] of the classes `class_ids`.
        crf: Built from `config.crf` (passed in so that one object serves many images).

    Raises:
        InvalidInputError: CAM not finite, or of another size than the image.
    """
    check_cam(cam_KHW, class_ids, image_HW3.shape[:2])
    thresholds = (config.foreground_threshold, config.background_threshold)
    unary_2CHW = np.stack(
        [
            unary_from_labels(_against_constant(cam_KHW, threshold), len(class_ids) + 1, config.label_confidence)
            for threshold in thresholds
        ]
    )
    foreground_HW, background_HW = crf.refine_many(image_HW3, unary_2CHW).argmax(axis=1)
    ids = np.array([0, *class_ids], dtype=np.uint8)
    label_HW: np.ndarray = ids[foreground_HW]
    label_HW[(foreground_HW == 0) & (background_HW != 0)] = IGNORE_INDEX
    return label_HW


def check_cam(cam_Kyx: np.ndarray, class_ids: Sequence[int], size_yx: Sequence[int]) -> None:
    """Raises `InvalidInputError` unless the CAM is finite, of the given size, and has one map a class id."""
    if cam_Kyx.shape != (len(class_ids), *size_yx) or not class_ids:
        msg = f"cam must be [{len(class_ids)}, {size_yx[0]}, {size_yx[1]}] (classes, grid); got {list(cam_Kyx.shape)}"
        raise InvalidInputError(msg)
    num_bad = int(np.count_nonzero(~np.isfinite(cam_Kyx)))
    if num_bad:
        msg = f"cam holds {num_bad} values that are not finite (NaN or infinite)"
        raise InvalidInputError(msg)


def _against_constant(cam_KHW: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the local label `[H, W]`: 0 where no class exceeds `threshold`, else 1 + the index of the largest."""
    background_1HW = np.full((1, *cam_KHW.shape[1:]), threshold, dtype=cam_KHW.dtype)
    local: np.ndarray = np.concatenate([background_1HW, cam_KHW]).argmax(axis=0)
    return local
