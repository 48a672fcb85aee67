"""CAMs as class scores against a background: the baseline that every method has to beat."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from models.affinity.background_score import background_stack
from wsss_jobs.records import Cams, ClassScores
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
)
from wsss_jobs.stages.cam_sizes import full_resolution


class ReadCamsConfig(StageConfig):
    """Settings.

    Attributes:
        background_threshold: Constant score of the background. IRN's quick look: 0.15.
        background_alpha: Instead of that, the background's score is (1 - highest CAM) to this power, as PSA and ACR
            give it to their dense CRF (ACR's released inference: 6 and 24, with `unary: probability` and `crf:
            acr_cam`).
    """

    background_threshold: float = Field(default=0.15, ge=0, le=1)
    background_alpha: float | None = Field(default=None, gt=0)


class ReadCams(ItemStage):
    """`Cams` in, `ClassScores` at full resolution out."""

    NAME: ClassVar[str] = "read_cams"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = ReadCamsConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams}
    WRITES: ClassVar[type] = ClassScores
    NEEDS_IMAGE: ClassVar[bool] = False

    def __init__(self, config: ReadCamsConfig, context: StageContext) -> None:
        del context
        self._threshold = config.background_threshold
        self._alpha = config.background_alpha

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        cam_KHW = full_resolution(cams, entry.item)
        scores_CHW = self._with_constant(cam_KHW) if self._alpha is None else background_stack(cam_KHW, self._alpha)
        return Ok(ClassScores((0, *cams.class_ids), scores_CHW, "activation", corner_aligned=False))

    def _with_constant(self, cam_KHW: np.ndarray) -> np.ndarray:
        background_1HW = np.full((1, *cam_KHW.shape[1:]), self._threshold, dtype=np.float32)
        return np.concatenate([background_1HW, cam_KHW])
