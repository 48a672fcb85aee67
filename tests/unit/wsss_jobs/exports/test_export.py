"""Where exports go, what they hold while they are made, and what becomes of bad requests."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from wsss_jobs.cli.main import app
from wsss_jobs.errors import ConfigError, StorageError
from wsss_jobs.exports.export import ExportRequest, export_masks
from wsss_jobs.exports.registry import FORMATS
from wsss_jobs.exports.target import FINISHED_KEY, UNFINISHED_KEY
from wsss_jobs.storage.uris import open_store


@pytest.mark.parametrize("format_name", ["coco_rle", "fiftyone", "huggingface"])
def test_a_folder_and_a_bucket_get_the_same(job, s3_bucket, tmp_path, format_name):
    store = open_store(f"s3://{s3_bucket}/some/prefix")
    export_masks(job, ExportRequest(format_name, store.uri))
    export_masks(job, ExportRequest(format_name, str(tmp_path / "out")))
    here = open_store(tmp_path / "out")
    assert {info.key: store.get(info.key) for info in store.list()} == {
        info.key: here.get(info.key) for info in here.list()
    }


def test_the_mark_says_what_it_is(job, masks, tmp_path):
    seen = []
    folder = tmp_path / "out"
    result = export_masks(job, ExportRequest("voc", str(folder)), lambda done, total: seen.append((done, total)))
    mark = json.loads((folder / FINISHED_KEY).read_text())
    assert (mark["step"], mark["format"], mark["num_exported"]) == ("cam_masks", "voc", len(masks))
    assert mark["left_out"] == ["zz failed"]
    assert result.num_exported == len(masks)
    assert seen[-1] == (len(masks) + 1, len(masks) + 1)
    assert not (folder / UNFINISHED_KEY).exists()


def test_other_steps_and_splits(job, masks, tmp_path):
    export_masks(job, ExportRequest("voc", str(tmp_path / "before"), step="cam_masks/before_crf"))
    mask = np.array(Image.open(tmp_path / "before/SegmentationClass/all of it.png"))
    assert not mask.any()
    export_masks(job, ExportRequest("voc", str(tmp_path / "val"), split="val"))
    names = (tmp_path / "val/ImageSets/Segmentation/all.txt").read_text().splitlines()
    assert names == sorted(masks)[::3]


def test_packed_masks_give_the_same(make_job, masks, tmp_path):
    job = make_job(packed=True)
    assert not list(tmp_path.glob("runs/tiny/cam_masks-*/masks/*.png"))
    export_masks(job, ExportRequest("voc", str(tmp_path / "out")))
    for key, label_HW in masks.items():
        found_HW = np.array(Image.open(tmp_path / f"out/SegmentationClass/{key}.png"))
        np.testing.assert_array_equal(found_HW, label_HW)


def test_an_interrupted_export_does_not_look_finished_and_can_go_on(job, masks, tmp_path, monkeypatch):
    request = ExportRequest("voc", str(tmp_path / "out"))
    voc = FORMATS["voc"]
    convert = voc.convert

    def broken(self, labelled):
        if labelled.item.source_key == "nothing":
            raise StorageError("the disk is full")
        return convert(self, labelled)

    monkeypatch.setattr(voc, "convert", broken)
    with pytest.raises(StorageError, match="disk is full"):
        export_masks(job, request)
    assert (tmp_path / "out" / UNFINISHED_KEY).exists()
    assert not (tmp_path / "out" / FINISHED_KEY).exists()
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="unfinished export of something else"):
        export_masks(job, ExportRequest("coco_rle", str(tmp_path / "out")))
    assert export_masks(job, request).num_exported == len(masks)
    with pytest.raises(ConfigError, match="holds a finished export"):
        export_masks(job, request)


def test_a_folder_with_other_things_is_refused(job, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("all of it")
    with pytest.raises(ConfigError, match=r"is not empty \(thesis\.tex\)"):
        export_masks(job, ExportRequest("voc", str(tmp_path / "out")))


@pytest.mark.parametrize(("changes", "message"), [
    ({"format_name": "gif"}, "--format gif: not known; known are voc, "),
    ({"step": "cams"}, "--step cams: no step with masks is called so; there are cam_masks/before_crf, cam_masks"),
    ({"split": "test"}, "--split test: no image is in it; there are train, val"),
    ({"image_prefix": "http://x/"}, "voc writes no addresses of images"),
])  # fmt: skip
def test_bad_requests(job, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        export_masks(job, ExportRequest(**({"format_name": "voc", "to": str(tmp_path / "out")} | changes)))
    assert not (tmp_path / "out").exists()


def test_a_step_that_is_not_finished_is_refused(make_job, tmp_path):
    job = make_job(finished=False)
    with pytest.raises(ConfigError, match="--step cam_masks: is not finished; `wsss run` goes on"):
        export_masks(job, ExportRequest("voc", str(tmp_path / "out")))


def test_an_image_that_cannot_be_read_is_left_out(job, tmp_path):
    (tmp_path / "data/images/nothing.jpg").unlink()
    result = export_masks(job, ExportRequest("fiftyone", str(tmp_path / "out")))
    assert {(error.item, error.reason) for error in result.left_out} == {
        ("nothing", "missing"),
        ("zz failed", "no_mask"),
    }
    assert not (tmp_path / "out/labels/nothing.png").exists()


def test_a_name_that_no_list_can_hold_is_left_out(make_job, tmp_path):
    job = make_job({"#a": np.ones((8, 8), dtype=np.uint8), "b": np.ones((8, 8), dtype=np.uint8)})
    result = export_masks(job, ExportRequest("cvat", str(tmp_path / "out")))
    assert [(error.item, error.reason) for error in result.left_out] == [
        ("#a", "name_not_listable"),
        ("zz failed", "no_mask"),
    ]


def test_the_command_line(job, tmp_path):
    recipe = tmp_path / "tiny.json.yaml"
    recipe.write_text(json.dumps(job.recipe.content))
    arguments = ["export", str(recipe), "--format", "coco_rle", "--to", str(tmp_path / "out"), "--split", "train"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3, done.output
    assert "5 masks of cam_masks" in done.output
    assert "zz failed: has no mask in this step; `wsss failed` says why [no_mask]" in done.output
    assert (tmp_path / "out/annotations/instances.json").is_file()
