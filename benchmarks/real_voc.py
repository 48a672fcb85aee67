"""The main job on real images: how good are CAM, random walk and GCN, without and with dense CRF?

    python -m benchmarks.real_voc --data ../shared/data          # about 45 minutes on 2 cores the first time

Runs `benchmarks/real_voc.yaml` and, on the same CAMs, labels and graphs, the GCN with parts of its loss switched off
(Table 2 of the WSGCN paper). The masks are read for scoring alone. `--data` holds `voc_subset/` (VOC layout with
`image_labels.csv`) and `weights/mobilenet_v2_imagenet.pt`.

The settings were tuned on one half of the images (by a hash of their names). `miou.*` and `ablation.*` are over all
images; `tuned_half.*` and `other_half.*` hold the same keys for each half, and `other_half` is the honest one. A run
that was interrupted goes on; `seconds.*` are of the runs that did the work.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.stopwatch import Stopwatch
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.job import PreparedJob, prepare, run_job
from wsss_jobs.quality.evaluate import KeepItem, evaluate_parts, evaluate_run
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.report.build import build_report

RECIPE = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).parent / "results" / "real_voc.json"
GCN = "stages.propagate_gcn.gcn"

# Foreground and background losses are always on. In the order of the paper's Table 2, worst first.
ABLATIONS: Mapping[str, Sequence[str]] = {
    "fg_bg": (f"{GCN}.entropy_weight=0", f"{GCN}.laplacian_weight=0"),
    "entropy": (f"{GCN}.laplacian_weight=0",),
    "laplacian": (f"{GCN}.entropy_weight=0",),
    "entropy_laplacian": (),
}
PUBLISHED = {  # ResNet-50, VOC train: IRN (CAM, walk) and WSGCN, tables 1 and 2
    "miou.cam": 48.3,
    "miou.random_walk_crf": 66.5,
    "miou.gcn": 66.7,
    "miou.gcn_crf": 68.0,
    "ablation.fg_bg": 62.0,
    "ablation.entropy": 63.5,
    "ablation.entropy_crf": 66.0,
    "ablation.laplacian": 64.4,
    "ablation.laplacian_crf": 66.1,
    "ablation.entropy_laplacian": 66.7,
    "ablation.entropy_laplacian_crf": 68.0,
}
HALVES = ("tuned_half", "other_half")
PRODUCTS = {
    "cam": "infer_cams",
    "cam_crf": "cam_masks",
    "random_walk": "walk_masks/before_crf",
    "random_walk_crf": "walk_masks",
    "gcn": "gcn_masks/before_crf",
    "gcn_crf": "gcn_masks",
}


def half_of(item: DatasetItem) -> str:
    """Returns `tuned_half` or `other_half`, by the image's name."""
    return half_of_name(item.source_key)


def half_of_name(source_key: str) -> str:
    """Returns the half of the image with this name."""
    return "other_half" if hashlib.sha256(source_key.encode()).digest()[0] % 2 else "tuned_half"


def _is_in(half: str) -> KeepItem:
    return lambda item: half_of(item) == half


PARTS: dict[str, KeepItem] = {"all": lambda _: True, **{half: _is_in(half) for half in HALVES}}


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the classifier's weights are, as overrides of the recipe."""
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        f"stages.train_classifier.classifier.encoder.weights={weights(data)}",
    ]


def all_places(data: Path, store: Path) -> list[str]:
    """Returns the same for a recipe that trains a boundary network too."""
    return [*places(data, store), f"stages.train_affinity.encoder.weights={weights(data)}"]


def weights(data: Path) -> Path:
    """Returns the pretrained MobileNetV2."""
    return data / "weights" / "mobilenet_v2_imagenet.pt"


def prepared(data: Path, store: Path, overrides: Sequence[str]) -> PreparedJob:
    """Returns the job of the recipe with these changes."""
    return prepare(load_recipe(str(RECIPE), [*all_places(data, store), *overrides]))


def mious(evaluations: Sequence[Evaluation], names: Mapping[str, str]) -> dict[str, float]:
    """Returns mIoU in percent by key."""
    by_name = {evaluation.name: evaluation for evaluation in evaluations}
    return {key: round(100 * by_name[name].scores.miou, 2) for key, name in names.items()}


def scored(job: PreparedJob, names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Returns mIoU over all images and over each half."""
    evaluations = evaluate_parts(job.plan, job.dataset, job.store, list(PARTS.values()))
    return {part: mious(of_part, names) for part, of_part in zip(PARTS, evaluations, strict=True)}


def main() -> None:
    """Runs, scores, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = make_console()
    arguments.store.mkdir(parents=True, exist_ok=True)
    watch = Stopwatch(console, arguments.store / "seconds.json")

    with watch:
        main_job = prepared(arguments.data, arguments.store, ())
        run_job(main_job, watch)
    results: dict[str, dict[str, float]] = {}
    for half, values in scored(main_job, PRODUCTS).items():
        results[half] = {f"miou.{key}": value for key, value in values.items()}
    for ablation, overrides in ABLATIONS.items():
        job = prepared(arguments.data, arguments.store, overrides)
        with watch:
            run_job(job, watch)
        names = {f"ablation.{ablation}": "gcn_masks/before_crf", f"ablation.{ablation}_crf": "gcn_masks"}
        for half, values in scored(job, names).items():
            results[half] |= values
    report = build_report(main_job, evaluate_run(main_job.plan, main_job.dataset, main_job.store))

    seconds = watch.seconds(main_job.plan.stages)
    print_results(console, results, seconds)
    console.print(f"Report: {report}", highlight=False)
    write_results(arguments.json, results, seconds, len(main_job.dataset.items))


def print_results(console: Console, results: Mapping[str, Mapping[str, float]], seconds: Mapping[str, float]) -> None:
    """Prints the tables."""
    table = Table(title="mIoU (%)", title_justify="left")
    for name in ("", "all", "tuned half", "other half", "published (ResNet-50, full set)"):
        table.add_column(name, justify="right" if name else "left")
    for key in results["all"]:
        cells = [f"{results[half][key]:.1f}" for half in ("all", *HALVES)]
        table.add_row(key, *cells, f"{PUBLISHED[key]:.1f}" if key in PUBLISHED else "")
    console.print(table)
    console.print({name: f"{value:.0f} s" for name, value in seconds.items()})


def write_results(
    path: Path, results: Mapping[str, Mapping[str, float]], seconds: Mapping[str, float], num_images: int
) -> None:
    """Writes one flat JSON object."""
    flat: dict[str, object] = dict(results["all"])
    for half in HALVES:
        flat |= {f"{half}.{key}": value for key, value in results[half].items()}
    flat |= {f"seconds.{name}": value for name, value in seconds.items()}
    flat |= circumstances(num_images)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(flat, indent=1) + "\n")


def circumstances(num_images: int) -> dict[str, object]:
    """Returns what has to be known of a measurement."""
    return {
        "num_images": num_images,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
    }


if __name__ == "__main__":
    main()
