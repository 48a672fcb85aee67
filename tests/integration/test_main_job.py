"""The whole chain, small, through the command line: results, resume, bad items, S3."""

import hashlib
import io
import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools.coco import COCO
from small_job import NUM_IMAGES, SMALL_STAGES, digests, small_recipe, write_recipe

from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.uris import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow]


DATA_PATTERNS = ("*/masks/**/*.png", "*/masks_before_crf/**/*.png", "infer_cams-*/part-*.parquet", "*/_MANIFEST.json")


def test_the_job_ends_well_and_prints_its_scores(finished_job):
    _, run, done = finished_job
    assert done.returncode == 0, done.stderr[-3000:]
    for step in ("infer_cams", "walk_masks", "gcn_masks", "gcn_masks/before_crf"):
        assert step in done.stdout
    scores = json.loads((run / "evaluation" / "small.json").read_text())
    assert set(scores) >= {"infer_cams", "label_partially", "walk_masks", "gcn_masks", "gcn_masks/before_crf"}
    assert all(0 < entry["miou"] < 1 for entry in scores.values())
    assert (run / "report" / "small" / "index.html").is_file()


def test_every_image_has_a_mask_of_its_size_with_its_tags_only(finished_job):
    _, run, _ = finished_job
    [dataset] = run.glob("dataset-*/items.parquet")
    items = pq.read_table(dataset).to_pylist()
    assert len(items) == NUM_IMAGES
    [masks] = run.glob("gcn_masks-*/masks")
    for item in items:
        data = (masks / f"{item['source_key']}.png").read_bytes()
        assert Image.open(io.BytesIO(data)).mode == "P"
        label = decode_mask(data, "mask")
        assert label.shape == (item["height_px"], item["width_px"])
        assert set(np.unique(label)) <= {0, *item["labels"]}


def test_masks_are_exported(finished_job, wsss, tmp_path):
    recipe, run, _ = finished_job
    done = wsss("export", recipe, "--format", "coco_polygons", "--to", tmp_path / "coco", "--split", "val")
    assert done.returncode == 0, done.stderr[-3000:]
    coco = COCO(tmp_path / "coco/annotations/instances.json")
    [masks] = run.glob("gcn_masks-*/masks")
    assert 0 < len(coco.imgs) < NUM_IMAGES
    for image in coco.imgs.values():
        label_HW = decode_mask((masks / f"{image['file_name'].rpartition('.')[0]}.png").read_bytes())
        found_HW = np.zeros_like(label_HW)
        for annotation in coco.imgToAnns[image["id"]]:
            found_HW[coco.annToMask(annotation) > 0] = annotation["category_id"]
        np.testing.assert_array_equal(found_HW, label_HW)


def test_instances_of_the_walk_lie_beside_its_masks(finished_job):
    """Each object is of a tag of its image; its pixels in the map are as many as its row says."""
    _, run, _ = finished_job
    [folder] = run.glob("walk_masks-*")
    tags = {row["item_id"]: row["labels"] for path in run.glob("dataset-*/items.parquet") for row in rows_of(path)}
    rows = [row for row in rows_of(folder / "masks.parquet") if row["variant"] == "instances"]
    assert len(rows) == NUM_IMAGES
    assert sum(len(row["instances"]) for row in rows) >= NUM_IMAGES // 2
    for row in rows:
        ids = decode_mask((folder / row["key"]).read_bytes(), row["key"])
        assert ids.shape == (row["height_px"], row["width_px"])
        assert set(np.unique(ids)) - {0} == {found["instance_id"] for found in row["instances"]}
        for found in row["instances"]:
            assert found["class_id"] in tags[row["item_id"]]
            assert found["num_px"] == (ids == found["instance_id"]).sum()
    [gcn] = run.glob("gcn_masks-*")
    assert not (gcn / "instances").exists()


def rows_of(path):
    return pq.read_table(path).to_pylist()


