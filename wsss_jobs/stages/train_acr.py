"""Trains a classifier against a reconstructor (ACR: Kweon, Yoon, Yoon, CVPR 2023); also its baseline and ablations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from models.adversarial.classifier import AcrClassifierConfig, build_acr_classifier
from models.adversarial.config import AdversarialLossConfig
from models.adversarial.pair import AdversarialPair
from models.adversarial.reconstructor import Reconstructor, ReconstructorConfig, build_reconstructor
from models.adversarial.remnant_feeding import RemnantFeeding
from models.parameter_groups import BiasRule
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ClassifierCheckpoint, ReconstructorCheckpoint
from wsss_jobs.stages.acr_samples import AcrAugmentation, AcrSamples, acr_batch
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.training.task import ItemReader, Player, Sample
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
    """

    classifier: AcrClassifierConfig = Field(default_factory=AcrClassifierConfig)
    adversary: Literal["trained", "pretrained", "none"] = "trained"
    encoder_lr: float = Field(default=0.01, gt=0)
    head_lr: float = Field(default=0.01, gt=0)


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
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> "AcrTask":
        """Returns the training."""
        return AcrTask(config, context, items, reader)


class AcrTask(ItemTask[TrainAcrConfig]):
    """On each batch: a turn of the reconstructor, where it learns, and one of the classifier."""

    def __init__(
        self, config: TrainAcrConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        num_foreground = len(context.class_names)
        normalisation = build_acr_classifier(config.classifier, num_foreground, load_weights=False).normalisation
        self._samples = AcrSamples(
            reader, config.augmentation, config.remnants, normalisation, num_foreground, context.seed
        )

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns image, tags, target class and leaks of a crop; see `AcrSamples`."""
        return self._samples.sample(self._items[index], epoch)

    def build_model(self) -> AdversarialPair:
        """Returns both networks with their initial weights."""
        classifier = build_acr_classifier(self._config.classifier, len(self._context.class_names))
        return AdversarialPair(classifier, self._adversary(), self._config.losses.terms)

    def _adversary(self) -> Reconstructor | None:
        if self._config.adversary == "none":
            return None
        if self._config.adversary == "pretrained":
            return networks.load_reconstructor(self._context.artifacts[RECONSTRUCTOR_PORT] / networks.FILE_NAME)
        return new_reconstructor(self._config, len(self._context.class_names))

    def players(self, model: nn.Module) -> Sequence[Player]:
        """Returns the reconstructor, where it learns, and the classifier."""
        assert isinstance(model, AdversarialPair)
        config = self._config
        groups = model.classifier.parameter_groups(config.encoder_lr, config.head_lr, config.biases)
        classifier = Player(
            model.classifier, groups, lambda acting, batch: model.classifier_losses(acting, acr_batch(batch))
        )
        return [reconstructor_player(model, config), classifier] if config.adversary == "trained" else [classifier]

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the classifier."""
        assert isinstance(model, AdversarialPair)
        networks.save_classifier(model.classifier, path)


def new_reconstructor(config: AcrConfig, num_foreground: int) -> Reconstructor:
    """Returns an untrained reconstructor, with a classification head where its losses have that term."""
    has_head = config.losses.terms.classification > 0
    return build_reconstructor(config.reconstructor, num_foreground if has_head else None)


def reconstructor_player(model: AdversarialPair, config: AcrConfig) -> Player:
    """Returns the reconstructor as one that learns against the classifier."""
    assert model.reconstructor is not None
    groups = model.reconstructor.parameter_groups(
        config.reconstructor_lr, config.decoder_lr, config.transposed_lr_factor, config.biases
    )
    return Player(
        model.reconstructor,
        groups,
        lambda acting, batch: model.reconstructor_losses(acting, acr_batch(batch)),
        prefix="reconstructor_",
    )
