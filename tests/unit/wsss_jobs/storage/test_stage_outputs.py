import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
from crashing_store import CrashError, crashing_store

from wsss_jobs.errors import StageError, StorageError
from wsss_jobs.storage import finalise, merged_receipts, tensor_parts
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.storage.uris import open_store


@dataclass(frozen=True)
class Item:
    item_id: str
    source_key: str


ITEMS = [Item(f"{37 * number % 11:020x}", f"folder {number % 2}/näme#{number}") for number in range(7)]


def tensors_of(item):
    rng = np.random.default_rng(int(item.item_id, 16))
    cam_Khw = rng.random((int(rng.integers(0, 3)), 4, 5)).astype(np.float16)
    return {"cam": cam_Khw, "class_ids": np.arange(len(cam_Khw), dtype=np.int32)}


def mask_of(item):
    return np.full((3, 4), int(item.item_id, 16), np.uint8)


def tensor_stage(store):
    return StageOutputs(store, "infer_cams", "abcd")


def mask_stage(store):
    return StageOutputs(store, "refine_masks", "abcd", ("masks_before_crf", "masks"))


def run_tensor_stage(store, items=ITEMS):
    outputs = tensor_stage(store)
    for item in items:
        outputs.commit_tensors(item, tensors_of(item))
    outputs.write_receipts([{"item_id": item.item_id, "seconds": 0.5, "node": "n1"} for item in items])
    return outputs


def run_mask_stage(store, items=ITEMS):
    outputs = mask_stage(store)
    for item in items:
        facts = [outputs.commit_mask(item, mask_of(item), variant).as_receipt() for variant in outputs.mask_variants]
        outputs.write_receipts([{"item_id": item.item_id, "masks": facts, "attempt": 1, "score": 0.25}])
    return outputs


def contents(folder):
    return {info.key: folder.get(info.key) for info in folder.list()}


def check_tensors(outputs, items=ITEMS):
    for item in items:
        expected, found = tensors_of(item), outputs.read_tensors(item.item_id)
        assert list(found) == list(expected)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_tensors_are_listed_read_and_compacted(store):
    outputs = run_tensor_stage(store)
    assert outputs.done_item_ids(ITEMS) == {item.item_id for item in ITEMS}
    assert outputs.done_item_ids(ITEMS[:2]) == {item.item_id for item in ITEMS[:2]}
    check_tensors(outputs)
    assert not outputs.is_complete()
    manifest = outputs.finalise(ITEMS, "tensors")
    assert outputs.is_complete()
    assert outputs.manifest() == manifest
    keys = [info.key for info in outputs.folder.list()]
    assert keys == ["_MANIFEST.json", "failed.parquet", "part-00000.parquet", "receipts.parquet"]
    check_tensors(outputs)
    check_tensors(tensor_stage(store))
    assert tensor_stage(store).done_item_ids(ITEMS) == {item.item_id for item in ITEMS}
    with pytest.raises(ObjectNotFoundError, match="no tensors of item feed"):
        outputs.read_tensors("feed")


def test_a_reader_from_before_the_end_finds_tensors_after_it(tmp_path):
    outputs = run_tensor_stage(LocalStore(tmp_path))
    reader = tensor_stage(LocalStore(tmp_path))
    check_tensors(reader)
    outputs.finalise(ITEMS, "tensors")
    check_tensors(reader)


def test_parts_hold_one_row_group_an_item_in_id_order_and_end_by_size(tmp_path, monkeypatch):
    outputs = run_tensor_stage(LocalStore(tmp_path))
    sizes = [info.size_bytes for info in outputs.folder.list("items/")]
    monkeypatch.setattr(tensor_parts, "PART_BYTES", 2 * max(sizes))
    manifest = outputs.finalise(ITEMS, "tensors")
    files = [pq.ParquetFile(outputs.folder.root / output.key) for output in manifest.outputs]
    assert len(files) > 2
    assert [output.num_items for output in manifest.outputs] == [file.num_row_groups for file in files]
    ids = [item_id for file in files for item_id in file.read(["item_id"]).column(0).to_pylist()]
    assert ids == sorted(item.item_id for item in ITEMS)
    check_tensors(tensor_stage(LocalStore(tmp_path)))


