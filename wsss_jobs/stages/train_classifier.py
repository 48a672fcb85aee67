"""Trains the multi-label classifier whose CAMs are the seeds (IRN, Ahn et al., CVPR 2019; PSA, Ahn and Kwak, 2018)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from models.classifiers.cam import CamClassifier, CamClassifierConfig, build_cam_classifier
from models.parameter_groups import BiasRule
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ClassifierCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.training.augmentation import colour_jitter, crop, flip, resize_long_side
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample, Schedule


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
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> "ClassifierTask":
        """Returns the training."""
        return ClassifierTask(config, context, items, reader)


class ClassifierTask(ItemTask[TrainClassifierConfig]):
    """Multi-label soft-margin loss over the tags."""

    def __init__(
        self, config: TrainClassifierConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        self._normalisation = build_cam_classifier(
            config.classifier, len(context.class_names), load_weights=False
        ).encoder.normalisation

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns `image` `[3, crop, crop]` and `target` `[C - 1]`."""
        item = self._items[index]
        rng = item_generator(self._context.seed, item.item_id, epoch, "classifier")
        image_HW3 = resize_long_side(self._reader.image(item), *self._config.long_side_px, rng=rng)
        image_HW3 = colour_jitter(np.ascontiguousarray(flip(image_HW3, rng)), self._config.colour_jitter, rng)
        image_3HW = self._normalisation(image_HW3)
        [crop_HW3] = crop([(image_3HW.permute(1, 2, 0).numpy(), 0.0)], self._config.crop_px, rng)
        target = torch.zeros(len(self._context.class_names))
        target[[label - 1 for label in item.labels]] = 1.0
        return {"image": torch.from_numpy(crop_HW3).permute(2, 0, 1).contiguous(), "target": target}

    def build_model(self) -> CamClassifier:
        """Returns the classifier with its pretrained encoder."""
        return build_cam_classifier(self._config.classifier, len(self._context.class_names))

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns encoder and head with their learning rates."""
        assert isinstance(model, CamClassifier)
        return model.parameter_groups(self._config.encoder_lr, self._config.head_lr, self._config.biases)

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns the mean of BCE-with-logits over classes, images and heads."""
        logits_NBF = model(batch["image"])
        targets = batch["target"].expand_as(logits_NBF).flatten(0, 1)
        return {"loss": F.multilabel_soft_margin_loss(logits_NBF.float().flatten(0, 1), targets)}

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the classifier."""
        assert isinstance(model, CamClassifier)
        networks.save_classifier(model, path)
