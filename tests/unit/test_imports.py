"""What the command line must not import: each takes seconds, and memory, in every command and every process."""

import subprocess
import sys

import pytest

from wsss_jobs.config.recipe import shipped_recipes
from wsss_jobs.stages.registry import STAGES

SLOW = ("torchvision", "timm", "torch_geometric", "torchmetrics", "scipy", "torch._dynamo", "datasets", "pycocotools")
NOT_FOR_PLANNING = ("torch", "ray.train", *SLOW)

PLANNED = """
from wsss_jobs.config.recipe import load_recipe, shipped_recipes
from wsss_jobs.pipeline import build_plan
for name in shipped_recipes():
    recipe = load_recipe(name, ["dataset.root=x"])
    build_plan(recipe.stages, "d0", recipe.seed)
"""
ALL_STAGES = "from wsss_jobs.stages.registry import STAGES; [STAGES[name] for name in STAGES]"


def imported(code, names):
    """Returns which of these modules a fresh process has after `code`."""
    code = f"{code}\nimport sys; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("module", ["wsss_jobs.worker", "wsss_jobs.training.run"])
def test_slow_libraries_are_imported_where_they_are_used(module):
    assert imported(f"import {module}", SLOW) == "[]"


@pytest.mark.parametrize("code", [PLANNED, ALL_STAGES], ids=["recipes", "stages"])
def test_a_job_is_planned_without_torch(code):
    assert imported(code, NOT_FOR_PLANNING) == "[]"
    assert shipped_recipes()
    assert STAGES


def test_what_drives_a_run_knows_neither_torch_nor_ray_train():
    assert imported("import wsss_jobs.cli.main, wsss_jobs.executor, wsss_jobs.chain_worker", NOT_FOR_PLANNING) == "[]"


@pytest.mark.parametrize("verb", ["--help", "plan", "status", "doctor"])
def test_commands_that_train_nothing_start_without_torch(verb, small_voc, tmp_path):
    store = tmp_path / "runs"
    arguments = [verb] if verb == "--help" else [verb, "demo", "--set", f"dataset.root={small_voc}"]
    arguments += [] if verb == "--help" else ["--set", f"store.uri={store}"]
    code = f"""
import sys
from wsss_jobs.cli.main import main
sys.argv = ["wsss", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert imported(code, NOT_FOR_PLANNING) == "[]"


@pytest.fixture(scope="module")
def small_voc(tmp_path_factory):
    """A data set in VOC layout."""
    from wsss_jobs.datasets.synthetic import generate

    root = tmp_path_factory.mktemp("voc")
    generate(root, 6, 0)
    return root


def test_packages_hand_out_their_networks_when_asked():
    code = """
import sys
import models.backbones, models.groupwise, models.segmentation
from models.backbones import EncoderConfig
from models.groupwise import GroupwiseConfig
from models.segmentation import DeepLabConfig
assert "torch" not in sys.modules
from models.backbones import Encoder, Tap, build_encoder
from models.groupwise import GroupMaps, GroupwiseNet, build_groupwise
from models.segmentation import DeepLab, build_deeplab
assert build_groupwise.__module__ == "models.groupwise.network"
assert build_encoder.__module__ == "models.backbones.build" and DeepLab.__module__ == "models.segmentation.deeplab"
try:
    models.segmentation.build_deeplap
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout.strip() == "module 'models.segmentation' has no attribute 'build_deeplap'"
