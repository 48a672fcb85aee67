"""The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): masks for images of VOC that have none of VOC's own.

With VOC's own training images they make the list `train_aug`: all images of SBD's and VOC's training lists and of SBD's
validation list that are not in VOC's validation list, 10,582 in all.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.class_lists import read_lines
from wsss_jobs.datasets.index import Progress, parallel_map
from wsss_jobs.errors import ConfigError, DataError
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore

NUM_TRAIN_AUG = 10_582
LIST_KEY = "ImageSets/Segmentation/train_aug.txt"
MASK_FOLDER = "SegmentationClassAug"
_NUM_THREADS = 8


def add_sbd(voc: ObjectStore, sbd: ObjectStore, on_progress: Progress | None = None) -> tuple[int, list[DataError]]:
    """Write SBD's masks as PNGs into VOC's folder, and the list `train_aug` last; its length, and broken masks.

    An image with a broken mask stays in the list: masks are for scoring alone.

    Args:
        voc: The folder `VOC2012`.
        sbd: The folder `dataset` of SBD's `benchmark_RELEASE`, with `cls/`, `train.txt` and `val.txt`.
        on_progress: Hears of each mask.

    Raises:
        ConfigError: A list is missing, or SciPy is not installed.
    """
    _mat_reader()
    names = train_aug_names(voc, sbd)
    own = {info.key for info in voc.list("SegmentationClass/")}
    present = {info.key for info in voc.list(f"{MASK_FOLDER}/")}
    missing = [
        name
        for name in names
        if f"SegmentationClass/{name}.png" not in own and f"{MASK_FOLDER}/{name}.png" not in present
    ]

    def convert(name: str) -> DataError | None:
        try:
            label_HW = decode_sbd_mask(sbd.get(f"cls/{name}.mat"), name)
        except ObjectNotFoundError as error:
            return DataError(name, "mask_unreadable", f"{error}; get it anew")
        except DataError as error:
            return error
        voc.put(f"{MASK_FOLDER}/{name}.png", encode_mask(label_HW))
        return None

    errors = [error for error in parallel_map(convert, missing, _NUM_THREADS, on_progress) if error is not None]
    voc.put(LIST_KEY, "".join(f"{name}\n" for name in names).encode())
    return len(names), errors


def train_aug_names(voc: ObjectStore, sbd: ObjectStore) -> list[str]:
    """The image ids of `train_aug`, sorted.

    Raises:
        ConfigError: A list is missing.
    """
    lists = [read_lines(sbd.uri_of(f"{name}.txt"), "SBD list") for name in ("train", "val")]
    train, val = (read_lines(voc.uri_of(f"ImageSets/Segmentation/{name}.txt"), "VOC list") for name in ("train", "val"))
    return sorted(set().union(train, *lists) - set(val))


def decode_sbd_mask(data: bytes, name: str) -> NDArray[np.uint8]:
    """The class ids in a `.mat` file of SBD's `cls` folder, uint8 [H, W]; SBD has no ignored pixels.

    Raises:
        DataError: `mask_cannot_decode`.
    """
    try:
        label_HW = _mat_reader()(io.BytesIO(data))["GTcls"]["Segmentation"][0, 0]
    except ConfigError:
        raise
    except Exception as error:  # SciPy raises errors of any kind on broken bytes
        message = f"its .mat file cannot be read ({type(error).__name__}: {error}); get it anew"
        raise DataError(name, "mask_cannot_decode", message) from error
    return np.ascontiguousarray(label_HW, dtype=np.uint8)


def _mat_reader() -> Callable[[io.BytesIO], Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ConfigError("SBD's .mat files need SciPy: pip install 'wsss-jobs[sbd]'") from error
    read: Callable[[io.BytesIO], Any] = loadmat
    return read
