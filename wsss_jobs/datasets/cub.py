"""CUB-200-2011 (Wah et al., 2011): one bird species an image, with its bounding box."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from wsss_jobs.datasets.class_lists import check_class_names, read_lines
from wsss_jobs.datasets.config import CubConfig
from wsss_jobs.datasets.image_folder import ImageFolder, source_key_of
from wsss_jobs.datasets.records import Boxes, SourceImage
from wsss_jobs.datasets.source_images import NamedImage, source_image
from wsss_jobs.datasets.tags import labels_of_tags
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.uris import open_store

_SPLIT_OF_FLAG = {"1": "train", "0": "test"}
_BOXES = "bounding_boxes.txt"

Value = TypeVar("Value")


class CubReader:
    """Reads what a `CubConfig` names. The files' lines are `<image id> <value>`."""

    def __init__(self, config: CubConfig) -> None:
        self._config = config
        self._root = open_store(config.root)

    def class_names(self) -> tuple[str, ...]:
        """The names of `classes.txt` in the order of their ids, such as `001.Black_footed_Albatross`."""
        names = self._table("classes.txt", str)
        ids = [str(number) for number in range(1, len(names) + 1)]
        if list(names) != ids:
            raise ConfigError(f"{self._uri('classes.txt')}: ids must be 1, 2, ... in order; get the file anew")
        return check_class_names(list(names.values()), self._uri("classes.txt"))

    def folders(self) -> list[ImageFolder]:
        """The image folder."""
        return [ImageFolder(self._root, "images/")]

    def sources(self, class_names: tuple[str, ...]) -> list[SourceImage]:
        """The images of the splits, with their boxes where there are any."""
        (folder,) = self.folders()
        masks = [ImageFolder(self._root, f"{self._config.masks}/")]
        labels = self._table("image_class_labels.txt", str)
        splits = self._table("train_test_split.txt", _split)
        boxes = self._table(_BOXES, _box) if self._root.exists(_BOXES) else {}
        where = self._uri("image_class_labels.txt")
        sources = []
        for number, name in self._table("images.txt", str).items():
            if number not in splits:
                raise ConfigError(f"{self._uri('train_test_split.txt')}: has no line for image {number}; get it anew")
            if splits[number] in self._config.splits:
                tags = labels_of_tags(
                    [labels[number]] if number in labels else [], class_names, source_key_of(name), where
                )
                source = source_image(NamedImage(name, splits[number]), folder, masks, tags)
                sources.append(replace(source, boxes_xywh=boxes.get(number, ())))
        return sources

    def _uri(self, name: str) -> str:
        return self._root.uri_of(name)

    def _table(self, name: str, parse: Callable[[str], Value]) -> dict[str, Value]:
        uri = self._uri(name)
        table = {}
        for number, line in enumerate(read_lines(uri, "CUB list"), start=1):
            image_id, _, value = line.partition(" ")
            try:
                table[image_id] = parse(value.strip())
            except (ValueError, KeyError) as error:
                raise ConfigError(f"CUB list {uri}, line {number}: {line!r} is not understood; get it anew") from error
        return table


def _split(flag: str) -> str:
    return _SPLIT_OF_FLAG[flag]


def _box(text: str) -> Boxes:
    x, y, width, height = (float(number) for number in text.split())
    return ((x, y, width, height),)
