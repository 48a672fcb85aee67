"""The main job on a store that fails for a while, and on one that fails until someone mends it; a disk that is full."""

import os
import shutil
import subprocess
import time

import pytest
from faulty_s3 import TRANSIENT, FaultPlan, FaultyS3
from small_job import NUM_IMAGES, digests

from wsss_jobs.storage.s3_client import S3Options
from wsss_jobs.storage.uris import open_store

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(400)]

STAGE = "gcn_masks"
PATTERNS = (f"{STAGE}-*/*masks*/*.png", f"{STAGE}-*/_MANIFEST.json")
CALM = FaultPlan((), rate=0.0)


@pytest.fixture
def run_without_masks(finished_job, tmp_path):
    """(recipe, copy of the finished run without its last stage, digests that this stage must have at the end)."""
    recipe, run, done = finished_job
    assert done.returncode == 0, done.stderr[-3000:]
    copy = tmp_path / run.name
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns(f"{STAGE}-*", "evaluation", "report"))
    return recipe, copy, digests(run, *PATTERNS)


@pytest.fixture
def remote(run_without_masks, s3_endpoint, s3_bucket, wsss):
    """The same run in a bucket behind a proxy: (proxy, command line that goes through it, arguments)."""
    recipe, run, _ = run_without_masks
    store = open_store(f"s3://{s3_bucket}/small")
    for path in run.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(run).as_posix(), path.read_bytes())
    with FaultyS3(s3_endpoint, CALM, silence_s=3.0) as proxy:
        aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        command = wsss.with_environment(**aws | {"AWS_ENDPOINT_URL": proxy.endpoint})
        # The proxy is silent for longer than the client waits.
        settings = ("--set", f"store.uri=s3://{s3_bucket}", "--set", "store.read_timeout_s=1")
        yield proxy, command, ("run", recipe, "--no-report", *settings)


@pytest.fixture
def left(s3_endpoint, s3_bucket, tmp_path):
    """A function: the digests of what lies in the bucket."""

    def look():
        store = open_store(f"s3://{s3_bucket}/small", S3Options(s3_endpoint, "us-east-1"))
        folder = tmp_path / "left"
        shutil.rmtree(folder, ignore_errors=True)
        for info in store.list(f"{STAGE}-"):
            (folder / info.key).parent.mkdir(parents=True, exist_ok=True)
            (folder / info.key).write_bytes(store.get(info.key))
        assert not list(folder.glob("*/failed/*")), "a failing store is no fault of an image"
        return digests(folder, *PATTERNS)

    return look


def test_a_store_that_fails_now_and_then_changes_no_byte(remote, left, run_without_masks):
    proxy, wsss, arguments = remote
    proxy.plan = FaultPlan(TRANSIENT, rate=0.1, seed=3)
    done = wsss(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert proxy.counts.total() >= 10
    assert left() == run_without_masks[2]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("access_denied", "access denied"),
        ("no_bucket", "does not exist; check the name"),
        ("clock_skew", "clock and the service's differ too much"),
        ("slow_down", "slow down on each of 2 tries"),
        ("reset", "no connection after 2 tries"),
        ("silence", "Read timeout"),
    ],
)
def test_a_store_that_fails_for_good_stops_the_job_with_its_reason_and_it_goes_on_later(
    remote, left, run_without_masks, kind, message
):
    proxy, wsss, arguments = remote
    arguments = (*arguments, "--set", "store.max_attempts=2", "--set", f"stages.{STAGE}.resources.batch_size=1")
    process = subprocess.Popen(
        wsss.command(*arguments), cwd=wsss.folder, env=wsss.environment, stderr=subprocess.PIPE, text=True
    )
    try:
        while not any(method == "PUT" and path.endswith(".png") for method, path in proxy.answered):
            assert process.poll() is None, "the job ended before it could be disturbed"
            time.sleep(0.01)
        proxy.plan = FaultPlan((kind,), max_in_a_row=0)
        _, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1, stderr[-3000:]
    assert message in " ".join(stderr.split())
    proxy.plan = CALM
    assert 0 < len(left()) < 2 * NUM_IMAGES + 1
    again = wsss(*arguments)
    assert again.returncode == 0, again.stderr[-3000:]
    assert left() == run_without_masks[2]


DISK = """
mount -t tmpfs -o size={size} tmpfs {disk}
cp -r {run} {disk}/small
{command}; echo "exit $?"
mount -o remount,size=64m {disk}
{command}; echo "exit $?"
cp -r {disk}/small {result}
"""


def test_a_full_disk_stops_the_job_and_it_goes_on_when_there_is_room(run_without_masks, wsss, tmp_path):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a disk of our own needs a mount namespace, which this machine does not give")
    recipe, run, expected = run_without_masks
    disk, result = tmp_path / "disk", tmp_path / "result"
    disk.mkdir()
    pages = sum(-(-path.stat().st_size // 4096) for path in run.rglob("*") if path.is_file())
    command = " ".join(wsss.command("run", recipe, "--no-report", "--set", f"store.uri={disk}"))
    script = DISK.format(size=4096 * (pages + 20), disk=disk, run=run, result=result, command=command)
    shell = ["unshare", "-rm", "sh", "-c", script]
    done = subprocess.run(
        shell, cwd=wsss.folder, env=wsss.environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("exit ")] == ["exit 1", "exit 0"], done.stderr
    assert "No space left on device" in " ".join(done.stderr.split())
    assert digests(result, *PATTERNS) == expected
