import io

import numpy as np
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from wsss_jobs.cli.main import app
from wsss_jobs.datasets.config import VocConfig
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.sbd import add_sbd
from wsss_jobs.datasets.sources import load_sources
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.mask_png import decode_mask, encode_mask


def mat(label_HW):
    """As SBD has it: a struct with the segmentation, boundaries a class, and the categories that are present."""
    buffer = io.BytesIO()
    fields = {"Segmentation": label_HW, "Boundaries": np.zeros((20, 1)), "CategoriesPresent": np.unique(label_HW)}
    savemat(buffer, {"GTcls": fields}, do_compression=True)
    return buffer.getvalue()


def label(value):
    label_HW = np.zeros((16, 24), dtype=np.uint8)
    label_HW[2:9, 3:15] = value
    return label_HW


@pytest.fixture
def sets(store, png):
    """VOC with train a, val b; SBD with train b, c and val d, e, whose mask of e is broken."""
    voc, sbd = store.child("VOC2012"), store.child("sbd/dataset")
    for number, name in enumerate("abcde"):
        voc.put(f"JPEGImages/{name}.jpg", png(number))
        voc.put(f"Annotations/{name}.xml", b"<annotation><object><name>cat</name></object></annotation>")
        sbd.put(f"cls/{name}.mat", mat(label(8)) if name != "e" else b"nothing")
    for name in "ab":
        voc.put(f"SegmentationClass/{name}.png", encode_mask(label(12)))
    lists = {"train": "a\n", "val": "b\n"}
    for name, lines in lists.items():
        voc.put(f"ImageSets/Segmentation/{name}.txt", lines.encode())
    sbd.put("train.txt", b"b\nc\n")
    sbd.put("val.txt", b"d\ne\n")
    return voc, sbd


def test_the_list_and_the_masks(sets):
    voc, sbd = sets
    num_images, errors = add_sbd(voc, sbd)
    assert num_images == 4
    assert [(error.item, error.reason) for error in errors] == [("e", "mask_cannot_decode")]
    sources = load_sources(VocConfig(root=voc.uri, splits="train_aug"))
    assert [source.source_key for source in sources] == ["a", "c", "d", "e"]
    masks = [source.mask_uri and source.mask_uri.removeprefix(f"{voc.uri}/") for source in sources]
    assert masks == ["SegmentationClass/a.png", "SegmentationClassAug/c.png", "SegmentationClassAug/d.png", None]
    np.testing.assert_array_equal(decode_mask(voc.get("SegmentationClassAug/c.png")), label(8))


def test_it_goes_on_where_it_was_and_the_list_comes_last(sets):
    voc, sbd = sets
    voc.put("SegmentationClassAug/c.png", b"done before")
    sbd.delete(["val.txt"])
    with pytest.raises(ConfigError, match=r"SBD list .*val\.txt: no such file"):
        add_sbd(voc, sbd)
    assert not voc.exists("ImageSets/Segmentation/train_aug.txt")
    sbd.put("val.txt", b"d\n")
    assert add_sbd(voc, sbd) == (3, [])
    assert voc.get("SegmentationClassAug/c.png") == b"done before"


def test_the_doctor_finds_the_set_healthy(sets):
    voc, sbd = sets
    sbd.put("val.txt", b"d\n")
    add_sbd(voc, sbd)
    diagnosis = diagnose(VocConfig(root=voc.uri, splits="train_aug"))
    assert (diagnosis.num_images, diagnosis.num_errors) == (3, 0)


def test_the_command_says_what_is_missing(sets):
    voc, sbd = sets
    done = CliRunner().invoke(app, ["data", "sbd", "--voc", voc.uri, "--sbd", sbd.uri])
    assert done.exit_code == 3, done.output
    assert "4 images: ImageSets/Segmentation/train_aug.txt" in done.output
    assert "The published list has 10582" in done.output
    assert "e: its .mat file cannot be read" in done.output
