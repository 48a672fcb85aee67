from dataclasses import dataclass

import numpy as np
import pytest

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.stage_check import check_stage, repair_stage
from wsss_jobs.storage.stage_outputs import StageOutputs

VARIANTS = ("masks_before_crf", "masks")


@dataclass(frozen=True)
class Item:
    item_id: str
    source_key: str


ITEMS = [Item(f"{number:020x}", f"image {number}") for number in range(6)]


def masks(store, items=ITEMS, finish="", receipts=True):
    outputs = StageOutputs(store, "refine_masks", "abcd", VARIANTS)
    for item in items:
        label_HW = np.full((4, 6), int(item.item_id, 16), np.uint8)
        facts = [outputs.commit_mask(item, label_HW, variant).as_receipt() for variant in VARIANTS]
        if receipts:
            outputs.write_receipts([{"item_id": item.item_id, "masks": facts, "attempt": 1}])
    if finish:
        outputs.finalise(ITEMS, "masks", pack_masks=finish == "packed")
    return outputs


def tensors(store, items=ITEMS, finish=""):
    outputs = StageOutputs(store, "infer_cams", "abcd")
    for item in items:
        cam_Khw = np.random.default_rng(int(item.item_id, 16)).random((2, 4, 5)).astype(np.float16)
        sha256 = outputs.commit_tensors(item, {"cam": cam_Khw})
        outputs.write_receipts([{"item_id": item.item_id, "infer_cams_tensors_sha256": sha256}])
    if finish:
        outputs.finalise(ITEMS, "tensors")
    return outputs


def artifacts(store, finish=True):
    outputs = StageOutputs(store, "train", "abcd")
    outputs.folder.put("checkpoint/model.pt", b"weights" * 1000)
    outputs.folder.put("working/epoch-1/x", b"on the way")
    if finish:
        outputs.finalise([], "artifacts")
    return outputs


def check(outputs, kind):
    return check_stage(outputs, [] if kind == "artifacts" else ITEMS, ITEMS, kind)


def found(outputs, kind):
    return [(finding.kind, finding.key) for finding in check(outputs, kind).findings]


