"""The real job, where nodes die, leave or freeze in the middle of it, and images kill or hang whoever opens them."""

import shutil
import subprocess

import pyarrow.parquet as pq
import pytest
from ray_head import RayHead
from small_job import NUM_IMAGES, digests, wait_for_first

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(600)]

STAGE = "gcn_masks"
MASKS = f"{STAGE}-*/*masks*/*.png"
IN_FLIGHT_AN_ACTOR = 2  # batches, of one item here
# Ten seconds an item, by the stages that share a process.
_DEADLINES = {"propagate_gcn": 8, STAGE: 2}
SHORT_DEADLINES = [f"--set=stages.{name}.resources.deadline_s={seconds}" for name, seconds in _DEADLINES.items()]
# Runs in every process that starts with this folder in its PYTHONPATH; only Ray's workers are disturbed.
HOOK = """
import os, sys, time

def disturb(event, arguments):
    if event == "open" and str(arguments[0]).endswith(os.environ["POISON"]):
        os._exit(1)
    if event == "open" and str(arguments[0]).endswith(os.environ["HANG"]):
        time.sleep(3600)

if any("default_worker.py" in argument for argument in sys.orig_argv):
    sys.addaudithook(disturb)
"""


@pytest.fixture
def unfinished(finished_job, tmp_path):
    """(arguments of the job without its last stage, its folder, digests that its masks must have at the end)."""
    recipe, finished, done = finished_job
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / finished.name
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns(f"{STAGE}-*", "evaluation", "report", "failed"))
    return ("run", recipe, "--no-report", "--set", f"store.uri={tmp_path}"), run, finished


@pytest.fixture
def head():
    """A head that takes no work."""
    head = RayHead(num_cpus=0)
    yield head
    head.close()


def joined_node(head, tries=3):
    """Starts a node; another one where it does not join: a port that was free may be taken before Ray takes it."""
    for last in (*[False] * (tries - 1), True):
        node = head.add_node(1, drain_s=60)
        try:
            node.wait_until_joined(timeout_s=120 if last else 30)
        except AssertionError:
            node.kill()
            if last:
                raise
        else:
            return node
    raise AssertionError("no node joined")


@pytest.mark.parametrize("fault", ["kill", "give_notice", "freeze"])
def test_a_node_goes_in_mid_job_and_no_byte_changes(unfinished, wsss, head, fault):
    arguments, run, finished = unfinished
    nodes = [joined_node(head) for _ in range(2)]
    for setting in (f"stages.{STAGE}.resources.batch_size=1", "stages.propagate_gcn.resources.batch_size=1"):
        arguments += ("--set", setting)
    arguments += (*(SHORT_DEADLINES if fault == "freeze" else ()), "--address", head.gcs_address)
    driver = subprocess.Popen(wsss.command(*arguments), env=wsss.environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_first(run, f"{STAGE}-*/masks/*.png", driver)
        getattr(next(node for node in nodes if node.workers()), fault)()
        _, stderr = driver.communicate(timeout=300)
    finally:
        driver.kill()
    assert driver.returncode == 0, stderr[-3000:]
    assert digests(run, MASKS) == digests(finished, MASKS)
    rows = pq.read_table(next(run.glob(f"{STAGE}-*/masks.parquet"))).to_pylist()
    begun_again = {row["item_id"]: row["attempt"] - 1 for row in rows}
    assert len(begun_again) == NUM_IMAGES
    assert sum(begun_again.values()) <= (0 if fault == "give_notice" else IN_FLIGHT_AN_ACTOR)


def test_images_that_kill_or_hang_their_worker_are_failed_and_no_other_byte_changes(unfinished, wsss, images, tmp_path):
    arguments, run, finished = unfinished
    poison, hang = (images / "ImageSets/Segmentation/train.txt").read_text().split()[2:4]
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK)
    path = f"{hook}:{wsss.environment['PYTHONPATH']}"
    disturbed = wsss.with_environment(PYTHONPATH=path, POISON=f"/{poison}.png", HANG=f"/{hang}.png")
    done = disturbed(*arguments, *SHORT_DEADLINES, timeout_s=400)
    assert done.returncode == 3, done.stderr[-3000:]
    failed = pq.read_table(next(run.glob(f"{STAGE}-*/failed.parquet"))).to_pylist()
    reasons = {row["source_key"]: row["reason"] for row in failed}
    assert reasons == {poison: "worker_died", hang: "deadline_exceeded"}
    assert len(failed) == 2
    expected = digests(finished, MASKS)
    left = {name: digest for name, digest in expected.items() if not name.endswith((f"/{poison}.png", f"/{hang}.png"))}
    assert digests(run, MASKS) == left
    assert len(expected) - len(left) == 4  # each without and with CRF
