"""Prometheus' own programs, where the machine has them."""

import os
import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / ".prometheus" / "usr" / "bin"


def prometheus_program(name: str) -> str:
    """Path of `prometheus` or `promtool`; skips the test where there is none."""
    found = shutil.which(name, path=f"{FOLDER}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{name} is not here: sh requirements/install_prometheus.sh")
    return found
