"""COCO's layout: an instances JSON a split, whose categories are the tags."""

import functools
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from wsss_jobs.datasets.class_lists import check_class_names, resolve_class_names
from wsss_jobs.datasets.config import CocoConfig
from wsss_jobs.datasets.image_folder import ImageFolder
from wsss_jobs.datasets.json_stream import array_elements
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.source_images import NamedImage, TagsOfImage, source_image
from wsss_jobs.datasets.tags import labels_of_tags
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.uris import is_remote, local_path, open_store

WHAT = "COCO annotations"


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of an instances JSON.

    Args:
        file_name: Its path below the split's image folder.
        category_ids: Categories of its annotations, ascending; none for an image without objects.
    """

    file_name: str
    category_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CocoTags:
    """What an instances JSON says, shapes left out.

    Args:
        categories: Name by id, ids ascending.
        images: In the order of the file.
    """

    categories: dict[int, str]
    images: tuple[CocoImage, ...]


class CocoReader:
    """Reads what a `CocoConfig` names."""

    def __init__(self, config: CocoConfig) -> None:
        self._config = config
        self._root = open_store(config.root)

    def class_names(self) -> tuple[str, ...]:
        """Those of the config, or the categories of the first split's file in the order of their ids."""
        if self._config.classes is not None:
            return resolve_class_names(self._config.classes)
        uri = annotations_uri(self._config, self._config.splits[0])
        return check_class_names(list(read_coco_tags(uri).categories.values()), f"categories of {uri}")

    def folders(self) -> list[ImageFolder]:
        """The image folder of each split."""
        return [ImageFolder(self._root, f"{of_split(self._config.images, split)}/") for split in self._config.splits]

    def sources(self, class_names: tuple[str, ...]) -> list[SourceImage]:
        """The images of the splits."""
        folders = zip(self._config.splits, self.folders(), strict=True)
        return [source for split, folder in folders for source in self._of_split(split, folder, class_names)]

    def _of_split(self, split: str, folder: ImageFolder, class_names: tuple[str, ...]) -> list[SourceImage]:
        config = self._config
        uri = annotations_uri(config, split)
        found = read_coco_tags(uri)
        masks = [ImageFolder(self._root, f"{of_split(config.masks, split)}/")]

        def source(image: CocoImage) -> SourceImage:
            named = NamedImage(image.file_name, split)
            names = [found.categories[number] for number in image.category_ids]
            tags: TagsOfImage = labels_of_tags(names, class_names, named.key, uri) if names else ((), None)
            return source_image(named, folder, masks, tags)

        keep_all = config.images_without_objects == "keep"
        return [source(image) for image in found.images if keep_all or image.category_ids]


def of_split(template: str, split: str) -> str:
    """A path of a `CocoConfig` for one split."""
    return template.replace("{split}", split)


def annotations_uri(config: CocoConfig, split: str) -> str:
    """The address of a split's instances JSON."""
    return open_store(config.root).uri_of(of_split(config.annotations, split))


def num_without_objects(config: CocoConfig) -> int:
    """How many images of the splits have no annotation."""
    files = [read_coco_tags(annotations_uri(config, split)) for split in config.splits]
    return sum(not image.category_ids for file in files for image in file.images)


def read_coco_tags(uri: str) -> CocoTags:
    """The categories and tags of an instances JSON; read in one pass, once a process.

    A local file that has changed is read again; an object of S3 is taken not to change.

    Raises:
        ConfigError: It is missing, no instances JSON, or names an image or a category that it does not have.
    """
    state = (0, 0)
    if not is_remote(uri) and local_path(uri).is_file():
        stat = local_path(uri).stat()
        state = (stat.st_size, stat.st_mtime_ns)
    return _read(uri, state)


@functools.lru_cache(maxsize=4)
def _read(uri: str, _state: tuple[int, int]) -> CocoTags:
    names: dict[int, str] = {}
    categories: dict[int, str] = {}
    tags: dict[int, set[int]] = defaultdict(set)
    for array, element in array_elements(uri, ("images", "annotations", "categories"), WHAT):
        if array == "images":
            names[field(element, "id", int, array, uri)] = field(element, "file_name", str, array, uri)
        elif array == "categories":
            categories[field(element, "id", int, array, uri)] = field(element, "name", str, array, uri)
        else:
            tags[field(element, "image_id", int, array, uri)].add(field(element, "category_id", int, array, uri))
    _check_references(names, categories, tags, uri)
    images = tuple(CocoImage(name, tuple(sorted(tags.get(number, ())))) for number, name in names.items())
    return CocoTags(dict(sorted(categories.items())), images)


def field(element: Any, name: str, kind: type, array: str, uri: str) -> Any:
    """A member of an element of one of COCO's arrays.

    Raises:
        ConfigError: It is missing or of another kind.
    """
    value = element.get(name) if isinstance(element, dict) else None
    if not isinstance(value, kind):
        which = f" with id {element['id']}" if isinstance(element, dict) and "id" in element else ""
        rule = f"{name!r} must be {'text' if kind is str else 'a whole number'}, found {value!r}"
        raise ConfigError(f"{WHAT} {uri}: an element of {array!r}{which}: {rule}; is it an instances file?")
    return value


def _check_references(names: dict[int, str], categories: dict[int, str], tags: dict[int, set[int]], uri: str) -> None:
    if not names:
        raise ConfigError(f"{WHAT} {uri}: has no 'images'; is it an instances file?")
    strangers = tags.keys() - names.keys()
    if strangers:
        raise ConfigError(f"{WHAT} {uri}: annotations name image {min(strangers)}, which is not in 'images'; repair it")
    unknown = set().union(*tags.values()) - categories.keys()
    if unknown:
        raise ConfigError(f"{WHAT} {uri}: annotations name category {min(unknown)}, not in 'categories'; repair it")
    ((name, count),) = Counter(names.values()).most_common(1)
    if count > 1:
        raise ConfigError(f"{WHAT} {uri}: {count} images are called {name!r}; repair it")
