"""Every format, read again by a library that its users have or by a reader written from its description."""

import io
import json
import tarfile
import zipfile
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from label_studio_brush import decode_brush
from PIL import Image
from pycocotools.coco import COCO

from wsss_jobs.datasets.class_lists import VOC_CLASSES
from wsss_jobs.errors import ConfigError
from wsss_jobs.exports.export import ExportRequest, export_masks
from wsss_jobs.exports.registry import FORMATS
from wsss_jobs.storage.mask_png import voc_palette

FAILED = "zz failed"


@pytest.fixture
def exported(job, tmp_path):
    """Exports into a folder; returns it."""

    def export(format_name, **options):
        result = export_masks(job, ExportRequest(format_name, str(tmp_path / "out"), **options))
        assert [(error.item, error.reason) for error in result.left_out] == [(FAILED, "no_mask")]
        return tmp_path / "out"

    return export


def assert_same_masks(found, masks):
    assert sorted(found) == sorted(masks)
    for key, label_HW in masks.items():
        np.testing.assert_array_equal(found[key], label_HW, err_msg=key)


def test_voc(exported, masks):
    folder = exported("voc")
    names = (folder / "ImageSets/Segmentation/all.txt").read_text().splitlines()
    images = {name: Image.open(folder / f"SegmentationClass/{name}.png") for name in names}
    assert_same_masks({name: np.array(image) for name, image in images.items()}, masks)
    assert {image.mode for image in images.values()} == {"P"}
    assert images["nothing"].getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    assert (folder / "classes.txt").read_text().splitlines()[:2] == ["background", "cat"]


@pytest.mark.parametrize("format_name", ["coco_rle", "coco_polygons"])
def test_coco_with_pycocotools(exported, masks, format_name):
    coco = COCO(exported(format_name) / "annotations/instances.json")
    found = {}
    for image in coco.imgs.values():
        label_HW = np.zeros((image["height"], image["width"]), dtype=np.uint8)
        if "ignore" in image:
            label_HW[coco.annToMask({"segmentation": image["ignore"], "image_id": image["id"]}) > 0] = 255
        annotations = coco.imgToAnns[image["id"]]
        for annotation in annotations:
            mask_HW = coco.annToMask(annotation) > 0
            label_HW[mask_HW] = annotation["category_id"]
            assert annotation["area"] == mask_HW.sum()
            x, y, width, height = annotation["bbox"]
            assert mask_HW[y : y + height, x : x + width].sum() == mask_HW.sum()
        assert len({annotation["category_id"] for annotation in annotations}) == len(annotations)
        found[image["file_name"].rpartition(".")[0]] = label_HW
    assert_same_masks(found, masks)
    assert [coco.cats[class_id]["name"] for class_id in (1, 2, 3)] == ["cat", "dog", 'odd & "quoted"']


@pytest.mark.parametrize("packed", [False, True])
def test_coco_instances_with_pycocotools(job_with_instances, objects_of, masks, tmp_path, packed):
    """Of the walk's step, which is not the last one with masks, but the only one with objects."""
    job = job_with_instances(step="walk_masks", packed=packed)
    result = export_masks(job, ExportRequest("coco_instances", str(tmp_path / "out")))
    assert (result.step, result.num_exported) == ("walk_masks", len(masks))
    coco = COCO(tmp_path / "out" / "annotations/instances.json")
    for image in coco.imgs.values():
        id_HW, rows = objects_of(masks[image["file_name"].rpartition(".")[0]])
        annotations = coco.imgToAnns[image["id"]]
        assert [(a["category_id"], a["score"], a["area"]) for a in annotations] == [
            (row.class_id, row.score, row.num_px) for row in rows
        ]
        for row, annotation in zip(rows, annotations, strict=True):
            np.testing.assert_array_equal(coco.annToMask(annotation) > 0, id_HW == row.instance_id)


def test_a_recipe_or_a_step_without_objects_is_refused(job, job_with_instances, tmp_path):
    rule = r" has no instance masks; `instances: \{\}` in the stage random_walk"
    for refused, step, where in ((job, None, "tiny"), (job_with_instances(), "cam_masks", "--step cam_masks")):
        with pytest.raises(ConfigError, match=f"coco_instances: {where}{rule}"):
            export_masks(refused, ExportRequest("coco_instances", str(tmp_path / "out"), step=step))


def test_label_studio(exported, masks):
    folder = exported("label_studio")
    config = ET.parse(folder / "label_config.xml").getroot()
    labels = [label.get("value") for label in config.find("BrushLabels")]
    assert labels == ["cat", "dog", 'odd & "quoted"', "ignore"]
    assert config.find("BrushLabels").find("Label").get("background") == "#800000"
    values = dict(zip(labels, [1, 2, 3, 255], strict=True))
    found = {}
    for task in json.loads((folder / "tasks-00000.json").read_text()):
        key = task["data"]["source_key"]
        label_HW = np.zeros(masks[key].shape, dtype=np.uint8)
        for region in task["predictions"][0]["result"]:
            assert (region["from_name"], region["to_name"]) == ("tag", "image")
            assert (region["original_height"], region["original_width"]) == label_HW.shape
            (name,) = region["value"]["brushlabels"]
            alpha = np.array(decode_brush(region["value"]["rle"])).reshape(*label_HW.shape, 4)[..., 3]
            label_HW[alpha == 255] = values[name]
        found[key] = label_HW
        assert unquote(task["data"]["image"]).startswith(f"/data/local-files/?d={key}.")
    assert_same_masks(found, masks)


