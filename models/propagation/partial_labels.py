"""Partial pseudo labels: the few nodes that a CAM and a CRF agree on, from which the GCN learns the rest.

Source: WSGCN (Pan et al., ICASSP 2022), section 3.1, which follows PSA and RRM; all numbers are of the released code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from models.affinity.affinity_labels import IGNORE_INDEX, check_cam
from models.affinity.affinity_scores import label_from_scores
from models.affinity.background_score import background_stack, check_alphas, two_alpha_scores
from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.crf.presets import PRESETS
from models.errors import InvalidInputError

_SEED_FRACTION = 0.005


@dataclass(frozen=True)
class PartialLabelConfig:
    """Thresholds and CRF of the partial labels (defaults: released WSGCN).

    Attributes:
        alpha_low: Exponent of the background score (1 - max CAM)^alpha that decides on foreground; small is strict.
        alpha_high: Exponent that decides on background; large is strict.
        foreground_fraction: Share of a class's own CAM cells, best first, that may stay labelled.
        min_foreground_cam: CAM cells at or below this never count as foreground.
        min_background_score: Smallest (1 - max CAM)^alpha_high of a sure background cell.
        min_crf_probability: Smallest CRF probability of a cell that stays labelled.
        seed_missing_classes: Give a tagged class that ended without a labelled cell its best CAM cells as seeds (the
            released code lets such a class vanish). An image without any labelled cell gets such seeds in any case.
        crf: Dense CRF on the reduced image; lengths are in cells.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    alpha_low: float = 4.0
    alpha_high: float = 32.0
    foreground_fraction: float = 0.3
    min_foreground_cam: float = 0.1
    min_background_score: float = 0.8
    min_crf_probability: float = 0.8
    seed_missing_classes: bool = False
    crf: DenseCRFConfig = field(default_factory=lambda: PRESETS["wsgcn_partial_labels"].config)

    def __post_init__(self) -> None:
        check_alphas(self.alpha_low, self.alpha_high)
        for name in ("foreground_fraction", "min_foreground_cam", "min_background_score", "min_crf_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                msg = f"{name} must be in [0, 1]; got {getattr(self, name)}"
                raise InvalidInputError(msg)


def partial_label(
    cam_Khw: np.ndarray, class_ids: Sequence[int], image_hw3: np.ndarray, config: PartialLabelConfig, crf: DenseCRF
) -> np.ndarray:
    """Returns the partial label `[h, w]` uint8: class ids, 0 for sure background, 255 for all that is unsure.

    Args:
        cam_Khw: CAMs in [0, 1] at the grid's resolution.
        image_hw3: The image reduced to the grid (Lanczos).
        crf: Built from `config.crf`.

    Raises:
        InvalidInputError: CAM not finite, or of another size than the reduced image.
    """
    check_cam(cam_Khw, class_ids, image_hw3.shape[:2])
    cam_Khw = np.clip(cam_Khw.astype(np.float32), 0.0, 1.0)
    prob_2Chw = two_alpha_scores(cam_Khw, (config.alpha_low, config.alpha_high), image_hw3, crf)
    voted_Chw = np.concatenate([prob_2Chw[1, :1], prob_2Chw[0, 1:]])
    label_hw = label_from_scores(prob_2Chw)
    strict_Chw = background_stack(cam_Khw, config.alpha_high)
    sure_hw = _cam_sure(cam_Khw, strict_Chw, np.unique(prob_2Chw[0].argmax(axis=0)), config)
    sure_hw &= voted_Chw.max(axis=0) >= config.min_crf_probability
    sure_hw &= label_hw == voted_Chw.argmax(axis=0)
    ids = np.array([0, *class_ids], dtype=np.uint8)
    partial_hw = np.full(label_hw.shape, IGNORE_INDEX, dtype=np.uint8)
    keep_hw = sure_hw & (label_hw != IGNORE_INDEX)
    partial_hw[keep_hw] = ids[label_hw[keep_hw]]
    if not keep_hw.any():
        add_seeds(partial_hw, cam_Khw, [0, *class_ids], class_ids, config.min_foreground_cam)
    elif config.seed_missing_classes:
        add_seeds(partial_hw, cam_Khw, class_ids, class_ids, config.min_foreground_cam)
    return partial_hw


def add_seeds(
    partial_hw: np.ndarray,
    cam_Khw: np.ndarray,
    wanted_ids: Sequence[int],
    class_ids: Sequence[int],
    min_foreground_cam: float,
) -> None:
    """Labels, in place, the best cells of each wanted class that has none: the top 0.5 %, at least one.

    A foreground class takes ignored cells with the highest CAM, above `min_foreground_cam`; the background those with
    the lowest CAM of all classes.
    """
    num_seeds = max(1, round(_SEED_FRACTION * partial_hw.size))
    for class_id in wanted_ids:
        if (partial_hw == class_id).any():
            continue
        score_hw = -cam_Khw.max(axis=0) if class_id == 0 else cam_Khw[list(class_ids).index(class_id)]
        floor = -np.inf if class_id == 0 else min_foreground_cam
        order = np.argsort(-score_hw, axis=None, kind="stable")
        free = order[(partial_hw.flat[order] == IGNORE_INDEX) & (score_hw.flat[order] > floor)]
        partial_hw.flat[free[:num_seeds]] = class_id


def _cam_sure(
    cam_Khw: np.ndarray, stack_high_Chw: np.ndarray, crf_classes: np.ndarray, config: PartialLabelConfig
) -> np.ndarray:
    """Returns the cells of which the CAM alone is sure, whatever the class (as released: a union over classes)."""
    region_hw = stack_high_Chw.argmax(axis=0)
    sure_hw = np.zeros(region_hw.shape, dtype=bool)
    for local in crf_classes:
        if local == 0:
            sure_hw |= (region_hw == 0) & (stack_high_Chw[0] > config.min_background_score)
        else:
            sure_hw |= _top_of_class(np.where(region_hw == local, cam_Khw[local - 1], 0.0), config)
    return sure_hw


def _top_of_class(cam_hw: np.ndarray, config: PartialLabelConfig) -> np.ndarray:
    """Returns where one class's CAM is strictly above the value that cuts off its best `foreground_fraction`."""
    values = np.sort(cam_hw[cam_hw > config.min_foreground_cam])
    if values.size == 0:  # the released code fails here: no cell of this class is sure
        return np.zeros(cam_hw.shape, dtype=bool)
    cut = values[min(int(values.size * (1.0 - config.foreground_fraction)), values.size - 1)]
    top_hw: np.ndarray = cam_hw > cut
    return top_hw
