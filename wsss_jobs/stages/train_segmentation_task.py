"""The training behind `train_segmentation`: what a sample and a loss are, and how it is scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.backbones import build_encoder
from models.segmentation import DeepLab, build_deeplab
from models.segmentation.config import IGNORE_INDEX
from models.segmentation.heads import enlarge
from models.segmentation.losses import labels_at, pixel_losses
from models.segmentation.multi_scale import class_probabilities
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.segmentation_samples import SegmentationSamples
from wsss_jobs.stages.train_segmentation import TrainSegmentationConfig
from wsss_jobs.training.over_workers import num_workers, share_of_global_mean, sum_over_workers, worker_rank
from wsss_jobs.training.task import ItemReader, Sample


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
