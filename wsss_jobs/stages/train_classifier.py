"""Trains the multi-label classifier whose CAMs are the seeds (IRN, Ahn et al., CVPR 2019; PSA, Ahn and Kwak, 2018)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from models.classifiers.config import CamClassifierConfig
from models.parameter_groups import BiasRule
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ClassifierCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.training.task import ItemReader, Schedule, TrainTask


class TrainClassifierConfig(StageConfig):
    """Settings; the defaults are IRN's.

    Attributes:
        classifier: Encoder and head.
        schedule: Epochs, batch, optimiser.
        encoder_lr: Learning rate of the unfrozen encoder stages.
        head_lr: Learning rate of the head.
        biases: Learning rate and weight decay of biases.
        long_side_px: The longer side is drawn from this range.
        crop_px: Side of the random square crop.
        colour_jitter: Strength of brightness, contrast and saturation jitter; hue has a third of it. PSA: 0.3 (and
            hue 0.1), IRN: 0.
    """

    classifier: CamClassifierConfig = Field(default_factory=CamClassifierConfig)
    schedule: Schedule = Field(default_factory=Schedule)
    encoder_lr: float = Field(default=0.1, gt=0)
    head_lr: float = Field(default=1.0, gt=0)
    biases: BiasRule = Field(default_factory=BiasRule)
    long_side_px: tuple[int, int] = (320, 640)
    crop_px: int = Field(default=512, ge=32)
    colour_jitter: float = Field(default=0.0, ge=0, le=1)


class TrainClassifier(TrainStage):
    """Images and tags in, `ClassifierCheckpoint` out."""

    NAME: ClassVar[str] = "train_classifier"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainClassifierConfig
    READS: ClassVar[Mapping[str, type]] = {}
    WRITES: ClassVar[type] = ClassifierCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_classifier_task import ClassifierTask  # needs torch, and planning does without

        return ClassifierTask(config, context, items, reader)