def test_the_bytes_do_not_depend_on_the_order_of_work_nor_on_repetition(tmp_path):
    first = run_tensor_stage(LocalStore(tmp_path / "a"))
    second = run_tensor_stage(LocalStore(tmp_path / "b"), [*reversed(ITEMS), *ITEMS[:3]])
    first.finalise(ITEMS, "tensors")
    second.finalise(list(reversed(ITEMS)), "tensors")
    first_bytes, second_bytes = contents(first.folder), contents(second.folder)
    for key in ("part-00000.parquet", "_MANIFEST.json"):
        assert first_bytes[key] == second_bytes[key]
    first.finalise(ITEMS, "tensors")
    assert contents(first.folder) == first_bytes, "finalising a complete stage changes nothing"


def test_masks_are_done_with_the_last_variant(store):
    outputs = mask_stage(store)
    outputs.commit_mask(ITEMS[0], mask_of(ITEMS[0]), "masks_before_crf")
    assert outputs.done_item_ids(ITEMS) == set()
    outputs.commit_mask(ITEMS[0], mask_of(ITEMS[0]), "masks")
    assert outputs.done_item_ids(ITEMS) == {ITEMS[0].item_id}
    np.testing.assert_array_equal(outputs.read_mask(ITEMS[0]), mask_of(ITEMS[0]))
    with pytest.raises(ObjectNotFoundError):
        outputs.read_mask(ITEMS[1])


def test_masks_get_a_table(store):
    outputs = run_mask_stage(store)
    manifest = outputs.finalise(ITEMS, "masks")
    assert [(output.key, output.num_items) for output in manifest.outputs] == [("masks_before_crf/", 7), ("masks/", 7)]
    filesystem, root = outputs.folder.arrow_filesystem()
    rows = pq.read_table(f"{root}/masks.parquet", filesystem=filesystem).to_pylist()
    assert len(rows) == 14
    by_item = {row["item_id"]: row for row in rows if row["variant"] == "masks"}
    for item in ITEMS:
        row = by_item[item.item_id]
        assert row["source_key"] == item.source_key
        assert row["class_pixels"] == [(int(item.item_id, 16), 12)]
        assert (row["width_px"], row["height_px"], row["score"], row["attempt"]) == (4, 3, 0.25, 1)
        assert outputs.folder.exists(row["key"])
    assert [row["item_id"] for row in rows] == sorted(2 * [item.item_id for item in ITEMS])


def test_masks_without_receipts_are_opened_instead(tmp_path):
    with_receipts = run_mask_stage(LocalStore(tmp_path / "a"))
    without = mask_stage(LocalStore(tmp_path / "b"))
    for item in ITEMS:
        for variant in without.mask_variants:
            without.commit_mask(item, mask_of(item), variant)
    assert with_receipts.finalise(ITEMS, "masks") == without.finalise(ITEMS, "masks")
    tables = [pq.read_table(outputs.folder.root / "masks.parquet") for outputs in (with_receipts, without)]
    assert tables[0].select(tables[1].column_names).to_pylist() == tables[1].to_pylist()


def test_the_first_bytes_stay_and_the_facts_are_theirs(store):
    outputs = mask_stage(store)
    first = outputs.commit_mask(ITEMS[0], np.full((2, 2), 1, np.uint8))
    second = outputs.commit_mask(ITEMS[0], np.full((2, 2), 9, np.uint8))
    assert first == second
    assert first.class_pixels == ((1, 4),)
    assert outputs.read_mask(ITEMS[0])[0, 0] == 1


def test_missing_items_are_named_and_nothing_is_finalised(tmp_path):
    outputs = run_tensor_stage(LocalStore(tmp_path), ITEMS[:5])
    outputs.commit_failure(ITEMS[5], "cannot_decode", "broken")
    with pytest.raises(StageError, match=r"1 of 7 items are neither done nor failed \(folder 0/näme#6\)"):
        outputs.finalise(ITEMS, "tensors")
    assert not outputs.is_complete()
    check_tensors(outputs, ITEMS[:5])


def test_items_with_other_tensors_are_a_stage_error(tmp_path):
    outputs = run_tensor_stage(LocalStore(tmp_path), ITEMS[:6])
    outputs.commit_tensors(ITEMS[6], {"cam": np.zeros(3, np.float32)})
    with pytest.raises(StageError, match="must write the same tensors"):
        outputs.finalise(ITEMS, "tensors")


