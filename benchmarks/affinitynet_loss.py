"""Distances of AffinityNet's features, forward and backward: ours against plain autograd on the same formula.

    python -m benchmarks.affinitynet_loss --json benchmarks/results/affinitynet_loss.json      # a minute

PSA's grid: 8 images of 40 x 40 cells with 448 features, radius 5. CPU seconds of one thread, the least of interleaved
rounds, and how much memory a process of its own needs above its inputs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.real_voc import circumstances
from models.affinity.feature_distance import mean_distances
from models.affinity.pair_sums import PairWindow
from models.affinity.pixel_pairs import half_plane_offsets
from wsss_jobs.cli.terminal import make_console

SHAPE_BDhw = (8, 448, 40, 40)
RADIUS = 5
ROUNDS = 5


def ours(features_BDhw: torch.Tensor) -> torch.Tensor:
    """Returns the sum of all distances, by the project's function."""
    return mean_distances(features_BDhw, PairWindow(SHAPE_BDhw[2:], RADIUS), half_plane_offsets(RADIUS)).sum()


def autograd(features_BDhw: torch.Tensor) -> torch.Tensor:
    """Returns the same by the formula; autograd keeps what it needs."""
    window = PairWindow(SHAPE_BDhw[2:], RADIUS)
    source_BDyx = window.source(features_BDhw)
    planes = [
        (window.target(features_BDhw, offset) - source_BDyx).abs().mean(dim=1) for offset in half_plane_offsets(RADIUS)
    ]
    return torch.stack(planes).sum()


METHODS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"autograd": autograd, "ours": ours}


def cpu_seconds(method: str) -> float:
    """Returns the CPU time of one pass forward and backward."""
    features = torch.randn(SHAPE_BDhw, requires_grad=True)
    started = time.process_time()
    METHODS[method](features).backward()  # type: ignore[no-untyped-call]
    return time.process_time() - started


def memory_mb(method: str) -> float:
    """Returns by how much a pass raises the peak memory of this process."""
    torch.set_num_threads(1)
    features = torch.randn(SHAPE_BDhw, requires_grad=True)
    before_mb = peak_mb()
    METHODS[method](features).backward()  # type: ignore[no-untyped-call]
    return peak_mb() - before_mb


def peak_mb() -> float:
    """Returns the most resident memory that this process had; `getrusage` would hand down that of its parent."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    path: Path | None = parser.parse_args().json
    torch.set_num_threads(1)
    rounds = [{method: cpu_seconds(method) for method in METHODS} for _ in range(ROUNDS)]
    seconds = {method: round(min(each[method] for each in rounds), 3) for method in METHODS}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        megabytes = {method: round(pool.apply(memory_mb, (method,))) for method in METHODS}
    content = {
        **{f"cpu_s.{method}": value for method, value in seconds.items()},
        **{f"memory_mb.{method}": value for method, value in megabytes.items()},
        "ratio.cpu": round(seconds["autograd"] / seconds["ours"], 2),
        "ratio.memory": round(megabytes["autograd"] / megabytes["ours"], 2),
        **circumstances(SHAPE_BDhw[0]),
    }
    make_console().print(content)
    if path is not None:
        path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
