"""Real images with one tag as a set for localisation: CUB's layout, boxes from the masks, images and masks as links.

Boxes are extents of the tag's pixels in the mask: of several objects of the class, one box around all. They and the
masks are for scoring alone. Nothing of the images is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from benchmarks.comparing import evenly
from benchmarks.real_voc import half_of_name
from wsss_jobs.datasets.config import VocConfig
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.datasets.synthetic.cub_files import CubImage, cub_classes, write_cub_lists
from wsss_jobs.datasets.synthetic.layout import extent_of
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.uris import open_store, read_uri


def write_voc_boxes(voc: Path, root: Path, num_images: int | None = None) -> int:
    """Writes the folder of the subset's training images with one tag; returns how many there are.

    Args:
        voc: `voc_subset`.
        root: The folder. What is there already is kept, the lists are written anew.
        num_images: Only so many of them, evenly from the list.
    """
    config = VocConfig(root=str(voc.resolve()), tags="image_labels.csv", masks=("SegmentationClassAug",))
    names = load_class_names(config)
    classes = cub_classes(names)
    sources = [source for source in load_sources(config) if len(source.labels) == 1]
    if num_images is not None:
        sources = evenly(sources, num_images)
    images = [_linked(source, root, classes) for source in sources]
    write_cub_lists(open_store(root), classes, images)
    return len(images)


def is_train(key: str) -> bool:
    """Whether an image is for training: the half that `benchmarks.real_voc` has tuned on is, the other is for tests."""
    return half_of_name(key) == "tuned_half"


def _linked(source: SourceImage, root: Path, classes: Sequence[str]) -> CubImage:
    """Links image and mask below the folder of their class; returns the entry of the lists."""
    (class_id,) = source.labels
    assert source.mask_uri is not None
    folder, image = classes[class_id - 1], PurePosixPath(source.uri)
    _link(root / "images" / folder / image.name, Path(source.uri))
    _link(root / "masks" / folder / f"{image.stem}.png", Path(source.mask_uri))
    box = extent_of(decode_mask(read_uri(source.mask_uri)) == class_id)
    return CubImage(f"{folder}/{image.name}", class_id, is_train(source.source_key), box)


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() and path.readlink() != target:  # the subset has moved
        path.unlink()
    if not path.is_symlink():
        path.symlink_to(target)
