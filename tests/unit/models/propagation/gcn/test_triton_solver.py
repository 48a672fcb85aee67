"""What is particular to the CUDA backend: its kernels in a process of their own, and when it serves."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn import triton_support
from models.propagation.gcn.backends import choose_backend
from models.propagation.gcn.config import GCNConfig

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


def environment(**changes):
    return {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | changes


@needs_triton
def test_kernels_give_the_oracle_s_results():
    """`triton_cases.py`, on the GPU where there is one, else in the interpreter."""
    mode = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    cases = Path(__file__).with_name("triton_cases.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(**mode))
    assert result.returncode == 0, result.stdout[-6000:]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tolerance": 0.1}, "tolerance"),
        ({"hidden_channels": 17}, "exceeds 16"),
        ({"graph": AffinityGraphConfig(graph="walk")}, "not a stencil"),
    ],
)
def test_what_it_cannot_serve_is_left_to_torch(changes, reason):
    config, device = GCNConfig(**changes), torch.device("cuda")
    assert reason in triton_support.reason_unavailable(config, device)
    assert choose_backend(config, device) == "torch"


def test_a_failing_compiler_is_one_clear_line_and_torch_serves(monkeypatch, caplog):
    def fail(_device):
        message = "no C compiler"
        raise RuntimeError(message)

    device = torch.device("cuda:7")
    monkeypatch.setattr(triton_support, "_difference_from_torch", fail)
    with caplog.at_level(logging.WARNING):
        assert choose_backend(GCNConfig(), device) == "torch"
        assert choose_backend(GCNConfig(), device) == "torch"
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["GCN backend triton is not used: its kernels do not run on cuda:7: RuntimeError: no C compiler"]


def test_a_wrong_result_is_not_served(monkeypatch):
    device = torch.device("cuda:8")
    monkeypatch.setattr(triton_support, "_difference_from_torch", lambda _device: 0.5)
    assert "is wrong by 0.5" in triton_support.reason_unavailable(GCNConfig(), device)


def test_the_cpu_is_not_served_without_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "the device is cpu" in triton_support.reason_unavailable(GCNConfig(), torch.device("cpu"))


@needs_triton
def test_every_kernel_compiles_for_real_gpus_and_spills_nothing():
    script = Path(__file__).with_name("compile_triton_kernels.py")
    command = [sys.executable, str(script)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found) == 14
    assert {name: facts for name, facts in found.items() if facts["stack_bytes"]} == {}
