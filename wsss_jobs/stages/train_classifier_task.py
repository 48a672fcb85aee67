"""The training behind `train_classifier`: what a sample and a loss are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from models.classifiers.cam import CamClassifier, build_cam_classifier
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_classifier import TrainClassifierConfig
from wsss_jobs.training.augmentation import colour_jitter, crop, flip, resize_long_side
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample


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
