import pytest

from wsss_jobs.datasets.config import CvatConfig
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.datasets.sources import load_sources
from wsss_jobs.errors import ConfigError

EXPORT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels><label><name>cat</name></label></labels></task></meta>
  <image id="0" name="a.jpg" width="24" height="16">
    <tag label="cat" source="manual"><attribute name="sure">yes</attribute></tag>
    <tag label="dog" source="manual"></tag>
  </image>
  <image id="1" name="deep/b.jpg" subset="val" width="24" height="16">
    <box label="dog" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9" z_order="0"></box>
  </image>
  <image id="2" name="c.jpg" width="24" height="16"></image>
  <image id="3" name="gone.jpg" width="24" height="16"><tag label="cat"/></image>
</annotations>
"""


def fill(store, png, text=EXPORT):
    for number, name in enumerate(("a.jpg", "deep/b.jpg", "c.jpg")):
        store.put(f"photos/{name}", png(number))
    store.put("annotations.xml", text.encode())
    return CvatConfig(
        images=f"{store.uri}/photos", annotations=f"{store.uri}/annotations.xml", classes=("cat", "dog"), split="all"
    )


def test_tags_and_labels_of_shapes(store, png):
    sources = load_sources(fill(store, png))
    assert [(s.source_key, s.labels, s.split, s.problem and s.problem.reason) for s in sources] == [
        ("a", (1, 2), "all", None),
        ("c", (), "all", "unlabelled"),
        ("deep/b", (2,), "val", None),
        ("gone", (1,), "all", None),
    ]
    assert "image 3" in sources[1].problem.message


def test_the_doctor(local_store, png):
    findings = {(f.code, f.item) for f in diagnose(fill(local_store, png)).findings if f.severity == "error"}
    assert findings == {("unlabelled", "c"), ("missing", "gone")}


@pytest.mark.parametrize(("text", "message"), [
    ("<annotations><image", "not XML"),
    ("<annotations/>", "names no image; export as 'CVAT for images 1.1'"),
    ("<annotations><image id='0'/></annotations>", "image 1: has no name"),
    ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "document type or entities"),
])  # fmt: skip
def test_files_that_are_no_export(local_store, png, text, message):
    with pytest.raises(ConfigError, match=message):
        load_sources(fill(local_store, png, text))


def test_a_missing_file(local_store, png):
    config = fill(local_store, png)
    local_store.delete(["annotations.xml"])
    with pytest.raises(ConfigError, match=r"annotations\.xml: no such file"):
        load_sources(config)
