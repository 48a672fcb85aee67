"""Trains the group-wise classifier (Zhou et al., IEEE TIP 2022): one sample is a group of images."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from models.groupwise.config import GroupwiseConfig
from models.parameter_groups import BiasRule
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import GroupwiseCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.training.group_sampling import SamplingName
from wsss_jobs.training.task import ItemReader, Schedule, TrainTask


class GroupSchedule(Schedule):
    """Schedule; the defaults are the paper's.

    Attributes:
        num_epochs: In one epoch every image is once the first of a group, and about `group_size` times in one.
        global_batch_size: Groups a step over all workers together, whatever their number. Paper and released code: 1.
        momentum: True momentum, unlike that of the other schedules.
        nesterov: Nesterov's momentum (released code).
        lr_step_epochs: After so many epochs each, learning rates are multiplied with `lr_step_factor`; null: they
            follow the poly curve.
        lr_step_factor: See `lr_step_epochs`.
    """

    num_epochs: int = Field(default=15, ge=1)
    global_batch_size: int = Field(default=1, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    nesterov: bool = True
    lr_step_epochs: int | None = Field(default=5, ge=1)
    lr_step_factor: float = Field(default=0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0 and self.optimiser == "sgd":
            raise ValueError("nesterov needs momentum; give a momentum above 0, or set nesterov to false")
        return self

    def lr_factor(self, step: int, num_steps: int) -> float:
        """Returns the factor of the stairs, or of the poly curve."""
        if self.lr_step_epochs is None:
            return super().lr_factor(step, num_steps)
        epoch = step * self.num_epochs // num_steps
        return float(self.lr_step_factor ** (epoch // self.lr_step_epochs))

    def sgd_options(self) -> dict[str, Any]:
        """Returns what SGD is built with."""
        return super().sgd_options() | {"nesterov": self.nesterov}


class TrainGroupwiseConfig(StageConfig):
    """Settings; the defaults are the paper's, where it gives a value.

    Attributes:
        network: Encoder, graph and weights of the losses.
        sampling: Whose images make a group; see `GroupSampler`.
        schedule: Epochs, batch, optimiser.
        encoder_lr: Learning rate of the encoder.
        new_lr: Learning rate of all that is not the encoder.
        biases: Learning rate and weight decay of biases. Released code: twice the rate, with decay.
        resize_px: Images are resized to squares of this side, whatever their aspect (released code: 256).
        crop_px: Side of the random crop of that. Paper: 224. The released code takes the whole square.
        colour_jitter: Strength of brightness, contrast and saturation jitter; hue has a third of it (released: 0.3).
        splits: Learn from images of these splits alone; empty: all.
    """

    network: GroupwiseConfig = Field(default_factory=GroupwiseConfig)
    sampling: SamplingName = "greedy"
    schedule: GroupSchedule = Field(default_factory=GroupSchedule)
    encoder_lr: float = Field(default=1e-3, gt=0)
    new_lr: float = Field(default=1e-2, gt=0)
    biases: BiasRule = BiasRule(lr_factor=2.0, decay=True)
    resize_px: int = Field(default=256, ge=32)
    crop_px: int = Field(default=224, ge=32)
    colour_jitter: float = Field(default=0.3, ge=0, le=1)
    splits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop_px > self.resize_px:
            raise ValueError(f"crop_px {self.crop_px} must not be larger than resize_px {self.resize_px}")
        return self


class TrainGroupwise(TrainStage):
    """Images and tags in, `GroupwiseCheckpoint` out."""

    NAME: ClassVar[str] = "train_groupwise"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainGroupwiseConfig
    READS: ClassVar[Mapping[str, type]] = {}
    WRITES: ClassVar[type] = GroupwiseCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=4, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_groupwise_task import GroupwiseTask  # needs torch, and planning does without

        return GroupwiseTask(config, context, items, reader)
