"""What a data set is made of: images with tags, before and after their content is read."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.errors import DataError

Boxes = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image that a data set names; nothing of it has been read yet.

    Args:
        source_key: The user's own name: its path below the image folder, without extension. Unique in a healthy set.
        uri: A local path, `file://` or `s3://` address for `read_uri`.
        labels: The class ids of its tags, ascending, 1..C-1.
        split: Name of the list that it comes from, such as `train`.
        mask_uri: Its ground truth, for scoring alone.
        boxes_xywh: Its objects' boxes, where the set has any: left, top, width, height in px. For scoring alone.
        problem: What is wrong with its entry or its tags; such an image is reported and left out, and the set goes on.
    """

    source_key: str
    uri: str
    labels: tuple[int, ...]
    split: str
    mask_uri: str | None = None
    problem: DataError | None = None
    boxes_xywh: Boxes = ()


@dataclass(frozen=True, slots=True)
class DatasetItem:
    """An image that can be worked on.

    Args:
        item_id: First 20 hex digits of the SHA-256 of the file's bytes; `-2`, `-3`, ... are added to further copies.
        source_key: See `SourceImage`.
        uri: See `SourceImage`.
        width_px: Width after the EXIF rotation.
        height_px: Height after the EXIF rotation.
        labels: See `SourceImage`; empty only where the data set says that images without objects belong to it.
        split: See `SourceImage`.
        mask_uri: See `SourceImage`.
        boxes_xywh: See `SourceImage`.
    """

    item_id: str
    source_key: str
    uri: str
    width_px: int
    height_px: int
    labels: tuple[int, ...]
    split: str
    mask_uri: str | None = None
    boxes_xywh: Boxes = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images of a job, in source-key order.

    Args:
        class_names: Names of the classes 1..C-1; background (0) is not among them.
        items: The images.
        fingerprint: 16 hex digits that change when the work to do changes. See `dataset_fingerprint`.
    """

    class_names: tuple[str, ...]
    items: Sequence[DatasetItem]
    fingerprint: str

    @property
    def num_classes(self) -> int:
        """Number of classes, background included (C)."""
        return len(self.class_names) + 1


def make_dataset(class_names: tuple[str, ...], items: list[DatasetItem]) -> Dataset:
    """The data set of these items, sorted and with its fingerprint."""
    ordered = tuple(sorted(items, key=lambda item: item.source_key))
    return Dataset(class_names, ordered, dataset_fingerprint(class_names, ordered))


def dataset_fingerprint(class_names: tuple[str, ...], items: tuple[DatasetItem, ...]) -> str:
    """16 hex digits of a hash of the class list and of each item's id, name, tags and split.

    Names count because masks are stored under them. Where images and ground truth lie does not count: when a folder
    moves or ground truth is added, finished work stays valid.
    """
    content = {
        "class_names": class_names,
        "items": sorted((item.item_id, item.source_key, item.labels, item.split) for item in items),
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
