"""Affinity labels from CAMs and two dense CRFs (IRN, Ahn et al., CVPR 2019)."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from models.affinity.affinity_labels import IGNORE_INDEX, AffinityLabelConfig, affinity_label
from models.crf.dense_crf import DenseCRF
from wsss_jobs.records import AffinityLabel, Cams
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
)
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.stages.crf_presets import crf_by_name_inside


class MakeAffinityLabelsConfig(StageConfig):
    """Settings: thresholds and CRF; see `AffinityLabelConfig`."""

    labels: AffinityLabelConfig = Field(default_factory=AffinityLabelConfig)

    _crf_by_name = field_validator("labels", mode="before")(crf_by_name_inside)


class MakeAffinityLabels(ItemStage):
    """`Cams` and images in, `AffinityLabel` out."""

    NAME: ClassVar[str] = "make_affinity_labels"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = MakeAffinityLabelsConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams}
    WRITES: ClassVar[type] = AffinityLabel

    def __init__(self, config: MakeAffinityLabelsConfig, context: StageContext) -> None:
        del context
        self._config = config.labels
        self._crf = DenseCRF(config.labels.crf)

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        cam_KHW = full_resolution(cams, entry.item)
        label_HW = affinity_label(cam_KHW, cams.class_ids, entry.image, self._config, self._crf)
        return Ok(AffinityLabel(label_HW), {"ignored_fraction": float(np.mean(label_HW == IGNORE_INDEX))})
