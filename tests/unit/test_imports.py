"""What the command line must not import: each of these takes seconds, in every command and every worker process."""

import subprocess
import sys

import pytest

SLOW = ("torchvision", "timm", "torch_geometric", "torchmetrics", "scipy", "torch._dynamo", "datasets", "pycocotools")


@pytest.mark.parametrize("module", ["wsss_jobs.cli.main", "wsss_jobs.chain_worker"])
def test_slow_libraries_are_imported_where_they_are_used(module):
    code = f"import sys, {module}; print([name for name in {SLOW!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
