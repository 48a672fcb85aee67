"""Per-image GCN on a GPU: seconds an image for 250 steps, `triton` and `torch` against PyTorch Geometric on that GPU.

    python -m benchmarks.gcn_solver_cuda --json out.json

The instance is that of `benchmarks.gcn_solver`. Plain PyG runs its 250 steps on one image, as a user would write it;
`triton` solves batches of 1, 8, 32 and 64 images with their set-up, once all kernels are compiled and the training is
recorded. `ratio.triton` is at the largest batch; `setup_share` is what preparing the graphs takes of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.gcn_solver import CONFIG, STEPS, PyG, copies, synthetic_graph, timed
from models.propagation.gcn.backends import choose_backend
from models.propagation.gcn.problem import prepare
from models.propagation.gcn.solve import solve_batch

BATCHES = (1, 8, 32, 64)
RESULTS = Path(__file__).parent / "results" / "gcn_solver_cuda.json"


def on_device(call: Callable[[], object]) -> float:
    """Wall seconds of a call and of all that it has launched."""
    torch.cuda.synchronize()

    def complete() -> None:
        call()
        torch.cuda.synchronize()

    return timed(complete)


def rounds_of_seconds(num_rounds: int) -> dict[str, list[float]]:
    """Seconds an image, of every variant in every round, interleaved."""
    graph = synthetic_graph().to("cuda")
    problem = prepare(graph, CONFIG)
    plain, csr = PyG(problem, as_csr=False), PyG(problem, as_csr=True)
    measures: dict[str, tuple[Callable[[], object], int]] = {
        "pyg": (lambda: [plain.step() for _ in range(STEPS)], 1),
        "pyg_csr": (lambda: [csr.step() for _ in range(STEPS)], 1),
        "prepare": (lambda: prepare(graph, CONFIG), 1),
        "torch": (lambda: solve_batch([graph], replace(CONFIG, backend="torch"), device="cuda"), 1),
    }
    for size in BATCHES:
        batch = copies(graph, size)
        measures[f"triton_{size}"] = (
            lambda batch=batch: solve_batch(batch, replace(CONFIG, backend="triton"), device="cuda"),
            size,
        )
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for name in reversed(list(measures)):  # the largest batch first: smaller ones then use its recording
        measures[name][0]()
    for _ in range(num_rounds):
        for name, (call, num_images) in measures.items():
            seconds[name].append(on_device(call) / num_images)
    return seconds


def agreement() -> float:
    """Share of cells with the float64 label after 250 steps."""
    graph = synthetic_graph()
    exact = replace(CONFIG, backend="torch", compute_dtype="float64")
    labels = [
        solve_batch([graph], config, device="cuda")[0].argmax(dim=2)
        for config in (exact, replace(CONFIG, backend="triton"))
    ]
    return (labels[0] == labels[1]).double().mean().item()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS, help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this benchmark needs a CUDA device")
    if choose_backend(CONFIG, torch.device("cuda")) != "triton":
        parser.error("the triton backend does not work here; its warning says why")
    seconds = {name: statistics.median(values) for name, values in rounds_of_seconds(arguments.rounds).items()}
    largest = f"triton_{BATCHES[-1]}"
    figures = {
        "machine": {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__},
        "seconds": seconds,
        "ratio": {"torch": seconds["pyg"] / seconds["torch"], "triton": seconds["pyg"] / seconds[largest]},
        "setup_share": seconds["prepare"] / seconds[largest],
        "label_agreement": agreement(),
    }
    print(json.dumps(figures, indent=1))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
