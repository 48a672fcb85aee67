"""Trains a DeepLab (Chen et al., TPAMI 2018, 2017, ECCV 2018) on the masks of a run."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from models.backbones import EncoderConfig
from models.parameter_groups import BiasRule
from models.segmentation.config import DeepLabConfig, PixelLossConfig
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import Mask, SegmentationCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.segmentation_samples import (
    MASKS_PORT,
    LabelConfidence,
    SegmentationAugmentation,
)
from wsss_jobs.training.task import ItemReader, Schedule, TrainTask


class SegmentationSchedule(Schedule):
    """Schedule; the defaults are those of DeepLab-v2 on VOC (kazuto1011/deeplab-pytorch).

    Attributes:
        num_steps: Optimiser steps; the last epoch ends early. None: those of `num_epochs`.
        lr_update_steps: The learning rate follows the poly curve every so many steps.
    """

    global_batch_size: int = Field(default=10, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    num_steps: int | None = Field(default=20_000, ge=1)
    lr_update_steps: int = Field(default=10, ge=1)

    def total_steps(self, num_items: int) -> int:
        """Returns how many steps a training takes."""
        return super().total_steps(num_items) if self.num_steps is None else self.num_steps

    def lr_factor(self, step: int, num_steps: int) -> float:
        """Returns the poly factor of the last step at which the rate was updated."""
        return super().lr_factor(step - step % self.lr_update_steps, num_steps)


def _deeplab_v2() -> DeepLabConfig:
    encoder = EncoderConfig("resnet101", "imagenet", output_stride=8, dilate=True)
    return DeepLabConfig(encoder, "v2", rates=(6, 12, 18, 24), train_batch_norm_affine=False)


class TrainSegmentationConfig(StageConfig):
    """Settings; the defaults are those of DeepLab-v2 on VOC (kazuto1011/deeplab-pytorch).

    Attributes:
        network: Encoder, head and initial weights.
        schedule: Steps, batch, optimiser.
        encoder_lr: Learning rate of the encoder.
        head_lr: Learning rate of the head.
        biases: Learning rate and weight decay of biases.
        augmentation: Scale, crop, colour.
        loss: Cross-entropy, or one that distrusts labels.
        loss_at: `head`: labels are reduced to the grid of the head (DeepLab-v2); `image`: logits are enlarged to the
            crop.
        confidence: How much each pixel counts.
        held_splits: Splits that are not trained on; after each epoch, their pixels are compared with their masks. Pixel
            accuracy against pseudo labels, not against the truth: training never sees that.
    """

    network: DeepLabConfig = Field(default_factory=_deeplab_v2)
    schedule: SegmentationSchedule = Field(default_factory=SegmentationSchedule)
    encoder_lr: float = Field(default=2.5e-4, gt=0)
    head_lr: float = Field(default=2.5e-3, gt=0)
    biases: BiasRule = BiasRule(lr_factor=2.0, decay=False)
    augmentation: SegmentationAugmentation = SegmentationAugmentation(scales=(0.5, 0.75, 1.0, 1.25, 1.5))
    loss: PixelLossConfig = Field(default_factory=PixelLossConfig)
    loss_at: Literal["head", "image"] = "head"
    confidence: LabelConfidence = LabelConfidence()
    held_splits: tuple[str, ...] = ()


class TrainSegmentation(TrainStage):
    """Images and `Mask`s in, `SegmentationCheckpoint` out."""

    NAME: ClassVar[str] = "train_segmentation"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainSegmentationConfig
    READS: ClassVar[Mapping[str, type]] = {MASKS_PORT: Mask}
    WRITES: ClassVar[type] = SegmentationCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=4, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_segmentation_task import SegmentationTask  # needs torch; planning does without

        return SegmentationTask(config, context, items, reader)
