"""COCO's annotations as masks: what a mask can say of them, in PNGs beside the images, for scoring.

Where objects overlap, the smaller one is seen; crowds lie below all others. Class ids are those of the data set.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.coco import WHAT, annotations_uri, field, of_split, read_coco_tags
from wsss_jobs.datasets.config import CocoConfig
from wsss_jobs.datasets.image_folder import source_key_of
from wsss_jobs.datasets.index import Progress, parallel_map
from wsss_jobs.datasets.json_stream import array_elements
from wsss_jobs.errors import DataError
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.mask_run_length import decode_segmentation, mask_api
from wsss_jobs.storage.uris import open_store

_NUM_BUCKETS = 64  # annotations of one image lie anywhere in the file: they are sorted into files of a 64th each
_NUM_THREADS = 8


@dataclass(frozen=True, slots=True)
class _Canvas:
    """An image to paint: its mask's key and its size."""

    key: str
    name: str
    size_hw: tuple[int, int]


def render_coco_masks(
    config: CocoConfig, split: str, class_names: tuple[str, ...], on_progress: Progress | None = None
) -> list[DataError]:
    """Write the mask of every image of a split that has none yet; what could not be rendered.

    The file of annotations is never held whole.

    Raises:
        ConfigError: The file cannot be read, or pycocotools is not installed.
    """
    mask_api()
    uri = annotations_uri(config, split)
    ids = {name: class_id for class_id, name in enumerate(class_names, start=1)}
    class_ids = {number: ids.get(name, 0) for number, name in read_coco_tags(uri).categories.items()}
    root = open_store(config.root)
    prefix = f"{of_split(config.masks, split)}/"
    present = {info.key for info in root.list(prefix)}
    errors = []
    with tempfile.TemporaryDirectory(prefix="wsss-coco-") as scratch:
        canvases = _sort_into_buckets(uri, prefix, Path(scratch))
        missing = {number: canvas for number, canvas in canvases.items() if canvas.key not in present}

        def write(pair: tuple[_Canvas, list[dict[str, Any]]]) -> DataError | None:
            canvas, annotations = pair
            try:
                root.put(canvas.key, encode_mask(paint(annotations, class_ids, canvas.size_hw)))
            except (ValueError, TypeError, KeyError, IndexError) as error:
                text = f"its annotations cannot be rendered ({type(error).__name__}: {error}); repair them"
                return DataError(canvas.name, "broken_annotation", text)
            return None

        num_done = 0
        for bucket in range(_NUM_BUCKETS):
            work = list(_work_of(Path(scratch), bucket, missing))
            errors += [error for error in parallel_map(write, work, _NUM_THREADS, None) if error is not None]
            num_done += len(work)
            if on_progress is not None:
                on_progress(num_done, len(missing))
    return errors


def paint(
    annotations: Iterable[dict[str, Any]], class_ids: dict[int, int], size_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """The mask of an image, uint8 [H, W].

    Args:
        annotations: Of the image: `category_id`, `segmentation`, `iscrowd`.
        class_ids: Of the categories; 0 for those that the data set does not have.
        size_hw: Of the image, in px.
    """
    shapes = []
    for annotation in annotations:
        mask_HW = decode_segmentation(annotation["segmentation"], size_hw)
        shapes.append(
            (not annotation.get("iscrowd"), -int(mask_HW.sum()), class_ids[annotation["category_id"]], mask_HW)
        )
    label_HW = np.zeros(size_hw, dtype=np.uint8)
    for *_, class_id, mask_HW in sorted(shapes, key=lambda shape: shape[:3]):
        label_HW[mask_HW] = class_id
    return label_HW


def _sort_into_buckets(uri: str, prefix: str, folder: Path) -> dict[int, _Canvas]:
    canvases = {}
    files = [(folder / f"{bucket}.jsonl").open("w", encoding="utf-8") for bucket in range(_NUM_BUCKETS)]
    try:
        for array, element in array_elements(uri, ("images", "annotations"), WHAT):
            if array == "images":
                number, name, height_px, width_px = _image(element, uri)
                canvases[number] = _Canvas(f"{prefix}{name}.png", name, (height_px, width_px))
            else:
                number = field(element, "image_id", int, array, uri)
                files[number % _NUM_BUCKETS].write(json.dumps(element) + "\n")
    finally:
        for file in files:
            file.close()
    return canvases


def _image(element: Any, uri: str) -> tuple[int, str, int, int]:
    number, height_px, width_px = (field(element, name, int, "images", uri) for name in ("id", "height", "width"))
    return number, source_key_of(field(element, "file_name", str, "images", uri)), height_px, width_px


def _work_of(folder: Path, bucket: int, missing: dict[int, _Canvas]) -> Iterator[tuple[_Canvas, list[dict[str, Any]]]]:
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with (folder / f"{bucket}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            annotation = json.loads(line)
            by_image[annotation["image_id"]].append(annotation)
    for number, canvas in missing.items():
        if number % _NUM_BUCKETS == bucket:
            yield canvas, by_image.get(number, [])
