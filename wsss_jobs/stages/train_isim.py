"""One phase of ISIM's training: tags alone, or tags and the pseudo labels of one generation.

Source: Bircanoglu and Arica (2022), Algorithm 1. The phases are one training to the optimiser: weights, its state,
epochs and learning rates go on from one to the next. What makes the pseudo labels between them are ordinary stages;
docs/isim.md says how the chain is put together.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from models.classifiers.isim_config import IsimConfig
from models.parameter_groups import BiasRule
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError
from wsss_jobs.records import IsimCheckpoint, Mask
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.isim_samples import MASKS_PORT, IsimAugmentation
from wsss_jobs.training.convergence import ConvergenceRule
from wsss_jobs.training.schedule import poly_factor
from wsss_jobs.training.task import ItemReader, Schedule, TrainTask

PREVIOUS_PORT = "previous"


class IsimSchedule(Schedule):
    """Schedule; the defaults are those of the released code.

    Attributes:
        num_epochs: The phase ends behind this epoch, counted from the start of the first phase; with a rule of
            convergence, at the latest.
        poly_epochs: The learning rate follows the poly curve over so many epochs, counted likewise, and then keeps its
            last value: (1 / steps of these epochs) ** poly_power, about a thousandth. The paper says nothing of that;
            for a curve over the whole training, give its number of epochs.
    """

    num_epochs: int = Field(default=5, ge=1)
    global_batch_size: int = Field(default=32, ge=1)
    poly_epochs: int = Field(default=5, ge=1)

    def lr_factor(self, step: int, num_steps: int) -> float:
        """Returns the poly factor of the step, or of the last step of the curve behind it."""
        curve_steps = num_steps // self.num_epochs * self.poly_epochs
        return poly_factor(min(step, curve_steps - 1), curve_steps, self.poly_power)


class TrainIsimConfig(StageConfig):
    """Settings; the defaults are those of the released code.

    Attributes:
        network: Encoder, classification branch, decoder.
        generation: Of the pseudo labels. 0 has none: it starts from the encoder's pretrained weights and learns tags
            alone, with `network.decoder: none`, so that all decoders have it in common. Others go on from the phase
            before; the decoder starts in generation 1.
        schedule: Epochs, batch, optimiser.
        convergence: Ends the phase when its loss stops falling, if that is before `schedule.num_epochs`.
        encoder_lr: Learning rate of the encoder.
        head_lr: Learning rate of the classification branch.
        decoder_lr: Learning rate of the decoder. The paper: 0.01.
        biases: Learning rate and weight decay of biases.
        segmentation_weight: Of the segmentation loss beside that of the tags; the paper has none, the code 1.
        augmentation: Scale and crop.
    """

    network: IsimConfig = Field(default_factory=IsimConfig)
    generation: int = Field(default=1, ge=0)
    schedule: IsimSchedule = Field(default_factory=IsimSchedule)
    convergence: ConvergenceRule | None = None
    encoder_lr: float = Field(default=0.1, gt=0)
    head_lr: float = Field(default=1.0, gt=0)
    decoder_lr: float = Field(default=0.1, gt=0)
    biases: BiasRule = Field(default_factory=BiasRule)
    segmentation_weight: float = Field(default=1.0, ge=0)
    augmentation: IsimAugmentation = IsimAugmentation()

    @model_validator(mode="after")
    def _decoder_from_generation_1_on(self) -> Self:
        if (self.generation == 0) != (self.network.decoder == "none"):
            raise ValueError(
                "generation 0 has no pseudo labels and no decoder (network.decoder: none), every other one has both; "
                f"got generation {self.generation} with decoder {self.network.decoder}"
            )
        return self


class TrainIsim(TrainStage):
    """Images and tags in, from generation 1 on also the phase before and `Mask`s; `IsimCheckpoint` out."""

    NAME: ClassVar[str] = "train_isim"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainIsimConfig
    READS: ClassVar[Mapping[str, type]] = {PREVIOUS_PORT: IsimCheckpoint, MASKS_PORT: Mask}
    WRITES: ClassVar[type] = IsimCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @classmethod
    def reads(cls, config: TrainIsimConfig) -> Mapping[str, type]:
        """Returns nothing for the first phase."""
        return cls.READS if config.generation else {}

    @staticmethod
    def check_inputs(name: str, config: TrainIsimConfig, feeders: Mapping[str, StageConfig]) -> None:
        """Rejects a phase with another network, without an epoch, or not behind the phase that it names."""
        before = feeders.get(PREVIOUS_PORT)
        if not isinstance(before, TrainIsimConfig):
            return
        if before.generation != config.generation - 1:
            wanted, found = config.generation - 1, before.generation
            raise ConfigError(f"stages.{name}: goes on from generation {wanted}; its input is of generation {found}")
        if before.schedule.num_epochs >= config.schedule.num_epochs:
            raise ConfigError(
                f"stages.{name}.schedule.num_epochs: {config.schedule.num_epochs} is counted from the start of the "
                f"first phase, and the phase before may last until {before.schedule.num_epochs}: no epoch would be left"
            )
        if before.network.classifier != config.network.classifier or not (
            before.generation == 0 or before.network == config.network
        ):
            raise ConfigError(
                f"stages.{name}.network: must be that of the phase before, but for the decoder of generation 0"
            )

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_isim_task import IsimTask  # needs torch, and planning does without

        return IsimTask(config, context, items, reader)
