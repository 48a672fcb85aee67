"""The worst masks as tasks of annotation tools: the right ones, in order, with score and reason."""

import csv
import json
import zipfile
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from wsss_jobs.cli.main import app
from wsss_jobs.errors import ConfigError
from wsss_jobs.exports.export import ExportRequest, export_masks
from wsss_jobs.quality.estimate import estimate_quality
from wsss_jobs.quality.quality_files import write_quality


@pytest.fixture
def estimate(job):
    found = estimate_quality(job.plan, job.dataset, job.store)
    write_quality(job.store, "tiny", found)
    return found


def test_label_studio_gets_the_worst_with_score_and_reason(job, estimate, tmp_path):
    result = export_masks(job, ExportRequest("label_studio", str(tmp_path / "out"), worst=3))
    tasks = json.loads((tmp_path / "out" / "tasks-00000.json").read_text())
    worst = estimate.images[:3]
    assert result.num_exported == 3
    assert [task["data"]["source_key"] for task in tasks] == [image.source_key for image in worst]
    assert [task["predictions"][0]["score"] for task in tasks] == [image.score for image in worst]
    assert [task["data"]["review_reason"] for task in tasks] == [image.reason for image in worst]
    rows = list(csv.reader((tmp_path / "out" / "review.csv").open(encoding="utf-8", newline="")))
    assert rows[0] == ["rank", "image", "score", "reason"]
    assert [row[1] for row in rows[1:]] == [image.source_key for image in worst]
    assert [row[3] for row in rows[1:]] == [image.reason for image in worst]


def test_cvat_gets_the_same(job, estimate, tmp_path):
    result = export_masks(job, ExportRequest("cvat", str(tmp_path / "out"), worst=2))
    with zipfile.ZipFile(tmp_path / "out" / "cvat_masks.zip") as archive:
        names = archive.read("ImageSets/Segmentation/default.txt").decode().splitlines()
    assert len(names) == result.num_exported == 2
    assert names == [image.source_key for image in estimate.images[:2]]


def test_more_than_there_are_is_all_that_have_a_score(job, estimate, tmp_path):
    result = export_masks(job, ExportRequest("voc", str(tmp_path / "out"), worst=1000))
    assert result.num_exported + len(result.left_out) == len(estimate.images)


def test_an_export_of_all_carries_no_scores(job, estimate, tmp_path):
    export_masks(job, ExportRequest("label_studio", str(tmp_path / "out")))
    tasks = json.loads((tmp_path / "out" / "tasks-00000.json").read_text())
    assert not any("score" in task["predictions"][0] or "review_reason" in task["data"] for task in tasks)
    assert not (tmp_path / "out" / "review.csv").exists()


def test_scores_that_are_missing_or_of_other_masks_are_refused(job, tmp_path):
    request = ExportRequest("cvat", str(tmp_path / "out"), worst=2)
    with pytest.raises(ConfigError, match=r"there are none\. Run: wsss quality tiny --step cam_masks"):
        export_masks(job, request)
    found = estimate_quality(job.plan, job.dataset, job.store)
    write_quality(job.store, "tiny", replace(found, fingerprint="0" * 12))
    with pytest.raises(ConfigError, match="or older masks"):
        export_masks(job, request)
    assert not (tmp_path / "out").exists()


def test_the_command_line_refuses_none(tmp_path):
    command = ["export", "demo", "--format", "cvat", "--to", str(tmp_path), "--worst", "0"]
    assert CliRunner().invoke(app, command).exit_code == 2
