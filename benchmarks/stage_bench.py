"""Single stages of a finished run, with other settings, image by image in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.scores import scores
from wsss_jobs.records import Cams, Record
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageContext
from wsss_jobs.stages.refine_masks import upsample
from wsss_jobs.worker import CHECKPOINT_KEY

AFFINITY_STAGES = ("train_affinity", "train_affinitynet")


class StageBench:
    """The finished run, and stages with other settings on top of it.

    Args:
        job: Its classifier, CAMs and affinity network are there.
    """

    def __init__(self, job: PreparedJob) -> None:
        self.job = job
        self.dataset: Dataset = job.dataset
        [trained] = [stage for stage in job.plan.stages if stage.spec.NAME in AFFINITY_STAGES]
        affinity = stage_folder(trained, job.store).outputs
        artifacts = {"affinity": affinity.local_copy(CHECKPOINT_KEY).parent}
        self.context = StageContext(self.dataset.class_names, job.recipe.seed, "cpu", 1, artifacts)
        self._cams = stage_folder(job.plan.stage("infer_cams"), job.store)

    def stage(self, name: str, changes: Mapping[str, Any]) -> ItemStage:
        """Returns a stage of the recipe with changes of its settings."""
        planned = self.job.plan.stage(name)
        settings = merged(planned.config.model_dump(), changes)
        spec = planned.spec
        stage: ItemStage = spec(spec.Config.model_validate(settings), self.context)  # type: ignore[assignment, call-arg]
        return stage

    def cams(self, item: DatasetItem) -> Cams:
        """Returns the stored CAMs."""
        cams = self._cams.read(item)
        assert isinstance(cams, Cams)
        return cams


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested settings with changes."""
    result = dict(settings)
    for key, value in changes.items():
        result[key] = merged(result[key], value) if isinstance(value, Mapping) else value
    return result


def done(stage: ItemStage, item: DatasetItem, image_HW3: np.ndarray, **records: Record) -> Any:
    """Returns what a stage makes of one image."""
    [result] = stage.process([ItemInput(item, image_HW3, records)])
    assert isinstance(result, Ok), result
    return result.record


def walked(walk: ItemStage, item: DatasetItem, image_HW3: np.ndarray, cams: Cams) -> np.ndarray:
    """Returns a random walk's scores at the image's size, without the background's, `[K, H, W]`."""
    scores_Khw = done(walk, item, image_HW3, cams=cams)
    return upsample(scores_Khw, image_HW3.shape[:2], "log_probability")[1:]


def miou(confusion_CC: np.ndarray) -> float:
    """Returns mIoU in percent."""
    return round(100 * scores(confusion_CC, [""] * (len(confusion_CC) - 1)).miou, 2)
