"""A generated data set on disk or on S3, in PASCAL VOC's layout."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.config import VocConfig
from wsss_jobs.datasets.synthetic.scene import paint_scene
from wsss_jobs.datasets.synthetic.shapes import SYNTHETIC_CLASSES
from wsss_jobs.datasets.synthetic.stored_png import encode_stored_png
from wsss_jobs.datasets.synthetic.style import SyntheticStyle
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.uris import open_store

VERSION = 1  # grows when a pixel changes
_DESCRIPTION_KEY = "synthetic.json"  # written last


def generate(
    root: str | Path,
    num_images: int = 160,
    seed: int = 0,
    style: SyntheticStyle | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> VocConfig:
    """Write a data set and return the `dataset` block that reads it; nothing is done if it is there already.

    The same seed, number and style give the same bytes everywhere. Image `n` does not depend on `num_images`.

    Args:
        root: A path or `s3://` address.
        num_images: In both lists together.
        seed: Another seed gives other images of the same kind.
        style: How hard the images are.
        on_progress: Called with the number of images written and their total.

    Raises:
        ConfigError: The folder holds something else, or `num_images` is too small for both lists.
    """
    style = style or SyntheticStyle()
    if num_images < len(SYNTHETIC_CLASSES):
        raise ConfigError(
            f"a generated set needs {len(SYNTHETIC_CLASSES)} images or more, one a class, found {num_images}"
        )
    store = open_store(root)
    description = {"version": VERSION, "num_images": num_images, "seed": seed, "style": asdict(style)}
    if not _is_there(store, description):
        labels = {}
        for number in range(num_images):
            labels[_name(number)] = _write_image(store, seed, number, style)
            if on_progress is not None:
                on_progress(number + 1, num_images)
        _write_lists(store, labels, style.val_part)
        store.put(_DESCRIPTION_KEY, json.dumps(description, indent=1).encode())
    return VocConfig(root=store.uri, masks=("SegmentationClass",))


def _is_there(store: ObjectStore, description: dict[str, object]) -> bool:
    try:
        found = json.loads(store.get(_DESCRIPTION_KEY))
    except ObjectNotFoundError:
        foreign = next((info.key for info in store.list() if not info.key.startswith(_OURS)), None)
        if foreign is None:
            return False
        raise ConfigError(f"{store.uri}: is not empty ({foreign}); give a new folder for the generated set") from None
    except ValueError as error:
        raise ConfigError(f"{store.uri_of(_DESCRIPTION_KEY)}: is not JSON ({error}); delete the folder") from error
    if found == description:
        return True
    raise ConfigError(f"{store.uri}: holds a set generated with other settings {found}; delete it or give a new folder")


_OURS = ("JPEGImages/", "SegmentationClass/", "Annotations/", "ImageSets/", "image_labels.csv", "classes.txt")


def _name(number: int) -> str:
    return f"scene_{number:04d}"


def _write_image(store: ObjectStore, seed: int, number: int, style: SyntheticStyle) -> tuple[int, ...]:
    image_HW3, label_HW = paint_scene(seed, number, style)
    name = _name(number)
    labels = tuple(int(class_id) for class_id in np.unique(label_HW) if class_id > 0)
    store.put(f"JPEGImages/{name}.png", encode_stored_png(image_HW3))
    store.put(f"SegmentationClass/{name}.png", encode_mask(label_HW))
    store.put(f"Annotations/{name}.xml", _annotation(name, label_HW, labels).encode())
    return labels


def _annotation(name: str, label_HW: NDArray[np.uint8], labels: tuple[int, ...]) -> str:
    height, width = label_HW.shape
    objects = "".join(_object(SYNTHETIC_CLASSES[class_id - 1], label_HW == class_id) for class_id in labels)
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.png</filename>{size}{objects}</annotation>\n"


def _object(class_name: str, where_HW: NDArray[np.bool_]) -> str:
    rows, columns = np.flatnonzero(where_HW.any(axis=1)), np.flatnonzero(where_HW.any(axis=0))
    corners = {"xmin": columns[0], "ymin": rows[0], "xmax": columns[-1], "ymax": rows[-1]}
    box = "".join(f"<{corner}>{value + 1}</{corner}>" for corner, value in corners.items())  # VOC counts from 1
    return f"<object><name>{escape(class_name)}</name><bndbox>{box}</bndbox></object>"


def _write_lists(store: ObjectStore, labels: dict[str, tuple[int, ...]], val_part: float) -> None:
    # Every k-th image, in whole turns through the classes, so that both lists have all of them.
    turn = len(SYNTHETIC_CLASSES)
    val = {
        name
        for number, name in enumerate(labels)
        if int((number // turn + 1) * val_part) > int((number // turn) * val_part)
    }
    for split, names in (("train", [name for name in labels if name not in val]), ("val", sorted(val))):
        store.put(f"ImageSets/Segmentation/{split}.txt", "".join(f"{name}\n" for name in names).encode())
    rows = [f"{name}.png,{'|'.join(SYNTHETIC_CLASSES[c - 1] for c in ids)}\n" for name, ids in labels.items()]
    store.put("image_labels.csv", ("image,labels\n" + "".join(rows)).encode())
    store.put("classes.txt", "".join(f"{name}\n" for name in SYNTHETIC_CLASSES).encode())
