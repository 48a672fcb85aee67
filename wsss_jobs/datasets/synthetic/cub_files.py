"""Scenes with one object each in the layout of CUB-200-2011, boxes included."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.datasets.synthetic.layout import Extent, Scene, extent_of
from wsss_jobs.datasets.synthetic.shapes import SYNTHETIC_CLASSES
from wsss_jobs.datasets.synthetic.stored_png import encode_stored_png
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.object_store import ObjectStore


@dataclass(frozen=True)
class CubImage:
    """An image as the lists know it.

    Attributes:
        name: Below `images/`, such as "001.bird/scene_0000.png".
        class_id: From 1.
        box: In px.
    """

    name: str
    class_id: int
    is_train: bool
    box: Extent


def cub_classes(names: Sequence[str]) -> list[str]:
    """Returns the names of the classes with their ids before them, as CUB has them: 001.bird, 002.cactus, ..."""
    return [f"{number:03d}.{name}" for number, name in enumerate(names, start=1)]


def write_cub_lists(store: ObjectStore, class_names: Sequence[str], images: Sequence[CubImage]) -> None:
    """Writes the five lists that `CubConfig` reads beside the images, `<id> <value>` a line.

    Args:
        class_names: Of the classes 1, 2, ..., as `cub_classes` returns them.
        images: In the order of their ids, which count from 1.
    """
    lists = {
        "classes.txt": list(class_names),
        "images.txt": [image.name for image in images],
        "image_class_labels.txt": [str(image.class_id) for image in images],
        "train_test_split.txt": [str(int(image.is_train)) for image in images],
        "bounding_boxes.txt": [" ".join(f"{number:.1f}" for number in image.box) for image in images],
    }
    for key, values in lists.items():
        lines = [f"{number} {value}\n" for number, value in enumerate(values, start=1)]
        store.put(key, "".join(lines).encode())


class CubFiles:
    """The layout that `CubConfig` reads: images and masks in a folder a class, and its lists."""

    OURS: tuple[str, ...] = (
        "images/", "masks/", "classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt",
        "bounding_boxes.txt",
    )  # fmt: skip

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._classes = cub_classes(SYNTHETIC_CLASSES)
        self._images: list[CubImage] = []

    def add(self, scene: Scene) -> None:
        """Writes an image of one class, and its mask, from which its box is."""
        (class_id,) = scene.labels
        key = f"{self._classes[class_id - 1]}/{scene.name}.png"
        self._store.put(f"images/{key}", encode_stored_png(scene.image_HW3))
        self._store.put(f"masks/{key}", encode_mask(scene.label_HW))
        self._images.append(CubImage(key, class_id, not scene.is_held_out, extent_of(scene.label_HW == class_id)))

    def finish(self) -> None:
        """Writes the lists."""
        write_cub_lists(self._store, self._classes, self._images)
