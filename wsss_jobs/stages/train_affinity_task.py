"""The training behind `train_affinity`: what a sample and a loss are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.affinity.affinity_labels import IGNORE_INDEX
from models.affinity.irnet import IRNet, IRNetOutput
from models.affinity.pair_losses import irnet_losses
from models.images import resize, scaled_size
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_affinity import TrainAffinityConfig
from wsss_jobs.stages.trained_encoder import encoder_or_classifiers
from wsss_jobs.training.augmentation import crop, flip, resize_label
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample

_GRID_STRIDE = 4


class AffinityTask(ItemTask[TrainAffinityConfig]):
    """Pairwise affinity and displacement losses at stride 4."""

    def __init__(
        self, config: TrainAffinityConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        self._encoder_config, self._encoder = encoder_or_classifiers(config.encoder, context)

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns `image` `[3, crop, crop]` and `label` `[crop / 4, crop / 4]`."""
        item = self._items[index]
        rng = item_generator(self._context.seed, item.item_id, epoch, "affinity")
        image_HW3, label_HW = self._reader.image(item), self._reader.record("labels", item).label_HW
        size_hw = scaled_size(image_HW3.shape[:2], float(rng.uniform(*self._config.scale_range)))
        label_HW = resize_label(label_HW, size_hw)
        both_HW4 = np.concatenate([resize(image_HW3, size_hw), label_HW[..., None]], axis=2)
        both_HW4 = np.ascontiguousarray(flip(both_HW4, rng))
        return self._cropped(both_HW4[..., :3], both_HW4[..., 3], rng)

    def _cropped(self, image_HW3: np.ndarray, label_HW: np.ndarray, rng: np.random.Generator | None) -> Sample:
        """Crops at random, or at the top left without a generator, and reduces the label to the grid."""
        normalised_HW3 = self._encoder.normalisation(image_HW3).permute(1, 2, 0).numpy()
        pair = [(normalised_HW3, 0.0), (label_HW, float(IGNORE_INDEX))]
        image, label = crop(pair, self._config.crop_px, rng)
        label_hw = label[::_GRID_STRIDE, ::_GRID_STRIDE]  # a stride-4 cell lies on every fourth pixel
        return {
            "image": torch.from_numpy(image).permute(2, 0, 1).contiguous(),
            "label": torch.from_numpy(label_hw.astype(np.int64)),
        }

    def build_model(self) -> IRNet:
        """Returns IRNet on its frozen encoder."""
        return IRNet(self._encoder, with_displacement=self._config.with_displacement)

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns the two heads with their learning rates."""
        assert isinstance(model, IRNet)
        groups: list[Mapping[str, Any]] = [{"params": model.edge.parameters(), "lr": self._config.edge_lr}]
        if model.displacement is not None:
            groups.append({"params": model.displacement.parameters(), "lr": self._config.displacement_lr})
        return groups

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns IRNet's losses; `loss` is their released sum."""
        output: IRNetOutput = model(batch["image"])
        boundary_Bhw = torch.sigmoid(output.edge_logits_B1hw[:, 0].float())
        displacement = None if output.displacement_B2hw is None else output.displacement_B2hw.float()
        losses = irnet_losses(boundary_Bhw, displacement, batch["label"], self._config.radius)
        return {
            "loss": losses.total,
            "positive": losses.positive,
            "negative": losses.negative,
            "displacement": losses.displacement_foreground + losses.displacement_background,
        }

    @torch.no_grad()
    def finish(self, model: nn.Module, device: torch.device) -> None:
        """Stores the mean displacement over the training images' top-left crops (IRN subtracts it in evaluation)."""
        assert isinstance(model, IRNet)
        if model.displacement is None:
            return
        total = torch.zeros(2, device=device)
        for item in self._items:
            image_HW3 = self._reader.image(item)
            sample = self._cropped(image_HW3, np.zeros(image_HW3.shape[:2], dtype=np.uint8), None)
            total += model(sample["image"][None].to(device)).displacement_B2hw.mean(dim=(0, 2, 3))
        model.displacement.mean_shift.add_(total / len(self._items))

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes encoder and heads."""
        assert isinstance(model, IRNet)
        networks.save_irnet(model, self._encoder_config, path)
