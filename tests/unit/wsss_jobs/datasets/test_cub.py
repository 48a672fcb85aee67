import pytest

from wsss_jobs.datasets.config import CubConfig
from wsss_jobs.datasets.dataset_store import load_dataset, save_dataset
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.index import build_index
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.errors import ConfigError

ALBATROSS, AUKLET = "001.Black_footed_Albatross", "002.Crested_Auklet"


def fill(store, png, **changes):
    files = {
        "classes.txt": f"1 {ALBATROSS}\n2 {AUKLET}\n",
        "images.txt": f"1 {ALBATROSS}/a_1.jpg\n2 {ALBATROSS}/a_2.jpg\n3 {AUKLET}/b_1.jpg\n",
        "image_class_labels.txt": "1 1\n2 1\n3 2\n",
        "train_test_split.txt": "1 1\n2 0\n3 1\n",
        "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n2 1.0 2.0 3.0 4.0\n3 5.0 6.0 7.5 8.0\n",
    } | changes
    for name, content in files.items():
        if content is not None:
            store.put(name, content.encode())
    for number, name in enumerate((f"{ALBATROSS}/a_1", f"{ALBATROSS}/a_2", f"{AUKLET}/b_1")):
        store.put(f"images/{name}.jpg", png(number))
    return CubConfig(root=store.uri)


def test_images_classes_splits_and_boxes(store, png):
    config = fill(store, png)
    assert load_class_names(config) == (ALBATROSS, AUKLET)
    assert [(s.source_key, s.labels, s.split, s.boxes_xywh) for s in load_sources(config)] == [
        (f"{ALBATROSS}/a_1", (1,), "train", ((60.0, 27.0, 325.0, 304.0),)),
        (f"{AUKLET}/b_1", (2,), "train", ((5.0, 6.0, 7.5, 8.0),)),
    ]
    both = CubConfig(root=store.uri, splits=("train", "test"))
    assert [source.split for source in load_sources(both)] == ["train", "test", "train"]


def test_boxes_stay_with_the_data_set_and_do_not_change_what_it_is(local_store, png):
    config = fill(local_store, png)
    with_boxes, _ = build_index(load_sources(config), load_class_names(config))
    save_dataset(local_store.child("saved"), with_boxes)
    assert load_dataset(local_store.child("saved")) == with_boxes
    local_store.delete(["bounding_boxes.txt"])
    without, _ = build_index(load_sources(config), load_class_names(config))
    assert without.items[0].boxes_xywh == ()
    assert without.fingerprint == with_boxes.fingerprint


def test_the_doctor(local_store, png):
    config = fill(local_store, png, **{"image_class_labels.txt": "1 1\n3 7\n"})
    local_store.delete([f"images/{ALBATROSS}/a_1.jpg"])
    findings = {(f.code, f.item): f.message for f in diagnose(config).findings if f.severity == "error"}
    assert findings["missing", f"{ALBATROSS}/a_1"]
    assert findings["label_out_of_range", f"{AUKLET}/b_1"].startswith("a class id must be in 1..2, found 7")


@pytest.mark.parametrize(("changes", "message"), [
    ({"train_test_split.txt": "1 1\n2 yes\n3 1\n"}, r"train_test_split\.txt, line 2: '2 yes' is not understood"),
    ({"train_test_split.txt": "1 1\n"}, r"train_test_split\.txt: has no line for image 2"),
    ({"bounding_boxes.txt": "1 60.0 27.0\n"}, r"bounding_boxes\.txt, line 1: "),
    ({"classes.txt": f"2 {AUKLET}\n"}, r"classes\.txt: ids must be 1, 2, \.\.\. in order"),
    ({"images.txt": None}, r"CUB list .*images\.txt: no such file"),
])  # fmt: skip
def test_files_that_are_not_as_they_should(local_store, png, changes, message):
    config = fill(local_store, png, **changes)
    with pytest.raises(ConfigError, match=message):
        load_sources(config)
