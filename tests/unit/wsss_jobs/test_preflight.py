import pytest
import yaml
from small_job import SMALL_STAGES

from cluster.capacity import ClusterCapacity, NodeType
from cluster.resources import ClusterResources
from cluster.upload import measure_upload
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.preflight import (
    check_dataset,
    check_recipe,
    check_recipe_file,
    check_resources,
    check_store,
    check_store_place,
)
from wsss_jobs.storage.uris import open_store

RECIPE = {
    "name": "tiny",
    "dataset": {"format": "voc", "root": "/nowhere", "splits": ["train"]},
    "stages": SMALL_STAGES[:2],
}


def test_a_recipe_with_two_mistakes_gives_two_findings(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    recipe, findings = check_recipe(str(path), [])
    assert recipe is not None
    assert findings == []
    recipe, findings = check_recipe(str(path), ["store.url=x", "seed=-1"])
    assert recipe is None
    assert [finding.check for finding in findings] == ["recipe", "recipe"]
    assert any("store.url" in finding.message for finding in findings)


def test_stages_that_do_not_fit_together(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"stages": RECIPE["stages"][1:]}))
    [finding] = check_recipe(str(path), [])[1]
    assert "no earlier stage writes" in finding.message


def test_a_recipe_file_must_be_uploaded(tmp_path):
    project = tmp_path / "project"
    (project / "runs").mkdir(parents=True)
    for path in (project / "in.yaml", project / "runs" / "ignored.yaml", tmp_path / "out.yaml"):
        path.write_text("name: x")
    upload = measure_upload(project)
    assert check_recipe_file(str(project / "in.yaml"), upload) == []
    assert check_recipe_file("demo", upload) == []
    for missing in (project / "runs" / "ignored.yaml", tmp_path / "out.yaml"):
        [finding] = check_recipe_file(str(missing), upload)
        assert "not among the 1 files" in finding.message


@pytest.mark.parametrize(
    ("uri", "is_this_machine", "severity"),
    [
        ("s3://bucket/runs", False, None),
        ("runs", True, "error"),
        ("runs", False, "error"),
        ("/mnt/runs", True, None),
        ("/mnt/runs", False, "warning"),
        ("file:///mnt/runs", False, "warning"),
    ],
)
def test_where_a_store_may_be(uri, is_this_machine, severity):
    findings = check_store_place(uri, is_this_machine=is_this_machine)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_a_store_is_written_read_and_left_as_it_was(store):
    assert check_store(store) == []
    assert list(store.list()) == []


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    [finding] = check_store(open_store(tmp_path / "file" / "runs"))
    assert (finding.severity, finding.check) == ("error", "store")


def test_a_data_set_that_is_not_there():
    [finding] = check_dataset(parse_recipe(RECIPE))
    assert "/nowhere" in finding.message


def resources(**more):
    return ClusterResources(1, 4.0, 0.0, is_local=False, may_grow=True, **more)


@pytest.mark.parametrize(("device", "expected"), [("auto", "device auto found no GPU"), ("cuda", "can never run here")])
def test_gpu_work_where_no_gpu_will_ever_be(device, expected):
    recipe = parse_recipe(RECIPE, [f"resources.device={device}"])
    findings = check_resources(recipe, resources(gpus_may_come=False), ClusterCapacity(({"CPU": 4.0},), ()))
    assert findings
    assert all(finding.severity == "error" and expected in finding.message for finding in findings)


def test_gpu_work_where_an_autoscaler_brings_gpus_is_in_order():
    types = (NodeType("gpu", {"CPU": 16.0, "GPU": 1.0}, 8),)
    recipe = parse_recipe(RECIPE)
    assert check_resources(recipe, resources(gpus_may_come=True), ClusterCapacity(({"CPU": 4.0},), types)) == []
