"""What a format has to do: convert one mask, take the converted ones in order, and finish.

Masks come one by one and go out one by one: what a format keeps of each, it keeps in files.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError, DataError
from wsss_jobs.quality.image_quality import ImageQuality
from wsss_jobs.storage.object_keys import object_key
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.uris import read_uri

IGNORE_INDEX = 255
IGNORE_NAME = "ignore"  # what formats that know labels by name alone call pixels of 255

Converted = TypeVar("Converted")


@dataclass(frozen=True)
class LabelledItem:
    """One image and its mask.

    Attributes:
        png: The mask as it is stored: a palette PNG.
        label_HW: uint8 class ids, 255 ignore.
        quality: How good it seems, and why not better, in an export of the worst; else None.
        instances_png: The instance mask as it is stored, for formats that take it; else None.
    """

    item: DatasetItem
    png: bytes
    label_HW: NDArray[np.uint8]
    quality: ImageQuality | None = None
    instances_png: bytes | None = None

    @property
    def name(self) -> str:
        """The image's path below its folder without extension, safe as a path in archives and stores."""
        return object_key(self.item.source_key)

    @property
    def image_extension(self) -> str:
        """The extension of the image file, with the dot; as it is written."""
        return PurePosixPath(self.item.uri).suffix

    @property
    def file_name(self) -> str:
        """The image's path below its folder."""
        return self.item.source_key + self.image_extension

    @property
    def class_ids(self) -> list[int]:
        """The foreground classes in the mask, ascending; 255 left out."""
        found = np.flatnonzero(np.bincount(self.label_HW.ravel(), minlength=256))
        return [int(class_id) for class_id in found if class_id not in (0, IGNORE_INDEX)]

    @property
    def has_ignore(self) -> bool:
        """Whether some pixels are 255."""
        return bool((self.label_HW == IGNORE_INDEX).any())

    def read_image(self) -> bytes:
        """The image file's bytes.

        Raises:
            DataError: `missing` or `unreadable`.
        """
        try:
            return read_uri(self.item.uri)
        except ObjectNotFoundError as error:
            message = f"there is no file {self.item.uri} any more; restore it"
            raise DataError(self.item.source_key, "missing", message) from error
        except AccessDeniedError as error:
            raise DataError(self.item.source_key, "unreadable", str(error)) from error


@dataclass(frozen=True)
class ExportContext:
    """Where to and what of.

    Attributes:
        target: The folder of the export.
        scratch: A local folder for files that grow; it goes away afterwards.
        class_names: Of the classes 1..C-1.
        title: Which run and step the masks are of, for people.
        image_prefix: What comes before an image's path in addresses; None for the format's default.
    """

    target: ObjectStore
    scratch: Path
    class_names: tuple[str, ...]
    title: str
    image_prefix: str | None = None

    def name_of(self, class_id: int) -> str:
        """The name of a class id of a mask."""
        if class_id in (0, IGNORE_INDEX):
            return "background" if class_id == 0 else IGNORE_NAME
        return self.class_names[class_id - 1]


class Exporter(ABC, Generic[Converted]):
    """One export in one format.

    Attributes:
        SUMMARY: One line on what is written, for `--help` and error messages.
        TAKES_IMAGE_PREFIX: Whether it writes addresses of images.
        NEEDS_INSTANCES: Whether it takes instance masks, which few steps have.
    """

    SUMMARY: ClassVar[str]
    TAKES_IMAGE_PREFIX: ClassVar[bool] = False
    NEEDS_INSTANCES: ClassVar[bool] = False

    def __init__(self, context: ExportContext) -> None:
        self.context = context

    @abstractmethod
    def convert(self, labelled: LabelledItem) -> Converted:
        """What `add` takes; called on many threads.

        Raises:
            DataError: This image cannot be exported; the others can.
        """

    @abstractmethod
    def add(self, converted: Converted) -> None:
        """Takes the next one, in the order of the data set; one thread."""

    @abstractmethod
    def finish(self) -> None:
        """Writes what can be written only when all are known."""


def check_ignore_name(class_names: tuple[str, ...], where: str) -> None:
    """Nothing, unless a class has the name that pixels of 255 get in a format that knows labels by name alone.

    Raises:
        ConfigError: One has.
    """
    if IGNORE_NAME in class_names:
        raise ConfigError(
            f"{where}: a class is called {IGNORE_NAME!r}, as pixels of 255 are; rename it in the class list"
        )
