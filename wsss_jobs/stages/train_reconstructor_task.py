"""The training behind `train_reconstructor`."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from models.adversarial.classifier import AcrClassifier
from models.adversarial.pair import AdversarialPair
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.records import ARTIFACT_FILE
from wsss_jobs.stages.acr_samples import AcrSamples
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.item_task import ItemTask
from wsss_jobs.stages.train_acr_task import new_reconstructor, reconstructor_player
from wsss_jobs.stages.train_reconstructor import TrainReconstructorConfig
from wsss_jobs.training.task import ItemReader, Player, Sample


class ReconstructorTask(ItemTask[TrainReconstructorConfig]):
    """The reconstructor's turn alone; the classifier stays as it is."""

    def __init__(
        self, config: TrainReconstructorConfig, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        super().__init__(config, context, items, reader)
        classifier = networks.load_classifier(context.artifacts["classifier"] / ARTIFACT_FILE)
        if not isinstance(classifier, AcrClassifier):
            message = "its classifier comes from train_classifier; take one of train_acr (adversary: none)"
            raise StageError(f"train_reconstructor: {message}")
        self._classifier = classifier
        self._samples = AcrSamples(
            reader,
            config.augmentation,
            config.remnants,
            classifier.normalisation,
            len(context.class_names),
            context.seed,
        )

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns image, tags, target class and leaks of a crop; see `AcrSamples`."""
        return self._samples.sample(self._items[index], epoch)

    def build_model(self) -> AdversarialPair:
        """Returns the finished classifier and a new reconstructor."""
        reconstructor = new_reconstructor(self._config, len(self._context.class_names))
        return AdversarialPair(self._classifier, reconstructor, self._config.losses.terms)

    def players(self, model: nn.Module) -> Sequence[Player]:
        """Returns the reconstructor."""
        assert isinstance(model, AdversarialPair)
        player = reconstructor_player(model, self._config)
        return [Player(player.network, player.groups, player.losses)]

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the reconstructor."""
        assert isinstance(model, AdversarialPair)
        assert model.reconstructor is not None
        networks.save_reconstructor(model.reconstructor, path)
