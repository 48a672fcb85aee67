"""What is printed into a file or a job's log is wide enough for tables."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("variables", "width"), [({}, 120), ({"COLUMNS": "95"}, 95)])
def test_a_log_is_120_columns_wide_unless_told_otherwise(variables, width):
    code = "from wsss_jobs.cli.terminal import make_console; print(make_console().width)"
    pipes = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", code], env=variables, check=True, **pipes)
    assert int(done.stdout) == width
