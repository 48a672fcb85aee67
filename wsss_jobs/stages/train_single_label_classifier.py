"""Trains a classifier of images with exactly one class, such as CUB-200-2011: the standalone network of WSOL."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.records import ClassifierCheckpoint
from wsss_jobs.stages.base import StageConfig, StageContext, StageResources, TrainStage
from wsss_jobs.stages.train_classifier import TrainClassifierConfig
from wsss_jobs.training.task import ItemReader, TrainTask


class TrainSingleLabelClassifierConfig(TrainClassifierConfig):
    """Settings.

    Attributes:
        splits: Learn from images of these splits alone; empty: all.
    """

    splits: tuple[str, ...] = ()


class TrainSingleLabelClassifier(TrainStage):
    """Images and tags in, `ClassifierCheckpoint` out."""

    NAME: ClassVar[str] = "train_single_label_classifier"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = TrainSingleLabelClassifierConfig
    READS: ClassVar[Mapping[str, type]] = {}
    WRITES: ClassVar[type] = ClassifierCheckpoint
    RESOURCES: ClassVar[StageResources] = StageResources(num_cpus=2, num_gpus=1)

    @staticmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training.

        Raises:
            StageError: No images are left to learn from, or one has not exactly one tag.
        """
        from wsss_jobs.stages.train_single_label_classifier_task import OneClassTask  # needs torch, unlike planning

        kept = [item for item in items if not config.splits or item.split in config.splits]
        if not kept:
            raise StageError(f"train_single_label_classifier: no images of splits {list(config.splits)}")
        for item in kept:
            if len(item.labels) != 1:
                raise StageError(
                    f"train_single_label_classifier: {item.source_key} has {len(item.labels)} tags, and images must "
                    "have one; take train_classifier, or leave it out"
                )
        return OneClassTask(config, context, kept, reader)
