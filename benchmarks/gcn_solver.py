"""Per-image GCN: seconds an image for 250 steps, against PyTorch Geometric in the same process.

    python -m benchmarks.gcn_solver --json out.json              # about 2 minutes on 2 cores
    python -m benchmarks.gcn_solver --json out.json --scaling    # and how time grows with each size

The instance is synthetic, with the sizes of a 500x375 image: 94x125 cells, 160 features, 21 classes, radius 5. Rounds
are interleaved and figures are medians over rounds. The baselines (`pyg*`) take 2 steps a round, scaled to 250, their
set-up not counted; our backends run all 250 steps of `solve_batch` with their set-up. `ratio.torch` and `ratio.native`
are one thread against plain PyG on one thread; `ratio.*_all_threads` all cores against plain PyG on all cores. Ratios
of one round are under `ratio_range`: on a shared machine they tell how far to trust the median.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
import torch_geometric
from torch import Tensor
from torch_geometric.nn import GCNConv

from models.affinity.pixel_pairs import half_plane_offsets
from models.native_library import supported_isas
from models.propagation.affinity_graph import StencilAdjacency
from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import BackendName, GCNConfig
from models.propagation.gcn.native_solver import native_library
from models.propagation.gcn.problem import GCNProblem, prepare
from models.propagation.gcn.reference import edge_list, total_loss
from models.propagation.gcn.solve import solve_batch
from models.propagation.grid_graph import GridGraph
from models.propagation.stencil import csr_tensor

STEPS = 250
CONFIG = GCNConfig(num_steps=STEPS)
BASELINE_STEPS = 2
"""Steps of a baseline in a round; they are all alike, and 250 of plain PyG take minutes."""


def blur(values_Khw: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of every map, edges repeated."""
    reach = max(1, int(3 * sigma))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    x = values_Khw[:, None]
    x = F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1))
    return F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))[:, 0]


