"""A generated data set on disk or on S3, in the layout of PASCAL VOC or of CUB-200-2011."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wsss_jobs.datasets.config import CubConfig, VocConfig
from wsss_jobs.datasets.synthetic.cub_files import CubFiles
from wsss_jobs.datasets.synthetic.layout import Layout, Scene
from wsss_jobs.datasets.synthetic.scene import paint_scene
from wsss_jobs.datasets.synthetic.shapes import SYNTHETIC_CLASSES
from wsss_jobs.datasets.synthetic.style import SyntheticStyle
from wsss_jobs.datasets.synthetic.voc_files import VocFiles
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.uris import open_store

VERSION = 1  # grows when a pixel changes
CUB_STYLE = SyntheticStyle(max_objects=1, val_part=0.3)  # a fifth of so few images would say little
_DESCRIPTION_KEY = "synthetic.json"  # written last

OnProgress = Callable[[int, int], None]


def generate(
    root: str | Path,
    num_images: int = 160,
    seed: int = 0,
    style: SyntheticStyle | None = None,
    on_progress: OnProgress | None = None,
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
    store = open_store(root)
    _generate(store, VocFiles(store), {}, num_images, seed, style or SyntheticStyle(), on_progress)
    return VocConfig(root=store.uri, masks=("SegmentationClass",))


def generate_cub(
    root: str | Path,
    num_images: int = 160,
    seed: int = 0,
    style: SyntheticStyle = CUB_STYLE,
    on_progress: OnProgress | None = None,
) -> CubConfig:
    """Write a data set of images with one object each, its box being the extent of its mask; see `generate`.

    Args:
        root: A path or `s3://` address.
        num_images: Of training and test together.
        seed: Another seed gives other images of the same kind.
        style: How hard the images are, with `max_objects` 1; its `val_part` is the part of the test images.
        on_progress: Called with the number of images written and their total.

    Raises:
        ConfigError: As `generate`, or the style has several objects an image, or no image is left for the test.
    """
    if style.max_objects != 1:
        raise ConfigError(f"a set in CUB's layout has one object an image: max_objects must be 1, not {style}")
    if not any(_is_held_out(number, style.val_part) for number in range(num_images)):
        raise ConfigError(f"{num_images} images leave none for the split test (a part of {style.val_part}): take more")
    store = open_store(root)
    _generate(store, CubFiles(store), {"format": "cub"}, num_images, seed, style, on_progress)
    return CubConfig(root=store.uri, splits=("train", "test"))


def _generate(
    store: ObjectStore,
    layout: Layout,
    kind: dict[str, Any],
    num_images: int,
    seed: int,
    style: SyntheticStyle,
    on_progress: OnProgress | None,
) -> None:
    if num_images < len(SYNTHETIC_CLASSES):
        raise ConfigError(
            f"a generated set needs {len(SYNTHETIC_CLASSES)} images or more, one a class, found {num_images}"
        )
    description = {"version": VERSION, **kind, "num_images": num_images, "seed": seed, "style": asdict(style)}
    if _is_there(store, description, layout.OURS):
        return
    for number in range(num_images):
        layout.add(_scene(seed, number, style))
        if on_progress is not None:
            on_progress(number + 1, num_images)
    layout.finish()
    store.put(_DESCRIPTION_KEY, json.dumps(description, indent=1).encode())


def _is_there(store: ObjectStore, description: dict[str, Any], ours: tuple[str, ...]) -> bool:
    try:
        found = json.loads(store.get(_DESCRIPTION_KEY))
    except ObjectNotFoundError:
        foreign = next((info.key for info in store.list() if not info.key.startswith(ours)), None)
        if foreign is None:
            return False
        raise ConfigError(f"{store.uri}: is not empty ({foreign}); give a new folder for the generated set") from None
    except ValueError as error:
        raise ConfigError(f"{store.uri_of(_DESCRIPTION_KEY)}: is not JSON ({error}); delete the folder") from error
    if found == description:
        return True
    raise ConfigError(f"{store.uri}: holds a set generated with other settings {found}; delete it or give a new folder")


def _scene(seed: int, number: int, style: SyntheticStyle) -> Scene:
    image_HW3, label_HW = paint_scene(seed, number, style)
    return Scene(f"scene_{number:04d}", image_HW3, label_HW, _is_held_out(number, style.val_part))


def _is_held_out(number: int, part: float) -> bool:
    # Every k-th image, in whole turns through the classes, so that both lists have all of them.
    turn = number // len(SYNTHETIC_CLASSES)
    return int((turn + 1) * part) > int(turn * part)
