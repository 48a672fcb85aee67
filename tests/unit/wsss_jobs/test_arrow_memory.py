"""Arrow's memory comes from the system, which gets it back; a user who wants another allocator gets that."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("wished", "backend"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_the_allocator_is_set_before_arrow_is_imported(wished, backend):
    variables = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    if wished:
        variables["ARROW_DEFAULT_MEMORY_POOL"] = wished
    code = "import wsss_jobs.cli, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == backend
