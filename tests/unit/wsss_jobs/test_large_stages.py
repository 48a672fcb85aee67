"""The driver's side of a large stage: what is on the ledger is known from one listing, without an object an item."""

import sys
from pathlib import Path

import pytest

from wsss_jobs.datasets.dataset_store import load_dataset, save_dataset
from wsss_jobs.datasets.item_table import ItemTable
from wsss_jobs.datasets.records import DatasetItem, make_dataset
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.stage_outputs import StageOutputs

NUM_ITEMS = 2000


@pytest.fixture
def dataset(tmp_path):
    items = [DatasetItem(f"{n:020x}", f"train/{n:05d}", f"/i/{n}.jpg", 4, 3, (1,), "train") for n in range(NUM_ITEMS)]
    save_dataset(LocalStore(tmp_path / "dataset"), make_dataset(("cat",), items))
    return load_dataset(LocalStore(tmp_path / "dataset"))


class CountingStore(LocalStore):
    """Counts listings and reads."""

    calls: list[str]

    def child(self, prefix):
        below = CountingStore(self._path(prefix.rstrip("/")))
        object.__setattr__(below, "calls", self.calls)
        return below

    def list(self, prefix=""):
        self.calls.append(f"list {prefix}")
        return super().list(prefix)

    def get(self, key):
        self.calls.append(f"get {key}")
        return super().get(key)


def test_what_is_left_is_known_from_one_listing_a_folder_and_no_item_is_made(tmp_path, dataset, monkeypatch):
    store = CountingStore(tmp_path / "run")
    object.__setattr__(store, "calls", [])
    outputs = StageOutputs(store, "refine_masks", "abcd")
    done = [number for number in range(NUM_ITEMS) if number % 100]
    for number in done:
        path = Path(outputs.folder.uri_of(outputs.mask_key(dataset.items[number])))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    made = []
    monkeypatch.setattr(ItemTable, "record", staticmethod(made.append))
    left = dataset.items.where(~outputs.done(dataset.items)).longest_first()
    assert len(left) == NUM_ITEMS // 100
    assert not made
    assert not [call for call in store.calls if call.startswith("get")]
    assert len(store.calls) == 4, "masks, packed masks, tensors, parts of tensors"
    assert left.column("item_id").to_pylist() == [f"{n:020x}" for n in range(0, NUM_ITEMS, 100)]
    list(left)
    assert len(made) == len(left)


def test_a_loaded_data_set_takes_a_fraction_of_its_items_as_objects(dataset):
    items = list(dataset.items)
    as_objects = sum(
        sys.getsizeof(item) + sum(sys.getsizeof(getattr(item, name)) for name in ("item_id", "source_key", "uri"))
        for item in items
    )
    assert dataset.items.table().nbytes < as_objects / 3
