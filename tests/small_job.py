"""A small job on generated images, run as a user runs it: a process of its own with a private Ray."""

import copy
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from wsss_jobs.datasets.synthetic import SyntheticStyle, generate

REPOSITORY = Path(__file__).parents[1]
NUM_IMAGES = 30

SMALL_STAGES = [
    {
        "stage": "train_classifier",
        "classifier": {
            "encoder": {"name": "timm/test_efficientnet", "weights": None, "size_multiple": 32},
            "frozen_stages": 0,
            "train_batch_norm": True,
        },
        "schedule": {"num_epochs": 2, "global_batch_size": 8, "optimiser": "adamw"},
        "encoder_lr": 0.002,
        "head_lr": 0.002,
        "long_side_px": [64, 96],
        "crop_px": 64,
    },
    {"stage": "infer_cams", "scales": [1.0, 2.0], "keep_high_res": False},
    {"stage": "make_affinity_labels"},
    {
        "stage": "train_affinity",
        "encoder": None,
        "schedule": {"num_epochs": 1, "global_batch_size": 8},
        "radius": 4,
        "crop_px": 64,
    },
    {"stage": "random_walk", "instances": {}},
    {"stage": "refine_masks", "name": "walk_masks", "unary": "label"},
    {"stage": "label_partially"},
    {"stage": "propagate_gcn", "gcn": {"num_steps": 20}},
    {"stage": "refine_masks", "name": "gcn_masks"},
]


def small_recipe(root, store, stages=SMALL_STAGES, **more):
    """Returns the recipe of the small job as a mapping."""
    dataset = {"format": "voc", "root": str(root), "splits": ["train", "val"], "masks": ["SegmentationClass"]}
    resources = {"device": "cpu"}
    return {
        "name": "small",
        "dataset": dataset,
        "store": {"uri": str(store)},
        "resources": resources,
        "stages": stages,
        **more,
    }


def write_recipe(path, recipe):
    """Writes a recipe file; returns its path."""
    path.write_text(yaml.safe_dump(recipe))
    return path


def digests(folder, *patterns):
    """Returns path -> SHA-256 of the files that match."""
    files = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Wsss:
    """Runs `python -m wsss_jobs` with an environment of its own."""

    def __init__(self, folder):
        self.folder = folder
        keep = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        temp = tempfile.mkdtemp(prefix="w", dir="/tmp")  # Ray's sockets need a short path
        self.temp = Path(temp)
        self.environment = {
            **keep,
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # by default, workers give way to anything else on the machine
            "TMPDIR": temp,
            "COLUMNS": "160",
        }

    def __call__(self, *arguments, timeout_s=240):
        """Runs to the end; returns the completed process with its output as text."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *arguments):
        """Starts it in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def with_environment(self, **variables):
        """The same with more environment variables."""
        changed = copy.copy(self)
        changed.environment = self.environment | variables
        return changed

    def command(self, *arguments):
        return [sys.executable, "-m", "wsss_jobs", *map(str, arguments)]


def workers_of(runner):
    """Returns the process ids of the actors of the runner's own Ray: they inherit its temporary folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if command.startswith(b"ray::") and b"Actor" in command and str(runner.temp).encode() in environment:
            found.append(int(folder.name))
    return found


def wait_until_gone(runner, timeout_s=60):
    """Waits until the killed driver's Ray has followed it."""
    deadline = time.monotonic() + timeout_s
    while workers_of(runner) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not workers_of(runner), "actors outlive their driver"


def wait_for_first(run, pattern, process, timeout_s=120):
    """Returns once a file that matches is there; fails when the job ends before."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if next(run.glob(pattern), None) is not None:
            return
        assert process.poll() is None, "the job ended before it could be disturbed"
        time.sleep(0.002)
    pytest.fail(f"nothing like {pattern} appeared within {timeout_s} s")


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A generated data set of small images in VOC layout."""
    root = tmp_path_factory.mktemp("images") / "voc"
    generate(root, NUM_IMAGES, style=SyntheticStyle(width_px=80, height_px=64))
    return root


@pytest.fixture(scope="session")
def wsss(tmp_path_factory):
    """The command line."""
    runner = Wsss(tmp_path_factory.mktemp("cwd"))
    yield runner
    shutil.rmtree(runner.temp, ignore_errors=True)


@pytest.fixture(scope="session")
def finished_job(wsss, images, tmp_path_factory):
    """The small job, run once without disturbance: (recipe path, run folder, completed process)."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(folder / "small.yaml", small_recipe(images, folder / "runs"))
    done = wsss("run", recipe)
    return recipe, folder / "runs" / "small", done
