"""The training behind `train_acr`: who learns in a step, and what of it `train_reconstructor` takes over."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from models.adversarial.classifier import build_acr_classifier
from models.adversarial.pair import AdversarialPair
from models.adversarial.reconstructor import Reconstructor, build_reconstructor
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ARTIFACT_FILE
from wsss_jobs.stages.acr_samples import AcrSamples, acr_batch
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_acr import RECONSTRUCTOR_PORT, AcrConfig, TrainAcrConfig
from wsss_jobs.training.task import ItemReader, Player, Sample


class AcrTask(ItemTask[TrainAcrConfig]):
    """On each batch: a turn of the reconstructor, where it learns, and one of the classifier."""

    def __init__(
        self, config: TrainAcrConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        self.keep_epochs = config.keep_epochs
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
            return networks.load_reconstructor(self._context.artifacts[RECONSTRUCTOR_PORT] / ARTIFACT_FILE)
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
