"""Trains IRNet's heads on affinity labels (Ahn et al., CVPR 2019; released schedule)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from models.backbones import EncoderConfig
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import AffinityLabel, ClassifierCheckpoint, IRNetCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.training.task import ItemReader, Schedule, TrainTask


class TrainAffinityConfig(StageConfig):
    """Settings; the defaults are IRN's.

    Attributes:
        encoder: The frozen encoder; None takes the trained classifier's. IRN: ImageNet ResNet-50, untouched.
        schedule: Epochs, batch, optimiser.
        edge_lr: Learning rate of the boundary branch.
        displacement_lr: Learning rate of the displacement branch.
        with_displacement: Train the displacement branch too. Semantic labels do not need it, and the two branches
            share no weight; instance labels do.
        radius: Pairs are cells closer than this many cells.
        scale_range: Image and label are resized by a factor drawn from this range.
        crop_px: Side of the random square crop.
    """

    encoder: EncoderConfig | None = Field(default_factory=EncoderConfig)
    schedule: Schedule = Field(default_factory=lambda: Schedule(num_epochs=3, global_batch_size=32))
    edge_lr: float = Field(default=0.1, gt=0)
    displacement_lr: float = Field(default=1.0, gt=0)
    with_displacement: bool = True
    radius: int = Field(default=10, ge=2)
    scale_range: tuple[float, float] = (0.5, 1.5)
    crop_px: int = Field(default=512, ge=64)


class TrainAffinity(TrainStage):
    """Images and `AffinityLabel`s in, `IRNetCheckpoint` out."""

    NAME: ClassVar[str] = "train_affinity"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainAffinityConfig
    READS: ClassVar[Mapping[str, type]] = {"labels": AffinityLabel, "classifier": ClassifierCheckpoint}
    WRITES: ClassVar[type] = IRNetCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_affinity_task import AffinityTask  # needs torch, and planning does without

        return AffinityTask(config, context, items, reader)
