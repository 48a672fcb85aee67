import pickle
import shutil
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
from crashing_store import CrashError, crashing_store

from wsss_jobs.storage import mask_parts
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.stage_outputs import StageOutputs


@dataclass(frozen=True)
class Item:
    item_id: str
    source_key: str


ITEMS = [Item(f"{37 * number % 23:020x}", f"folder {number % 2}/näme#{number}") for number in range(20)]
VARIANTS = ("masks_before_crf", "masks")


def mask_of(item, variant):
    rng = np.random.default_rng(int(item.item_id, 16) + 100 * VARIANTS.index(variant))
    return rng.integers(0, 21, (16, 24)).astype(np.uint8)


def mask_stage(store):
    return StageOutputs(store, "refine_masks", "abcd", VARIANTS)


def run_stage(store, items=ITEMS, receipts=True):
    outputs = mask_stage(store)
    for item in items:
        facts = [outputs.commit_mask(item, mask_of(item, variant), variant).as_receipt() for variant in VARIANTS]
        if receipts:
            outputs.write_receipts([{"item_id": item.item_id, "masks": facts, "attempt": 1}])
    return outputs


def check(outputs, items=ITEMS):
    for variant in VARIANTS:
        for item in items:
            np.testing.assert_array_equal(outputs.read_mask(item, variant), mask_of(item, variant))
    assert outputs.done_item_ids(ITEMS) == {item.item_id for item in items}


def contents(folder):
    return {info.key: folder.get(info.key) for info in folder.list()}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(mask_parts, "PART_BYTES", 10_000)
    monkeypatch.setattr(mask_parts, "ROW_GROUP_BYTES", 3500)


def test_packed_masks_are_the_same_masks(store):
    outputs = run_stage(store)
    reader = mask_stage(store)
    reader.read_mask(ITEMS[0])
    before = {info.key: outputs.folder.get(info.key) for info in outputs.folder.list("masks")}
    outputs.finalise(ITEMS, "masks", pack_masks=True)
    assert list(outputs.folder.list("masks/")) == list(outputs.folder.list("masks_before_crf/")) == []
    for seer in (outputs, reader, mask_stage(store), pickle.loads(pickle.dumps(outputs))):
        check(seer)
    assert {key: outputs.mask_data(key, key.split("/")[0]) for key in before} == before, "byte for byte"
    with pytest.raises(ObjectNotFoundError):
        outputs.read_mask(Item("feed", "unknown"))


def test_a_few_files_instead_of_many_with_sane_row_groups(tmp_path):
    outputs = run_stage(LocalStore(tmp_path))
    manifest = outputs.finalise(ITEMS, "masks", pack_masks=True)
    parts = [output for output in manifest.outputs if output.key.startswith("packed/masks-")]
    files = [pq.ParquetFile(outputs.folder.root / part.key) for part in parts]
    assert len(files) > 1
    assert [part.num_items for part in parts] == [file.metadata.num_rows for file in files]
    assert all(1 < file.num_row_groups < file.metadata.num_rows for file in files[:-1])
    table = pq.read_table(outputs.folder.root / parts[0].key)
    assert table.schema.metadata[b"wsss.table"] == b"mask_rows/1"
    ids = [item_id for file in files for item_id in file.read(["item_id"]).column(0).to_pylist()]
    assert ids == sorted(item.item_id for item in ITEMS)


def test_packing_changes_nothing_but_where_masks_lie(tmp_path):
    loose, packed = run_stage(LocalStore(tmp_path / "a")), run_stage(LocalStore(tmp_path / "b"))
    loose_files = loose.finalise(ITEMS, "masks").outputs
    assert packed.finalise(ITEMS, "masks", pack_masks=True).outputs[:2] == loose_files
    tables = [pq.read_table(outputs.folder.root / "masks.parquet") for outputs in (loose, packed)]
    assert tables[0].equals(tables[1])


def test_bytes_do_not_depend_on_the_order_of_work(tmp_path):
    first = run_stage(LocalStore(tmp_path / "a"))
    second = run_stage(LocalStore(tmp_path / "b"), [*reversed(ITEMS), *ITEMS[:3]])
    first.finalise(ITEMS, "masks", pack_masks=True)
    second.finalise(list(reversed(ITEMS)), "masks", pack_masks=True)
    assert contents(first.folder) == contents(second.folder)


def test_items_that_are_done_later_fill_parts_of_their_own(tmp_path):
    outputs = run_stage(LocalStore(tmp_path), ITEMS[:15])
    for item in ITEMS[15:]:
        outputs.commit_failure(item, "died", "twice")
    first = outputs.finalise(ITEMS, "masks", pack_masks=True)
    outputs.retry_failed()
    assert outputs.done_item_ids(ITEMS) == {item.item_id for item in ITEMS[:15]}
    run_stage(LocalStore(tmp_path), ITEMS[15:])
    second = outputs.finalise(ITEMS, "masks", pack_masks=True)
    assert {output for output in first.outputs if output.key.startswith("packed/")} < set(second.outputs)
    check(outputs)
    assert pq.read_table(outputs.folder.root / "masks.parquet").num_rows == 2 * len(ITEMS)


def test_a_stage_that_was_packed_goes_on_unpacked_and_the_other_way_round(tmp_path):
    outputs = run_stage(LocalStore(tmp_path), ITEMS[:10])
    outputs.finalise(ITEMS[:10], "masks", pack_masks=True)
    run_stage(LocalStore(tmp_path), ITEMS[10:])
    outputs.finalise(ITEMS, "masks")
    check(outputs)
    assert len(list(outputs.folder.list("masks/"))) == 10
    outputs.retry_failed()
    manifest = outputs.finalise(ITEMS, "masks", pack_masks=True)
    check(outputs)
    assert sum(output.num_items for output in manifest.outputs if output.key.startswith("packed/masks-")) == len(ITEMS)


@pytest.mark.parametrize("receipts", [True, False])
def test_a_crash_at_any_point_of_packing_changes_nothing(tmp_path, receipts):
    items = ITEMS[:8]
    prepared = tmp_path / "prepared"
    run_stage(LocalStore(prepared), items, receipts)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(prepared, undisturbed)
    mask_stage(LocalStore(undisturbed)).finalise(items, "masks", pack_masks=True)
    expected = contents(LocalStore(undisturbed))
    for crashes in range(1000):
        root = tmp_path / f"crash-{crashes}"
        shutil.copytree(prepared, root)
        try:
            mask_stage(crashing_store(root, crashes)).finalise(items, "masks", pack_masks=True)
        except CrashError:
            again = mask_stage(LocalStore(root))
            check(again, items)
            again.finalise(items, "masks", pack_masks=True)
            assert contents(LocalStore(root)) == expected, f"after a crash before change {crashes}"
        else:
            break
    assert crashes > 20
    assert contents(LocalStore(root)) == expected
