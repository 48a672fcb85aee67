"""Partial pseudo labels from CAMs and two dense CRFs on the reduced image (WSGCN, Pan et al., ICASSP 2022)."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from models.affinity.affinity_labels import IGNORE_INDEX
from models.classifiers.config import CAM_STRIDE
from models.crf.dense_crf import DenseCRF
from models.images import resize
from models.pooled_grid import cell_means, reduced_image
from models.propagation.partial_labels import PartialLabelConfig, partial_label
from wsss_jobs.records import Cams, PartialLabel
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
)
from wsss_jobs.stages.cam_sizes import check_finite, full_resolution
from wsss_jobs.stages.crf_presets import crf_by_name_inside


class LabelPartiallyConfig(StageConfig):
    """Settings.

    Attributes:
        labels: Thresholds and CRF; the CRF's lengths are in cells.
        stride: Of the grid. 4: WSGCN-I, the stride-4 CAMs as they are. 8: WSGCN-P, the full-resolution CAMs averaged
            over 8 x 8 pixels and divided by their maximum again.
    """

    labels: PartialLabelConfig = Field(default_factory=PartialLabelConfig)
    stride: Literal[4, 8] = 4

    _crf_by_name = field_validator("labels", mode="before")(crf_by_name_inside)


class LabelPartially(ItemStage):
    """`Cams` and images in, `PartialLabel` out."""

    NAME: ClassVar[str] = "label_partially"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = LabelPartiallyConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams}
    WRITES: ClassVar[type] = PartialLabel

    def __init__(self, config: LabelPartiallyConfig, context: StageContext) -> None:
        del context
        self._config = config.labels
        self._stride = config.stride
        self._crf = DenseCRF(config.labels.crf)

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        check_finite(cams, entry.item)
        cam_Khw, image_hw3 = self._on_grid(cams, entry)
        label_hw = partial_label(cam_Khw, cams.class_ids, image_hw3, self._config, self._crf)
        missing = set(cams.class_ids) - set(np.unique(label_hw).tolist())
        scores = {
            "labelled_fraction": float(np.mean(label_hw != IGNORE_INDEX)),
            "num_classes_unseeded": float(len(missing)),
        }
        return Ok(PartialLabel(label_hw), scores)

    def _on_grid(self, cams: Cams, entry: ItemInput) -> tuple[np.ndarray, np.ndarray]:
        """Returns CAMs and image at the grid's resolution."""
        if self._stride == CAM_STRIDE:
            return cams.cam_Khw, resize(entry.image, cams.cam_Khw.shape[1:], "lanczos")
        import torch  # needed on workers only, like the networks

        from models.classifiers.normalised_cam import divided_by_maximum

        cam_Khw = cell_means(full_resolution(cams, entry.item), self._stride)
        return divided_by_maximum(torch.from_numpy(cam_Khw)).numpy(), reduced_image(entry.image, self._stride)