def test_failures_are_kept_and_can_be_retried(store):
    outputs = run_tensor_stage(store, ITEMS[:5])
    for item in ITEMS[5:]:
        outputs.commit_failure(item, "cannot_decode", f"{item.source_key} \udcff is broken")
    outputs.commit_failure(ITEMS[0], "died", "but another attempt succeeded")
    manifest = outputs.finalise(ITEMS, "tensors")
    assert manifest.failed_item_ids == tuple(sorted(item.item_id for item in ITEMS[5:]))
    assert outputs.failed_item_ids() == {item.item_id for item in ITEMS[5:]}
    failures = {failure.item_id: failure for failure in outputs.read_failures()}
    assert failures[ITEMS[5].item_id].reason == "cannot_decode"
    assert failures[ITEMS[5].item_id].message == f"{ITEMS[5].source_key} \\udcff is broken"

    assert outputs.retry_failed() == 2
    assert not outputs.is_complete()
    assert outputs.failed_item_ids() == set()
    assert outputs.done_item_ids(ITEMS) == {item.item_id for item in ITEMS[:5]}
    for item in ITEMS[5:]:
        outputs.commit_tensors(item, tensors_of(item))
    manifest = outputs.finalise(ITEMS, "tensors")
    assert manifest.failed_item_ids == ()
    assert [output.num_items for output in manifest.outputs] == [5, 2]
    check_tensors(outputs)
    receipts = pq.read_table(outputs.folder.root / "receipts.parquet") if "s3://" not in store.uri else None
    assert receipts is None or receipts.num_rows == 5


def test_a_complete_stage_is_reopened_for_a_larger_plan(tmp_path):
    outputs = run_mask_stage(LocalStore(tmp_path), ITEMS[:5])
    outputs.finalise(ITEMS[:5], "masks")
    assert outputs.is_complete(ITEMS[:5])
    assert not outputs.is_complete(ITEMS)
    run_mask_stage(LocalStore(tmp_path), ITEMS[5:])
    outputs.finalise(ITEMS, "masks")
    assert outputs.is_complete(ITEMS)
    assert pq.read_table(outputs.folder.root / "masks.parquet").num_rows == 14


def test_receipts_of_several_flushes_are_united(tmp_path):
    outputs = run_tensor_stage(LocalStore(tmp_path))
    outputs.write_receipts([])
    outputs.write_receipts([{"item_id": ITEMS[0].item_id, "seconds": 1, "attempt": 2}])
    outputs.write_receipts([{"item_id": ITEMS[0].item_id, "seconds": 0.5, "node": "n1"}])
    outputs.finalise(ITEMS, "tensors")
    table = pq.read_table(outputs.folder.root / "receipts.parquet")
    assert table.column_names == ["item_id", "attempt", "node", "seconds"]
    rows = [row for row in table.to_pylist() if row["item_id"] == ITEMS[0].item_id]
    assert [(row["seconds"], row["attempt"]) for row in rows] == [(1.0, 2), (0.5, None)]
    assert table.num_rows == len(ITEMS) + 1


def test_it_pickles_small(tmp_path):
    outputs = run_tensor_stage(LocalStore(tmp_path))
    outputs.finalise(ITEMS, "tensors")
    check_tensors(outputs)
    data = pickle.dumps(outputs)
    assert len(data) < 1000
    check_tensors(pickle.loads(data))


def test_artifacts(store, tmp_path):
    outputs = StageOutputs(store, "train_classifier", "abcd")
    model = tmp_path / "model.pt"
    model.write_bytes(b"weights" * 1000)
    outputs.put_file(model, "checkpoint/model.pt")
    outputs.put_file(model, "working/epoch-3/model.pt")
    manifest = outputs.finalise([], "artifacts")
    assert [output.key for output in manifest.outputs] == ["checkpoint/model.pt"]
    assert not outputs.folder.exists("working/epoch-3/model.pt")
    copy = outputs.local_copy("checkpoint/model.pt", tmp_path / "cache")
    assert copy.read_bytes() == model.read_bytes()
    assert outputs.local_copy("checkpoint/model.pt", tmp_path / "cache") == copy
    with pytest.raises(ObjectNotFoundError, match=r"nothing\.pt"):
        outputs.local_copy("nothing.pt", tmp_path / "cache")


