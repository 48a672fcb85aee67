"""Trains ACR's reconstructor against a finished classifier (Kweon et al., CVPR 2023, Table 1, "pre-trained")."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ClassifierCheckpoint, ReconstructorCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.train_acr import AcrConfig
from wsss_jobs.training.task import ItemReader, TrainTask


class TrainReconstructorConfig(AcrConfig):
    """Settings: those that it shares with `train_acr`, with the same defaults."""


class TrainReconstructor(TrainStage):
    """Images, tags and `ClassifierCheckpoint` in, `ReconstructorCheckpoint` out."""

    NAME: ClassVar[str] = "train_reconstructor"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainReconstructorConfig
    READS: ClassVar[Mapping[str, type]] = {"classifier": ClassifierCheckpoint}
    WRITES: ClassVar[type] = ReconstructorCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        # needs torch, and planning does without
        from wsss_jobs.stages.train_reconstructor_task import ReconstructorTask

        return ReconstructorTask(config, context, items, reader)
