import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.datasets.dataset_store import load_dataset, load_rejected, save_dataset
from wsss_jobs.datasets.index import build_index, parallel_map
from wsss_jobs.datasets.records import SourceImage, make_dataset
from wsss_jobs.errors import DataError, StorageError
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.object_store import ObjectNotFoundError

CLASSES = ("cat", "dog")


def png(seed, size=(30, 20)):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def sources(tmp_path):
    """Eleven images: eight good, of which three have equal bytes, and one each broken, missing and tiny."""
    contents = {name: png(seed) for seed, name in enumerate("abcde")}
    contents |= {"copy 1": contents["b"], "copy 2": contents["b"], "Z": png(99, (40, 10))}
    contents |= {"broken": contents["a"][: len(contents["a"]) // 2], "tiny": png(7, (3, 3))}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    found = [SourceImage(name, str(tmp_path / name), (1, 2), "train", f"mask of {name}") for name in contents]
    return [*found, SourceImage("missing", str(tmp_path / "missing"), (1,), "train")]


def test_ids_come_from_content_and_sizes_from_pixels(sources):
    dataset, errors = build_index(sources, CLASSES)
    items = {item.source_key: item for item in dataset.items}
    assert list(items) == sorted(items)
    for name, item in items.items():
        content_id = hashlib.sha256(Path(item.uri).read_bytes()).hexdigest()[:20]
        assert item.item_id == content_id + {"copy 1": "-2", "copy 2": "-3"}.get(name, "")
        assert (item.labels, item.split, item.mask_uri) == ((1, 2), "train", f"mask of {name}")
    assert (items["Z"].width_px, items["Z"].height_px) == (40, 10)
    assert [(error.item, error.reason) for error in errors] == [
        ("broken", "cannot_decode"),
        ("missing", "missing"),
        ("tiny", "image_too_small"),
    ]
    assert dataset.num_classes == 3


def test_the_result_depends_on_nothing_but_the_files(sources):
    expected = build_index(sources, CLASSES, num_threads=1)
    for num_threads in (2, 32):
        found = build_index(sources[::-1], CLASSES, num_threads=num_threads)
        assert found[0] == expected[0]
        assert [str(error) for error in found[1]] == [str(error) for error in expected[1]]


def test_items_with_a_problem_are_reported_unread(tmp_path):
    problem = DataError("x", "unlabelled", "has no labels")
    dataset, errors = build_index([SourceImage("x", "/nowhere", (), "train", None, problem)], CLASSES)
    assert dataset.items == ()
    assert errors == [problem]


def test_a_store_that_cannot_be_reached_is_no_images_fault(s3_endpoint):
    source = SourceImage("x", "s3://no-such-bucket/x.jpg", (1,), "train")
    with pytest.raises(StorageError, match="does not exist"):
        build_index([source], CLASSES)


def test_images_on_s3(s3_bucket):
    from wsss_jobs.storage.uris import open_store

    store = open_store(f"s3://{s3_bucket}/images")
    store.put("a b.png", png(0))
    found = [SourceImage(name, store.uri_of(f"{name}.png"), (1,), "train") for name in ("a b", "missing")]
    dataset, errors = build_index(found, CLASSES)
    assert [item.source_key for item in dataset.items] == ["a b"]
    assert [error.reason for error in errors] == ["missing"]


def test_the_smallest_side_is_a_choice(sources):
    dataset, _ = build_index(sources, CLASSES, min_side_px=3)
    assert "tiny" in {item.source_key for item in dataset.items}


def test_progress_counts_every_source(sources):
    seen = []
    build_index(sources, CLASSES, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 11) for number in range(1, 12)]


def test_parallel_map_keeps_order_and_stops_when_told():
    assert list(parallel_map(lambda value: value * value, range(100), 4, None)) == [n * n for n in range(100)]
    results = parallel_map(lambda value: 1 // value, [1, 0, 1], 1, None)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_fingerprints_change_with_the_work_and_not_with_the_place(sources):
    from dataclasses import replace

    dataset, _ = build_index(sources, CLASSES)
    items = list(dataset.items)
    moved = [replace(item, uri="elsewhere", mask_uri=None) for item in items]
    assert make_dataset(CLASSES, moved[::-1]).fingerprint == dataset.fingerprint
    changes = [
        (("dog", "cat"), items),
        (CLASSES, items[1:]),
        (CLASSES, [replace(items[0], labels=(2,)), *items[1:]]),
        (CLASSES, [replace(items[0], split="val"), *items[1:]]),
        (CLASSES, [replace(items[0], item_id="0" * 20), *items[1:]]),
        (CLASSES, [replace(items[0], source_key="other"), *items[1:]]),
    ]
    fingerprints = [make_dataset(*change).fingerprint for change in changes]
    assert len({dataset.fingerprint, *fingerprints}) == len(changes) + 1


def test_a_data_set_is_stored_whole(store, sources):
    dataset, errors = build_index(sources, ("Katze", "Hünd"))
    errors.append(DataError("odd", "missing", "no file \udcff"))
    assert load_rejected(store) == []
    save_dataset(store, dataset, errors)
    assert load_dataset(store) == dataset
    assert [(e.item, e.reason) for e in load_rejected(store)] == [(e.item, e.reason) for e in errors]
    with pytest.raises(ObjectNotFoundError):
        load_dataset(store.child("elsewhere"))


def test_an_empty_data_set_keeps_its_classes(tmp_path):
    dataset = make_dataset(CLASSES, [])
    save_dataset(LocalStore(tmp_path), dataset)
    assert load_dataset(LocalStore(tmp_path)) == dataset