def test_evaluation_tables_without_masks(finished_job, wsss):
    recipe, run, _ = finished_job
    done = wsss("evaluate", recipe, "--label-free")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "separation (Otsu)" in done.stdout
    found = json.loads((run / "evaluation" / "small-label-free.json").read_text())
    cams, walk = found["thresholds"]
    assert (cams["name"], walk["name"]) == ("infer_cams", "random_walk")
    assert 0 < cams["separation"] < 1
    assert 0 < walk["separation"] < 1
    assert set(cams["by_agreement"]) == {"walk_masks", "gcn_masks"}
    for masks in found["masks"]:
        assert masks["num_images"] == NUM_IMAGES
        assert 0 < masks["crf_agreement"] <= 1
        assert 0 < masks["tag_coverage"] <= 1


def test_tables_say_who_did_what(finished_job):
    _, run, _ = finished_job
    [table] = run.glob("gcn_masks-*/masks.parquet")
    rows = pq.read_table(table).to_pylist()
    assert len(rows) == 2 * NUM_IMAGES  # two variants
    for row in rows:
        assert sum(pixels for _, pixels in row["class_pixels"]) == row["width_px"] * row["height_px"]
    [cams] = run.glob("infer_cams-*/part-00000.parquet")
    assert pq.read_table(cams).num_rows == NUM_IMAGES
    assert not list(run.glob("infer_cams-*/items/*"))


def test_running_again_does_nothing_and_changes_no_byte(finished_job, wsss):
    recipe, run, _ = finished_job
    before = digests(run, *DATA_PATTERNS)
    again = wsss("run", recipe)
    assert again.returncode == 0
    assert again.stderr.count("stage reused") == 7
    assert "stage started" not in again.stderr
    assert digests(run, *DATA_PATTERNS) == before


def test_a_changed_setting_redoes_only_what_depends_on_it(finished_job, wsss, tmp_path):
    recipe, run, _ = finished_job
    copy = copy_without(run, tmp_path)
    overrides = ("--set", f"store.uri={tmp_path}", "--set", "stages.gcn_masks.unary=probability")
    changed = wsss("run", recipe, *overrides)
    assert changed.returncode == 0, changed.stderr[-3000:]
    assert changed.stderr.count("stage started") == 1
    assert "stage started stage=gcn_masks" in changed.stderr
    before, after = digests(run, *DATA_PATTERNS), digests(copy, *DATA_PATTERNS)
    assert {path: after[path] for path in before} == before
    assert len(list(copy.glob("gcn_masks-*"))) == 2


def test_the_same_bytes_come_out_of_another_batch_size_and_number_of_workers(finished_job, wsss, tmp_path):
    recipe, run, _ = finished_job
    other = copy_without(run, tmp_path, "infer_cams-*", "label_partially-*", "walk_masks-*", "gcn_masks-*")
    overrides = ["stages.propagate_gcn.resources.batch_size=1", "stages.infer_cams.resources.max_workers=1"]
    arguments = [part for override in overrides for part in ("--set", override)]
    done = wsss("run", recipe, "--set", f"store.uri={tmp_path}", *arguments, "--no-report")
    assert done.returncode == 0, done.stderr[-3000:]
    [fingerprint] = {path.name for path in other.glob("gcn_masks-*")}
    patterns = (f"{fingerprint}/**/*.png", "walk_masks-*/**/*.png", "infer_cams-*/part-*.parquet", "label_*/**/*.png")
    assert digests(other, *patterns) == digests(run, *patterns)
    assert len(digests(other, *patterns)) > 5 * NUM_IMAGES


def copy_without(run, folder, *patterns):
    """Returns a copy of a run folder without some of its stages."""
    copy = folder / run.name
    shutil.copytree(run, copy)
    for pattern in patterns:
        for stage in copy.glob(pattern):
            shutil.rmtree(stage)
    return copy


