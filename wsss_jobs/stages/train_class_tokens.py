"""Trains a class-token transformer (MCTformer-V2, Xu et al., CVPR 2022); ACR + ViT refines its CAMs with one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from models.classifiers.class_token_config import ClassTokenConfig
from models.parameter_groups import BiasRule
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import TransformerCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.training.task import ItemReader, Schedule, TrainTask


class CosineSchedule(Schedule):
    """Schedule; the defaults are those of MCTformer's released code. `poly_power` has no effect.

    Attributes:
        warm_up_epochs: The rate rises in a straight line for so long, then falls along half a cosine to 0.
    """

    num_epochs: int = Field(default=60, ge=1)
    global_batch_size: int = Field(default=64, ge=1)
    optimiser: Literal["sgd", "adamw"] = "adamw"
    weight_decay: float = Field(default=0.05, ge=0)
    warm_up_epochs: float = Field(default=5.0, ge=0)

    def lr_factor(self, step: int, num_steps: int) -> float:
        """Returns what learning rates are multiplied by at step 0, 1, ... of `num_steps`."""
        warm_up = min(round(num_steps * self.warm_up_epochs / self.num_epochs), num_steps - 1)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / (num_steps - warm_up)))


class TrainClassTokensConfig(StageConfig):
    """Settings; the defaults are those of MCTformer's released code.

    Attributes:
        transformer: The network, and what its CAMs are.
        schedule: Epochs, batch, optimiser.
        encoder_lr: Learning rate of the transformer. 6.25e-5: 5e-4 for a batch of 512, here 64.
        head_lr: Learning rate of the patch head.
        biases: Learning rate and weight decay of biases; those of LayerNorm count as biases.
        long_side_px: The longer side is drawn from this range.
        crop_px: Side of the random square crop, a multiple of the patch. 224: released.
        colour_jitter: Strength of brightness, contrast and saturation jitter; hue has a third of it.
    """

    transformer: ClassTokenConfig = Field(default_factory=ClassTokenConfig)
    schedule: CosineSchedule = Field(default_factory=CosineSchedule)
    encoder_lr: float = Field(default=6.25e-5, gt=0)
    head_lr: float = Field(default=6.25e-5, gt=0)
    biases: BiasRule = BiasRule(lr_factor=1.0, decay=False)
    long_side_px: tuple[int, int] = (256, 512)
    crop_px: int = Field(default=224, ge=32)
    colour_jitter: float = Field(default=0.3, ge=0, le=1)


class TrainClassTokens(TrainStage):
    """Images and tags in, `TransformerCheckpoint` out."""

    NAME: ClassVar[str] = "train_class_tokens"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainClassTokensConfig
    READS: ClassVar[Mapping[str, type]] = {}
    WRITES: ClassVar[type] = TransformerCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_class_tokens_task import ClassTokenTask  # needs torch, and planning does without

        return ClassTokenTask(config, context, items, reader)
