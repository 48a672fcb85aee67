"""The training behind `train_affinitynet`: what a sample and a loss are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.affinity.affinity_scores import label_from_scores
from models.affinity.affinitynet import AffinityNet
from models.affinity.affinitynet_losses import affinitynet_losses
from models.affinity.config import GRID_STRIDE, AffinityNetConfig
from models.pooled_grid import cell_means
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import AffinityScores
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_affinitynet import TrainAffinityNetConfig
from wsss_jobs.stages.trained_encoder import encoder_or_classifiers
from wsss_jobs.training.augmentation import colour_jitter, crop, flip
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample


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
