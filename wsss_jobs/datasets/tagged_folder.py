"""Any folder of images with a CSV file of tags, and what its kin share with it."""

from typing import Generic, TypeVar

from wsss_jobs.datasets.class_lists import read_text, resolve_class_names
from wsss_jobs.datasets.config import CvatConfig, FolderConfig, LabelStudioConfig
from wsss_jobs.datasets.image_folder import ImageFolder
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.source_images import NamedImage, source_image, tags_of_rows
from wsss_jobs.datasets.tags import TagRow, parse_tags_csv
from wsss_jobs.storage.uris import open_store

ConfigT = TypeVar("ConfigT", FolderConfig, LabelStudioConfig, CvatConfig)


class OneFolderReader(Generic[ConfigT]):
    """What formats share that are a folder of images and a file of tags."""

    def __init__(self, config: ConfigT) -> None:
        self._config: ConfigT = config

    def class_names(self) -> tuple[str, ...]:
        """Those of the config."""
        return resolve_class_names(self._config.classes)

    def folders(self) -> list[ImageFolder]:
        """The image folder."""
        return [ImageFolder(open_store(self._config.images))]


class FolderReader(OneFolderReader[FolderConfig]):
    """Reads what a `FolderConfig` names."""

    def sources(self, class_names: tuple[str, ...]) -> list[SourceImage]:
        """The images of the table."""
        config = self._config
        return sources_of_rows(
            read_rows(config.tags), class_names, self.folders()[0], config.split, config.masks, config.tags
        )


def sources_of_rows(
    rows: list[TagRow],
    class_names: tuple[str, ...],
    folder: ImageFolder,
    split: str,
    masks: str | None,
    where: str,
    entry: str = "line",
) -> list[SourceImage]:
    """The images of a table of tags.

    Args:
        rows: One an image, or several.
        class_names: Of the classes 1..C-1.
        folder: Where the images are.
        split: Of rows that name none.
        masks: Address of the folder with ground truth, or None.
        where: The table, for messages.
        entry: What the rows' numbers count.
    """
    mask_folders = [] if masks is None else [ImageFolder(open_store(masks))]
    tags = tags_of_rows(rows, class_names, where, entry)
    named = [NamedImage(row.image, row.split or split) for row in rows]
    return [source_image(image, folder, mask_folders, tags(image.key)) for image in named]


def read_rows(uri: str) -> list[TagRow]:
    """The rows of a CSV file of tags.

    Raises:
        ConfigError: It is missing or malformed.
    """
    return parse_tags_csv(read_text(uri, "tags file"), f"tags file {uri}")
