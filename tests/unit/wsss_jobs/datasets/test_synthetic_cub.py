"""Generated boxes: what is written in CUB's layout is what its reader reads, and boxes are the masks' extents."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from wsss_jobs.cli.main import app
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.datasets.synthetic import SyntheticStyle, generate, generate_cub
from wsss_jobs.datasets.synthetic.cub_files import CubImage, cub_classes, write_cub_lists
from wsss_jobs.datasets.synthetic.layout import Extent, extent_of
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.uris import open_store, read_uri

SMALL = SyntheticStyle(width_px=64, height_px=48, max_objects=1, val_part=0.3)
CLASSES = ("001.bird", "002.cactus", "003.fish", "004.house", "005.mushroom", "006.snail")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    return generate_cub(tmp_path_factory.mktemp("cub"), num_images=36, seed=3, style=SMALL)


def extent_by_hand(where_HW):
    """Pixel by pixel."""
    points = [(x, y) for y, row in enumerate(where_HW.tolist()) for x, is_object in enumerate(row) if is_object]
    left, top = min(x for x, _ in points), min(y for _, y in points)
    return (left, top, max(x for x, _ in points) - left + 1, max(y for _, y in points) - top + 1)


def test_an_extent_by_hand():
    where_HW = np.zeros((6, 9), bool)
    where_HW[2, 3] = where_HW[4, 7] = True
    assert extent_of(where_HW) == (3, 2, 5, 3) == extent_by_hand(where_HW)
    assert extent_of(np.ones((6, 9), bool)) == (0, 0, 9, 6)


def test_boxes_that_are_read_are_extents_of_the_masks(generated):
    sources = load_sources(generated)
    assert load_class_names(generated) == CLASSES
    assert len(sources) == 36
    for source in sources:
        label_HW = decode_mask(read_uri(source.mask_uri))
        (class_id,) = source.labels
        assert set(np.unique(label_HW)) == {0, class_id}
        assert source.source_key.startswith(f"{CLASSES[class_id - 1]}/scene_")
        assert source.boxes_xywh == (extent_by_hand(label_HW == class_id),)


def test_the_set_is_healthy_and_both_splits_have_all_classes(generated):
    findings = diagnose(generated).findings
    assert [finding for finding in findings if finding.severity == "error"] == []
    by_split = {
        split: [source.labels for source in load_sources(generated) if source.split == split]
        for split in ("train", "test")
    }
    assert {split: len(labels) for split, labels in by_split.items()} == {"train": 30, "test": 6}
    for labels in by_split.values():
        assert set(labels) == {(1,), (2,), (3,), (4,), (5,), (6,)}


def test_the_lists_are_cubs(tmp_path):
    images = [
        CubImage("001.bird/a.png", 1, True, Extent(60, 27, 325, 304)),
        CubImage("002.cactus/b.png", 2, False, Extent(0, 0, 3, 4)),
    ]
    write_cub_lists(open_store(tmp_path), cub_classes(["bird", "cactus"]), images)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "classes.txt": "1 001.bird\n2 002.cactus\n",
        "images.txt": "1 001.bird/a.png\n2 002.cactus/b.png\n",
        "image_class_labels.txt": "1 1\n2 2\n",
        "train_test_split.txt": "1 1\n2 0\n",
        "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n2 0.0 0.0 3.0 4.0\n",
    }


def test_a_set_has_one_layout_and_one_object_an_image(tmp_path):
    generate_cub(tmp_path / "cub", 24, style=SMALL)
    with pytest.raises(ConfigError, match="other settings"):
        generate(tmp_path / "cub", 24, style=SMALL)
    generate(tmp_path / "voc", 6, style=SMALL)
    assert json.loads((tmp_path / "voc" / "synthetic.json").read_text()).keys() == {
        "version", "num_images", "seed", "style",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="other settings"):
        generate_cub(tmp_path / "voc", 24, style=SMALL)
    with pytest.raises(ConfigError, match="one object an image"):
        generate_cub(tmp_path / "many", 6, style=SyntheticStyle())


def test_too_few_images_for_a_split_test_are_refused_before_any_is_written(tmp_path):
    with pytest.raises(ConfigError, match="18 images leave none for the split test"):
        generate_cub(tmp_path / "cub", 18, style=SMALL)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_what_its_format_says(tmp_path):
    for name, options in (("voc", []), ("cub", ["--format", "cub"])):
        arguments = ["data", "synthetic", "--root", str(tmp_path / name), "--num-images", "24", *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "voc" / "ImageSets").is_dir()
    assert not (tmp_path / "voc" / "images").exists()
    assert (tmp_path / "cub" / "bounding_boxes.txt").is_file()
    assert not (tmp_path / "cub" / "ImageSets").exists()
