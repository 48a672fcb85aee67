import pytest

from wsss_jobs.datasets.tags import labels_of_tags, parse_tags_csv, parse_voc_annotation
from wsss_jobs.errors import ConfigError, DataError

CLASSES = ("cat", "dog", "7")


def test_csv_rows():
    text = 'Image, LABELS ,split\na.jpg,cat|dog,train\n"b, c.png", dog | ,\n\nd,,val\n'
    rows = parse_tags_csv(text, "tags.csv")
    assert [(row.image, row.tags, row.split, row.line) for row in rows] == [
        ("a.jpg", ("cat", "dog"), "train", 2),
        ("b, c.png", ("dog",), None, 3),
        ("d", (), "val", 5),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'image'"),
        ("a.jpg,cat\nb.jpg,dog\n", "line 1: no column 'image'"),
        ("image;labels\na;cat\n", "line 1: no column 'image'"),
        ("image,tags\na,cat\n", "line 1: no column 'labels'"),
        ("image,labels\n", "no rows below the header"),
        ("image,labels\na,cat\nb,cat,dog\n", r"line 3: more values than columns; join labels with '\|'"),
        ("image,labels\n,cat\n", "line 2: no image name"),
    ],
)
def test_malformed_csv_names_the_line_and_the_remedy(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_tags_csv(text, "tags.csv")


XML = b"""<annotation><object><name> dog </name><difficult>1</difficult><part><name>head</name></part></object>
<object><name>cat</name></object><object><name>dog</name></object><name>outside</name></annotation>"""


def test_annotation_has_all_objects_and_no_parts():
    assert parse_voc_annotation(XML, "x") == ("dog", "cat")
    assert parse_voc_annotation(b"<annotation/>", "x") == ()


@pytest.mark.parametrize("data", [b"", b"<annotation>", b"\xff\xfe", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
def test_broken_annotations(data):
    with pytest.raises(DataError) as caught:
        parse_voc_annotation(data, "x")
    assert (caught.value.item, caught.value.reason) == ("x", "broken_annotation")


@pytest.mark.parametrize(
    ("tags", "labels"),
    [(("dog", "cat"), (1, 2)), (("2", "cat", "dog"), (1, 2)), (("7",), (3,)), (("3",), (3,)), (("dog", "dog"), (2,))],
)
def test_tags_are_names_or_ids(tags, labels):
    assert labels_of_tags(tags, CLASSES, "x", "tags.csv, line 2") == (labels, None)


@pytest.mark.parametrize(
    ("tags", "reason", "message"),
    [
        ((), "unlabelled", "no labels in tags.csv, line 2"),
        (("cat", "99"), "label_out_of_range", "must be in 1..3, found 99 in tags.csv, line 2"),
        (("0",), "label_out_of_range", "found 0"),
        (("-1",), "label_out_of_range", "found -1"),
        (("dgo",), "unknown_class", "'dgo' in tags.csv, line 2 is not in the class list; did you mean 'dog'?"),
        (("zebra",), "unknown_class", "correct it or extend the class list"),
        (("1.5",), "unknown_class", "1.5"),
    ],
)
def test_bad_tags_are_the_items_problem(tags, reason, message):
    labels, problem = labels_of_tags(tags, CLASSES, "my/image", "tags.csv, line 2")
    assert labels == ()
    assert (problem.item, problem.reason) == ("my/image", reason)
    assert message in problem.message
