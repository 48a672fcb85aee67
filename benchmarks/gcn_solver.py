"""Per-image GCN: seconds an image for 250 steps, against PyTorch Geometric in the same process.

    python -m benchmarks.gcn_solver --json out.json              # under 5 minutes on 2 cores
    python -m benchmarks.gcn_solver --json out.json --scaling    # and the scaling table of benchmarks/README.md

The instance is synthetic, with the sizes of a 500x375 image: 94x125 cells, 160 features, 21 classes, radius 5. The
baselines are measured over a few steps and scaled to 250, without their set-up; our backends run all 250 steps of
`solve_batch`, set-up included. Rounds are interleaved; figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import GCNConv

from models.native_library import supported_isas
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.native_solver import native_library
from models.propagation.gcn.problem import GCNProblem, prepare
from models.propagation.gcn.reference import edge_list, total_loss
from models.propagation.gcn.solve import solve_batch
from models.propagation.grid_graph import AffinityGraphConfig, GridGraph
from models.propagation.stencil import csr_tensor

STEPS = 250
CONFIG = GCNConfig(num_steps=STEPS)


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


class PlainPyG:
    """The GCN as a user of PyG writes it: two `GCNConv`, `F.dropout`, `torch.optim.Adam`."""

    def __init__(self, problem: GCNProblem, *, as_csr: bool, device: str = "cpu") -> None:
        edge_index, edge_weight = (t.to(device) for t in edge_list(problem.adjacency, torch.float32))
        self.edges: tuple = (edge_index, edge_weight)
        if as_csr:
            stencil, adjacency = problem.adjacency.stencil, problem.adjacency
            matrix = stencil.to_csr(stencil.pattern(), adjacency.row_scale_hw, adjacency.column_scale_hw)
            parts = (matrix.crow_indices(), matrix.col_indices(), matrix.values().float())
            self.edges = (csr_tensor(*(part.to(device) for part in parts)),)
        self.problem = problem
        self.features_ND = problem.features_ND.to(device)
        layers = [GCNConv(self.features_ND.shape[1], 16, normalize=False), GCNConv(16, 21, normalize=False)]
        self.layers = torch.nn.ModuleList(layers).to(device)
        self.optimiser = torch.optim.Adam(self.layers.parameters(), lr=0.01, weight_decay=5e-4)

    def step(self) -> None:
        """One gradient step."""
        self.optimiser.zero_grad()
        hidden_NU = F.dropout(F.relu(self.layers[0](self.features_ND, *self.edges)), 0.3)
        log_prob_NC = F.log_softmax(self.layers[1](hidden_NU, *self.edges), dim=1)
        total_loss(log_prob_NC, self.problem, CONFIG).backward()
        self.optimiser.step()


def timed(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def solve_seconds(graphs: list[GridGraph], config: GCNConfig, num_threads: int = 1) -> float:
    """Wall seconds an image."""
    return timed(lambda: solve_batch(graphs, config, num_threads=num_threads)) / len(graphs)


def cpu_seconds(num_rounds: int, num_cores: int) -> dict[str, float]:
    """Medians of seconds an image for 250 steps, on one thread and on all cores."""
    graph = synthetic_graph()
    graphs = [replace(graph, item_id=f"copy-{i}") for i in range(num_cores)]
    problem = prepare(graph, CONFIG)
    plain, csr = PlainPyG(problem, as_csr=False), PlainPyG(problem, as_csr=True)
    torch_config, native_config = replace(CONFIG, backend="torch"), replace(CONFIG, backend="native")
    measures: dict[str, Callable[[], float]] = {
        "pyg": lambda: timed(plain.step) * STEPS,
        "pyg_csr": lambda: statistics.median(timed(csr.step) for _ in range(3)) * STEPS,
        "torch": lambda: solve_seconds([graph], torch_config),
    }
    if native_library() is not None:
        measures["native"] = lambda: statistics.median(solve_seconds([graph], native_config) for _ in range(3))
    if num_cores > 1:
        measures["pyg_all_threads"] = lambda: _with_threads(num_cores, lambda: timed(plain.step) * STEPS)
        measures["torch_all_threads"] = lambda: solve_seconds(graphs, torch_config, num_cores)
        if "native" in measures:
            measures["native_all_threads"] = lambda: solve_seconds(graphs * 2, native_config, num_cores)
    plain.step(), csr.step()
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for round_index in range(num_rounds):
        for name, measure in measures.items():
            seconds[name].append(measure())
        print(f"round {round_index + 1}: " + "  ".join(f"{k} {v[-1]:.3f}" for k, v in seconds.items()), flush=True)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _with_threads(count: int, call: Callable[[], float]) -> float:
    torch.set_num_threads(count)
    try:
        return call()
    finally:
        torch.set_num_threads(1)


def agreement() -> dict[str, float]:
    """Share of cells with the float64 solution's label after 250 steps at full size, and that of rounded options."""
    graph = synthetic_graph()
    exact = solve_batch([graph], replace(CONFIG, backend="torch", compute_dtype="float64"))[0].argmax(dim=2)
    cases = {
        "torch": replace(CONFIG, backend="torch"),
        "native": replace(CONFIG, backend="auto"),
        "float16_features": replace(CONFIG, feature_dtype="float16"),
        "bfloat16_features": replace(CONFIG, feature_dtype="bfloat16"),
        "bfloat16_affinity": replace(CONFIG, affinity_dtype="bfloat16"),
        "other_seed": replace(CONFIG, seed=1),
    }
    return {
        name: (solve_batch([graph], config)[0].argmax(dim=2) == exact).double().mean().item()
        for name, config in cases.items()
    }


