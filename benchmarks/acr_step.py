"""A step of ACR: time and memory of both turns, by where features are masked and in which precision.

    python -m benchmarks.acr_step                              # MobileNetV2 on the CPU, some minutes
    python -m benchmarks.acr_step --network resnet38 --device cuda     # the paper's networks

Batches of 8 crops of 256 pixels, noise in place of images: time and memory do not depend on what they show. Each
setting in a process of its own: seconds of the fastest of some steps, after a warm-up, and the most memory (tensors on
CUDA; on a CPU what the process grew by after its networks were built). `ratio.*` are against the released form, masked
at the image's size in float32. On a CPU all of its cores work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, cast

import torch
from rich.table import Table

from benchmarks.affinitynet_loss import peak_mb
from benchmarks.real_voc import circumstances
from models.adversarial.classifier import build_acr_classifier
from models.adversarial.config import AcrClassifierConfig, ReconstructorConfig
from models.adversarial.loss_forms import AdversarialLossConfig
from models.adversarial.pair import AcrBatch, AdversarialPair, Losses
from models.adversarial.reconstructor import build_reconstructor
from models.backbones import EncoderConfig
from wsss_jobs.cli.terminal import make_console

RESULTS = Path(__file__).parent / "results" / "acr_step.json"
NETWORKS = {
    "mobilenet_v2": EncoderConfig("mobilenet_v2", None, output_stride=16, dilate=True),
    "resnet38": EncoderConfig("resnet38", None, output_stride=8),
}
MASKINGS, PRECISIONS = ("image", "grid"), ("float32", "bfloat16")
BATCH, CROP_PX, NUM_CLASSES = 8, 256, 20

Masking = Literal["image", "grid"]
Values = dict[str, float]


def built(network: str, masking: Masking, device: str) -> AdversarialPair:
    """Returns both networks with random weights, ready to be trained."""
    encoder = NETWORKS[network]
    losses = AdversarialLossConfig("released")
    classifier = build_acr_classifier(AcrClassifierConfig(encoder), NUM_CLASSES)
    reconstructor = build_reconstructor(ReconstructorConfig(encoder, masking=masking), NUM_CLASSES)
    pair = AdversarialPair(classifier, reconstructor, losses.terms).train().to(device)
    return pair.to(memory_format=torch.channels_last)


def random_batch(device: str) -> AcrBatch:
    """Returns noise; each image has the class of its number."""
    images = torch.randn(BATCH, 3, CROP_PX, CROP_PX, device=device).contiguous(memory_format=torch.channels_last)
    target = torch.arange(BATCH, device=device)
    labels = torch.nn.functional.one_hot(target, NUM_CLASSES).float()
    return AcrBatch(images, labels, target, torch.randint(0, 2, (BATCH, 1, 16, 16), device=device).float())


def turn_seconds(losses: Callable[[], Losses], players: torch.nn.Module, device: str, *, half: bool) -> float:
    """Returns how long one turn takes, forward and backward; the optimiser's step is not in it."""
    synchronise(device)
    started = time.perf_counter()
    with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
        loss = losses()["loss"]
    players.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: str) -> None:
    """Waits for what a GPU still does."""
    if device == "cuda":
        torch.cuda.synchronize()


def measured(network: str, masking: Masking, precision: str, device: str, steps: int) -> Values:
    """Returns seconds of both turns and the peak memory, in MB."""
    torch.manual_seed(0)
    pair, batch = built(network, masking, device), random_batch(device)
    reconstructor = pair.reconstructor
    assert reconstructor is not None
    before_mb = peak_mb()
    times: dict[str, list[float]] = {"reconstructor": [], "classifier": []}
    turns = {
        "reconstructor": lambda: pair.reconstructor_losses(reconstructor, batch),
        "classifier": lambda: pair.classifier_losses(pair.classifier, batch),
    }
    for _ in range(steps + 1):
        for name, losses in turns.items():
            times[name].append(turn_seconds(losses, pair, device, half=precision == "bfloat16"))
    memory_mb = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_mb() - before_mb
    return {**{f"{name}_s": round(min(each[1:]), 3) for name, each in times.items()}, "memory_mb": round(memory_mb)}


def all_measured(network: str, device: str, steps: int) -> dict[str, Values]:
    """Returns the values of each setting, and their ratios to the first one."""
    found: dict[str, Values] = {}
    for masking, precision in product(MASKINGS, PRECISIONS):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            job = process.submit(measured, network, cast("Masking", masking), precision, device, steps)
            values = job.result()
        values["step_s"] = round(values["reconstructor_s"] + values["classifier_s"], 3)
        found[f"{masking}.{precision}"] = values
    first = next(iter(found.values()))
    for values in found.values():
        values |= {f"ratio.{key}": round(values[key] / first[key], 2) for key in ("step_s", "memory_mb")}
    return found


def result_table(title: str, found: dict[str, Values]) -> Table:
    """Returns a row for each setting."""
    table = Table("masked at, precision", "RU s", "CU s", "memory MB", "time", "memory", title=title)
    for name, values in found.items():
        keys = ("reconstructor_s", "classifier_s", "memory_mb", "ratio.step_s", "ratio.memory_mb")
        table.add_row(name, *(f"{values[key]:g}" for key in keys))
    return table


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="mobilenet_v2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = all_measured(options.network, options.device, options.steps)
    title = f"ACR, {options.network}, {options.device}: {BATCH} crops of {CROP_PX} px"
    make_console().print(result_table(title, found))
    content = json.loads(options.json.read_text()) if options.json.exists() else {}
    content[f"{options.network}.{options.device}"] = {**found, **circumstances(BATCH)}
    options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
