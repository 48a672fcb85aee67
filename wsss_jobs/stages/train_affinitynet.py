"""Trains AffinityNet on affinity scores (PSA, Ahn and Kwak, CVPR 2018; released schedule)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from models.affinity.affinity_scores import label_from_scores
from models.affinity.affinitynet import GRID_STRIDE, AffinityNet, AffinityNetConfig
from models.affinity.affinitynet_losses import affinitynet_losses
from models.backbones import EncoderConfig
from models.parameter_groups import BiasRule
from models.pooled_grid import cell_means
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import AffinityNetCheckpoint, AffinityScores, ClassifierCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.trained_encoder import encoder_or_classifiers
from wsss_jobs.training.augmentation import colour_jitter, crop, flip
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample, Schedule


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
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> "AffinityNetTask":
        """Returns the training."""
        return AffinityNetTask(config, context, items, reader)


class AffinityNetTask(ItemTask[TrainAffinityNetConfig]):
    """The three-part loss over pairs of cells at stride 8."""

    def __init__(
        self, config: TrainAffinityNetConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        self._encoder_config, self._encoder = encoder_or_classifiers(config.encoder, context, dilate=config.dilate)

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns `image` `[3, crop, crop]` and `label` `[crop / 8, crop / 8]`.

        The image is cropped before it is normalised, so what lies outside of it is black, not the mean (released).
        """
        item = self._items[index]
        rng = item_generator(self._context.seed, item.item_id, epoch, "affinitynet")
        image_HW3 = colour_jitter(self._reader.image(item), self._config.colour_jitter, rng)
        record: AffinityScores = self._reader.record("scores", item)
        scores_HWC = np.moveaxis(record.scores_2CHW.astype(np.float32).reshape(-1, *image_HW3.shape[:2]), 0, -1)
        image_HW3, scores_HWC = crop([(image_HW3, 0), (scores_HWC, 0.0)], self._config.crop_px, rng)
        normalised_HW3 = self._encoder.normalisation(image_HW3).permute(1, 2, 0).numpy()
        both_HWC = np.ascontiguousarray(flip(np.concatenate([normalised_HW3, scores_HWC], axis=2), rng))
        channels_CHW = np.moveaxis(both_HWC, -1, 0)
        scores_2Chw = cell_means(channels_CHW[3:], GRID_STRIDE)
        label_hw = label_from_scores(scores_2Chw.reshape(2, -1, *scores_2Chw.shape[1:]))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(channels_CHW[:3])),
            "label": torch.from_numpy(label_hw.astype(np.int64)),
        }

    def build_model(self) -> AffinityNet:
        """Returns AffinityNet on the classifier's encoder."""
        config = AffinityNetConfig(self._encoder_config, self._config.frozen_stages, self._config.group_norm)
        return AffinityNet(self._encoder, config)

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns encoder and new layers with their learning rates."""
        assert isinstance(model, AffinityNet)
        return model.parameter_groups(self._config.encoder_lr, self._config.new_lr, self._config.biases)

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns AffinityNet's losses; `loss` is their released sum."""
        features_BDhw = model(batch["image"])
        losses = affinitynet_losses(features_BDhw.float(), batch["label"], self._config.radius)
        return {
            "loss": losses.total,
            "background": losses.background,
            "foreground": losses.foreground,
            "negative": losses.negative,
        }

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the network."""
        assert isinstance(model, AffinityNet)
        networks.save_affinitynet(model, path)
