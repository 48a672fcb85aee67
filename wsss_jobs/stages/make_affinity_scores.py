"""Scores of AffinityNet's labels, from CAMs and two dense CRFs (PSA, Ahn and Kwak, CVPR 2018)."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from models.affinity.affinity_labels import IGNORE_INDEX
from models.affinity.affinity_scores import AffinityScoreConfig, affinity_scores, label_from_scores
from models.crf.dense_crf import DenseCRF
from wsss_jobs.records import AffinityScores, Cams
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
)
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.stages.crf_presets import crf_by_name_inside


class MakeAffinityScoresConfig(StageConfig):
    """Settings: exponents and CRF; see `AffinityScoreConfig`."""

    scores: AffinityScoreConfig = Field(default_factory=AffinityScoreConfig)

    _crf_by_name = field_validator("scores", mode="before")(crf_by_name_inside)


class MakeAffinityScores(ItemStage):
    """`Cams` and images in, `AffinityScores` out."""

    NAME: ClassVar[str] = "make_affinity_scores"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = MakeAffinityScoresConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams}
    WRITES: ClassVar[type] = AffinityScores

    def __init__(self, config: MakeAffinityScoresConfig, context: StageContext) -> None:
        del context
        self._config = config.scores
        self._crf = DenseCRF(config.scores.crf)

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        cam_KHW = full_resolution(cams, entry.item)
        scores_2CHW = affinity_scores(cam_KHW, cams.class_ids, entry.image, self._config, self._crf)
        ignored = float(np.mean(label_from_scores(scores_2CHW) == IGNORE_INDEX))
        return Ok(AffinityScores(cams.class_ids, scores_2CHW.astype(np.float16)), {"ignored_fraction": ignored})