def test_label_studio_addresses_and_files_of_tasks(exported, monkeypatch):
    monkeypatch.setattr("wsss_jobs.exports.label_studio.TASKS_A_FILE", 3)
    folder = exported("label_studio", image_prefix="https://img/")
    files = sorted(folder.glob("tasks-*.json"))
    tasks = [json.loads(file.read_text()) for file in files]
    assert [len(each) for each in tasks] == [3, 3, 2]
    assert tasks[1][1]["data"]["image"] == "https://img/many%20parts%20%231.png"


def test_cvat_label_map_and_names(exported, masks):
    with zipfile.ZipFile(exported("cvat") / "cvat_masks.zip") as archive:
        rows = [row.split(":") for row in archive.read("labelmap.txt").decode().splitlines() if row[0] != "#"]
        colours = {tuple(map(int, colour.split(","))): name for name, colour, _, _ in rows}
        assert list(colours.values()) == ["background", "cat", "dog", 'odd & "quoted"', "ignore"]
        values = dict(zip(colours.values(), [0, 1, 2, 3, 255], strict=True))
        names = archive.read("ImageSets/Segmentation/default.txt").decode().splitlines()
        found = {}
        for name in names:
            for folder in ("SegmentationClass", "SegmentationObject"):
                rgb = np.array(Image.open(io.BytesIO(archive.read(f"{folder}/{name}.png"))).convert("RGB"))
            found[name] = np.zeros(rgb.shape[:2], dtype=np.uint8)
            for colour, label in colours.items():
                found[name][(rgb == colour).all(axis=2)] = values[label]
    assert_same_masks(found, masks)


def test_cvat_names_ignore_only_where_it_occurs(make_job, tmp_path):
    job = make_job({"a": np.ones((8, 8), dtype=np.uint8)})
    export_masks(job, ExportRequest("cvat", str(tmp_path / "out")))
    with zipfile.ZipFile(tmp_path / "out/cvat_masks.zip") as archive:
        assert b"ignore" not in archive.read("labelmap.txt")


def test_fiftyone_folder(exported, masks):
    folder = exported("fiftyone")
    images = {path.relative_to(folder / "data").with_suffix("").as_posix() for path in (folder / "data").rglob("*.*")}
    labels = {
        path.relative_to(folder / "labels").with_suffix("").as_posix(): Image.open(path)
        for path in (folder / "labels").rglob("*.png")
    }
    assert images == set(labels)
    assert {image.mode for image in labels.values()} == {"L"}
    assert_same_masks({key: np.array(image) for key, image in labels.items()}, masks)
    assert json.loads((folder / "mask_targets.json").read_text())["255"] == "ignore"


def test_huggingface_with_datasets(exported, masks, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets

    monkeypatch.setattr("wsss_jobs.exports.huggingface.ROW_GROUP_ROWS", 2)
    monkeypatch.setattr("wsss_jobs.exports.huggingface.SHARD_BYTES", 1 << 10)
    folder = exported("huggingface")
    assert len(list((folder / "data/train").iterdir())) > 1
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded) == ["train", "val"]
    rows = [row for split in loaded.values() for row in split]
    assert_same_masks({row["source_key"]: np.array(row["mask"]) for row in rows}, masks)
    assert all(row["image"].size == row["mask"].size and row["image"].mode == "RGB" for row in rows)
    names = loaded["val"].features["labels"].feature
    assert names.int2str(loaded["val"][0]["labels"]) == ["cat"]


@pytest.mark.parametrize("competition", ["comp5", "comp6"])
def test_voc_submission(make_job, tmp_path, competition):
    job = make_job({"2008_000006": np.full((8, 8), 20, dtype=np.uint8)}, VOC_CLASSES)
    export_masks(job, ExportRequest(f"voc_{competition}", str(tmp_path / "out")))
    with tarfile.open(tmp_path / "out/results.tgz") as archive:
        (name,) = archive.getnames()
        assert name == f"results/VOC2012/Segmentation/{competition}_test_cls/2008_000006.png"
        image = Image.open(archive.extractfile(name))
    assert np.unique(np.array(image)).tolist() == [20]
    assert image.getpalette() == voc_palette().ravel().tolist()


def test_voc_submission_refuses_what_the_server_would(make_job, job, tmp_path):
    request = ExportRequest("voc_comp6", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="needs VOC's 20 classes"):
        export_masks(job, request)
    assert not (tmp_path / "out").exists()
    ignored = make_job({"a": np.full((8, 8), 255, dtype=np.uint8)}, VOC_CLASSES)
    with pytest.raises(ConfigError, match="a: has pixels of 255"):
        export_masks(ignored, request)


@pytest.mark.parametrize("format_name", [name for name in FORMATS if not name.startswith("voc_comp")])
def test_an_export_has_the_same_bytes_again(make_job, job_with_instances, tmp_path, format_name):
    job = job_with_instances(step="walk_masks") if FORMATS[format_name].NEEDS_INSTANCES else make_job()
    for folder in ("one", "two"):
        export_masks(job, ExportRequest(format_name, str(tmp_path / folder)))
    files = {
        folder: {
            path.relative_to(tmp_path / folder): path.read_bytes()
            for path in (tmp_path / folder).rglob("*")
            if path.is_file()
        }
        for folder in ("one", "two")
    }
    assert files["one"] == files["two"]


@pytest.mark.parametrize(("format_name", "class_names", "message"), [
    ("cvat", ("a:b",), "does not fit into a label map"),
    ("cvat", ("ignore",), "a class is called 'ignore'"),
    ("label_studio", ("ignore",), "a class is called 'ignore'"),
])  # fmt: skip
def test_class_names_that_a_format_cannot_hold(make_job, tmp_path, format_name, class_names, message):
    job = make_job({"a": np.ones((8, 8), dtype=np.uint8)}, class_names)
    with pytest.raises(ConfigError, match=message):
        export_masks(job, ExportRequest(format_name, str(tmp_path / "out")))
