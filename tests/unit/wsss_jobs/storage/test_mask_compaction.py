"""The table and the digest of a stage's masks are the same however few are in memory at a time."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.storage import finalise, item_names, mask_compaction, mask_set_digest
from wsss_jobs.storage.item_names import ItemName
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.manifest import plan_digest
from wsss_jobs.storage.stage_outputs import StageOutputs

VARIANTS = ("masks_before_crf", "masks")
ITEMS = [ItemName(f"{37 * number % 101:020x}", f"f {number % 3}/{number}") for number in range(23)]


def stage(root):
    """A stage with all that a ledger may hold: items with no receipt, several, contradicting ones; a failure."""
    outputs = StageOutputs(LocalStore(root), "refine_masks", "abcd", VARIANTS)
    for number, item in enumerate(ITEMS):
        if number == 7:
            outputs.commit_failure(item, "cannot_decode", "broken")
            outputs.write_receipts([{"item_id": item.item_id, "ok": False}])
            continue
        label_HW = np.full((2, 3), number, np.uint8)
        facts = [outputs.commit_mask(item, label_HW, variant).as_receipt() for variant in VARIANTS]
        row = {"item_id": item.item_id, "masks": facts, "attempt": 1, "score": number / 8}
        if number % 5:
            outputs.write_receipts([row])
            if number % 6 == 0:
                outputs.write_receipts([row | {"masks": [facts[0] | {"sha256": "0" * 64}]}])
        if number % 4 == 0:
            outputs.write_receipts([row | {"attempt": 2, "score": -1.0, "masks": None}])
    return outputs


@pytest.mark.parametrize("items_a_range", [5, 1 << 14])
def test_masks_are_compacted_a_few_at_a_time(tmp_path, monkeypatch, items_a_range):
    monkeypatch.setattr(finalise, "_ITEMS_A_RANGE", items_a_range)
    done = {}
    for name, at_a_time in (("few", 3), ("all", 1 << 11)):
        monkeypatch.setattr(mask_compaction, "_ITEMS_AT_A_TIME", at_a_time)
        outputs = stage(tmp_path / name)
        manifest = outputs.finalise(ITEMS, "masks")
        done[name] = (manifest, outputs.folder.get("masks.parquet"), outputs.folder.get("receipts.parquet"))
    assert done["few"] == done["all"]

    rows = pq.read_table(outputs.folder.root / "masks.parquet").to_pylist()
    healthy = sorted(item for number, item in enumerate(ITEMS) if number != 7)
    assert [(row["item_id"], row["variant"]) for row in rows] == [
        (item.item_id, variant) for item in healthy for variant in VARIANTS
    ]
    for row in rows:
        number = next(n for n, item in enumerate(ITEMS) if item.item_id == row["item_id"])
        assert row["sha256"] == hashlib.sha256(outputs.folder.get(row["key"])).hexdigest()
        assert row["class_pixels"] == [(number, 6)]
        expected = -1.0 if number % 4 == 0 else number / 8 if number % 5 else None
        assert row["score"] == expected
    for variant, output in zip(VARIANTS, manifest.outputs, strict=True):
        lines = [f"{row['key']} {row['sha256']}" for row in rows if row["variant"] == variant]
        assert (output.key, output.num_items) == (f"{variant}/", len(healthy))
        assert output.sha256 == hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def test_a_stage_in_which_all_failed_is_completed(tmp_path):
    outputs = StageOutputs(LocalStore(tmp_path), "refine_masks", "abcd", VARIANTS)
    outputs.commit_failure(ITEMS[0], "cannot_decode", "broken")
    outputs.write_receipts([{"item_id": ITEMS[0].item_id, "ok": False}])
    manifest = outputs.finalise(ITEMS[:1], "masks")
    assert [output.sha256 for output in manifest.outputs] == 2 * [hashlib.sha256().hexdigest()]
    table = pq.read_table(tmp_path / outputs.folder.root / "masks.parquet")
    assert (table.num_rows, "ok" in table.column_names) == (0, True)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("a 0.é𐀀", min_size=1, max_size=4), max_size=12, unique=True), st.data())
def test_the_digest_is_that_of_the_sorted_lines(keys, data):
    sha256 = np.array(data.draw(st.permutations([number * 20 % 256 for number in range(len(keys))])), dtype=np.uint8)
    sha256_n32 = np.tile(sha256[:, None], 32)
    lines = [f"{key} {row.tobytes().hex()}" for key, row in zip(keys, sha256_n32, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_names, "_STRINGS_AT_A_TIME", 2)
        patch.setattr(mask_set_digest, "_CHUNKS_A_BUCKET", data.draw(st.integers(1, 3)))
        patch.setattr(mask_set_digest, "_LINES_AT_A_TIME", 2)
        found = mask_set_digest.mask_set_digest(keys, sha256_n32)
    assert found == plan_digest(lines) == hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
