"""The training behind `train_class_tokens`: what a sample and a loss are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.adversarial.losses import classification_loss
from models.classifiers.class_token_transformer import ClassTokenTransformer, build_class_token_transformer
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_class_tokens import TrainClassTokensConfig
from wsss_jobs.training.augmentation import colour_jitter, crop, flip, resize_long_side
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample


class ClassTokenTask(ItemTask[TrainClassTokensConfig]):
    """A loss on the class tokens and one on the patch head; the mean of both."""

    def __init__(
        self, config: TrainClassTokensConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        self._normalisation = build_class_token_transformer(
            config.transformer, len(context.class_names), load_weights=False
        ).normalisation

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns `image` `[3, crop, crop]` and `target` `[C - 1]`."""
        item = self._items[index]
        rng = item_generator(self._context.seed, item.item_id, epoch, "class_tokens")
        image_HW3 = resize_long_side(self._reader.image(item), *self._config.long_side_px, rng=rng)
        image_HW3 = colour_jitter(np.ascontiguousarray(flip(image_HW3, rng)), self._config.colour_jitter, rng)
        normalised_HW3 = self._normalisation(image_HW3).permute(1, 2, 0).numpy()
        [crop_HW3] = crop([(normalised_HW3, 0.0)], self._config.crop_px, rng)
        target = torch.zeros(len(self._context.class_names))
        target[[label - 1 for label in item.labels]] = 1.0
        return {"image": torch.from_numpy(crop_HW3).permute(2, 0, 1).contiguous(), "target": target}

    def build_model(self) -> ClassTokenTransformer:
        """Returns the network on its pretrained weights."""
        return build_class_token_transformer(self._config.transformer, len(self._context.class_names))

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns transformer and patch head with their learning rates."""
        assert isinstance(model, ClassTokenTransformer)
        return model.parameter_groups(self._config.encoder_lr, self._config.head_lr, self._config.biases)

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns the mean of BCE-with-logits over both kinds of logits, images and classes."""
        return {"loss": classification_loss(model(batch["image"]), batch["target"])}

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the network."""
        assert isinstance(model, ClassTokenTransformer)
        networks.save_classifier(model, path)
