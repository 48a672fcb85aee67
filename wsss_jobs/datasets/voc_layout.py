"""PASCAL VOC's layout: lists of ids, XML annotations or a tags file."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from wsss_jobs.datasets.class_lists import check_class_names, read_lines, resolve_class_names
from wsss_jobs.datasets.config import VocConfig
from wsss_jobs.datasets.image_folder import IMAGE_EXTENSIONS, ImageFolder
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.source_images import NamedImage, Tags, TagsOfImage, source_image, tags_of_rows
from wsss_jobs.datasets.tagged_folder import read_rows
from wsss_jobs.datasets.tags import labels_of_tags, parse_voc_annotation
from wsss_jobs.errors import ConfigError, DataError
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import open_store

_LISTS = "ImageSets/Segmentation"
_ANNOTATIONS = "Annotations"
_TAGS_BY_DEFAULT = "image_labels.csv"
_CLASSES_BY_DEFAULT = "classes.txt"
_NUM_XML_THREADS = 16
_ANY_EXTENSION = "|".join(re.escape(extension) for extension in sorted(IMAGE_EXTENSIONS))
_IMAGE_PATH = re.compile(rf"(?P<image>.+?(?:{_ANY_EXTENSION}))(?:\s+\S.*)?", re.IGNORECASE)


class VocReader:
    """Reads what a `VocConfig` names."""

    def __init__(self, config: VocConfig) -> None:
        self._config = config
        self._root = open_store(config.root)

    def class_names(self) -> tuple[str, ...]:
        """Those of the config, of `classes.txt`, or VOC's."""
        if self._config.classes is not None:
            return resolve_class_names(self._config.classes)
        if self._root.exists(_CLASSES_BY_DEFAULT):
            uri = self._root.uri_of(_CLASSES_BY_DEFAULT)
            return check_class_names(read_lines(uri, "class list"), f"class list {uri}")
        return resolve_class_names("voc")

    def folders(self) -> list[ImageFolder]:
        """The image folder."""
        return [ImageFolder(self._root, f"{self._config.images}/")]

    def sources(self, class_names: tuple[str, ...]) -> list[SourceImage]:
        """The images of the lists."""
        config, root = self._config, self._root
        (folder,) = self.folders()
        named = [
            NamedImage(name, PurePosixPath(split).stem)
            for split in config.splits
            for name in _list_of(config, root, split)
        ]
        masks = [ImageFolder(root, f"{mask_folder}/") for mask_folder in config.masks]
        tags = _voc_tags(config, root, class_names, [image.key for image in named])
        return [source_image(image, folder, masks, tags(image.key)) for image in named]


def _list_of(config: VocConfig, root: ObjectStore, split: str) -> list[str]:
    is_address = "/" in split or PurePosixPath(split).suffix != ""
    uri = _below(root, split if is_address else f"{_LISTS}/{split}.txt")
    names = [_name_in_line(line, config.images) for line in read_lines(uri, f"list of split {split!r}")]
    if not names:
        raise ConfigError(f"list of split {split!r} {uri}: is empty; name another split")
    return names


def _name_in_line(line: str, images: str) -> str:
    path = _IMAGE_PATH.fullmatch(line)
    return path["image"].lstrip("/").removeprefix(f"{images}/") if path else line


def _voc_tags(config: VocConfig, root: ObjectStore, class_names: tuple[str, ...], keys: list[str]) -> Tags:
    if config.tags is not None:
        return tags_of_rows(read_rows(_below(root, config.tags)), class_names, _below(root, config.tags))
    annotations = {info.key for info in root.list(f"{_ANNOTATIONS}/") if info.key.endswith(".xml")}
    if annotations:
        return _tags_of_xml(root, class_names, keys, annotations)
    if root.exists(_TAGS_BY_DEFAULT):
        uri = root.uri_of(_TAGS_BY_DEFAULT)
        return tags_of_rows(read_rows(uri), class_names, uri)
    tried = f"{root.uri}: neither {_ANNOTATIONS}/*.xml nor {_TAGS_BY_DEFAULT} is there"
    raise ConfigError(f"{tried}; point dataset.tags to a CSV file of tags, or dataset.root to the VOC2012 folder")


def _tags_of_xml(root: ObjectStore, class_names: tuple[str, ...], keys: list[str], present: set[str]) -> Tags:
    def read(key: str) -> TagsOfImage:
        path = f"{_ANNOTATIONS}/{key}.xml"
        if path not in present:
            return (), DataError(key, "unlabelled", f"has no {path}; add it or remove the image from the list")
        try:
            names = parse_voc_annotation(root.get(path), key)
        except DataError as error:
            return (), error
        return labels_of_tags(names, class_names, key, path)

    unique = sorted(set(keys))
    with ThreadPoolExecutor(_NUM_XML_THREADS) as pool:
        found = dict(zip(unique, pool.map(read, unique), strict=True))
    return found.__getitem__


def _below(root: ObjectStore, address: str) -> str:
    is_absolute = address.startswith("/") or "://" in address
    return address if is_absolute else f"{root.uri}/{address}"