def peaks() -> dict[str, float]:
    """What this machine reaches on one thread: GFLOP/s of the better of two library kernels, GB/s of reading memory."""
    a_NN, x_BCHW, w = torch.rand(1024, 1024), torch.rand(1, 128, 64, 64), torch.rand(128, 128, 3, 3)
    large = torch.rand(2**26)
    with torch.no_grad():
        matmul = min(timed(lambda: a_NN @ a_NN) for _ in range(5))
        convolution = min(timed(lambda: F.conv2d(x_BCHW, w, padding=1)) for _ in range(5))
        reading = min(timed(large.sum) for _ in range(5))
    flops = max(2 * 1024**3 / matmul, 2 * 128 * 128 * 9 * 64 * 64 / convolution)
    return {"gemm_gflops": flops / 1e9, "read_gb_per_s": large.numel() * 4 / reading / 1e9}


def step_cost(nodes: int, features: int, classes: int, radius: int, hidden: int = 16) -> dict[str, float]:
    """Floating point operations of a step with all products counted, and bytes that it must read and write once."""
    offsets = sum(1 for y in range(-radius, radius) for x in range(-radius, radius) if x * x + y * y < radius * radius)
    flops = nodes * (4 * hidden * features + 4 * hidden * offsets + 6 * hidden * classes + 2 * 25 * classes)
    numbers = nodes * (2 * features + 2 * offsets + 25 + 7 * hidden + 4 * classes)
    return {"mflop": flops / 1e6, "megabytes": 4 * numbers / 1e6}


def ms_per_step(graph: GridGraph, config: GCNConfig) -> float:
    """Median milliseconds of a step, without the set-up."""

    def once() -> float:
        short, long = (solve_seconds([graph], replace(config, num_steps=n)) for n in (1, 41))
        return (long - short) / 40 * 1e3

    return statistics.median(once() for _ in range(5))


def scaling() -> list[dict[str, float | str]]:
    """Milliseconds of a step of the CPU's best backend when one size changes."""
    base = {"height": 94, "width": 125, "num_features": 160, "num_classes": 21, "radius": 5}
    changes = [{}]
    changes += [{"height": h, "width": w} for h, w in ((8, 8), (47, 63), (125, 125), (188, 250), (512, 512))]
    changes += [{"num_features": d} for d in (40, 80, 320, 448)]
    changes += [{"num_classes": c} for c in (4, 81)] + [{"radius": r} for r in (3, 7, 10)]
    rows = []
    for change in changes:
        sizes = base | change
        graph = synthetic_graph(*(sizes[k] for k in ("height", "width", "num_features", "num_classes")))
        config = replace(CONFIG, graph=AffinityGraphConfig(radius=sizes["radius"]))
        cost = step_cost(graph.num_nodes, sizes["num_features"], sizes["num_classes"], sizes["radius"])
        ms = ms_per_step(graph, config)
        rows.append(sizes | {"nodes": graph.num_nodes, "ms_per_step": ms, "gflops": cost["mflop"] / ms})
        changed = ", ".join(f"{k}={v}" for k, v in change.items()) or "base"
        print(f"{changed:28s} {ms:9.3f} ms/step  {cost['mflop'] / ms:7.1f} GFLOP/s", flush=True)
    return rows


def gpu_seconds(batch: int = 32) -> dict[str, float]:
    """Seconds an image on CUDA: plain PyG, and `triton` on a batch."""
    graphs = [replace(synthetic_graph(), item_id=f"copy-{i}").to("cuda") for i in range(batch)]
    plain = PlainPyG(prepare(graphs[0], CONFIG), as_csr=False, device="cuda")
    triton_config = replace(CONFIG, backend="triton")

    def pyg_once() -> float:
        torch.cuda.synchronize()
        return timed(lambda: ([plain.step() for _ in range(STEPS)], torch.cuda.synchronize()))

    pyg_once(), solve_batch(graphs, triton_config, device="cuda")
    pyg, triton = [], []
    for _ in range(3):
        pyg.append(pyg_once())
        triton.append(timed(lambda: solve_batch(graphs, triton_config, device="cuda")) / batch)
    return {"pyg_cuda": statistics.median(pyg), "triton": statistics.median(triton)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="also measure how time grows with each size")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    num_cores = len(os.sched_getaffinity(0))
    print(f"isa {supported_isas()[0]}, {num_cores} cores; baselines: a few steps scaled to {STEPS}, without set-up")
    seconds, peak = cpu_seconds(arguments.rounds, num_cores), peaks()
    cost = step_cost(94 * 125, 160, 21, 5)
    ratio = {name: seconds["pyg"] / seconds[name] for name in ("pyg_csr", "torch", "native") if name in seconds}
    if num_cores > 1:
        every = (name for name in seconds if name.endswith("_all_threads"))
        ratio |= {name: seconds["pyg_all_threads"] / seconds[name] for name in every}
    if torch.cuda.is_available():
        seconds |= gpu_seconds()
        ratio["triton"] = seconds["pyg_cuda"] / seconds["triton"]
    report = {"seconds": seconds, "ratio": ratio, "peaks": peak, "agreement": agreement(), "step": cost}
    if "native" in seconds:
        step_s = seconds["native"] / STEPS
        report["share"] = {
            "gemm_peak": cost["mflop"] / 1e3 / step_s / peak["gemm_gflops"],
            "read_bandwidth": cost["megabytes"] / 1e3 / step_s / peak["read_gb_per_s"],
        }
    for name, value in seconds.items():
        print(f"{name:20s} {value:9.3f} s/image   {ratio.get(name, 1.0):7.1f} x")
    for group in ("peaks", "share", "agreement"):
        print(group, {k: float(np.round(v, 5)) for k, v in report.get(group, {}).items()})
    if arguments.scaling:
        report["scaling"] = scaling()
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
