"""From the `dataset` block of a recipe to the images that it names; image files are not opened."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from wsss_jobs.datasets.class_lists import check_class_names, read_lines, read_text, resolve_class_names
from wsss_jobs.datasets.config import FolderConfig, VocConfig
from wsss_jobs.datasets.image_folder import IMAGE_EXTENSIONS, ImageFolder, normal_form, source_key_of, source_text
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.tags import TagRow, labels_of_tags, parse_tags_csv, parse_voc_annotation
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

Tags = Callable[[str], tuple[tuple[int, ...], DataError | None]]  # by source key


@dataclass(frozen=True, slots=True)
class _Named:
    """An image as a list or a table names it."""

    name: str
    split: str


def load_class_names(config: VocConfig | FolderConfig) -> tuple[str, ...]:
    """The names of the classes 1..C-1.

    Raises:
        ConfigError: The class list is missing or wrong.
    """
    if config.classes is not None:
        return resolve_class_names(config.classes)
    root = open_store(config.root)
    if root.exists(_CLASSES_BY_DEFAULT):
        uri = root.uri_of(_CLASSES_BY_DEFAULT)
        return check_class_names(read_lines(uri, "class list"), f"class list {uri}")
    return resolve_class_names("voc")


def load_sources(config: VocConfig | FolderConfig) -> list[SourceImage]:
    """The images of a data set in source-key order, each once; what is wrong with one is in its `problem`.

    Raises:
        ConfigError: The set as a whole cannot be read: a list, the tags or the class list is missing or malformed.
    """
    class_names = load_class_names(config)
    sources = (
        _voc_sources(config, class_names) if isinstance(config, VocConfig) else _folder_sources(config, class_names)
    )
    return _without_collisions(sources)


def open_image_folder(config: VocConfig | FolderConfig) -> ImageFolder:
    """All image files of a data set's folder, whether its lists name them or not."""
    if isinstance(config, VocConfig):
        return ImageFolder(open_store(config.root), f"{config.images}/")
    return ImageFolder(open_store(config.images))


def _voc_sources(config: VocConfig, class_names: tuple[str, ...]) -> list[SourceImage]:
    root = open_store(config.root)
    folder = open_image_folder(config)
    named = [
        _Named(name, PurePosixPath(split).stem) for split in config.splits for name in _list_of(config, root, split)
    ]
    masks = [ImageFolder(root, f"{mask_folder}/") for mask_folder in config.masks]
    tags = _voc_tags(config, root, class_names, [source_key_of(image.name) for image in named])
    return [_source(image, folder, masks, tags) for image in named]


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
        return _tags_of_rows(_read_rows(_below(root, config.tags)), class_names, _below(root, config.tags))
    annotations = {info.key for info in root.list(f"{_ANNOTATIONS}/") if info.key.endswith(".xml")}
    if annotations:
        return _tags_of_xml(root, class_names, keys, annotations)
    if root.exists(_TAGS_BY_DEFAULT):
        uri = root.uri_of(_TAGS_BY_DEFAULT)
        return _tags_of_rows(_read_rows(uri), class_names, uri)
    tried = f"{root.uri}: neither {_ANNOTATIONS}/*.xml nor {_TAGS_BY_DEFAULT} is there"
    raise ConfigError(f"{tried}; point dataset.tags to a CSV file of tags, or dataset.root to the VOC2012 folder")


def _tags_of_xml(root: ObjectStore, class_names: tuple[str, ...], keys: list[str], present: set[str]) -> Tags:
    def read(key: str) -> tuple[tuple[int, ...], DataError | None]:
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


def _folder_sources(config: FolderConfig, class_names: tuple[str, ...]) -> list[SourceImage]:
    folder = open_image_folder(config)
    rows = _read_rows(config.tags)
    masks = [] if config.masks is None else [ImageFolder(open_store(config.masks))]
    tags = _tags_of_rows(rows, class_names, config.tags)
    named = [_Named(row.image, row.split or config.split) for row in rows]
    return [_source(image, folder, masks, tags) for image in named]


def _read_rows(uri: str) -> list[TagRow]:
    return parse_tags_csv(read_text(uri, "tags file"), f"tags file {uri}")


def _tags_of_rows(rows: Iterable[TagRow], class_names: tuple[str, ...], where: str) -> Tags:
    tags: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        form = normal_form(source_key_of(row.image))
        tags[form] += row.tags
        lines[form].append(row.line)

    def of(key: str) -> tuple[tuple[int, ...], DataError | None]:
        form = normal_form(key)
        if form not in lines:
            return (), DataError(key, "unlabelled", f"has no row in {where}; add one or remove the image from the list")
        places = ", ".join(str(line) for line in lines[form])
        return labels_of_tags(tags[form], class_names, key, f"{where}, line {places}")

    return of


def _source(image: _Named, folder: ImageFolder, masks: list[ImageFolder], tags: Tags) -> SourceImage:
    named_key = source_key_of(image.name)
    labels, problem = tags(named_key)
    found = folder.find(image.name)
    if len(found) > 1:
        problem = _collision(named_key, found)
    name = found[0] if found else _expected_name(image.name)
    key = source_key_of(name)
    mask_uri = next((mask.uri_of(mask.find(f"{key}.png")[0]) for mask in masks if mask.find(f"{key}.png")), None)
    return SourceImage(key, folder.uri_of(name), labels, image.split, mask_uri, problem)


def _expected_name(name: str) -> str:
    # The file is missing; the address says where it was looked for.
    return name if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS else f"{name}.jpg"


def _without_collisions(sources: list[SourceImage]) -> list[SourceImage]:
    by_key: dict[str, dict[str, SourceImage]] = defaultdict(dict)
    for source in sources:
        by_key[source.source_key].setdefault(source.uri, source)
    kept: list[SourceImage] = []
    for key, same_key in sorted(by_key.items()):
        if len(same_key) == 1:
            kept += same_key.values()
        else:
            names = [PurePosixPath(uri).name for uri in sorted(same_key)]
            kept += [replace(source, problem=_collision(key, names)) for _, source in sorted(same_key.items())]
    return kept


def _collision(key: str, names: list[str]) -> DataError:
    files = " and ".join(source_text(name) for name in names)
    return DataError(key, "name_collision", f"{files} would share one mask name; rename all but one")


def _below(root: ObjectStore, address: str) -> str:
    is_absolute = address.startswith("/") or "://" in address
    return address if is_absolute else f"{root.uri}/{address}"
