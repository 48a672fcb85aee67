"""Trains the group-wise classifier (Zhou et al., IEEE TIP 2022): one sample is a group of images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from models.groupwise import GroupwiseConfig, GroupwiseNet, build_groupwise
from models.groupwise.losses import group_losses
from models.images import resize
from models.parameter_groups import BiasRule
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.records import GroupwiseCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.training.augmentation import colour_jitter, crop, flip
from wsss_jobs.training.group_sampling import GroupSampler, SamplingName
from wsss_jobs.training.over_workers import share_of_global_mean
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample, Schedule


class GroupSchedule(Schedule):
    """Schedule; the defaults are the paper's.

    Attributes:
        num_epochs: In one epoch every image is once the first of a group, and about `group_size` times in one.
        global_batch_size: Groups a step over all workers together, whatever their number. Paper and released code: 1.
        momentum: True momentum, unlike that of the other schedules.
        nesterov: Nesterov's momentum (released code).
        lr_step_epochs: After so many epochs each, learning rates are multiplied with `lr_step_factor`; null: they
            follow the poly curve.
        lr_step_factor: See `lr_step_epochs`.
    """

    num_epochs: int = Field(default=15, ge=1)
    global_batch_size: int = Field(default=1, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    nesterov: bool = True
    lr_step_epochs: int | None = Field(default=5, ge=1)
    lr_step_factor: float = Field(default=0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0 and self.optimiser == "sgd":
            raise ValueError("nesterov needs momentum; give a momentum above 0, or set nesterov to false")
        return self

    def lr_factor(self, step: int, num_steps: int) -> float:
        """Returns the factor of the stairs, or of the poly curve."""
        if self.lr_step_epochs is None:
            return super().lr_factor(step, num_steps)
        epoch = step * self.num_epochs // num_steps
        return float(self.lr_step_factor ** (epoch // self.lr_step_epochs))

    def sgd_options(self) -> dict[str, Any]:
        """Returns what SGD is built with."""
        return super().sgd_options() | {"nesterov": self.nesterov}


class TrainGroupwiseConfig(StageConfig):
    """Settings; the defaults are the paper's, where it gives a value.

    Attributes:
        network: Encoder, graph and weights of the losses.
        sampling: Whose images make a group; see `GroupSampler`.
        schedule: Epochs, batch, optimiser.
        encoder_lr: Learning rate of the encoder.
        new_lr: Learning rate of all that is not the encoder.
        biases: Learning rate and weight decay of biases. Released code: twice the rate, with decay.
        resize_px: Images are resized to squares of this side, whatever their aspect (released code: 256).
        crop_px: Side of the random crop of that. Paper: 224. The released code takes the whole square.
        colour_jitter: Strength of brightness, contrast and saturation jitter; hue has a third of it (released: 0.3).
        splits: Learn from images of these splits alone; empty: all.
    """

    network: GroupwiseConfig = Field(default_factory=GroupwiseConfig)
    sampling: SamplingName = "greedy"
    schedule: GroupSchedule = Field(default_factory=GroupSchedule)
    encoder_lr: float = Field(default=1e-3, gt=0)
    new_lr: float = Field(default=1e-2, gt=0)
    biases: BiasRule = BiasRule(lr_factor=2.0, decay=True)
    resize_px: int = Field(default=256, ge=32)
    crop_px: int = Field(default=224, ge=32)
    colour_jitter: float = Field(default=0.3, ge=0, le=1)
    splits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop_px > self.resize_px:
            raise ValueError(f"crop_px {self.crop_px} must not be larger than resize_px {self.resize_px}")
        return self


class TrainGroupwise(TrainStage):
    """Images and tags in, `GroupwiseCheckpoint` out."""

    NAME: ClassVar[str] = "train_groupwise"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainGroupwiseConfig
    READS: ClassVar[Mapping[str, type]] = {}
    WRITES: ClassVar[type] = GroupwiseCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=4, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> "GroupwiseTask":
        """Returns the training."""
        return GroupwiseTask(config, context, items, reader)


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
