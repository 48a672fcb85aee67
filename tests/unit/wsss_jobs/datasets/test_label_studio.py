import json

import pytest

from wsss_jobs.datasets.config import LabelStudioConfig
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.sources import load_sources
from wsss_jobs.errors import ConfigError


def answer(*choices, control="tags", cancelled=False):
    result = {"type": "choices", "from_name": control, "to_name": "image", "value": {"choices": list(choices)}}
    return {"was_cancelled": cancelled, "result": [result]}


def task(address, *annotations):
    return {"id": 1, "data": {"image": address}, "annotations": list(annotations), "predictions": [answer("dog")]}


TASKS = [
    task("/data/upload/3/1f2e3d4c-a.jpg", answer("cat")),
    task("/data/local-files/?d=photos/deep/b%20%231.jpg", answer("dog", "cat")),
    task("s3://bucket/photos/deep/c #2.jpg", answer("dog"), answer("cat"), answer("bird", cancelled=True)),
    task("https://img.example/x/d.jpg?v=3", {"was_cancelled": False, "result": []}),
    task("http://img.example/e.jpg", answer("zebra")),
    task("gone.jpg", answer("cat")),
]


def fill(store, png, tasks, **changes):
    for number, name in enumerate(("a.jpg", "deep/b #1.jpg", "deep/c #2.jpg", "d.jpg", "e.jpg")):
        store.put(f"photos/{name}", png(number))
    store.put("export.json", json.dumps(tasks).encode() if not isinstance(tasks, str) else tasks.encode())
    fields = {
        "images": f"{store.uri}/photos",
        "export": f"{store.uri}/export.json",
        "classes": ("cat", "dog", "bird"),
    }
    return LabelStudioConfig(**(fields | changes))


def test_choices_are_tags_and_addresses_find_their_files(store, png):
    sources = load_sources(fill(store, png, TASKS))
    assert [(s.source_key, s.labels, s.problem and s.problem.reason) for s in sources] == [
        ("a", (1,), None),
        ("d", (), "unlabelled"),
        ("deep/b #1", (1, 2), None),
        ("deep/c #2", (1, 2), None),
        ("e", (), "unknown_class"),
        ("gone", (1,), None),
    ]
    assert "task 4" in sources[1].problem.message


def test_the_doctor(local_store, png):
    findings = {(f.code, f.item) for f in diagnose(fill(local_store, png, TASKS)).findings if f.severity == "error"}
    assert findings == {("unlabelled", "d"), ("unknown_class", "e"), ("missing", "gone")}


def test_one_control_of_several(local_store, png):
    tasks = [task("a.jpg", answer("cat"), answer("dog", control="background"))]
    assert load_sources(fill(local_store, png, tasks))[0].labels == (1, 2)
    assert load_sources(fill(local_store, png, tasks, control="tags"))[0].labels == (1,)


def test_json_min(local_store, png):
    tasks = [
        {"image": "/data/upload/3/1f2e3d4c-a.jpg", "id": 1, "choice": "cat", "annotation_id": 4},
        {"image": "d.jpg", "id": 2, "choice": {"choices": ["cat", "dog"]}},
        {"image": "e.jpg", "id": 3},
    ]
    sources = load_sources(fill(local_store, png, tasks))
    assert [(s.source_key, s.labels) for s in sources] == [("a", (1,)), ("d", (1, 2)), ("e", ())]
    renamed = [{"photo": "a.jpg", "animals": ["dog"]}]
    config = fill(local_store, png, renamed, image_key="photo", control="animals")
    assert load_sources(config)[0].labels == (2,)


@pytest.mark.parametrize(("tasks", "message"), [
    ("image,choice\n", "not JSON .* export as JSON or JSON-MIN"),
    ([], "holds no list of tasks"),
    ({"images": []}, "holds no list of tasks"),
    ([{"data": {"text": "x"}, "annotations": []}], "task 1: has no text 'image'; set dataset.image_key"),
    (["a.jpg"], "task 1: is no object"),
])  # fmt: skip
def test_files_that_are_no_export(local_store, png, tasks, message):
    with pytest.raises(ConfigError, match=message):
        load_sources(fill(local_store, png, tasks))
