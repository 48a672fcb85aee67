import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.datasets.item_table import ItemTable
from wsss_jobs.datasets.records import DatasetItem

NAMES = st.text("ab/é-0", min_size=1, max_size=5)
ITEMS = st.lists(
    st.builds(
        DatasetItem,
        item_id=NAMES,
        source_key=NAMES,
        uri=NAMES,
        width_px=st.sampled_from([1, 300, 70_000]),
        height_px=st.sampled_from([1, 400, 70_000]),
        labels=st.lists(st.integers(1, 254), min_size=1, max_size=3).map(tuple),
        split=st.just("train"),
        mask_uri=st.none() | NAMES,
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(ITEMS, st.data())
def test_it_is_the_sequence_of_its_items(items, data):
    table = ItemTable.of(items)
    assert list(table) == items
    assert table == items
    assert ItemTable.of(table) is table
    chosen = data.draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items)))
    kept = [item for item, is_chosen in zip(items, chosen, strict=True) if is_chosen]
    view = table.where(np.array(chosen, dtype=bool))
    assert list(view) == kept
    assert view.column("item_id").to_pylist() == [item.item_id for item in kept]
    assert list(view[1:]) == kept[1:]
    assert list(ItemTable(view.table())) == kept
    assert [view[index] for index in range(-len(kept), len(kept))] == kept + kept
    with pytest.raises(IndexError):
        view[len(kept)]


@settings(max_examples=30, deadline=None)
@given(ITEMS)
def test_large_images_with_many_classes_come_first(items):
    def work(item):
        return (-item.width_px * item.height_px * (1 + len(item.labels)), item.item_id)

    assert [work(item) for item in ItemTable.of(items).longest_first()] == sorted(map(work, items))


@settings(max_examples=30, deadline=None)
@given(ITEMS, st.frozensets(NAMES))
def test_without_some_items(items, item_ids):
    assert list(ItemTable.of(items).without(item_ids)) == [item for item in items if item.item_id not in item_ids]


def test_many_items_are_read_in_order():
    items = [DatasetItem(f"{n:05d}", f"k{n}", "u", 1, 1, (1,), "train") for n in range(3000)]
    assert list(ItemTable.of(items)[::-1]) == items[::-1]
