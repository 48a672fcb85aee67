"""Objects of instance masks: in the PNG, in receipts and in the table of masks, packed or not."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.storage.instance_rows import InstanceRow, png_text, rows_of_png
from wsss_jobs.storage.mask_png import decode_mask, encode_mask
from wsss_jobs.storage.stage_check import check_stage
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.storage.uris import open_store

ids = st.integers(1, 254)
pixels = st.integers(0, 30_000)
rows = st.builds(InstanceRow, ids, ids, st.floats(0, 1), pixels, pixels, pixels, pixels, pixels)
LABEL = np.array([[0, 0, 1, 1], [2, 0, 1, 1]], np.uint8)
OBJECTS = (InstanceRow(1, 15, 1.0, 4, 2, 0, 2, 2), InstanceRow(2, 3, 0.25, 1, 0, 1, 1, 1))


@given(st.lists(rows, max_size=5))
def test_text_round_trip_changes_no_pixel(objects):
    data = encode_mask(LABEL, png_text(objects))
    assert rows_of_png(data) == tuple(objects)
    np.testing.assert_array_equal(decode_mask(data), LABEL)


def test_other_masks_have_no_objects():
    assert rows_of_png(encode_mask(LABEL)) == ()


class Item:
    def __init__(self, number):
        self.item_id, self.source_key = f"{number:020x}", f"image {number}"


@pytest.fixture(params=[False, True], ids=["objects", "packed"])
def finished(request, tmp_path):
    """A complete stage of two images, one without objects; the receipt of the other was lost."""
    outputs = StageOutputs(open_store(str(tmp_path)), "walk_masks", "f0", ("instances", "masks"))
    items = [Item(0), Item(1)]
    facts = []
    for item, objects in zip(items, (OBJECTS, ()), strict=True):
        label = LABEL if objects else np.zeros_like(LABEL)
        facts.append([outputs.commit_mask(item, label, "instances", objects), outputs.commit_mask(item, LABEL)])
    rows = [{"item_id": items[1].item_id, "masks": [fact.as_receipt() for fact in facts[1]]}]
    outputs.write_receipts(rows)
    outputs.finalise(items, "masks", pack_masks=request.param)
    return outputs, items, tmp_path / "walk_masks-f0"


def test_the_table_names_the_objects_even_without_a_receipt(finished):
    _, _, folder = finished
    table = pq.read_table(folder / "masks.parquet").to_pylist()
    by_key = {(row["source_key"], row["variant"]): row["instances"] for row in table}
    assert [InstanceRow(**row) for row in by_key["image 0", "instances"]] == list(OBJECTS)
    assert by_key["image 0", "masks"] == by_key["image 1", "instances"] == []


def test_receipts_carry_the_objects(tmp_path):
    outputs = StageOutputs(open_store(str(tmp_path)), "walk_masks", "f0", ("instances", "masks"))
    facts = [outputs.commit_mask(Item(0), LABEL, "instances", OBJECTS), outputs.commit_mask(Item(0), LABEL)]
    outputs.write_receipts([{"item_id": Item(0).item_id, "masks": [fact.as_receipt() for fact in facts]}])
    outputs.finalise([Item(0)], "masks")
    [row] = [row for row in pq.read_table(outputs.folder.root / "masks.parquet").to_pylist() if row["instances"]]
    assert [InstanceRow(**found) for found in row["instances"]] == list(OBJECTS)


def test_verify_knows_instance_masks(finished):
    outputs, items, folder = finished
    assert check_stage(outputs, items, items, "masks").findings == ()
    shutil.rmtree(folder / "packed", ignore_errors=True)
    shutil.rmtree(folder / "instances", ignore_errors=True)
    findings = check_stage(outputs, items, items, "masks").findings
    assert any("instances" in finding.key for finding in findings)


def test_an_item_without_its_instance_mask_is_not_done(tmp_path):
    outputs = StageOutputs(open_store(str(tmp_path)), "walk_masks", "f0", ("instances", "masks"))
    outputs.commit_mask(Item(0), LABEL)
    assert outputs.done_item_ids([Item(0)]) == set()
    outputs.commit_mask(Item(0), LABEL, "instances", OBJECTS)
    assert outputs.done_item_ids([Item(0)]) == {Item(0).item_id}
