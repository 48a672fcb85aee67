"""What AffinityNet's labels are made of: class scores of two dense CRFs, one generous to the background, one strict.

Source: PSA's released code (Ahn and Kwak, CVPR 2018): `[(1 - max CAM)^alpha, CAMs]` through a dense CRF, for a low and
a high alpha. The scores are stored, not the label: training crops them anywhere and averages them over cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from models.affinity.affinity_labels import IGNORE_INDEX, check_cam
from models.affinity.background_score import check_alphas, two_alpha_scores
from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.crf.presets import PRESETS

_SMALLEST_SCORE = 1e-5


@dataclass(frozen=True)
class AffinityScoreConfig:
    """Exponents and CRF.

    Attributes:
        alpha_low: Exponent of the background score that decides on foreground. PSA: 4.
        alpha_high: Exponent that decides on background. PSA: 32 (24 for the CVPR paper's own model).
        crf: Dense CRF at full resolution. PSA: Gaussian 3/3, bilateral 80/13/10, 10 iterations.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    alpha_low: float = 4.0
    alpha_high: float = 32.0
    crf: DenseCRFConfig = field(default_factory=lambda: PRESETS["psa_affinity_labels"].config)

    def __post_init__(self) -> None:
        check_alphas(self.alpha_low, self.alpha_high)


def affinity_scores(
    cam_KHW: np.ndarray, class_ids: Sequence[int], image_HW3: np.ndarray, config: AffinityScoreConfig, crf: DenseCRF
) -> np.ndarray:
    """Returns the two CRFs' probabilities, `[2, K + 1, H, W]`: alpha_low first; background before the classes.

    Args:
        cam_KHW: Full-resolution CAMs in [0, 1] of the classes `class_ids`.
        crf: Built from `config.crf` (passed in so that one object serves many images).

    Raises:
        InvalidInputError: CAM not finite, or of another size than the image.
    """
    check_cam(cam_KHW, class_ids, image_HW3.shape[:2])
    cam_KHW = np.clip(cam_KHW.astype(np.float32), 0.0, 1.0)
    return two_alpha_scores(cam_KHW, (config.alpha_low, config.alpha_high), image_HW3, crf)


def label_from_scores(scores_2Chw: np.ndarray) -> np.ndarray:
    """Returns the affinity label `[h, w]` uint8: 0 background, k the k-th class of the scores, 255 unsure.

    Foreground is what the low alpha says, but background wherever the high alpha says so; the rest, and cells that lie
    outside of the image (no score at all), are unsure.
    """
    low_hw, high_hw = scores_2Chw.argmax(axis=1)
    label_hw: np.ndarray = low_hw.astype(np.uint8)
    label_hw[low_hw == 0] = IGNORE_INDEX
    label_hw[high_hw == 0] = 0
    label_hw[scores_2Chw.max(axis=(0, 1)) < _SMALLEST_SCORE] = IGNORE_INDEX
    return label_hw
