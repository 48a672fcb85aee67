"""Partial pseudo labels from CAMs and two dense CRFs on the reduced image (WSGCN, Pan et al., ICASSP 2022)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from models.affinity.affinity_labels import IGNORE_INDEX
from models.crf.dense_crf import DenseCRF
from models.images import resize
from models.propagation.partial_labels import PartialLabelConfig, partial_label
from wsss_jobs.records import Cams, PartialLabel
from wsss_jobs.stages.base import (
    Failed,
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
    process_each,
)
from wsss_jobs.stages.cam_sizes import check_finite
from wsss_jobs.stages.crf_presets import crf_by_name_inside


class LabelPartiallyConfig(StageConfig):
    """Settings: thresholds and CRF; see `PartialLabelConfig`."""

    labels: PartialLabelConfig = Field(default_factory=PartialLabelConfig)

    _crf_by_name = field_validator("labels", mode="before")(crf_by_name_inside)


class LabelPartially(ItemStage):
    """`Cams` and images in, `PartialLabel` (stride 4) out."""

    NAME: ClassVar[str] = "label_partially"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = LabelPartiallyConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams}
    WRITES: ClassVar[type] = PartialLabel

    def __init__(self, config: LabelPartiallyConfig, context: StageContext) -> None:
        del context
        self._config = config.labels
        self._crf = DenseCRF(config.labels.crf)

    def process(self, batch: Sequence[ItemInput]) -> list[Ok | Failed]:
        """Returns labels; a CAM that is not finite fails."""
        return process_each(batch, self._one)

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        check_finite(cams, entry.item)
        image_hw3 = resize(entry.image, cams.cam_Khw.shape[1:], "lanczos")
        label_hw = partial_label(cams.cam_Khw, cams.class_ids, image_hw3, self._config, self._crf)
        missing = set(cams.class_ids) - set(np.unique(label_hw).tolist())
        scores = {
            "labelled_fraction": float(np.mean(label_hw != IGNORE_INDEX)),
            "num_classes_unseeded": float(len(missing)),
        }
        return Ok(PartialLabel(label_hw), scores)
