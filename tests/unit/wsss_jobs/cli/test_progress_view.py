import pytest

from wsss_jobs.cli.progress_view import duration, parse_prices, progress_lines
from wsss_jobs.errors import ConfigError
from wsss_jobs.job_progress import JobProgress, PoolProgress, Usage


def driver(name="d1", **update):
    base = JobProgress(
        recipe="r", run="r", recipe_sha256="", driver_id=name, device="cuda", started_at=0, updated_at=3590,
        moved_at=3580, used=Usage(cpu_s=3600, gpu_s=1800), present=Usage(cpu_s=7200, gpu_s=3600),
    )  # fmt: skip
    return base.model_copy(update=update)


def test_a_running_driver():
    pools = (PoolProgress(stage="infer_cams", num_alive=3, num_wanted=4),)
    lines = progress_lines([driver(pools=pools, items_per_s=2.5, eta_s=130)], 3600, {"gpu": 2.0})
    *lines, costs = lines
    assert lines == [
        "d1: running on cuda for 1 h 0 min, last heard 10 s ago, last progress 20 s ago",
        "workers alive: infer_cams 3 of 4",
        "2.50 a second, this stage is done in about 2 min 10 s",
    ]
    assert costs == (
        "used by workers of one driver: 1.00 CPU-hours, 0.50 GPU-hours (cost 1.00); the whole cluster meanwhile: "
        "2.00 CPU-hours, 1.00 GPU-hours (cost 2.00)"
    )


def test_a_killed_driver_is_silent_and_counts_into_the_costs_of_the_next():
    lines = progress_lines([driver(), driver("d2", started_at=5000, updated_at=5001)], 5002, {})
    assert lines[0].startswith("d1: SILENT, last heard 23 min 32 s ago")
    assert lines[1].startswith("d2: running")
    assert "2.00 CPU-hours" in lines[-1]
    assert "cost" not in lines[-1]


def test_a_driver_that_failed_says_why():
    [line, _] = progress_lines([driver(state="failed", message="no GPU\nmore")], 3600, {})
    assert line == "d1: failed after 59 min 50 s, last heard 10 s ago: no GPU"


def test_nobody_has_worked():
    assert progress_lines([], 0, {}) == ["No driver has worked on it yet."]


def test_prices():
    assert parse_prices("cpu=0.05, gpu=1.2") == {"cpu": 0.05, "gpu": 1.2}
    assert parse_prices("") == {}
    for wrong in ("tpu=1", "gpu", "gpu=-1", "cpu=nan", "gpu=x"):
        with pytest.raises(ConfigError, match=r"cpu=0\.05,gpu=1\.2"):
            parse_prices(wrong)


@pytest.mark.parametrize(("seconds", "words"), [(-5, "0 s"), (59, "59 s"), (3661, "1 h 1 min"), (90000, "1 d 1 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words
