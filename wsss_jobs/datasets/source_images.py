"""What all formats share: finding the files that an entry names, its tags, and names that collide."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from wsss_jobs.datasets.image_folder import IMAGE_EXTENSIONS, ImageFolder, normal_form, source_key_of, source_text
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.tags import TagRow, labels_of_tags
from wsss_jobs.errors import DataError

TagsOfImage = tuple[tuple[int, ...], DataError | None]
Tags = Callable[[str], TagsOfImage]  # by source key


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image as a list or a table names it: a path below the image folder, with or without extension."""

    name: str
    split: str

    @property
    def key(self) -> str:
        """Its source key, as far as the name tells."""
        return source_key_of(self.name)


def source_image(
    image: NamedImage, folder: ImageFolder, masks: Sequence[ImageFolder], tags: TagsOfImage
) -> SourceImage:
    """The image with the files that belong to it; of several folders of masks, the first that has its mask counts."""
    labels, problem = tags
    found = folder.find(image.name)
    if len(found) > 1:
        problem = _collision(image.key, found)
    name = found[0] if found else _expected_name(image.name)
    key = source_key_of(name)
    mask_uri = next((mask.uri_of(mask.find(f"{key}.png")[0]) for mask in masks if mask.find(f"{key}.png")), None)
    return SourceImage(key, folder.uri_of(name), labels, image.split, mask_uri, problem)


def tags_of_rows(rows: Iterable[TagRow], class_names: tuple[str, ...], where: str, entry: str = "line") -> Tags:
    """The tags by source key; rows of one image are united.

    Args:
        rows: Of a file of tags.
        class_names: Of the classes 1..C-1.
        where: The file, for messages.
        entry: What the rows' numbers count.
    """
    tags: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        form = normal_form(source_key_of(row.image))
        tags[form] += row.tags
        lines[form].append(row.line)

    def of(key: str) -> TagsOfImage:
        form = normal_form(key)
        if form not in lines:
            return (), DataError(key, "unlabelled", f"has no row in {where}; add one or remove the image from the list")
        places = ", ".join(str(line) for line in lines[form])
        return labels_of_tags(tags[form], class_names, key, f"{where}, {entry} {places}")

    return of


def without_collisions(sources: Iterable[SourceImage]) -> list[SourceImage]:
    """The images in source-key order, each once; those that share a key with another have that as their problem."""
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


def _expected_name(name: str) -> str:
    # The file is missing; the address says where it was looked for.
    return name if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS else f"{name}.jpg"


def _collision(key: str, names: list[str]) -> DataError:
    files = " and ".join(source_text(name) for name in names)
    return DataError(key, "name_collision", f"{files} would share one mask name; rename all but one")
