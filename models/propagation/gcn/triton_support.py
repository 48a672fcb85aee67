"""Whether the `triton` backend can serve here.

Triton is there only where PyTorch was built for CUDA, so nothing is imported before it is asked for. It compiles at run
time, with a C compiler and a driver that we do not choose: so it solves one tiny image first, once a process and
device, and serves only where its answer is that of the `torch` backend.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os

import torch

from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.closed_form import solve_closed_form
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.problem import prepare
from models.propagation.grid_graph import GridGraph

LOGGER = logging.getLogger(__name__)

MAX_HIDDEN_CHANNELS = 16
"""Hidden units fill one row of a kernel; more are left to the other backends."""

_LARGEST_DIFFERENCE = 1e-3


def reason_unavailable(config: GCNConfig, device: torch.device) -> str | None:
    """Why this backend cannot serve a config on a device; None where it can."""
    if device.type != "cuda" and not is_interpreted():
        return f"it runs on CUDA, and the device is {device}"
    if config.graph.graph != "one_hop":
        return f"the graph {config.graph.graph!r} is not a stencil (triton serves 'one_hop')"
    if config.hidden_channels > MAX_HIDDEN_CHANNELS:
        return f"hidden_channels={config.hidden_channels} exceeds {MAX_HIDDEN_CHANNELS}"
    if config.compute_dtype != "float32":
        return f"compute_dtype={config.compute_dtype!r} (triton computes in float32)"
    if config.tolerance is not None:
        return "with a tolerance every image stops at a step of its own (triton runs all steps of a batch at once)"
    return reason_not_working(device)


def is_interpreted() -> bool:
    """Whether Triton's interpreter is on: its kernels then run on a CPU, slowly, in tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def reason_not_working(device: torch.device) -> str | None:
    """What went wrong when a tiny image was solved on the device; None where its result was right."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    try:
        difference = _difference_from_torch(device)
    except Exception as error:  # noqa: BLE001 - a compiler, a driver or a linker may fail in any way
        reason = f"its kernels do not run on {device}: {type(error).__name__}: {error}"
    else:
        if difference <= _LARGEST_DIFFERENCE:
            return None
        reason = f"its result on {device} is wrong by {difference:.2g} on the test image"
    LOGGER.warning("GCN backend triton is not used: %s", reason)
    return reason


def _difference_from_torch(device: torch.device) -> float:
    from models.propagation.gcn.triton_solver import solve_many

    config = GCNConfig(num_steps=3, graph=AffinityGraphConfig(radius=3))
    problem = prepare(_test_image().to(device), config)
    ours, expected = solve_many([problem], config)[0], solve_closed_form(problem, config)
    difference = (ours.prob_hwC - expected.prob_hwC).abs().max()
    return float(difference) if bool(torch.isfinite(difference)) else float("inf")


def _test_image() -> GridGraph:
    generator = torch.Generator().manual_seed(0)
    label_hw = torch.full((9, 11), 255, dtype=torch.uint8)
    label_hw[:2], label_hw[6:] = 0, 2
    return GridGraph(
        item_id="self-test",
        features_Dhw=torch.rand((20, 9, 11), generator=generator),
        image_hw3=torch.randint(0, 256, (9, 11, 3), generator=generator, dtype=torch.uint8),
        label_hw=label_hw,
        num_classes=3,
        boundary_hw=torch.rand((9, 11), generator=generator),
    )
