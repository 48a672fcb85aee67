"""Trains a classifier against a reconstructor (ACR: Kweon, Yoon, Yoon, CVPR 2023); also its baseline and ablations."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from models.adversarial.config import AcrClassifierConfig, ReconstructorConfig
from models.adversarial.loss_forms import AdversarialLossConfig
from models.adversarial.remnant_feeding import RemnantFeeding
from models.parameter_groups import BiasRule
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ClassifierCheckpoint, ReconstructorCheckpoint
from wsss_jobs.stages.acr_augmentation import AcrAugmentation
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.training.task import ItemReader, TrainTask
from wsss_jobs.training.within_epoch import ResumableSchedule

RECONSTRUCTOR_PORT = "reconstructor"


class AcrSchedule(ResumableSchedule):
    """Schedule of both networks; the defaults are ACR's.

    Attributes:
        momentum: Of SGD. The released code hands its weight decay to SGD as momentum, so its true value is 5e-4.
    """

    num_epochs: int = Field(default=40, ge=1)
    global_batch_size: int = Field(default=8, ge=1)
    weight_decay: float = Field(default=5e-4, ge=0)


class AcrConfig(StageConfig):
    """What all trainings of ACR's networks share; the defaults are those of the released code.

    Attributes:
        reconstructor: Encoder, joined features, decoder. Without `adversary` nothing is made of it.
        losses: Terms, weights and masks, as in the paper or as released.
        remnants: Stochastic remnant feeding of the reconstructor's turn.
        schedule: Epochs, batch, optimiser; each network has an optimiser of its own.
        reconstructor_lr: Learning rate of the reconstructor's encoder.
        decoder_lr: Learning rate of its new convolutions.
        transposed_lr_factor: Learning rate of its transposed convolutions against that. 10: released.
        biases: Learning rate and weight decay of biases.
        augmentation: Size, crop.
    """

    reconstructor: ReconstructorConfig = Field(default_factory=ReconstructorConfig)
    losses: AdversarialLossConfig = Field(default_factory=AdversarialLossConfig)
    remnants: RemnantFeeding = Field(default_factory=RemnantFeeding)
    schedule: AcrSchedule = Field(default_factory=AcrSchedule)
    reconstructor_lr: float = Field(default=0.01, gt=0)
    decoder_lr: float = Field(default=0.01, gt=0)
    transposed_lr_factor: float = Field(default=10.0, gt=0)
    biases: BiasRule = BiasRule(lr_factor=2.0, decay=False)
    augmentation: AcrAugmentation = Field(default_factory=AcrAugmentation)


class TrainAcrConfig(AcrConfig):
    """Settings.

    Attributes:
        classifier: Encoder and head.
        adversary: `trained`: the reconstructor learns too, in turns (ACR). `pretrained`: it comes from an earlier
            `train_reconstructor`, and stays as it is (the paper's Table 1). `none`: the classifier learns from tags
            alone (the baseline).
        encoder_lr: Learning rate of the classifier's encoder.
        head_lr: Learning rate of its head. The released code has no higher one for it.
        keep_epochs: Epochs behind which the classifier's weights are stored too, for `infer_cams.epoch` (Fig. 5). Those
            behind the last epoch always are.
    """

    classifier: AcrClassifierConfig = Field(default_factory=AcrClassifierConfig)
    adversary: Literal["trained", "pretrained", "none"] = "trained"
    encoder_lr: float = Field(default=0.01, gt=0)
    head_lr: float = Field(default=0.01, gt=0)
    # Left out where it is empty: trainings of before there was such a setting keep their fingerprints.
    keep_epochs: tuple[int, ...] = Field(default=(), exclude_if=lambda epochs: not epochs)

    @model_validator(mode="after")
    def _kept_epochs_lie_within(self) -> Self:
        kept, num_epochs = list(self.keep_epochs), self.schedule.num_epochs
        if kept != sorted(set(kept)) or not all(1 <= epoch < num_epochs for epoch in kept):
            raise ValueError(
                f"keep_epochs must be ascending and before the last epoch, {num_epochs} (which is stored anyway); "
                f"got {kept}"
            )
        return self


class TrainAcr(TrainStage):
    """Images and tags in, `ClassifierCheckpoint` out; a `ReconstructorCheckpoint` in where the adversary is one."""

    NAME: ClassVar[str] = "train_acr"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainAcrConfig
    READS: ClassVar[Mapping[str, type]] = {RECONSTRUCTOR_PORT: ReconstructorCheckpoint}
    WRITES: ClassVar[type] = ClassifierCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @classmethod
    def reads(cls, config: TrainAcrConfig) -> Mapping[str, type]:
        """Returns the reconstructor's port where one is taken over, else nothing."""
        return cls.READS if config.adversary == "pretrained" else {}

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training."""
        from wsss_jobs.stages.train_acr_task import AcrTask  # needs torch, and planning does without

        return AcrTask(config, context, items, reader)
