"""The training behind `train_groupwise`: what a sample and a loss are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.groupwise import GroupwiseNet, build_groupwise
from models.groupwise.losses import group_losses
from models.images import resize
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_groupwise import TrainGroupwiseConfig
from wsss_jobs.training.augmentation import colour_jitter, crop, flip
from wsss_jobs.training.group_sampling import GroupSampler
from wsss_jobs.training.over_workers import share_of_global_mean
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample


class GroupwiseTask(ItemTask[TrainGroupwiseConfig]):
    """The multi-granularity loss; each term is the mean over all that is there of the global batch."""

    def __init__(
        self, config: TrainGroupwiseConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        kept = [item for item in items if not config.splits or item.split in config.splits]
        if not kept:
            raise StageError(f"train_groupwise: no images of splits {list(config.splits)}; see dataset.splits")
        super().__init__(config, context, kept, reader)
        self._normalisation = self._build(load_weights=False).encoder.normalisation
        ids, labels = [item.item_id for item in kept], [item.labels for item in kept]
        self._sampler = GroupSampler(ids, labels, config.network.group_size, config.sampling, context.seed)

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns the group of image `index`: `image` `[K, 3, crop, crop]`, `target` `[K, C - 1]`, `present` `[K]`."""
        size, side = self._config.network.group_size, self._config.crop_px
        images = torch.zeros(size, 3, side, side)
        targets = torch.zeros(size, len(self._context.class_names))
        present = torch.zeros(size, dtype=torch.bool)
        anchor_id = self._items[index].item_id
        for place, member in enumerate(self._sampler.group(index, epoch)):
            item = self._items[member]
            rng = item_generator(self._context.seed, item.item_id, epoch, f"groupwise/{anchor_id}")
            images[place] = self._augmented(self._reader.image(item), rng)
            targets[place, [label - 1 for label in item.labels]] = 1.0
            present[place] = True
        return {"image": images, "target": targets, "present": present}

    def build_model(self) -> GroupwiseNet:
        """Returns the network with its pretrained encoder."""
        return self._build(load_weights=True)

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns encoder and new layers with their learning rates."""
        assert isinstance(model, GroupwiseNet)
        return model.parameter_groups(self._config.encoder_lr, self._config.new_lr, self._config.biases)

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns `loss` (Eq. 13) and its terms."""
        parts = group_losses(model(batch["image"], batch["present"]), batch["target"], batch["present"])
        means = {name: share_of_global_mean(part.losses, part.weights) for name, part in parts.items()}
        weights = self._config.network.loss
        return {"loss": torch.stack([getattr(weights, name) * mean for name, mean in means.items()]).sum(), **means}

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the network."""
        assert isinstance(model, GroupwiseNet)
        networks.save_groupwise(model, path)

    def _augmented(self, image_HW3: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        config = self._config
        square_HW3 = resize(image_HW3, (config.resize_px, config.resize_px))
        [cropped_HW3] = crop([(square_HW3, 0.0)], config.crop_px, rng)
        flipped_HW3 = np.ascontiguousarray(flip(cropped_HW3, rng))
        return self._normalisation(colour_jitter(flipped_HW3, config.colour_jitter, rng))

    def _build(self, *, load_weights: bool) -> GroupwiseNet:
        return build_groupwise(self._config.network, len(self._context.class_names), load_weights=load_weights)