def test_processes_of_a_node_fetch_an_artifact_at_the_same_time(s3_bucket, tmp_path):
    outputs = StageOutputs(open_store(f"s3://{s3_bucket}/run"), "train", "abcd")
    outputs.folder.put("checkpoint/model.pt", b"weights" * 100_000)
    outputs.finalise([], "artifacts")
    program = (
        "import pickle, sys, pathlib; outputs = pickle.load(sys.stdin.buffer);"
        "path = outputs.local_copy('checkpoint/model.pt', pathlib.Path(sys.argv[1]));"
        "sys.exit(path.read_bytes() != b'weights' * 100_000)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        process.communicate(pickle.dumps(outputs), timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 1


def test_a_replaced_artifact_is_noticed(s3_bucket, tmp_path):
    outputs = StageOutputs(open_store(f"s3://{s3_bucket}/run"), "train", "abcd")
    outputs.folder.put("checkpoint/model.pt", b"one")
    outputs.finalise([], "artifacts")
    outputs.folder.put("checkpoint/model.pt", b"two")
    with pytest.raises(StorageError, match="was the object replaced"):
        outputs.local_copy("checkpoint/model.pt", tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_training_stage_without_artifacts_is_not_complete(tmp_path):
    with pytest.raises(StageError, match="left no artifact"):
        StageOutputs(LocalStore(tmp_path), "train", "abcd").finalise([], "artifacts")


def test_an_unreadable_manifest_is_said_so(tmp_path):
    outputs = tensor_stage(LocalStore(tmp_path))
    for text in ("{", "{}", json.dumps({"format": 99})):
        outputs.folder.put("_MANIFEST.json", text.encode())
        with pytest.raises(StorageError, match="not a manifest"):
            outputs.is_complete()


@pytest.mark.parametrize("items_a_range", [1, 3])
def test_a_stage_is_the_same_in_any_number_of_ranges(tmp_path, monkeypatch, items_a_range):
    whole = run_mask_stage(LocalStore(tmp_path / "whole"))
    whole.finalise(ITEMS, "masks")
    outputs = run_mask_stage(LocalStore(tmp_path / "ranges"), ITEMS[1:])
    for variant in outputs.mask_variants:  # without a receipt, so that these masks are read
        outputs.commit_mask(ITEMS[0], mask_of(ITEMS[0]), variant)
    monkeypatch.setattr(finalise, "_ITEMS_A_RANGE", items_a_range)
    monkeypatch.setattr(merged_receipts, "_ROWS_AT_A_TIME", 2)
    assert outputs.finalise(ITEMS, "masks") == whole.manifest()
    tables = [pq.read_table(each.folder.root / "masks.parquet") for each in (outputs, whole)]
    for row in (row for table in tables for row in table.to_pylist() if row["item_id"] != ITEMS[0].item_id):
        assert (row["attempt"], row["score"]) == (1, 0.25)
    facts = [table.drop_columns(["attempt", "score"]).to_pylist() for table in tables]
    assert facts[0] == facts[1]
    assert pq.read_table(outputs.folder.root / "receipts.parquet").num_rows == len(ITEMS) - 1


@pytest.mark.parametrize(("kind", "stage"), [("tensors", tensor_stage), ("masks", mask_stage)])
def test_a_crash_at_any_point_of_finalise_changes_nothing(tmp_path, monkeypatch, kind, stage):
    monkeypatch.setattr(tensor_parts, "PART_BYTES", 3000)
    prepared = tmp_path / "prepared"
    run = run_tensor_stage if kind == "tensors" else run_mask_stage
    outputs = run(LocalStore(prepared), ITEMS[:6])
    outputs.commit_failure(ITEMS[6], "cannot_decode", "broken")
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(prepared, undisturbed)
    stage(LocalStore(undisturbed)).finalise(ITEMS, kind)
    expected = contents(LocalStore(undisturbed))

    crashes = 0
    while True:
        root = tmp_path / f"crash-{crashes}"
        shutil.copytree(prepared, root)
        try:
            stage(crashing_store(root, crashes)).finalise(ITEMS, kind)
        except CrashError:
            crashes += 1
        else:
            break
        again = stage(LocalStore(root))
        assert {item.item_id for item in ITEMS} == again.done_item_ids(ITEMS) | again.failed_item_ids()
        if kind == "tensors":
            check_tensors(again, ITEMS[:6])
        again.finalise(ITEMS, kind)
        assert contents(LocalStore(root)) == expected, f"after a crash before change {crashes}"
    assert crashes > 10
    assert contents(LocalStore(root)) == expected
