import os
import unicodedata

import pytest
from pydantic import TypeAdapter, ValidationError

from wsss_jobs.datasets.config import DatasetConfig, FolderConfig, VocConfig
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.uris import read_uri

CLASSES = ("cat", "dog")


def fill(store, files):
    for key, content in files.items():
        store.put(key, content.encode() if isinstance(content, str) else content)


def xml(*names):
    return "<annotation>" + "".join(f"<object><name>{name}</name></object>" for name in names) + "</annotation>"


def voc_files():
    return {
        "JPEGImages/a.jpg": "A",
        "JPEGImages/b.JPEG": "B",
        "JPEGImages/c d.png": "C",
        "Annotations/a.xml": xml("dog", "cat"),
        "Annotations/b.xml": xml("cat"),
        "Annotations/c d.xml": xml("dog"),
        "SegmentationClass/a.png": "",
        "SegmentationClass/b.png": "",
        "SegmentationClassAug/b.png": "",
        "ImageSets/Segmentation/train.txt": "a\nb\n\nc d\n",
        "ImageSets/Segmentation/psa.txt": "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n/JPEGImages/c d.png\n",
        "classes.txt": "cat\ndog\n",
    }


def test_voc_layout_with_annotations(store):
    fill(store, voc_files())
    config = VocConfig(root=store.uri)
    assert load_class_names(config) == CLASSES
    sources = load_sources(config)
    assert [(source.source_key, source.labels, source.split, source.problem) for source in sources] == [
        ("a", (1, 2), "train", None),
        ("b", (1,), "train", None),
        ("c d", (2,), "train", None),
    ]
    assert [read_uri(source.uri) for source in sources] == [b"A", b"B", b"C"]
    assert [source.mask_uri and source.mask_uri.removeprefix(store.uri) for source in sources] == [
        "/SegmentationClass/a.png",
        "/SegmentationClassAug/b.png",
        None,
    ]


def test_the_list_format_of_psa(store):
    fill(store, voc_files())
    sources = load_sources(VocConfig(root=store.uri, splits="psa", masks=()))
    assert [(source.source_key, source.split, source.mask_uri) for source in sources] == [
        ("a", "psa", None),
        ("c d", "psa", None),
    ]
    assert read_uri(sources[1].uri) == b"C"


def test_several_lists_and_lists_elsewhere(tmp_path, local_store):
    fill(local_store, voc_files())
    elsewhere = tmp_path / "mine.txt"
    elsewhere.write_text("a\nb\n")
    config = VocConfig(root=local_store.uri, splits=(str(elsewhere), "train"))
    assert [(s.source_key, s.split) for s in load_sources(config)] == [("a", "mine"), ("b", "mine"), ("c d", "train")]
    below = VocConfig(root=local_store.uri, splits="ImageSets/Segmentation/psa.txt")
    assert [s.source_key for s in load_sources(below)] == ["a", "c d"]


def test_a_tags_file_wins_over_annotations_and_replaces_missing_ones(local_store):
    fill(local_store, voc_files() | {"my.csv": "image,labels\na,1\nb.JPEG,2\nc d,dog\n"})
    with_tags = VocConfig(root=local_store.uri, tags="my.csv")
    assert [source.labels for source in load_sources(with_tags)] == [(1,), (2,), (2,)]
    local_store.delete([info.key for info in local_store.list("Annotations/")])
    with pytest.raises(ConfigError, match=r"neither Annotations/\*\.xml nor image_labels\.csv is there"):
        load_sources(VocConfig(root=local_store.uri))
    fill(local_store, {"image_labels.csv": "image,labels\na.jpg,dog\n"})
    sources = load_sources(VocConfig(root=local_store.uri))
    assert [(s.labels, s.problem and s.problem.reason) for s in sources] == [
        ((2,), None),
        ((), "unlabelled"),
        ((), "unlabelled"),
    ]


def test_bad_annotations_are_the_items_problem(local_store):
    files = voc_files() | {"Annotations/a.xml": "<a", "Annotations/b.xml": xml("zebra")}
    del files["Annotations/c d.xml"]
    fill(local_store, files)
    sources = load_sources(VocConfig(root=local_store.uri))
    assert [source.problem.reason for source in sources] == ["broken_annotation", "unknown_class", "unlabelled"]


def test_missing_lists_and_empty_lists(local_store):
    fill(local_store, voc_files() | {"ImageSets/Segmentation/empty.txt": "\n"})
    with pytest.raises(ConfigError, match=r"split 'val' .*val\.txt: no such file"):
        load_sources(VocConfig(root=local_store.uri, splits="val"))
    with pytest.raises(ConfigError, match="is empty"):
        load_sources(VocConfig(root=local_store.uri, splits="empty"))


