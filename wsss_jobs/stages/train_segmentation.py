"""Trains a DeepLab (Chen et al., TPAMI 2018, 2017, ECCV 2018) on the masks of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from models.backbones import EncoderConfig, build_encoder
from models.parameter_groups import BiasRule
from models.segmentation import DeepLab, DeepLabConfig, build_deeplab
from models.segmentation.heads import enlarge
from models.segmentation.losses import IGNORE_INDEX, PixelLossConfig, labels_at, pixel_losses
from models.segmentation.multi_scale import class_probabilities
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.records import Mask, SegmentationCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.segmentation_samples import (
    MASKS_PORT,
    LabelConfidence,
    SegmentationAugmentation,
    SegmentationSamples,
)
from wsss_jobs.training.over_workers import num_workers, share_of_global_mean, sum_over_workers, worker_rank
from wsss_jobs.training.task import ItemReader, Sample, Schedule


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
    def task(
        config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> "SegmentationTask":
        """Returns the training."""
        return SegmentationTask(config, context, items, reader)


class SegmentationTask(ItemTask[TrainSegmentationConfig]):
    """A loss for each labelled pixel; the mean is over all labelled pixels of the global batch."""

    def __init__(
        self, config: TrainSegmentationConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, [item for item in items if item.split not in config.held_splits], reader)
        self._held = [item for item in items if item.split in config.held_splits]
        if not self._items:
            raise StageError(f"train_segmentation: no items are left to train on; held_splits is {config.held_splits}")
        normalisation = build_encoder(config.network.encoder, load_weights=False).normalisation
        self._samples = SegmentationSamples(
            reader, config.augmentation, config.confidence, normalisation, context.num_classes, context.seed
        )

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns `image`, `label` and `weight` of a crop; see `SegmentationSamples`."""
        return self._samples.sample(self._items[index], epoch)

    def build_model(self) -> DeepLab:
        """Returns the network with its initial weights; on CUDA, BatchNorm counts over all workers."""
        model = build_deeplab(self._config.network, self._context.num_classes)
        if self._context.device == "cuda":
            from timm.layers import convert_sync_batchnorm  # torch's own drops the activation of timm's BatchNormAct2d

            model = convert_sync_batchnorm(model)
        return model

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns encoder and head with their learning rates."""
        assert isinstance(model, DeepLab)
        return model.parameter_groups(self._config.encoder_lr, self._config.head_lr, self._config.biases)

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns the loss: the sum over the network's outputs (one, but with `training_scales`)."""
        outputs: list[torch.Tensor] = model(batch["image"])
        return {"loss": torch.stack([self._loss(logits_BChw.float(), batch) for logits_BChw in outputs]).sum()}

    def _loss(self, logits_BChw: torch.Tensor, batch: Sample) -> torch.Tensor:
        if self._config.loss_at == "image":
            corner_aligned = self._config.network.encoder.is_corner_aligned
            logits_BChw = enlarge(logits_BChw, batch["label"].shape[1:], corner_aligned=corner_aligned)
        label_Bhw = labels_at(batch["label"], logits_BChw.shape[2:])
        weight_Bhw = labels_at(batch["weight"], logits_BChw.shape[2:]) * (label_Bhw != IGNORE_INDEX)
        return share_of_global_mean(pixel_losses(logits_BChw, label_Bhw, self._config.loss), weight_Bhw)

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Returns `held_pixel_accuracy`, of the whole image at scale 1; nothing without held splits."""
        assert isinstance(model, DeepLab)
        if not self._held:
            return {}
        counts = torch.zeros(2, dtype=torch.float64, device=device)
        for item in self._held[worker_rank() :: num_workers()]:
            image_HW3, mask = self._samples.read(item)
            prob_CHW = class_probabilities(model, image_HW3, (1.0,), "mean_probability", flip=False)
            counted_HW = mask.label_HW != IGNORE_INDEX
            right_HW = (prob_CHW.argmax(axis=0) == mask.label_HW) & counted_HW
            counts += torch.tensor([right_HW.sum(), counted_HW.sum()], dtype=torch.float64, device=device)
        num_right, num_counted = sum_over_workers(counts).tolist()
        return {"held_pixel_accuracy": num_right / max(num_counted, 1.0)}

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the network."""
        assert isinstance(model, DeepLab)
        networks.save_deeplab(model, path)
