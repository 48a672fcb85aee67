"""Jobs on a real Ray head with its job server: submitted, watched, stopped, resumed, submitted twice, refused."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray_head import RayHead
from small_job import SMALL_STAGES, digests, small_recipe, write_recipe
from typer.testing import CliRunner

from cluster.errors import ClusterError
from cluster.submit import JobServer
from wsss_jobs.cli.main import app
from wsss_jobs.datasets.synthetic import SyntheticStyle, generate
from wsss_jobs.job_progress import read_progress
from wsss_jobs.storage.uris import open_store

# Some four minutes on two quiet cores, so `make test-long` runs them.
pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(600)]

NUM_IMAGES = 12
STAGES = [
    SMALL_STAGES[0] | {"schedule": {"num_epochs": 1, "global_batch_size": 8, "optimiser": "adamw"}},
    {"stage": "infer_cams", "scales": [1.0], "keep_high_res": False},
    {"stage": "read_cams"},
    # Many iterations: the better part of a second an image, so that a job can be met in its midst.
    {"stage": "refine_masks", "unary": "label", "crf": {"num_iterations": 8000}},
]
PATTERNS = (
    "infer_cams-*/part-*.parquet",
    "refine_masks-*/**/*.png",
    "infer_cams-*/_MANIFEST.json",
    "refine_masks-*/_MANIFEST.json",
)


@pytest.fixture(scope="module")
def head():
    """A head with three logical CPUs and no GPU, and no autoscaler."""
    running = RayHead(num_cpus=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield running
    running.close()


@pytest.fixture(scope="module")
def working_dir(tmp_path_factory, store):
    """What is uploaded: a recipe. The images are not in it."""
    images = tmp_path_factory.mktemp("images") / "voc"
    generate(images, NUM_IMAGES, style=SyntheticStyle(width_px=80, height_px=64))
    folder = tmp_path_factory.mktemp("project")
    recipe = small_recipe(images, store, STAGES, name="tiny")
    recipe["dataset"]["splits"] = ["train"]
    write_recipe(folder / "tiny.yaml", recipe)
    return folder


@pytest.fixture
def wsss(head, working_dir):
    """The command line against the head, in this process."""

    def call(verb, target, *arguments):
        if verb == "submit":
            target, arguments = working_dir / target, ("--working-dir", working_dir, *arguments)
        words = [verb, target, "--address", head.address, *arguments]
        return CliRunner().invoke(app, [str(word) for word in words])

    return call


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Where the recipe stores."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def finished(head, working_dir, store):
    """(result of `wsss submit --follow` after a preflight, the run's folder)."""
    words = ["submit", working_dir / "tiny.yaml", "--working-dir", working_dir, "--address", head.address, "--follow"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result, store / "tiny"


@pytest.fixture
def run_without_masks(finished, tmp_path):
    """A copy of the finished run whose last stage has to be done again."""
    copy = tmp_path / "tiny"
    shutil.copytree(finished[1], copy, ignore=shutil.ignore_patterns("refine_masks-*", "evaluation", "report", "jobs"))
    return copy


def in_store(run, *more):
    """Options for a job in a store of its own, one image at a time, without what comes after the stages."""
    options = ["--set", f"store.uri={run.parent}", "--no-preflight", "--no-report"]
    for setting in ("max_workers", "batch_size"):
        options += ["--set", f"stages.refine_masks.resources.{setting}=1"]
    return [*options, *more]


def id_in(result):
    assert result.exit_code == 0, result.output
    return next(line for line in result.output.splitlines() if ": wsss-tiny" in line).split()[-1]


def test_submit_and_follow(finished, head):
    result, run = finished
    assert result.exit_code == 0, result.output
    assert "nothing found that would stop it" in result.output
    assert f"stage finished stage=refine_masks done={NUM_IMAGES} failed=0" in result.output
    [name] = [line.split()[-1] for line in result.output.splitlines() if line.startswith("Submitted:")]
    job = JobServer(head.address).job(name)
    assert (job.status, job.exit_code) == ("SUCCEEDED", 0)
    assert (job.metadata["wsss_run"], job.metadata["wsss_recipe"]) == ("tiny", "tiny")
    assert job.metadata["wsss_store"] == str(run)
    assert len(job.metadata["wsss_recipe_sha256"]) == 64
    [progress] = read_progress(open_store(run), "tiny")
    assert (progress.state, progress.submission_id, progress.device) == ("done", name, "cpu")
    assert [stage.num_done for stage in progress.stages] == [NUM_IMAGES] * 3
    assert progress.used.cpu_s > 0


def test_status_stop_and_resume(wsss, finished, run_without_masks):
    run = run_without_masks
    name = id_in(wsss("submit", "tiny.yaml", *in_store(run)))
    wait_for(lambda: any(driver.pools for driver in read_progress(open_store(run), "tiny")))
    wait_for(lambda: next(run.glob("refine_masks-*/masks/*.png"), None))
    status = wsss("status", name, "--price-per-hour", "cpu=3600")
    again = wsss("submit", "tiny.yaml", *in_store(run))
    other = wsss("submit", "tiny.yaml", *in_store(run, "--set", "seed=7"))
    stopped = wsss("stop", name)
    masks = list(run.glob("refine_masks-*/masks/*.png"))

    assert "running on cpu" in status.output, status.output
    assert "last heard" in status.output
    assert "workers alive: read_cams" in status.output
    assert "(cost " in status.output
    assert f"Runs already: {name} (RUNNING)" in again.output
    assert isinstance(other.exception, ClusterError)
    assert "with other settings" in str(other.exception)
    assert f"{name}: STOPPED" in stopped.output
    assert 0 < len(masks) < NUM_IMAGES
    [progress] = read_progress(open_store(run), "tiny")
    assert progress.state == "interrupted", "SIGTERM must end it in order, not by SIGKILL"

    resumed = wsss("submit", "tiny.yaml", *in_store(run, "--follow"))
    assert resumed.exit_code == 0, resumed.output
    left = f"stage started stage=refine_masks todo={NUM_IMAGES - len(masks)} done={len(masks)} failed=0"
    assert left in resumed.output
    assert digests(run, *PATTERNS) == digests(finished[1], *PATTERNS)


def test_two_drivers_of_one_run_at_once_make_what_one_makes(finished, head, working_dir, tmp_path):
    """Both by plain `ray job submit`, from nothing: training, tensors and masks."""
    names = ["first", "second"]
    for name in names:
        submit = [Path(sys.executable).parent / "ray", "job", "submit", "--address", head.address, "--no-wait"]
        submit += ["--submission-id", name, "--working-dir", working_dir, "--", "python", "-m", "wsss_jobs", "run"]
        submit += ["tiny.yaml", "--set", f"store.uri={tmp_path}", "--no-report"]
        submit += ["--set", "stages.refine_masks.resources.batch_size=1"]
        subprocess.run([str(word) for word in submit], env=head.environment, check=True, capture_output=True)
    server = JobServer(head.address)
    jobs = [server.wait(name, lambda job: job.has_ended, 500) for name in names]
    logs = [server.logs(name) for name in names]
    assert [job.status for job in jobs] == ["SUCCEEDED"] * 2, "\n".join(logs)
    assert digests(tmp_path / "tiny", *PATTERNS) == digests(finished[1], *PATTERNS)
    first, second = read_progress(open_store(tmp_path / "tiny"), "tiny")
    assert max(first.started_at, second.started_at) < min(first.updated_at, second.updated_at), "not at the same time"
    assert sum("another driver" in text for text in logs) == 1, "one trains, the other waits"


def test_all_findings_before_anything_is_uploaded(wsss, working_dir, head):
    large = working_dir / "weights" / "large.pt"
    large.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(600 << 20)
    before = len(JobServer(head.address).jobs())
    try:
        settings = ("--set", "stages.infer_cams.scale=1", "--set", "store.uri=runs")
        result = wsss("submit", "tiny.yaml", *settings)
    finally:
        shutil.rmtree(large.parent)
    assert result.exit_code == 2
    assert "would upload 600 MiB" in result.output
    assert "weights/ 600 MiB" in result.output
    assert "stages.infer_cams.scale: unknown key; did you mean 'scales'?" in result.output
    assert len(JobServer(head.address).jobs()) == before


def test_what_only_the_cluster_can_tell(wsss, working_dir):
    blocked = working_dir / "tiny.yaml" / "store"  # below a file
    result = wsss("submit", "tiny.yaml", "--set", f"store.uri={blocked}", "--set", "resources.device=cuda")
    assert result.exit_code == 2, result.output
    assert "error store:" in result.output
    assert "stage infer_cams can never run here" in result.output
    assert "no autoscaler" in result.output
    assert "Submitted" not in result.output


@pytest.mark.parametrize("setting", ["stages.infer_cams.scales=[2.0]", "seed=1"], ids=["items", "training"])
def test_work_for_a_gpu_waits_for_one_says_so_and_gives_up_in_time(wsss, run_without_masks, setting):
    device = ("--set", "resources.device=cuda", "--set", "resources.first_worker_timeout_s=4")
    result = wsss("submit", "tiny.yaml", *in_store(run_without_masks, "--set", setting, *device, "--follow"))
    assert result.exit_code == 1
    assert "GPU (asked" in result.output
    assert "4 s for" in result.output
    assert not list(run_without_masks.glob("refine_masks-*/masks/*"))


def wait_for(condition, timeout_s=300):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)