def synthetic_graph(
    height: int = 94, width: int = 125, num_features: int = 160, num_classes: int = 21, seed: int = 0
) -> GridGraph:
    """An image-like problem: blobs as objects, boundaries where they meet, noisy features, a fifth labelled."""
    generator = torch.Generator().manual_seed(seed)

    def noise(count: int, sigma: float) -> Tensor:
        maps = blur(torch.randn(count, height, width, generator=generator), sigma)
        return maps / maps.std()

    num_regions = 12
    region_hw = noise(num_regions, 9.0).argmax(dim=0)
    edge_hw = (F.max_pool2d(region_hw[None, None].float(), 3, 1, 1)[0, 0] != region_hw).float()
    boundary_hw = torch.sigmoid(-4.2 + 6.0 * blur(edge_hw[None], 0.8)[0] * 2.5 + 0.8 * noise(1, 1.2)[0])
    color_3hw = torch.rand(num_regions, 3, generator=generator)[region_hw].permute(2, 0, 1) + 0.05 * noise(3, 0.6)
    levels = [noise(-(-num_features // 4), sigma) for sigma in (0.8, 1.5, 3.0, 6.0)]
    offsets = 0.8 * torch.randn(num_features, num_regions, generator=generator)[:, region_hw]
    scale = 0.3 * torch.randn(num_features, 1, 1, generator=generator)
    features_Dhw = (torch.cat(levels)[:num_features] + offsets).relu() * scale
    classes = torch.zeros(num_regions, dtype=torch.long)
    classes[1:4] = torch.tensor([1, 2, 3]) % num_classes
    label_hw = classes[region_hw]
    label_hw[(noise(1, 4.0)[0] < 0.3) | (edge_hw > 0)] = 255
    return GridGraph(
        item_id=f"synthetic-{seed}",
        features_Dhw=features_Dhw.contiguous(),
        image_hw3=(color_3hw.clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).contiguous(),
        label_hw=label_hw.to(torch.uint8),
        num_classes=num_classes,
        boundary_hw=boundary_hw.clamp(1e-4, 0.995),
    )


class PyG:
    """The GCN as a user of PyG writes it: two `GCNConv`, `F.dropout`, autograd, `torch.optim.Adam`."""

    def __init__(self, problem: GCNProblem, *, as_csr: bool) -> None:
        self.edges: tuple[Tensor, ...] = edge_list(problem.adjacency, torch.float32)
        if as_csr:
            assert isinstance(problem.adjacency, StencilAdjacency)
            stencil, adjacency = problem.adjacency.stencil, problem.adjacency
            matrix = stencil.to_csr(stencil.pattern(), adjacency.row_scale_hw, adjacency.column_scale_hw)
            self.edges = (csr_tensor(matrix.crow_indices(), matrix.col_indices(), matrix.values().float()),)
        self.problem = problem
        num_features, num_hidden = problem.initial.weight1_DU.shape
        device = problem.features_ND.device
        self.layer1 = GCNConv(num_features, num_hidden, normalize=False).to(device)
        self.layer2 = GCNConv(num_hidden, problem.graph.num_classes, normalize=False).to(device)
        weights = [*self.layer1.parameters(), *self.layer2.parameters()]
        self.optimiser = torch.optim.Adam(weights, lr=CONFIG.learning_rate, weight_decay=CONFIG.weight_decay)
        self.step()  # the first step allocates

    def step(self) -> None:
        """One gradient step."""
        self.optimiser.zero_grad()
        hidden_NU = F.dropout(F.relu(self.layer1(self.problem.features_ND, *self.edges)), CONFIG.dropout)
        log_prob_NC = F.log_softmax(self.layer2(hidden_NU, *self.edges), dim=1)
        torch.autograd.backward(total_loss(log_prob_NC, self.problem, CONFIG))
        self.optimiser.step()

    def few_steps(self) -> None:
        """The steps of one round."""
        for _ in range(BASELINE_STEPS):
            self.step()

    def seconds(self, num_threads: int) -> float:
        """Wall seconds of a whole training, from a few steps."""
        torch.set_num_threads(num_threads)
        try:
            return timed(self.few_steps) / BASELINE_STEPS * STEPS
        finally:
            torch.set_num_threads(1)


def timed(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def solve_seconds(graphs: list[GridGraph], config: GCNConfig, num_threads: int = 1) -> float:
    """Wall seconds an image."""
    return timed(lambda: solve_batch(graphs, config, num_threads=num_threads)) / len(graphs)


def copies(graph: GridGraph, count: int) -> list[GridGraph]:
    """A batch of one image under several names."""
    return [replace(graph, item_id=f"copy-{i}") for i in range(count)]


def rounds_of_seconds(num_rounds: int, num_cores: int) -> dict[str, list[float]]:
    """Seconds an image for 250 steps, of every variant in every round."""
    graph = synthetic_graph()
    problem = prepare(graph, CONFIG)
    plain, csr = PyG(problem, as_csr=False), PyG(problem, as_csr=True)
    configs = {name: replace(CONFIG, backend=name) for name in backends()}
    measures: dict[str, Callable[[], float]] = {"pyg": lambda: plain.seconds(1), "pyg_csr": lambda: csr.seconds(1)}
    for name, config in configs.items():
        measures[name] = functools.partial(solve_seconds, copies(graph, 2), config)
    if num_cores > 1:
        measures["pyg_all_threads"] = lambda: plain.seconds(num_cores)
        measures["pyg_csr_all_threads"] = lambda: csr.seconds(num_cores)
        for name, config in configs.items():
            batch = copies(graph, 2 * num_cores)
            measures[f"{name}_all_threads"] = functools.partial(solve_seconds, batch, config, num_cores)
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for index in range(num_rounds):
        for variant, measure in measures.items():
            seconds[variant].append(measure())
        print(f"round {index + 1}: " + "  ".join(f"{k} {v[-1]:.3f}" for k, v in seconds.items()), flush=True)
    return seconds


def backends() -> list[BackendName]:
    """The fast backends that run here."""
    return ["torch"] if native_library() is None else ["torch", "native"]


def ratios(seconds: dict[str, list[float]]) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Each variant over plain PyG on as many threads: the ratio of medians, and the range over rounds."""
    of_medians, ranges = {}, {}
    for name, values in seconds.items():
        baseline = seconds["pyg_all_threads" if name.endswith("_all_threads") else "pyg"]
        if values is not baseline:
            of_medians[name] = statistics.median(baseline) / statistics.median(values)
            per_round = [slow / fast for slow, fast in zip(baseline, values, strict=True)]
            ranges[name] = (min(per_round), max(per_round))
    return of_medians, ranges


def label_agreement(num_instances: int = 3) -> dict[str, float]:
    """Share of cells with the float64 solution's label after 250 steps at full size: the lowest of some instances.

    Beside the backends and the half-precision options stands what another seed of weights and dropout changes.
    """
    best = replace(CONFIG, backend=backends()[-1])
    cases = {name: replace(CONFIG, backend=name) for name in backends()} | {
        "float16_features": replace(best, feature_dtype="float16"),
        "bfloat16_features": replace(best, feature_dtype="bfloat16"),
        "bfloat16_affinity": replace(best, affinity_dtype="bfloat16"),
        "other_seed": replace(best, seed=1),
    }
    lowest = dict.fromkeys(cases, 1.0)
    for seed in range(num_instances):
        graph = synthetic_graph(seed=seed)
        exact_hw = solve_batch([graph], replace(CONFIG, backend="torch", compute_dtype="float64"))[0].argmax(dim=2)
        for name, config in cases.items():
            is_equal_hw = solve_batch([graph], config)[0].argmax(dim=2) == exact_hw
            lowest[name] = min(lowest[name], is_equal_hw.double().mean().item())
    return lowest


def measure_peaks() -> dict[str, float]:
    """What this machine reaches on one thread: GFLOP/s of a large matrix product, GB/s of reading from memory."""
    a_NN, large = torch.rand(2048, 2048), torch.rand(2**26)
    matmul = min(timed(lambda: a_NN @ a_NN) for _ in range(5))
    reading = min(timed(large.sum) for _ in range(5))
    return {"gemm_gflops": 2 * 2048**3 / matmul / 1e9, "read_gb_per_s": large.numel() * 4 / reading / 1e9}


def step_cost(nodes: int, features: int, classes: int, radius: int) -> dict[str, float]:
    """Operations of a step with all products counted, and the bytes that it reads and writes if no cache keeps them."""
    hidden, laplacian = CONFIG.hidden_channels, 25
    offsets = 2 * len(half_plane_offsets(radius)) + 1
    products = 4 * hidden * features + 4 * hidden * offsets + 6 * hidden * classes + 2 * laplacian * classes
    numbers = 2 * features + 2 * offsets + laplacian + 7 * hidden + 4 * classes
    return {"mflop": nodes * products / 1e6, "megabytes": 4 * nodes * numbers / 1e6}


def shares(cost: dict[str, float], ms_per_step: float, peaks: dict[str, float]) -> dict[str, float]:
    """Speed of a step as shares of the peaks."""
    return {
        "of_gemm_peak": cost["mflop"] / ms_per_step / peaks["gemm_gflops"],
        "of_read_bandwidth": cost["megabytes"] / ms_per_step / peaks["read_gb_per_s"],
    }


def ms_per_step(graph: GridGraph, config: GCNConfig) -> float:
    """Median milliseconds of a step, without the set-up."""
    num_steps = max(30, min(1000, 400_000 // graph.num_nodes))  # tiny grids need many to rise above the set-up

    def once() -> float:
        short, long = (solve_seconds([graph], replace(config, num_steps=n)) for n in (1, 1 + num_steps))
        return (long - short) / num_steps * 1e3

    return statistics.median(once() for _ in range(3))


def scaling(peaks: dict[str, float]) -> list[dict[str, float]]:
    """Milliseconds of a step on one thread, when one size changes and the others stay."""
    base = {"height": 94, "width": 125, "num_features": 160, "num_classes": 21, "radius": 5}
    changes: list[dict[str, int]] = [{}]
    changes += [{"height": h, "width": w} for h, w in ((8, 8), (47, 63), (188, 250), (512, 512))]
    changes += [{"num_features": d} for d in (40, 80, 320)] + [{"num_classes": c} for c in (4, 81)]
    changes += [{"radius": r} for r in (3, 7, 10)]
    rows: list[dict[str, float]] = []
    for change in changes:
        sizes = base | change
        radius = sizes.pop("radius")
        graph = synthetic_graph(**sizes)
        config = replace(CONFIG, backend=backends()[-1], graph=AffinityGraphConfig(radius=radius))
        ms = ms_per_step(graph, config)
        share = shares(step_cost(graph.num_nodes, graph.num_features, graph.num_classes, radius), ms, peaks)
        rows.append(sizes | {"radius": radius, "nodes": graph.num_nodes, "ms_per_step": ms} | share)
        changed = ", ".join(f"{k}={v}" for k, v in change.items()) or "base"
        print(f"{changed:24s} {ms:8.3f} ms/step  " + "  ".join(f"{k} {v:.2f}" for k, v in share.items()), flush=True)
    return rows


def batch_scaling(num_cores: int) -> list[dict[str, float]]:
    """Seconds an image for 250 steps, by the size of the batch and the number of threads."""
    graph, config = synthetic_graph(), replace(CONFIG, backend=backends()[-1])
    rows = []
    for batch, threads in ((1, 1), (8, 1), (1, num_cores), (8, num_cores)):
        seconds = statistics.median(solve_seconds(copies(graph, batch), config, threads) for _ in range(3))
        rows.append({"batch": batch, "threads": threads, "seconds": seconds})
        print(f"batch {batch}, {threads} threads: {seconds:.3f} s/image", flush=True)
    return rows


def report(num_rounds: int, *, with_scaling: bool) -> dict[str, object]:
    """All figures."""
    num_cores = len(os.sched_getaffinity(0))
    machine = {"isa": supported_isas()[0], "cores": num_cores, "python": platform.python_version()}
    machine |= {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__}
    print(machine, flush=True)
    rounds, peaks = rounds_of_seconds(num_rounds, num_cores), measure_peaks()
    seconds = {name: statistics.median(values) for name, values in rounds.items()}
    ratio, ratio_range = ratios(rounds)
    for name, value in seconds.items():
        low, high = ratio_range.get(name, (1.0, 1.0))
        print(f"{name:20s} {value:9.3f} s/image  {ratio.get(name, 1.0):7.1f}x  ({low:.1f} to {high:.1f})")
    cost = step_cost(94 * 125, 160, 21, 5)
    share = shares(cost, seconds[backends()[-1]] / STEPS * 1e3, peaks)
    figures: dict[str, object] = {"machine": machine, "seconds": seconds, "ratio": ratio, "ratio_range": ratio_range}
    figures |= {"peaks": peaks, "step": cost, "share": share, "label_agreement": label_agreement()}
    for group in ("peaks", "step", "share", "label_agreement"):
        print(group, figures[group])
    if with_scaling:
        figures |= {"scaling": scaling(peaks), "batch_scaling": batch_scaling(num_cores)}
    return figures


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="also measure how time grows with each size")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = report(arguments.rounds, with_scaling=arguments.scaling)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
