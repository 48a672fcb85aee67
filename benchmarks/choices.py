"""How far is a background threshold chosen without masks from one chosen with them?

    python -m benchmarks.choices --data ../shared/data      # some minutes on 2 cores, after benchmarks.real_voc

Takes CAMs and boundary network of a finished `benchmarks.real_voc`. Thresholds of the CAMs and of IRN's walk, chosen on
the tuned half of the images and scored on the other: with masks (the best of the sweep there), without (Otsu), and the
published ones. For the settings of the GCN: `benchmarks.gcn_settings`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from rich.table import Table

from benchmarks.real_voc import circumstances, half_of, prepared
from benchmarks.stage_bench import StageBench, miou, walked
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.quality.evaluate import read_truth
from wsss_jobs.quality.otsu import otsu_threshold, score_histogram
from wsss_jobs.quality.threshold_sweep import THRESHOLDS, sweep_confusions
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.worker import read_image

RESULTS = Path(__file__).parent / "results" / "choices.json"
PUBLISHED = {"cam": 0.15, "walk": 0.25}  # IRN


def label_free_threshold(kind: str) -> float:
    """Returns what the last run chose without masks, for `cam` or `walk`."""
    threshold: float = json.loads(RESULTS.read_text())["thresholds"][f"{kind}.threshold.label_free"]
    return threshold


def threshold_choices(bench: StageBench, items: Sequence[DatasetItem]) -> dict[str, float]:
    """Returns thresholds and mIoU on the other half, by kind of scores and way of choosing."""
    walk = bench.stage("random_walk", {})
    confusions: dict[tuple[str, str], Any] = defaultdict(int)
    counts: dict[tuple[str, str], Any] = defaultdict(int)
    for item in track(items, "thresholds"):
        cams, image_HW3, truth_HW = bench.cams(item), read_image(item), read_truth(item)
        scores = (("cam", full_resolution(cams, item)), ("walk", walked(walk, item, image_HW3, cams)))
        for kind, score_KHW in scores:
            key = (kind, half_of(item))
            confusions[key] += sweep_confusions(score_KHW, cams.class_ids, truth_HW, bench.dataset.num_classes)
            counts[key] += score_histogram(score_KHW)
    results: dict[str, float] = {}
    for kind, published in PUBLISHED.items():
        tuned, other = ([miou(total) for total in confusions[kind, half]] for half in ("tuned_half", "other_half"))
        otsu = otsu_threshold(counts[kind, "tuned_half"])
        assert otsu is not None
        thresholds = {
            "best": THRESHOLDS[int(np.argmax(other))],
            "with_masks": THRESHOLDS[int(np.argmax(tuned))],
            "label_free": round(otsu, 2),
            "published": published,
        }
        for how, threshold in thresholds.items():
            results[f"{kind}.threshold.{how}"] = threshold
            results[f"{kind}.miou.{how}"] = other[THRESHOLDS.index(threshold)]
    return results


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--num-images", type=int, default=240, help="both halves together")
    arguments = parser.parse_args()
    bench = StageBench(prepared(arguments.data, arguments.store, ()))
    items = sorted(bench.dataset.items, key=lambda item: item.item_id)  # by content: as good as at random
    console = make_console()
    thresholds = threshold_choices(bench, items[: arguments.num_images])
    console.print(threshold_table(thresholds))
    content = {"thresholds": thresholds, **circumstances(arguments.num_images)}
    arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def threshold_table(thresholds: Mapping[str, float]) -> Table:
    """Returns a row for each kind of scores and way of choosing."""
    table = Table("scores", "chosen", "threshold", "mIoU", title="Background thresholds", title_justify="left")
    for kind in PUBLISHED:
        for how in ("best", "with_masks", "label_free", "published"):
            found = (thresholds[f"{kind}.threshold.{how}"], thresholds[f"{kind}.miou.{how}"])
            table.add_row(kind, how, *(f"{value:.2f}" for value in found))
    return table


if __name__ == "__main__":
    main()
