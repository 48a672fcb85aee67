"""Trains AffinityNet on affinity scores (PSA, Ahn and Kwak, CVPR 2018; released schedule)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from models.affinity.config import GRID_STRIDE
from models.backbones import EncoderConfig
from models.parameter_groups import BiasRule
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import AffinityNetCheckpoint, AffinityScores, ClassifierCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.training.task import ItemReader, Schedule, TrainTask


class TrainAffinityNetConfig(StageConfig):
    """Settings; the defaults are PSA's.

    Attributes:
        encoder: None takes the trained classifier's, with its weights (PSA).
        dilate: `dilate` of the classifier's encoder in this network; None leaves it. PSA: True for `vgg16_largefov`
            (`fc6` with dilation 4 where the classifier has 1).
        frozen_stages: Gradient stops behind this many encoder stages.
        group_norm: GroupNorm behind the first new convolutions. PSA: for VGG-16 only.
        schedule: Epochs, batch, optimiser.
        encoder_lr: Learning rate of the encoder.
        new_lr: Learning rate of the new convolutions.
        biases: Learning rate and weight decay of biases.
        radius: Pairs are cells closer than this many cells.
        crop_px: Side of the random square crop, a multiple of 8.
        colour_jitter: Strength of brightness, contrast and saturation jitter; hue has a third of it.
    """

    encoder: EncoderConfig | None = None
    dilate: bool | None = None
    frozen_stages: int = Field(default=1, ge=0, le=4)
    group_norm: bool = False
    schedule: Schedule = Field(
        default_factory=lambda: Schedule(num_epochs=8, global_batch_size=8, weight_decay=5e-4, momentum=0.0)
    )
    encoder_lr: float = Field(default=0.1, gt=0)
    new_lr: float = Field(default=1.0, gt=0)
    biases: BiasRule = BiasRule(lr_factor=2.0, decay=False)
    radius: int = Field(default=5, ge=2)
    crop_px: int = Field(default=448, ge=64, multiple_of=GRID_STRIDE)
    colour_jitter: float = Field(default=0.3, ge=0, le=1)


class TrainAffinityNet(TrainStage):
    """Images and `AffinityScores` in, `AffinityNetCheckpoint` out."""

    NAME: ClassVar[str] = "train_affinitynet"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainAffinityNetConfig
    READS: ClassVar[Mapping[str, type]] = {"scores": AffinityScores, "classifier": ClassifierCheckpoint}
    WRITES: ClassVar[type] = AffinityNetCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_affinitynet_task import AffinityNetTask  # needs torch; planning does without

        return AffinityNetTask(config, context, items, reader)
