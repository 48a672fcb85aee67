import pytest

from cluster.capacity import ClusterCapacity
from cluster.preflight import (
    Finding,
    Need,
    check_capacity,
    check_upload,
    check_versions,
    findings_from,
    is_this_machine,
)
from cluster.upload import measure_upload


@pytest.fixture
def project(tmp_path):
    sizes = {
        "recipe.yaml": 10,
        "code/a.py": 20,
        "code/data/b.py": 30,
        "data/image.jpg": 1000,
        "runs/x/mask.png": 1000,
        ".git/objects/ab": 1000,
        ".venv/lib/big": 1000,
        "weights/resnet.pt": 500,
        "scratch/note": 5,
        "code/secret.txt": 7,
    }
    for name, size in sizes.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (tmp_path / ".rayignore").write_text("scratch/\n")
    (tmp_path / "code" / ".gitignore").write_text("secret.txt\n")
    return tmp_path


def test_an_upload_is_what_ray_would_send(project):
    upload = measure_upload(project)
    sent = {name for name in upload.files if not name.endswith("ignore")}
    assert sent == {"recipe.yaml", "code/a.py", "code/data/b.py", "weights/resnet.pt"}
    assert upload.largest(2) == [("weights/", 500), ("code/", 50 + len("secret.txt\n"))]
    assert upload.holds(project / "code" / "a.py")
    assert not upload.holds(project / "data" / "image.jpg")
    assert not upload.holds(project.parent / "elsewhere.yaml")


def test_it_is_what_ray_does_send(project, tmp_path_factory):
    from zipfile import ZipFile

    from ray._private.runtime_env.packaging import create_package

    from cluster.upload import DEFAULT_EXCLUDES

    package = tmp_path_factory.mktemp("out") / "package.zip"
    create_package(str(project), package, include_gitignore=True, excludes=list(DEFAULT_EXCLUDES))
    with ZipFile(package) as content:
        files = {name for name in content.namelist() if not name.endswith("/")}
    assert files == set(measure_upload(project).files)


def test_an_upload_that_is_too_large_names_the_heaviest(project):
    upload = measure_upload(project)
    assert check_upload(upload, max_bytes=upload.num_bytes + 1) == []
    [finding] = check_upload(upload, max_bytes=upload.num_bytes)
    assert finding.severity == "error"
    assert finding.message.index("weights/") < finding.message.index("code/")
    assert ".rayignore" in finding.message


def test_needs_that_cannot_be_met_are_errors_and_unknown_ones_warnings():
    needs = [Need("stage a", {"CPU": 1}), Need("stage b", {"GPU": 1})]
    [error] = check_capacity(needs, ClusterCapacity(({"CPU": 2.0},), ()))
    [warning] = check_capacity(needs, ClusterCapacity(({"CPU": 2.0},), None))
    assert (error.severity, warning.severity) == ("error", "warning")
    assert error.message.startswith("stage b can never run here")


def test_versions_that_differ():
    here, there = {"ours": "1", "torch": "2", "here": "3"}, {"ours": "2", "torch": "3", "there": "4"}
    found = check_versions(here, there, frozenset({"ours"}))
    assert [(finding.severity, finding.message.split()[0]) for finding in found] == [
        ("error", "here"),
        ("error", "ours"),
        ("warning", "torch"),
    ]
    assert check_versions(here, here, frozenset({"ours"})) == []
    assert check_versions({"ours": "1"}, {}, frozenset({"ours"})) == []  # a folder that was uploaded has no version


def test_findings_travel_as_json():
    findings = [Finding("error", "store", "why")]
    assert findings_from([finding.as_dict() for finding in findings]) == findings


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:8265", True),
        ("http://localhost:8265", True),
        ("http://[::1]:8265", True),
        ("auto", True),
        ("http://head:8265", False),
        ("10.0.0.1:8265", False),
    ],
)
def test_this_machine(address, expected):
    assert is_this_machine(address) is expected