def test_bad_items_are_listed_with_reasons_and_the_rest_is_done(wsss, images, tmp_path):
    """Truncated JPEG, 1x1 image, label out of range, NaN CAM: exit code 3, all other masks present."""
    root = tmp_path / "voc"
    shutil.copytree(images, root)
    names = (root / "ImageSets/Segmentation/train.txt").read_text().split()
    truncated, tiny, out_of_range, nan = names[1:5]
    image = Image.open(root / "JPEGImages" / f"{truncated}.png")
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG")
    (root / "JPEGImages" / f"{truncated}.png").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    Image.new("RGB", (1, 1)).save(root / "JPEGImages" / f"{tiny}.png")
    rows = [f"{name},{99 if name == out_of_range else 'fish'}" for name in names]
    (root / "tags.csv").write_text("\n".join(["image,labels", *rows]))

    only_cams = poison_recipe(root, tmp_path, SMALL_STAGES[:2])
    assert wsss("run", write_recipe(tmp_path / "cams.yaml", only_cams), "--no-report").returncode == 3
    run = tmp_path / "runs" / "small"
    plant_nan_cam(run, nan)

    recipe = write_recipe(tmp_path / "small.yaml", poison_recipe(root, tmp_path, SMALL_STAGES))
    done = wsss("run", recipe)
    assert done.returncode == 3, done.stderr[-3000:]
    listed = wsss("failed", recipe)
    assert listed.returncode == 3
    reasons = ("cannot_decode", "image_too_small", "label_out_of_range", "nan_cam")
    for name, reason in zip((truncated, tiny, out_of_range, nan), reasons, strict=True):
        assert any(name in line and reason in line for line in listed.stdout.splitlines()), (name, listed.stdout)
    masks = {path.stem for path in next(run.glob("gcn_masks-*")).glob("masks/*.png")}
    assert masks == set(names) - {truncated, tiny, out_of_range, nan}


def poison_recipe(root, folder, stages):
    recipe = small_recipe(root, folder / "runs", stages)
    recipe["dataset"] |= {"splits": ["train"], "tags": "tags.csv"}
    return recipe


def plant_nan_cam(run, name):
    """Puts a NaN into the stored CAM of one image, as a broken classifier would."""
    [part] = run.glob("infer_cams-*/part-00000.parquet")
    table = pq.read_table(part)
    rows = table.to_pylist()
    next(row for row in rows if row["source_key"] == name)["cam"][3] = float("nan")
    with pq.ParquetWriter(part, table.schema) as writer:
        for row in rows:
            writer.write_table(pa.Table.from_pylist([row], table.schema))


def test_the_job_runs_on_s3_and_gives_the_bytes_of_the_folder(finished_job, wsss, images, s3_bucket, tmp_path):
    _, run, _ = finished_job
    s3 = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    bucket = open_store(f"s3://{s3_bucket}")
    upload(images, bucket.child("voc"))
    for training in run.glob("train_*"):  # a data set is what its images are, wherever they lie: trainings are reused
        upload(training, bucket.child(f"runs/small/{training.name}"))
    recipe = small_recipe(f"s3://{s3_bucket}/voc", f"s3://{s3_bucket}/runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wsss, "environment", wsss.environment | s3)
        done = wsss("run", write_recipe(tmp_path / "small.yaml", recipe))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("stage reused") == 2
    stored = {
        info.key: hashlib.sha256(bucket.child("runs/small").get(info.key)).hexdigest()
        for info in bucket.child("runs/small").list()
    }
    masks = {key for key in stored if key.endswith(".png") and "_masks-" in key}
    assert len(masks) == 5 * NUM_IMAGES  # two stages with two variants, and the instances of the walk
    local = digests(run, "*_masks-*/**/*.png")
    assert {key: stored[key] for key in masks} == {key: local[key] for key in masks}
    assert "report/small/index.html" in stored


def upload(folder, store):
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())
