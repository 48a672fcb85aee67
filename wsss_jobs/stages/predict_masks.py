"""Masks by a trained segmentation network: scales and mirrors, windows for large images, dense CRF."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.crf.presets import PRESETS
from models.crf.unaries import unary_from_probabilities
from models.segmentation.config import Fusion
from models.segmentation.sliding_window import sliding_windows
from wsss_jobs.config.network_file import NetworkFile
from wsss_jobs.errors import StageError
from wsss_jobs.records import ARTIFACT_FILE, Mask, SegmentationCheckpoint
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageConfig, StageContext, StageResources
from wsss_jobs.stages.crf_presets import crf_by_name


class PredictMasksConfig(StageConfig):
    """Settings; the defaults are DeepLab-v2's.

    Attributes:
        checkpoint: The network's file, when the recipe does not train it.
        scales: Image scales.
        flip: See each scale mirrored too.
        fusion: `mean_probability` of the views, `max_probability` (MCTformer, ACR's segmenter), or `sum_logits` (ISIM).
        crf: Dense CRF by values or by the name of a preset, over all classes; None for the plain read-out.
        window_px: Larger images are seen in windows of this side (at scale 1), each with all scales and its own CRF.
            Memory is bounded by it.
        overlap_px: Least overlap of neighbouring windows.
    """

    checkpoint: NetworkFile | None = None
    scales: tuple[float, ...] = Field(default=(0.5, 0.75, 1.0, 1.25, 1.5), min_length=1)
    flip: bool = True
    fusion: Fusion = "mean_probability"
    crf: DenseCRFConfig | None = Field(default_factory=lambda: PRESETS["deeplab_v2_segmentation"].config)
    window_px: int = Field(default=1024, ge=64)
    overlap_px: int = Field(default=256, ge=0)

    _crf_by_name = field_validator("crf", mode="before")(crf_by_name)

    @field_validator("scales")
    @classmethod
    def _positive(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if min(scales) <= 0:
            raise ValueError(f"must be positive; got {scales}")
        return scales

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        if self.overlap_px >= self.window_px:
            raise ValueError(f"overlap_px {self.overlap_px} must be less than window_px {self.window_px}")
        return self


class PredictMasks(ItemStage):
    """`SegmentationCheckpoint`, or a named file, and images in, `Mask` (before and after the CRF) out."""

    NAME: ClassVar[str] = "predict_masks"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = PredictMasksConfig
    READS: ClassVar[Mapping[str, type]] = {"network": SegmentationCheckpoint}
    WRITES: ClassVar[type] = Mask
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)
    NAMES_WEIGHTS: ClassVar[bool] = True

    @classmethod
    def reads(cls, config: PredictMasksConfig) -> Mapping[str, type]:
        """Returns the network's port, or none where a file is named."""
        return cls.READS if config.checkpoint is None else {}

    def __init__(self, config: PredictMasksConfig, context: StageContext) -> None:
        from wsss_jobs import networks  # needs torch, and planning does without

        self._config = config
        named = config.checkpoint
        path = context.artifacts["network"] / ARTIFACT_FILE if named is None else Path(named.weights)
        self._model = networks.load_deeplab(path)
        self._model.to(context.device)
        if self._model.num_classes != context.num_classes:
            raise StageError(
                f"predict_masks: the network knows {self._model.num_classes} classes with the background, the data set "
                f"{context.num_classes}; give the data set the classes that the network was trained on"
            )
        self._crf = None if config.crf is None else DenseCRF(config.crf, context.device)

    def _one(self, entry: ItemInput) -> Ok:
        size_hw = entry.image.shape[:2]
        label_HW, before_HW = np.zeros(size_hw, np.uint8), np.zeros(size_hw, np.uint8)
        confidence = 0.0
        windows = sliding_windows((size_hw[0], size_hw[1]), self._config.window_px, self._config.overlap_px)
        for rows, columns in windows:
            window_HW3 = np.ascontiguousarray(entry.image[rows.seen, columns.seen])
            prob_CHW = self._probabilities(window_HW3)
            refined_CHW = self._refined(window_HW3, prob_CHW)
            core = (slice(None), rows.core_in_window, columns.core_in_window)
            before_HW[rows.core, columns.core] = prob_CHW[core].argmax(axis=0)
            label_HW[rows.core, columns.core] = refined_CHW[core].argmax(axis=0)
            confidence += float(refined_CHW[core].max(axis=0).sum())
        return Ok(Mask(label_HW, before_HW), {"mean_confidence": confidence / label_HW.size})

    def _probabilities(self, image_HW3: np.ndarray) -> np.ndarray:
        from models.segmentation.multi_scale import class_probabilities

        config = self._config
        return class_probabilities(self._model, image_HW3, config.scales, config.fusion, flip=config.flip)

    def _refined(self, image_HW3: np.ndarray, prob_CHW: np.ndarray) -> np.ndarray:
        return prob_CHW if self._crf is None else self._crf.refine(image_HW3, unary_from_probabilities(prob_CHW))
