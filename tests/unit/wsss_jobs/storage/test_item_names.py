import hashlib
import os
import sys
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.storage import item_names, manifest
from wsss_jobs.storage.item_names import ItemNames, in_one_piece, is_among, sorted_names, string_column
from wsss_jobs.storage.manifest import plan_digest

TEXTS = st.lists(st.text("ab\uffffé𐀀", max_size=3), max_size=20)


@dataclass
class Item:
    item_id: str
    source_key: str


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_names_of_any_items_in_id_order(texts):
    items = [Item(text, f"key {number}") for number, text in enumerate(texts)]
    names = ItemNames.of(items)
    assert list(names) == [(item.item_id, item.source_key) for item in items]
    assert list(names.by_id()) == sorted(names, key=lambda name: name.item_id)
    assert names.keys(str.upper).to_pylist() == [item.source_key.upper() for item in items]


@settings(max_examples=30, deadline=None)
@given(TEXTS, TEXTS)
def test_membership_in_pieces(texts, values):
    try:
        item_names._STRINGS_AT_A_TIME = 3
        found = is_among(string_column(texts), string_column(values))
        assert is_among(string_column(texts), set(values)).tolist() == found.tolist()
    finally:
        item_names._STRINGS_AT_A_TIME = 1 << 13
    assert found.dtype == np.bool_
    assert found.tolist() == [text in values for text in texts]


@pytest.mark.parametrize("at_a_time", [1, 3, 1 << 13])
def test_names_of_files_come_in_the_order_of_their_code_points(monkeypatch, at_a_time):
    monkeypatch.setattr(item_names, "_STRINGS_AT_A_TIME", at_a_time)
    names = ["b", "a/", "a-b", "ab", "é", "\uffff", "𐀀", "a", ""]
    assert list(sorted_names(iter(names))) == sorted(names)
    assert list(sorted_names([])) == []
    foreign = [os.fsdecode(name) for name in (b"\xff\xfe", b"a\x80", b"a")]
    assert list(sorted_names(foreign)) == [os.fsdecode(name) for name in (b"a", b"a\x80", b"\xff\xfe")]


def test_a_long_listing_is_never_held_as_python_objects(monkeypatch):
    num_keys = 50_000
    as_list = num_keys * sys.getsizeof("masks/00000000.png")
    monkeypatch.setattr(item_names, "_STRINGS_AT_A_TIME", 1000)
    column = string_column(f"masks/{number:08d}.png" for number in range(num_keys))
    is_among(column, list(sorted_names(["masks"] * 2000)))  # what is imported at the first use does not count
    tracemalloc.start()
    try:
        listed = sorted_names(f"masks/{number:08d}.png" for number in reversed(range(1, num_keys, 2)))
        found = is_among(column, listed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.tolist() == [number % 2 == 1 for number in range(num_keys)]
    assert peak < as_list / 4


def test_rows_are_picked_out_of_one_piece():
    parts = [["a", "b"], ["c"], []]
    column = pa.chunked_array([pa.array(part, type=pa.string()) for part in parts])
    assert in_one_piece(column).to_pylist() == ["a", "b", "c"]
    assert in_one_piece(string_column([])).to_pylist() == []
    names = ItemNames.of([Item(f"{number}", f"{number}") for number in range(20_000)])
    assert names.column("item_id").num_chunks == 1


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_the_digest_is_that_of_the_sorted_lines(texts):
    expected = hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
    assert plan_digest(texts) == expected
    try:
        manifest._LINES_AT_A_TIME = 2
        assert plan_digest(string_column(texts)) == expected
    finally:
        manifest._LINES_AT_A_TIME = 1 << 13
