import hashlib
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.storage import item_names, manifest
from wsss_jobs.storage.item_names import ItemNames, is_among, string_column
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
        item_names._STRINGS_AT_A_TIME = 1 << 16
    assert found.dtype == np.bool_
    assert found.tolist() == [text in values for text in texts]


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_the_digest_is_that_of_the_sorted_lines(texts):
    expected = hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
    assert plan_digest(texts) == expected
    try:
        manifest._LINES_AT_A_TIME = 2
        assert plan_digest(string_column(texts)) == expected
    finally:
        manifest._LINES_AT_A_TIME = 1 << 16
