"""The main job with processes killed by -9 in its midst: same bytes as undisturbed, nothing finished is done again."""

import os
import shutil
import signal

import pyarrow.parquet as pq
import pytest
from small_job import NUM_IMAGES, digests, wait_for_first, wait_until_gone, workers_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PATTERNS = ("infer_cams-*/part-*.parquet", "label_partially-*/**/*.png", "*_masks-*/**/*.png")
ONE_BY_ONE = [
    argument
    for stage in ("infer_cams", "label_partially", "random_walk", "walk_masks", "propagate_gcn", "gcn_masks")
    for argument in ("--set", f"stages.{stage}.resources.batch_size=1")
]


CASES = {
    "cams": ("infer_cams-*/items/*", ("infer_cams-*",)),
    "masks": ("gcn_masks-*/masks/*.png", ("gcn_masks-*",)),
}


@pytest.fixture(params=CASES)
def half_done(request, finished_job, tmp_path):
    """(recipe, run folder without one stage, pattern of that stage's commits, what all must be at the end)."""
    recipe, run, done = finished_job
    assert done.returncode == 0, done.stderr[-3000:]
    pattern, redone = CASES[request.param]
    copy = tmp_path / run.name
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns(*redone, "evaluation", "report"))
    return recipe, copy, pattern, digests(run, *PATTERNS)


def arguments(recipe, run):
    # Another share of a core than the stage behind it: the two get processes of their own, as with a GPU.
    streamed = ("--set", "stages.propagate_gcn.resources.num_cpus=0.5")
    return ("run", recipe, "--set", f"store.uri={run.parent}", *ONE_BY_ONE, *streamed, "--no-report")


def test_actors_killed_in_mid_job_change_no_byte(half_done, wsss):
    recipe, run, stage, expected = half_done
    process = wsss.start(*arguments(recipe, run))
    try:
        wait_for_first(run, stage, process)
        victims = workers_of(wsss)
        done = len(list(run.glob(stage)))
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        assert process.wait(timeout=200) == 0
    finally:
        process.kill()
    assert victims
    assert done < NUM_IMAGES
    assert digests(run, *PATTERNS) == expected
    assert all(pq.read_metadata(path).num_rows == 0 for path in run.glob("*/failed.parquet"))


def test_a_driver_killed_in_mid_job_goes_on_where_it_was(half_done, wsss):
    recipe, run, stage, expected = half_done
    process = wsss.start(*arguments(recipe, run))
    wait_for_first(run, stage, process)
    process.kill()
    process.wait()
    wait_until_gone(wsss)
    done = {path: path.stat().st_mtime_ns for path in run.glob(stage)}
    assert 0 < len(done) < NUM_IMAGES
    again = wsss(*arguments(recipe, run))
    assert again.returncode == 0, again.stderr[-3000:]
    assert digests(run, *PATTERNS) == expected
    left = NUM_IMAGES - len(done)
    name = stage.split("-")[0]
    assert f"stage started stage={name} todo={left} done={len(done)} failed=0" in again.stderr, again.stderr
    assert all(path.stat().st_mtime_ns == written for path, written in done.items() if path.exists())


@pytest.mark.parametrize("half_done", ["masks"], indirect=True)
def test_ctrl_c_ends_it_with_130_and_keeps_what_is_done(half_done, wsss):
    recipe, run, stage, _ = half_done
    process = wsss.start(*arguments(recipe, run))
    wait_for_first(run, stage, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the job
    assert process.wait(timeout=60) == 130
    wait_until_gone(wsss)
    done = len(list(run.glob(stage)))
    assert 0 < done < NUM_IMAGES
    status = wsss("status", recipe, "--set", f"store.uri={run.parent}")
    assert status.returncode == 0, status.stderr[-3000:]
    [line] = [line for line in status.stdout.splitlines() if "gcn_masks" in line]
    assert f"{NUM_IMAGES - done} of {NUM_IMAGES} left" in line
