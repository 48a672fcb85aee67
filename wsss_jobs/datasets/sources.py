"""From the `dataset` block of a recipe to the images that it names; image files are not opened."""

from typing import Any, Protocol

from wsss_jobs.datasets.coco import CocoReader
from wsss_jobs.datasets.config import (
    CocoConfig,
    CubConfig,
    CvatConfig,
    DatasetConfig,
    FolderConfig,
    LabelStudioConfig,
    VocConfig,
)
from wsss_jobs.datasets.cub import CubReader
from wsss_jobs.datasets.cvat import CvatReader
from wsss_jobs.datasets.image_folder import ImageFolder
from wsss_jobs.datasets.label_studio import LabelStudioReader
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.source_images import without_collisions
from wsss_jobs.datasets.tagged_folder import FolderReader
from wsss_jobs.datasets.voc_layout import VocReader


class SourceReader(Protocol):
    """What knows one format. All raise `ConfigError` where the set as a whole cannot be read."""

    def class_names(self) -> tuple[str, ...]:
        """The names of the classes 1..C-1."""

    def folders(self) -> list[ImageFolder]:
        """All image files of the set's folders, whether its lists name them or not."""

    def sources(self, class_names: tuple[str, ...]) -> list[SourceImage]:
        """The images that the set names, in any order, repeated ones included."""


_READERS: dict[type, Any] = {
    VocConfig: VocReader,
    FolderConfig: FolderReader,
    CocoConfig: CocoReader,
    CubConfig: CubReader,
    LabelStudioConfig: LabelStudioReader,
    CvatConfig: CvatReader,
}


def load_class_names(config: DatasetConfig) -> tuple[str, ...]:
    """The names of the classes 1..C-1.

    Raises:
        ConfigError: The class list is missing or wrong.
    """
    return _reader(config).class_names()


def load_sources(config: DatasetConfig) -> list[SourceImage]:
    """The images of a data set in source-key order, each once; what is wrong with one is in its `problem`.

    Raises:
        ConfigError: The set as a whole cannot be read: a list, the tags or the class list is missing or malformed.
    """
    reader = _reader(config)
    return without_collisions(reader.sources(reader.class_names()))


def open_image_folders(config: DatasetConfig) -> list[ImageFolder]:
    """All image files of a data set's folders, whether its lists name them or not."""
    return _reader(config).folders()


def _reader(config: DatasetConfig) -> SourceReader:
    reader: SourceReader = _READERS[type(config)](config)
    return reader
