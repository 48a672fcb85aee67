"""`wsss quality` on a run whose stages are filled by hand."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from wsss_jobs.cli.main import app
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.errors import ConfigError
from wsss_jobs.job import prepare
from wsss_jobs.quality.quality_files import read_quality

KEYS = ["a", "b", "c", "d", "e", "f"]


@pytest.fixture
def recipe(tiny_recipe, fill_job, run_of, tmp_path):
    """Returns a recipe file of a finished run, and its job."""

    def make(**options):
        run = run_of(keys=KEYS, shift_px={key: 2 * n for n, key in enumerate(KEYS)}, **options)
        content = tiny_recipe(run)
        job = prepare(parse_recipe(content))
        fill_job(job, run)
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path), job

    return make


def test_tables_and_the_file(recipe):
    path, job = recipe()
    result = CliRunner().invoke(app, ["quality", path, "--worst", "2"])
    assert result.exit_code == 0, result.output
    found = read_quality(job.store, "tiny")
    assert len(found.images) == 6
    assert all(image.predicted_miou is None for image in found.images)
    worst = [line for line in result.output.splitlines() if line.startswith("│ ") and "%" not in line]
    assert any(line.startswith(f"│ {found.images[0].source_key} ") for line in worst)
    assert "Against the ground truth" not in result.output


def test_json_and_calibration(recipe):
    path, job = recipe()
    result = CliRunner().invoke(app, ["quality", path, "--json", "--worst", "1", "--calibrate"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.output)
    found = read_quality(job.store, "tiny")
    assert content["step"] == "gcn_masks"
    assert content["mean"] == pytest.approx(sum(image.score for image in found.images) / 6)
    assert [image["item_id"] for image in content["worst"]] == [found.images[0].item_id]
    assert content["calibration"]["num_images"] == 6
    assert content["calibration"]["spearman_of_parts"]["fewest tags"] is None  # all have one
    assert all(0 <= image.predicted_miou <= 1 for image in found.images)
    predicted = [image.predicted_miou for image in found.images]
    assert predicted == sorted(predicted)


def test_calibration_needs_truth(recipe):
    path, job = recipe(with_truth=False)
    result = CliRunner().invoke(app, ["quality", path, "--calibrate"])
    assert isinstance(result.exception, ConfigError)
    assert "no image of this data set has ground truth" in str(result.exception)
    assert read_quality(job.store, "tiny") is None
