"""Dense CRF: milliseconds an image and agreement with pydensecrf, in the same process.

    python -m benchmarks.dense_crf --json out.json                  # about 5 minutes
    python -m benchmarks.dense_crf --json out.json --images folder  # other images

Without `--images`: the VOC images of ../shared/data where they are, else generated scenes of 500x375. Unaries are made
as the recipes make them, from CAM-like maps of random smooth blobs: hard labels with the IRN release's parameters,
scores with the PSA release's. A pair is two unaries of one image (background 0.30 and 0.05; alpha 4 and 32): ours in
one call, pydensecrf in one object that keeps its lattices.

Times are CPU time of one thread, the least of interleaved rounds, input checks included. Our lattice of positions is
warm, as in a job whose images come in a few sizes; pydensecrf builds it again. `ratio.labels_*` and `ratio.pair` are
the lower of the two parameter sets. Agreement: `argmax_agreement` is the worst of all images and settings.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

from models.crf.dense_crf import DenseCRF
from models.crf.presets import PRESETS
from models.crf.unaries import unary_from_labels, unary_from_probabilities
from models.native_library import supported_isas
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.datasets.synthetic.scene import paint_scene
from wsss_jobs.datasets.synthetic.style import SyntheticStyle

REAL_IMAGES = Path("../shared/data/voc_subset/JPEGImages")
PARAMETERS = {"irn": "irn_affinity_labels", "psa": "psa_affinity_labels"}
# How many labels and how many unaries each setting has.
SETTINGS = {"labels_2": (2, 1), "labels_3": (3, 1), "labels_5": (5, 1), "labels_21": (21, 1), "pair": (3, 2)}
BACKENDS = ("pydensecrf", "native")
CAM_STRIDE = 16


@dataclass
class Tally:
    """What one parameter set and setting added up to over the images."""

    ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BACKENDS, 0.0))
    worst_agreement: float = 1.0
    max_difference: float = 0.0
    num_agreeing: int = 0
    num_pixels: int = 0

    def add(self, ms: dict[str, float], prob_VCHW: NDArray[np.float32], expected_VCHW: NDArray[np.float32]) -> None:
        """Count one image."""
        for name, value in ms.items():
            self.ms[name] += value
        for prob_CHW, expected_CHW in zip(prob_VCHW, expected_VCHW, strict=True):
            agree_HW = prob_CHW.argmax(axis=0) == expected_CHW.argmax(axis=0)
            self.worst_agreement = min(self.worst_agreement, float(agree_HW.mean()))
            self.num_agreeing += int(agree_HW.sum())
            self.num_pixels += agree_HW.size
        self.max_difference = max(self.max_difference, float(np.abs(prob_VCHW - expected_VCHW).max()))

    @property
    def ratio(self) -> float:
        """How many times faster than pydensecrf."""
        return self.ms["pydensecrf"] / self.ms["native"]


def load_images(folder: Path | None, count: int) -> Iterator[NDArray[np.uint8]]:
    """Images spread evenly over a folder, or generated ones."""
    folder = folder or (REAL_IMAGES if REAL_IMAGES.is_dir() else None)
    if folder is None:
        style = SyntheticStyle(width_px=500, height_px=375)
        yield from (paint_scene(0, number, style)[0] for number in range(count))
        return
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for path in paths[:: max(1, len(paths) // count)][:count]:
        yield np.array(Image.open(path).convert("RGB"))


def cam_like(num_classes: int, height: int, width: int, seed: int) -> NDArray[np.float32]:
    """Maps [K, H, W] in [0, 1] with one to three blobs each, smooth at stride 16 as those of a network."""
    rng = np.random.default_rng(seed)
    h, w = -(-height // CAM_STRIDE), -(-width // CAM_STRIDE)
    y_hw, x_hw = np.mgrid[:h, :w]
    cam_KHW = np.empty((num_classes, height, width), np.float32)
    for k in range(num_classes):
        cam_hw = 0.05 * rng.random((h, w))
        for _ in range(rng.integers(1, 4)):
            y, x, size = rng.uniform(0, h), rng.uniform(0, w), rng.uniform(0.08, 0.25) * max(h, w)
            cam_hw += rng.uniform(0.4, 1) * np.exp(-((y_hw - y) ** 2 + (x_hw - x) ** 2) / (2 * size**2))
        cam = Image.fromarray((cam_hw / cam_hw.max()).astype(np.float32)).resize((width, height), Image.BILINEAR)
        cam_KHW[k] = np.asarray(cam).clip(0, 1)
    return cam_KHW


def unaries(kind: str, num_labels: int, num_variants: int, height: int, width: int, seed: int) -> NDArray[np.float32]:
    """Unaries [V, C, H, W] as the IRN or PSA release makes them."""
    cam_KHW = cam_like(num_labels - 1, height, width, seed)
    made = []
    for background, alpha in ((0.30, 4), (0.05, 32))[:num_variants]:
        if kind == "irn":
            background_1HW = np.full((1, height, width), background, np.float32)
            label_HW = np.concatenate((background_1HW, cam_KHW)).argmax(axis=0)
            made.append(unary_from_labels(label_HW, num_labels, confidence=0.7))
        else:
            background_1HW = (1 - cam_KHW.max(axis=0, keepdims=True)) ** alpha
            made.append(unary_from_probabilities(np.concatenate((background_1HW, cam_KHW))))
    return np.stack(made)


def engines(kind: str) -> dict[str, DenseCRF]:
    """Both backends with one parameter set."""
    return {name: DenseCRF(replace(PRESETS[PARAMETERS[kind]].config, backend=name)) for name in BACKENDS}


def measure(images: list[NDArray[np.uint8]], num_rounds: int) -> dict[str, dict[str, Tally]]:
    """Times and agreement of every parameter set and setting."""
    tallies = {kind: {setting: Tally() for setting in SETTINGS} for kind in PARAMETERS}
    for kind, by_setting in tallies.items():
        crfs = engines(kind)
        for setting, (num_labels, num_variants) in SETTINGS.items():
            for seed, image_HW3 in enumerate(images):
                unary_VCHW = unaries(kind, num_labels, num_variants, *image_HW3.shape[:2], seed)
                crfs["native"].refine_many(image_HW3, unary_VCHW)  # the lattice of positions of this size
                ms, prob = {}, {}
                for _ in range(num_rounds):
                    for name, crf in crfs.items():
                        start = time.thread_time()
                        prob[name] = crf.refine_many(image_HW3, unary_VCHW)
                        ms[name] = min(ms.get(name, np.inf), (time.thread_time() - start) * 1e3)
                by_setting[setting].add(ms, prob["native"], prob["pydensecrf"])
            tally = by_setting[setting]
            print(f"{kind} {setting}: {tally.ratio:.2f}x", flush=True)
    return tallies


def images_per_second(images: list[NDArray[np.uint8]], num_rounds: int) -> dict[str, dict[str, float]]:
    """Wall-clock throughput with one and two threads: IRN parameters, 3 labels, the best of interleaved rounds.

    `cores_used` is CPU time over wall time: where two threads of ours have less than 2, others were using the machine.
    """
    problems = [(image_HW3, unaries("irn", 3, 1, *image_HW3.shape[:2], i)) for i, image_HW3 in enumerate(images)]
    best: dict[str, dict[str, float]] = {name: {} for name in BACKENDS}
    for _ in range(num_rounds):
        for name, crf in engines("irn").items():
            work = problems * (1 if name == "pydensecrf" else 4)
            for num_threads in (1, 2):
                rate, cores = throughput(crf, problems, work, num_threads)
                if rate > best[name].get(f"threads_{num_threads}", 0.0):
                    best[name] |= {f"threads_{num_threads}": rate, f"cores_used_{num_threads}": cores}
    return best


def throughput(crf: DenseCRF, warm_up: list, work: list, num_threads: int) -> tuple[float, float]:
    """Return images a second and cores used."""
    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(lambda problem: crf.refine_many(*problem), warm_up))
        start, cpu_start = time.perf_counter(), time.process_time()
        list(pool.map(lambda problem: crf.refine_many(*problem), work))
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    return len(work) / wall_s, cpu_s / wall_s


def report_of(tallies: dict[str, dict[str, Tally]], num_images: int) -> dict:
    """Everything but threads, for the JSON file."""
    every = [tally for by_setting in tallies.values() for tally in by_setting.values()]
    return {
        "machine": {"isa": supported_isas()[0], "num_cores": len(os.sched_getaffinity(0))},
        "num_images": num_images,
        "ratio": {setting: min(by_setting[setting].ratio for by_setting in tallies.values()) for setting in SETTINGS},
        "ratio_by_parameters": {k: {s: tally.ratio for s, tally in v.items()} for k, v in tallies.items()},
        "ms": {
            k: {s: {name: ms / num_images for name, ms in tally.ms.items()} for s, tally in v.items()}
            for k, v in tallies.items()
        },
        "argmax_agreement": min(tally.worst_agreement for tally in every),
        "argmax_agreement_all": sum(tally.num_agreeing for tally in every) / sum(tally.num_pixels for tally in every),
        "max_probability_difference": max(tally.max_difference for tally in every),
    }


def print_tables(tallies: dict[str, dict[str, Tally]], report: dict) -> None:
    """Print the figures for people."""
    table = Table(title="Dense CRF, CPU ms an image, one thread (pair: two unaries, pydensecrf keeps its lattices)")
    for column in ("parameters", "setting", "pydensecrf", "native", "ratio", "worst argmax agreement", "max |dQ|"):
        table.add_column(column, justify="left" if column in {"parameters", "setting"} else "right")
    for kind, by_setting in tallies.items():
        for setting, tally in by_setting.items():
            ms = report["ms"][kind][setting]
            figures = f"{ms['pydensecrf']:.0f}", f"{ms['native']:.1f}", f"{tally.ratio:.1f}x"
            table.add_row(kind, setting, *figures, f"{tally.worst_agreement:.5f}", f"{tally.max_difference:.1e}")
    make_console().print(table)
    table = Table(title="Images a second, IRN, 3 labels, wall clock (pydensecrf holds the GIL)")
    for column in ("backend", "1 thread", "2 threads", "cores that the 2 threads got"):
        table.add_column(column, justify="right")
    for name, rates in report["images_per_second"].items():
        table.add_row(name, *(f"{rates[key]:.1f}" for key in ("threads_1", "threads_2", "cores_used_2")))
    make_console().print(table)
    print(f"argmax agreement: worst {report['argmax_agreement']:.6f}, all {report['argmax_agreement_all']:.7f}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--images", type=Path, help="a folder of images")
    parser.add_argument("--num-images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    images = list(load_images(arguments.images, arguments.num_images))
    tallies = measure(images, arguments.rounds)
    report = report_of(tallies, len(images))
    report["images_per_second"] = images_per_second(images, arguments.rounds)
    print_tables(tallies, report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
