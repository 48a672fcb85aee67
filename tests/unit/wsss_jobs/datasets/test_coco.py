import json

import numpy as np
import pytest

from wsss_jobs.datasets.coco_masks import render_coco_masks
from wsss_jobs.datasets.config import CocoConfig
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.index import build_index
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.mask_png import decode_mask

SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]  # pixels 1..4 of rows 1..4
WIDTH_PX, HEIGHT_PX = 12, 10


def annotation(number, image_id, category_id, segmentation=SQUARE, iscrowd=0):
    return {
        "id": number, "image_id": image_id, "category_id": category_id, "segmentation": segmentation,
        "iscrowd": iscrowd, "area": 1, "bbox": [0, 0, 1, 1],
    }  # fmt: skip


def instances():
    """Categories 1, 18 and 44, as COCO leaves gaps; image 9 has no annotation."""
    whole = {"size": [HEIGHT_PX, WIDTH_PX], "counts": [0, HEIGHT_PX * WIDTH_PX]}
    names = {5: "COCO_a.jpg", 9: "COCO_empty.jpg", 7: "COCO_b.jpg"}
    return {
        "info": {"year": 2014},
        "licenses": [{"id": 1}],
        "images": [{"id": n, "file_name": name, "width": WIDTH_PX, "height": HEIGHT_PX} for n, name in names.items()],
        "annotations": [
            annotation(1, 5, 44),
            annotation(2, 7, 18, whole, iscrowd=1),
            annotation(3, 5, 1, [[1, 1, 3, 1, 3, 3, 1, 3]]),
            annotation(4, 5, 44, [[7, 7, 8, 7, 8, 8, 7, 8]]),
            annotation(5, 7, 1),
        ],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    }


def fill(store, png, content=None):
    for number, name in enumerate(("a", "empty", "b")):
        store.put(f"val2014/COCO_{name}.jpg", png(number, (WIDTH_PX, HEIGHT_PX)))
    store.put("annotations/instances_val2014.json", json.dumps(content or instances()).encode())
    return CocoConfig(root=store.uri, splits="val2014")


def test_tags_are_the_categories_of_the_annotations(store, png):
    config = fill(store, png)
    assert load_class_names(config) == ("person", "dog", "bottle")
    assert [(s.source_key, s.labels, s.split, s.problem) for s in load_sources(config)] == [
        ("COCO_a", (1, 3), "val2014", None),
        ("COCO_b", (1, 2), "val2014", None),
    ]


def test_images_without_objects_are_legal(local_store, png):
    config = fill(local_store, png).model_copy(update={"images_without_objects": "keep"})
    dataset, errors = build_index(load_sources(config), load_class_names(config))
    assert errors == []
    assert [(item.source_key, item.labels) for item in dataset.items] == [
        ("COCO_a", (1, 3)),
        ("COCO_b", (1, 2)),
        ("COCO_empty", ()),
    ]


def test_masks_show_small_objects_over_large_ones_and_crowds_below(store, png):
    config = fill(store, png)
    seen = []
    errors = render_coco_masks(config, "val2014", load_class_names(config), lambda *done: seen.append(done))
    assert errors == []
    assert seen[-1] == (3, 3)
    a_HW, b_HW, empty_HW = (decode_mask(store.get(f"masks/val2014/COCO_{n}.png")) for n in ("a", "b", "empty"))
    expected_HW = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
    expected_HW[1:5, 1:5] = 3
    expected_HW[1:3, 1:3] = 1
    expected_HW[7, 7] = 3
    np.testing.assert_array_equal(a_HW, expected_HW)
    expected_HW[:] = 2
    expected_HW[1:5, 1:5] = 1
    np.testing.assert_array_equal(b_HW, expected_HW)
    assert not empty_HW.any()
    assert [source.mask_uri for source in load_sources(config)] == [
        store.uri_of(f"masks/val2014/COCO_{name}.png") for name in ("a", "b")
    ]


def test_rendering_goes_on_and_reports_what_it_cannot_render(local_store, png):
    content = instances()
    content["annotations"][0]["segmentation"] = "nonsense"
    config = fill(local_store, png, content)
    local_store.put("masks/val2014/COCO_b.png", b"done before")
    (error,) = render_coco_masks(config, "val2014", load_class_names(config))
    assert (error.item, error.reason) == ("COCO_a", "broken_annotation")
    assert local_store.get("masks/val2014/COCO_b.png") == b"done before"
    assert local_store.exists("masks/val2014/COCO_empty.png")


def test_the_doctor_knows_images_without_objects(local_store, png):
    config = fill(local_store, png)
    local_store.put("val2014/stray.jpg", png(5))
    render_coco_masks(config, "val2014", load_class_names(config))
    local_store.delete(["val2014/COCO_b.jpg"])
    findings = {(f.severity, f.code, f.item): f.message for f in diagnose(config).findings}
    assert findings["note", "without_objects", ""] == "1 images have no annotation"
    assert findings["warning", "not_listed", ""] == "1 image files are in no list (stray.jpg)"
    assert "COCO_b.jpg" in findings["error", "missing", "COCO_b"]


def change(**members):
    return instances() | members


@pytest.mark.parametrize(("content", "message"), [
    (change(images=[]), "has no 'images'; is it an instances file"),
    (change(annotations=[annotation(1, 99, 1)]), "annotations name image 99, which is not in 'images'"),
    (change(annotations=[annotation(1, 5, 99)]), "annotations name category 99, not in 'categories'"),
    (change(annotations=[{"id": 3, "image_id": 5, "caption": "a dog"}]),
     "an element of 'annotations' with id 3: 'category_id' must be a whole number, found None"),
    (change(images=[{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}], annotations=[]),
     "2 images are called 'a.jpg'"),
])  # fmt: skip
def test_files_that_are_no_instances(local_store, png, content, message):
    config = fill(local_store, png, content)
    with pytest.raises(ConfigError, match=r"COCO annotations .*instances_val2014\.json") as caught:
        load_sources(config)
    assert message in str(caught.value)


def test_a_changed_file_is_read_again(local_store, png):
    config = fill(local_store, png)
    assert len(load_sources(config)) == 2
    content = instances()
    del content["annotations"][4], content["annotations"][1]
    fill(local_store, png, content)
    assert [source.source_key for source in load_sources(config)] == ["COCO_a"]


def test_a_split_whose_file_is_not_there(local_store, png):
    fill(local_store, png)
    with pytest.raises(ConfigError, match=r"instances_train2017\.json: no such file"):
        load_sources(CocoConfig(root=local_store.uri, splits="train2017"))


def test_a_class_list_of_ones_own_gives_the_ids(local_store, png):
    config = fill(local_store, png).model_copy(update={"classes": ("bottle", "person")})
    sources = load_sources(config)
    assert [(s.labels, s.problem and s.problem.reason) for s in sources] == [((1, 2), None), ((), "unknown_class")]