def flip(folder, key):
    data = bytearray(folder.get(key))
    data[len(data) // 2] ^= 0x10
    folder.put(key, bytes(data))


def cut(folder, key):
    data = folder.get(key)
    folder.put(key, data[: len(data) // 2])


SOUND = {
    "masks": (lambda store: masks(store, finish="objects"), "masks"),
    "packed masks": (lambda store: masks(store, finish="packed"), "masks"),
    "unfinished masks": (masks, "masks"),
    "tensors": (lambda store: tensors(store, finish="yes"), "tensors"),
    "unfinished tensors": (tensors, "tensors"),
    "artifacts": (artifacts, "artifacts"),
    "unfinished artifacts": (lambda store: artifacts(store, finish=False), "artifacts"),
}


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_found_where_nothing_is_wrong(tmp_path, name):
    make, kind = SOUND[name]
    outputs = make(LocalStore(tmp_path))
    checked = check(outputs, kind)
    assert checked.findings == ()
    assert checked.num_left == 0
    assert checked.is_complete == ("unfinished" not in name)
    assert checked.num_sound >= (0 if name == "unfinished artifacts" else 1)
    before = {info.key: outputs.folder.get(info.key) for info in outputs.folder.list()}
    assert repair_stage(outputs, checked) == 0
    assert {info.key: outputs.folder.get(info.key) for info in outputs.folder.list()} == before


def test_a_finished_stage_on_s3_is_read_as_well(s3_bucket):
    from wsss_jobs.storage.uris import open_store

    outputs = masks(open_store(f"s3://{s3_bucket}/run"), finish="packed")
    assert found(outputs, "masks") == []
    outputs.folder.delete(["packed/masks-00000.parquet"])
    assert found(outputs, "masks") == [("missing", "packed/masks-00000.parquet")]


def test_missing_torn_and_foreign_masks_of_a_finished_stage(tmp_path):
    outputs = masks(LocalStore(tmp_path), finish="objects")
    flip(outputs.folder, "masks/image 1.png")
    cut(outputs.folder, "masks_before_crf/image 2.png")
    outputs.folder.put("masks/image 3.png", encode_mask(np.zeros((4, 6), np.uint8)))
    outputs.folder.delete(["masks/image 4.png"])
    outputs.folder.put("masks/of somebody.png", b"?")
    outputs.folder.put("notes.txt", b"?")
    assert found(outputs, "masks") == [
        ("torn", "masks/image 1.png"),
        ("torn", "masks/image 3.png"),
        ("missing", "masks/image 4.png"),
        ("foreign", "masks/of somebody.png"),
        ("torn", "masks_before_crf/image 2.png"),
        ("foreign", "notes.txt"),
    ]


@pytest.mark.parametrize("finish", ["objects", "packed", ""])
def test_a_repaired_stage_is_done_again_and_then_sound(tmp_path, finish):
    outputs = masks(LocalStore(tmp_path), finish=finish)
    whole = {item: outputs.read_mask(item).tobytes() for item in ITEMS}
    torn = ["masks/image 1.png", "masks_before_crf/image 2.png"]
    if finish == "packed":
        torn = ["packed/masks-00000.parquet"]
    outputs.folder.put("masks/of somebody.png", b"?")
    for key in torn:
        flip(outputs.folder, key)
    checked = check(outputs, "masks")
    assert repair_stage(outputs, checked) == len(torn)
    again = StageOutputs(LocalStore(tmp_path), "refine_masks", "abcd", VARIANTS)
    assert not again.is_complete()
    left = {item.item_id for item in ITEMS} - again.done_item_ids(ITEMS)
    assert left == {item.item_id for item in (ITEMS if finish == "packed" else ITEMS[1:3])}
    after = masks(LocalStore(tmp_path), [item for item in ITEMS if item.item_id in left], finish=finish)
    assert found(after, "masks") == [("foreign", "masks/of somebody.png")], "which nobody touches"
    assert {item: after.read_mask(item).tobytes() for item in ITEMS} == whole


def test_an_unfinished_stage_has_items_left_and_no_missing_ones(tmp_path):
    outputs = masks(LocalStore(tmp_path), ITEMS[:3])
    outputs.commit_failure(ITEMS[5], "died", "twice")
    outputs.folder.delete(["masks_before_crf/image 0.png"])
    checked = check(outputs, "masks")
    assert (checked.findings, checked.num_left, checked.failed_ids) == ((), 3, {ITEMS[5].item_id})


def test_receipts_tell_a_torn_mask_that_can_still_be_decoded(tmp_path):
    outputs = masks(LocalStore(tmp_path), ITEMS[:3])
    outputs.folder.put("masks/image 1.png", encode_mask(np.zeros((4, 6), np.uint8)))
    assert found(outputs, "masks") == [("torn", "masks/image 1.png")]


def test_tensors_of_an_unfinished_stage(tmp_path):
    outputs = tensors(LocalStore(tmp_path), ITEMS[:4])
    keys = [f"items/{item.item_id}.parquet" for item in ITEMS]
    cut(outputs.folder, keys[0])
    outputs.folder.put(keys[1], outputs.folder.get(keys[2]))
    flip(outputs.folder, keys[3])
    outputs.folder.put("items/feed.parquet", b"?")
    checked = check(outputs, "tensors")
    kinds = {finding.key: finding.kind for finding in checked.findings}
    assert kinds == {keys[0]: "torn", keys[1]: "torn", keys[3]: "torn", "items/feed.parquet": "foreign"}
    assert checked.num_left == 5
    assert repair_stage(outputs, checked) == 3
    assert outputs.done_tensor_ids() - {"feed"} == {ITEMS[2].item_id}


def test_a_torn_part_is_replaced_beside_the_parts_that_are_sound(tmp_path, monkeypatch):
    from wsss_jobs.storage import tensor_parts

    monkeypatch.setattr(tensor_parts, "PART_BYTES", 3000)
    outputs = tensors(LocalStore(tmp_path), finish="yes")
    whole = {item: outputs.read_tensors(item.item_id)["cam"].tobytes() for item in ITEMS}
    parts = [info.key for info in outputs.folder.list("part-")]
    assert len(parts) > 2
    kept = {key: outputs.folder.get(key) for key in parts[1:]}
    flip(outputs.folder, parts[0])
    assert found(outputs, "tensors") == [("torn", parts[0])]
    repair_stage(outputs, check(outputs, "tensors"))
    again = StageOutputs(LocalStore(tmp_path), "infer_cams", "abcd")
    left = [item for item in ITEMS if item.item_id not in again.done_item_ids(ITEMS)]
    assert 0 < len(left) < len(ITEMS)
    after = tensors(LocalStore(tmp_path), left, finish="yes")
    assert found(after, "tensors") == []
    assert {key: after.folder.get(key) for key in parts[1:]} == kept
    assert {item: after.read_tensors(item.item_id)["cam"].tobytes() for item in ITEMS} == whole


@pytest.mark.parametrize("damage", [flip, cut, lambda folder, key: folder.delete([key])])
def test_artifacts_are_held_against_the_manifest(tmp_path, damage):
    outputs = artifacts(LocalStore(tmp_path))
    damage(outputs.folder, "checkpoint/model.pt")
    kind = "torn" if outputs.folder.exists("checkpoint/model.pt") else "missing"
    assert found(outputs, "artifacts") == [(kind, "checkpoint/model.pt")]
    repair_stage(outputs, check(outputs, "artifacts"))
    assert outputs.manifest() is None
    assert not outputs.folder.exists("checkpoint/model.pt")


@pytest.mark.parametrize("key", ["_MANIFEST.json", "masks.parquet", "failed.parquet", "receipts.parquet"])
def test_a_torn_table_is_made_again(tmp_path, key):
    outputs = masks(LocalStore(tmp_path), finish="objects")
    cut(outputs.folder, key)
    assert ("torn", key) in found(outputs, "masks")
    repair_stage(outputs, check(outputs, "masks"))
    after = masks(LocalStore(tmp_path), [], finish="objects")
    assert found(after, "masks") == []
    assert after.is_complete(ITEMS)


def test_a_manifest_of_a_newer_version_is_not_taken_for_torn(tmp_path):
    outputs = masks(LocalStore(tmp_path), finish="objects")
    outputs.folder.put("_MANIFEST.json", outputs.folder.get("_MANIFEST.json").replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(StorageError, match="upgrade this installation"):
        check(outputs, "masks")


def test_a_store_that_cannot_be_read_says_nothing_of_the_objects(s3_endpoint, s3_bucket):
    from faulty_s3 import FaultPlan, FaultyS3

    from wsss_jobs.storage.s3_client import S3Options
    from wsss_jobs.storage.uris import open_store

    masks(open_store(f"s3://{s3_bucket}/run"), finish="objects")
    plan = FaultPlan(("access_denied",), rate=0.3, max_in_a_row=0, only=("GET",), seed=3)
    with FaultyS3(s3_endpoint, FaultPlan((), rate=0.0)) as proxy:
        store = open_store(f"s3://{s3_bucket}/run", S3Options(proxy.endpoint, "us-east-1"))
        outputs = StageOutputs(store, "refine_masks", "abcd", VARIANTS)
        keys = [info.key for info in outputs.folder.list()]
        proxy.plan = plan
        with pytest.raises(StorageError, match="access denied"):
            check(outputs, "masks")
    assert [info.key for info in open_store(f"s3://{s3_bucket}/run/refine_masks-abcd").list()] == keys