def folder_config(store, **changes):
    fields = {"images": f"{store.uri}/img", "tags": f"{store.uri}/tags.csv", "classes": CLASSES}
    return FolderConfig(**(fields | changes))


def test_folder_layout(store):
    fill(store, {
        "img/a.jpg": "A", "img/deep/er/b #1.PNG": "B", "img/notes.txt": "", "img/unlisted.jpg": "",
        "tags.csv": "image,labels,split\na.jpg,cat,\ndeep/er/b #1,dog|cat,val\n./gone.jpg,dog,\n",
        "gt/deep/er/b #1.png": "",
    })  # fmt: skip
    sources = load_sources(folder_config(store, masks=f"{store.uri}/gt", split="all"))
    assert [(s.source_key, s.labels, s.split) for s in sources] == [
        ("a", (1,), "all"),
        ("deep/er/b #1", (1, 2), "val"),
        ("gone", (2,), "all"),
    ]
    assert [read_uri(source.uri) for source in sources[:2]] == [b"A", b"B"]
    assert sources[1].mask_uri == f"{store.uri}/gt/deep/er/b #1.png"
    assert sources[2].uri == f"{store.uri}/img/gone.jpg"


def test_bad_tags_do_not_stop_the_set(local_store):
    fill(local_store, {f"img/{name}.jpg": name for name in "abcd"})
    fill(local_store, {"tags.csv": "image,labels\na,99\nb,\nc,doggy\nd,dog\n"})
    sources = load_sources(folder_config(local_store))
    assert [source.problem and source.problem.reason for source in sources] == [
        "label_out_of_range",
        "unlabelled",
        "unknown_class",
        None,
    ]
    assert "tags.csv, line 2" in sources[0].problem.message


def test_rows_of_one_image_are_united(local_store):
    fill(local_store, {"img/a.jpg": "A", "tags.csv": "image,labels\na,cat\na.jpg,dog\n"})
    assert [(s.source_key, s.labels, s.problem) for s in load_sources(folder_config(local_store))] == [
        ("a", (1, 2), None)
    ]


@pytest.mark.parametrize("rows", ["a.jpg,cat\na.png,dog\n", "a,cat\n"])
def test_names_that_collide_are_the_items_problem(local_store, rows):
    fill(
        local_store, {"img/a.jpg": "A", "img/a.png": "B", "img/b.jpg": "C", "tags.csv": f"image,labels\n{rows}b,dog\n"}
    )
    sources = load_sources(folder_config(local_store))
    assert {source.source_key: source.problem and source.problem.reason for source in sources} == {
        "a": "name_collision",
        "b": None,
    }
    assert "a.jpg and a.png would share" in sources[0].problem.message


def test_a_full_name_is_not_confused_with_a_stem(local_store):
    fill(local_store, {"img/a.jpg": "A", "img/a.jpg.png": "B", "tags.csv": "image,labels\na.jpg,cat\na.jpg.png,dog\n"})
    sources = load_sources(folder_config(local_store))
    assert [(s.source_key, read_uri(s.uri), s.labels, s.problem) for s in sources] == [
        ("a", b"A", (1,), None),
        ("a.jpg", b"B", (2,), None),
    ]


def test_names_in_another_unicode_form_are_found(local_store):
    decomposed = unicodedata.normalize("NFD", "é")
    fill(local_store, {f"img/{decomposed}.jpg": "A", "tags.csv": "image,labels\n\u00e9.jpg,cat\n"})
    (source,) = load_sources(folder_config(local_store))
    assert source.problem is None
    assert read_uri(source.uri) == b"A"
    assert source.source_key == decomposed


def test_a_file_name_that_is_not_unicode_can_be_used(tmp_path, local_store):
    fill(local_store, {"img/a.jpg": "A", "tags.csv": "image,labels\ncaf\\udce9,cat\n"})
    (tmp_path / "store" / "img" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"B")
    (source,) = load_sources(folder_config(local_store))
    assert source.source_key == r"caf\udce9"
    source.uri.encode()
    assert read_uri(source.uri) == b"B"


def test_configs_are_told_apart_and_unknown_keys_refused():
    adapter = TypeAdapter(DatasetConfig)
    assert isinstance(adapter.validate_python({"format": "voc", "root": "x"}), VocConfig)
    assert adapter.validate_python({"format": "voc", "root": "x", "splits": "val"}).splits == ("val",)
    folder = adapter.validate_python({"format": "folder", "images": "x", "tags": "y", "classes": ["a"]})
    assert folder.classes == ("a",)
    for bad in (
        {"format": "voc"},
        {"format": "coco"},
        {"format": "ade"},
        {"format": "voc", "root": "x", "split": "train"},
        {"root": "x"},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)
