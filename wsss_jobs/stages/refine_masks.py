"""Class scores to masks: up-sampling, read-out, dense CRF (WSGCN, Pan et al., ICASSP 2022, section 3.2; IRN)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.crf.presets import PRESETS
from models.crf.unaries import unary_from_labels, unary_from_probabilities, unary_from_softmax
from models.images import stride_of
from wsss_jobs.records import ClassScores, Mask
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
)
from wsss_jobs.stages.crf_presets import crf_by_name

if TYPE_CHECKING:
    import torch


class RefineMasksConfig(StageConfig):
    """Settings; the defaults are WSGCN's.

    Attributes:
        crf: Dense CRF at full resolution, by values or by the name of a preset; None for the plain read-out.
        unary: What the CRF starts from. `softmax`: minus log-softmax of the probabilities (released WSGCN: a second
            softmax, at most 1 nat between two labels). `probability`: minus log-probability. `label`: the read-out's
            hard labels with `label_confidence`, which is right for activations (IRN, ISIM).
        label_confidence: Probability given to the hard label.
        interpolate: What of log-probabilities is up-sampled: they themselves (released) or probabilities (paper).
    """

    crf: DenseCRFConfig | None = Field(default_factory=lambda: PRESETS["wsgcn_complete_labels"].config)
    unary: Literal["softmax", "probability", "label"] = "softmax"
    label_confidence: float = Field(default=0.7, gt=0, lt=1)
    interpolate: Literal["log_probability", "probability"] = "log_probability"

    _crf_by_name = field_validator("crf", mode="before")(crf_by_name)


class RefineMasks(ItemStage):
    """`ClassScores` and images in, `Mask` (before and after the CRF) out."""

    NAME: ClassVar[str] = "refine_masks"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = RefineMasksConfig
    READS: ClassVar[Mapping[str, type]] = {"scores": ClassScores}
    WRITES: ClassVar[type] = Mask

    def __init__(self, config: RefineMasksConfig, context: StageContext) -> None:
        del context
        self._config = config
        self._crf = None if config.crf is None else DenseCRF(config.crf)

    def _one(self, entry: ItemInput) -> Ok:
        scores: ClassScores = entry.records["scores"]
        size_hw = entry.image.shape[:2]
        scores_CHW = upsample(scores, (size_hw[0], size_hw[1]), self._config.interpolate)
        ids = np.array(scores.class_ids, dtype=np.uint8)
        local_HW = scores_CHW.argmax(axis=0)
        if self._crf is None:
            return Ok(Mask(ids[local_HW], ids[local_HW], scores.instances))
        prob_CHW = self._crf.refine(entry.image, self._unary(scores_CHW, local_HW))
        confidence = {"mean_confidence": float(prob_CHW.max(axis=0).mean())}
        return Ok(Mask(ids[prob_CHW.argmax(axis=0)], ids[local_HW], scores.instances), confidence)

    def _unary(self, scores_CHW: np.ndarray, local_HW: np.ndarray) -> np.ndarray:
        if self._config.unary == "label":
            return unary_from_labels(local_HW, len(scores_CHW), self._config.label_confidence)
        if self._config.unary == "probability":
            return unary_from_probabilities(scores_CHW)
        return unary_from_softmax(scores_CHW)


def upsample(scores: ClassScores, size_hw: tuple[int, int], interpolate: str) -> np.ndarray:
    """Returns scores at full resolution, `[C, H, W]` float32; log-probabilities come back as probabilities.

    A corner-aligned grid is stretched from corner to corner (released WSGCN); any other is enlarged by its stride and
    cropped (IRN).
    """
    import torch  # needed on workers only

    grid_1Chw = torch.from_numpy(np.array(scores.scores_Chw, dtype=np.float32))[None]
    if scores.domain == "log_probability" and interpolate == "probability":
        grid_1Chw = grid_1Chw.exp()
    if grid_1Chw.shape[2:] != size_hw:
        grid_1Chw = _enlarge(grid_1Chw, size_hw, corner_aligned=scores.corner_aligned)
    if scores.domain == "log_probability" and interpolate == "log_probability":
        grid_1Chw = grid_1Chw.exp()
    return np.ascontiguousarray(grid_1Chw[0].numpy())


def _enlarge(grid_1Chw: torch.Tensor, size_hw: tuple[int, int], *, corner_aligned: bool) -> torch.Tensor:
    from torch.nn import functional as F

    if corner_aligned:
        return F.interpolate(grid_1Chw, size=size_hw, mode="bilinear", align_corners=True)
    stride = stride_of(grid_1Chw.shape[2:], size_hw)
    enlarged = F.interpolate(grid_1Chw, scale_factor=stride, mode="bilinear", align_corners=False)
    return enlarged[..., : size_hw[0], : size_hw[1]]
