"""One sick data set with every illness that the doctor knows."""

import io

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.datasets.config import FolderConfig, VocConfig
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.index import build_index
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.mask_png import encode_mask

CLASSES = ("cat", "dog", "unicorn")


def png(seed, size=(24, 16), kind="PNG"):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def flat_png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def mask(value=1, size=(24, 16)):
    return encode_mask(np.full((size[1], size[0]), value, np.uint8))


@pytest.fixture
def sick(tmp_path):
    images = {
        "good.png": png(0), "copy.png": png(0), "same_pixels.bmp": png(0, kind="BMP"),
        "broken.png": png(1)[:200], "tiny.png": png(2, (3, 3)), "black.png": flat_png(1),
        "unlabelled.png": png(3), "doggo.png": png(4), "label99.png": png(5),
        "twin.png": png(6), "twin.bmp": png(7, kind="BMP"), "unlisted.png": png(8), "unlisted too.png": png(9),
        "small_mask.png": png(10), "odd_mask.png": png(11), "broken_mask.png": png(12), "no_mask.png": png(13),
    }  # fmt: skip
    rows = [
        "good,cat,train", "copy,dog,val", "same_pixels,cat,train", "broken,cat,train", "tiny,cat,train",
        "black,cat,train", "unlabelled,,train", "doggo,doggo,train", "label99,99,train", "twin.png,cat,train",
        "twin.bmp,cat,train", "gone,cat,train", "small_mask,cat,train", "odd_mask,cat,train", "broken_mask,cat,train",
        "no_mask,cat,train",
    ]  # fmt: skip
    masks = {f"{name.rpartition('.')[0]}.png": mask() for name in images if name != "no_mask.png"}
    masks |= {"small_mask.png": mask(size=(12, 8)), "odd_mask.png": mask(77), "broken_mask.png": b"nothing"}
    masks["good.png"] = mask(255)
    for folder, files in (("images", images), ("masks", masks)):
        (tmp_path / folder).mkdir()
        for name, data in files.items():
            (tmp_path / folder / name).write_bytes(data)
    (tmp_path / "tags.csv").write_text("image,labels,split\n" + "\n".join(rows) + "\n")
    return FolderConfig(
        images=str(tmp_path / "images"), tags=str(tmp_path / "tags.csv"), classes=CLASSES, masks=str(tmp_path / "masks")
    )


def test_every_illness_is_found_and_nothing_else(sick):
    diagnosis = diagnose(sick)
    found = {(finding.severity, finding.code, finding.item) for finding in diagnosis.findings}
    assert found == {
        ("error", "cannot_decode", "broken"),
        ("error", "image_too_small", "tiny"),
        ("error", "missing", "gone"),
        ("error", "unlabelled", "unlabelled"),
        ("error", "unknown_class", "doggo"),
        ("error", "label_out_of_range", "label99"),
        ("error", "name_collision", "twin"),
        ("error", "mask_size", "small_mask"),
        ("error", "mask_values", "odd_mask"),
        ("error", "mask_cannot_decode", "broken_mask"),
        ("warning", "duplicate", "good"),
        ("warning", "duplicate_pixels", "same_pixels"),
        ("warning", "near_empty", "black"),
        ("warning", "class_without_images", ""),
        ("warning", "class_with_few_images", ""),
        ("warning", "not_listed", ""),
        ("note", "mask_missing", ""),
    }
    assert (diagnosis.num_images, diagnosis.num_usable) == (16, 8)
    assert diagnosis.images_per_class == {"cat": 7, "dog": 1, "unicorn": 0}
    assert (diagnosis.num_errors, diagnosis.num_warnings) == (11, 7)
    assert [finding.severity for finding in diagnosis.findings] == sorted(
        (finding.severity for finding in diagnosis.findings), key=["error", "warning", "note"].index
    )


def test_messages_name_what_was_found_and_the_remedy(sick):
    messages = {(f.code, f.item): f"{f.message} -> {f.remedy}" for f in diagnose(sick).findings}
    assert messages["label_out_of_range", "label99"].startswith("a class id must be in 1..3, found 99 in ")
    assert messages["label_out_of_range", "label99"].endswith("line 10 -> correct it or extend the class list")
    assert (
        "odd_mask.png: values must be 0..3 or 255, found 77 -> check the class list"
        in messages["mask_values", "odd_mask"]
    )
    assert "is 12x8, its image is 24x16" in messages["mask_size", "small_mask"]
    assert "in the split 'val' and not 'train', with other tags" in messages["duplicate", "good"]
    assert messages["not_listed", ""].startswith("2 image files are in no list (unlisted too.png, unlisted.png)")
    assert all(message.rpartition(" -> ")[2] for message in messages.values())


def test_the_diagnosis_agrees_with_the_index(sick):
    dataset, errors = build_index(load_sources(sick), load_class_names(sick))
    diagnosis = diagnose(sick)
    found = {(f.item, f.code) for f in diagnosis.findings if f.severity == "error" and not f.code.startswith("mask")}
    assert found == {(error.item, error.reason) for error in errors}
    assert len(dataset.items) == diagnosis.num_usable


def test_it_is_the_same_on_any_number_of_threads(sick):
    assert diagnose(sick, num_threads=1) == diagnose(sick, num_threads=8)


def test_progress(sick):
    seen = []
    diagnose(sick, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (16, 16)


def test_a_healthy_set_has_no_findings(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    rows = "".join(f"{number},{CLASSES[number % 2]}\n" for number in range(20))
    (tmp_path / "tags.csv").write_text(f"image,labels\n{rows}")
    config = FolderConfig(images=str(tmp_path), tags=str(tmp_path / "tags.csv"), classes=CLASSES[:2])
    assert diagnose(config).findings == ()


def test_imbalance_is_noted(tmp_path):
    for number in range(230):
        (tmp_path / f"{number}.png").write_bytes(png(number, (8, 8)))
    rows = "".join(f"{number},{'dog' if number < 10 else 'cat'}\n" for number in range(230))
    (tmp_path / "tags.csv").write_text(f"image,labels\n{rows}")
    config = FolderConfig(images=str(tmp_path), tags=str(tmp_path / "tags.csv"), classes=("cat", "dog"))
    (finding,) = diagnose(config).findings
    assert (finding.severity, finding.code) == ("note", "class_imbalance")
    assert finding.message == "'cat' has 220 images and 'dog' has 10"


def test_a_set_that_cannot_be_read_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError):
        diagnose(VocConfig(root=str(tmp_path / "nowhere")))
