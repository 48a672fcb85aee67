"""What one phase of ISIM learns (Bircanoglu and Arica, 2022), and how it goes on from the phase before."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import build_encoder
from models.classifiers.isim import IsimNetwork, build_isim
from models.classifiers.isim_losses import modified_cross_entropy
from models.segmentation.config import IGNORE_INDEX
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ARTIFACT_FILE
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.isim_samples import IsimSamples
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_isim import PREVIOUS_PORT, TrainIsimConfig
from wsss_jobs.training.convergence import ConvergenceRule
from wsss_jobs.training.over_workers import share_of_global_mean
from wsss_jobs.training.task import ItemReader, Sample, TrainingState


class IsimTask(ItemTask[TrainIsimConfig]):
    """Multi-label soft-margin loss over the tags plus modified cross-entropy over the pixels (equation 2)."""

    def __init__(
        self, config: TrainIsimConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        self._has_masks = config.generation > 0
        # Read where it is needed and not kept: network and optimiser memory would lie beside those that learn.
        self._previous = context.artifacts[PREVIOUS_PORT] / ARTIFACT_FILE if self._has_masks else None
        if config.convergence is not None:
            self.schedule = config.schedule.model_copy(update={"num_epochs": self._last_epoch(config.convergence)})
        normalisation = build_encoder(config.network.classifier.encoder, load_weights=False).normalisation
        self._samples = IsimSamples(
            reader, config.augmentation, normalisation, len(context.class_names), context.seed, self._has_masks
        )
        self._end: TrainingState | None = None

    def _last_epoch(self, convergence: ConvergenceRule) -> int:
        before = self.start()
        first_epoch = 0 if before is None else before.epoch
        return min(first_epoch + convergence.max_epochs, self._config.schedule.num_epochs)

    def start(self) -> TrainingState | None:
        """Returns where the phase before ended."""
        return None if self._previous is None else networks.load_isim(self._previous)[1]

    def is_finished(self, losses: Sequence[float]) -> bool:
        """Returns whether the phase has converged, where it is to."""
        return self._config.convergence is not None and self._config.convergence.is_met(losses)

    def end(self, state: TrainingState) -> None:
        """Keeps where the phase ended, for its file."""
        self._end = state

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns `image`, `target` and `label` of a crop; see `IsimSamples`."""
        return self._samples.sample(self._items[index], epoch)

    def build_model(self) -> IsimNetwork:
        """Returns the network with the weights of the phase before, or its initial ones."""
        model = build_isim(self._config.network, len(self._context.class_names), load_weights=self._previous is None)
        if self._previous is not None:
            previous, _ = networks.load_isim(self._previous)  # behind `build_isim`: it draws random numbers too
            model.classifier.load_state_dict(previous.classifier.state_dict())
            if model.decoder is not None and previous.decoder is not None:
                model.decoder.load_state_dict(previous.decoder.state_dict())
        if self._context.device == "cuda":
            from timm.layers import convert_sync_batchnorm  # torch's own drops the activation of timm's BatchNormAct2d

            model = convert_sync_batchnorm(model)
        return model

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns encoder, branch and decoder with their learning rates."""
        assert isinstance(model, IsimNetwork)
        config = self._config
        return model.parameter_groups(config.encoder_lr, config.head_lr, config.decoder_lr, config.biases)

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns both losses and their sum."""
        logits_NBF, pixel_logits_BCHW = model(batch["image"])
        targets = batch["target"].expand_as(logits_NBF).flatten(0, 1)
        classification = F.multilabel_soft_margin_loss(logits_NBF.float().flatten(0, 1), targets)
        if pixel_logits_BCHW is None:
            return {"loss": classification, "classification": classification}
        losses_BHW = modified_cross_entropy(pixel_logits_BCHW.float(), batch["label"])
        counted_BHW = (batch["label"] != IGNORE_INDEX).to(losses_BHW.dtype)
        segmentation = share_of_global_mean(losses_BHW, counted_BHW)
        loss = classification + self._config.segmentation_weight * segmentation
        return {"loss": loss, "classification": classification, "segmentation": segmentation}

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the network and where its training stood."""
        assert isinstance(model, IsimNetwork)
        assert self._end is not None
        networks.save_isim(model, self._end, path)
