"""How far the label-free quality score can be trusted, on real images: ranks, reliability, a set without its worst.

    python -m benchmarks.real_voc --data ../shared/data             # makes the masks; this file only reads them
    python -m benchmarks.real_voc_quality --data ../shared/data

Scores the masks of the last finished step (or `--step`) without ground truth, then compares the scores with it. What
goes into the score was chosen on `tuned_half` (see `benchmarks.real_voc`); `other_half` is the honest one, and the
value of `margins`. `spearman.<part>` are rank correlations of single parts, `spearman.fewest_tags` is that of the
number of tags alone, which costs nothing. `without_worst` leaves the 20 % of images out that score lowest.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.real_voc import HALVES, circumstances, half_of, prepared
from wsss_jobs.cli.quality_tables import print_calibration, print_quality
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.calibration import Calibration, calibrate
from wsss_jobs.quality.estimate import QualityEstimate, estimate_quality, mask_step
from wsss_jobs.stage_io import stage_folder

RESULTS = Path(__file__).parent / "results" / "real_voc_quality.json"
SPEARMAN_AIM = 0.6
HONEST_HALF = HALVES[1]


def main() -> None:
    """Estimates, compares, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--step", help="default: the last finished step with masks")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = make_console()
    job = prepared(arguments.data, arguments.store, ())
    estimate = estimate_quality(job.plan, job.dataset, job.store, arguments.step)
    by_half = calibrations(job, estimate)
    print_quality(console, estimate, 10)
    print_calibration(console, by_half["all"])
    content = {
        **quality_figures(by_half),
        "margins": quality_margins(by_half),
        "step": estimate.step,
        **circumstances(len(estimate.images)),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    console.print(content["margins"])


def calibrations(job: PreparedJob, estimate: QualityEstimate) -> dict[str, Calibration]:
    """Returns the comparison with the truth over all images and over each half; halves without images are left out."""
    step = mask_step(job.plan, job.store, estimate.step)
    read_label = partial(stage_folder(step.stage, job.store).outputs.read_mask, variant=step.variant)
    parts = {"all": job.dataset.items}
    for half in HALVES:
        parts[half] = tuple(item for item in job.dataset.items if half_of(item) == half)
    found = {part: calibrate(estimate, read_label, replace(job.dataset, items=items)) for part, items in parts.items()}
    return {part: calibration for part, calibration in found.items() if calibration is not None}


def quality_figures(by_half: dict[str, Calibration]) -> dict[str, float]:
    """Returns the figures by key, mIoU in percent."""
    found: dict[str, float] = {}
    for part, calibration in by_half.items():
        prefix = "" if part == "all" else f"{part}."
        found |= {
            f"{prefix}quality.spearman": round(calibration.spearman, 3),
            f"{prefix}quality.calibration_error": round(100 * calibration.calibration_error, 2),
            f"{prefix}quality.miou": round(100 * calibration.miou, 2),
            f"{prefix}quality.miou_without_worst": round(100 * calibration.miou_without_worst, 2),
            f"{prefix}quality.worst_share": round(calibration.worst_share, 3),
        }
        for name, value in calibration.spearman_of_parts.items():
            found[f"{prefix}quality.spearman.{name.replace(' ', '_')}"] = round(value, 3)
    return found


def quality_margins(by_half: dict[str, Calibration]) -> dict[str, dict[str, float]]:
    """Returns the aim and the honest value; of images of which no half is known, that of all."""
    calibration = by_half.get(HONEST_HALF, by_half["all"])
    return {"quality.spearman": {"value": round(calibration.spearman, 3), "aim": SPEARMAN_AIM}}


if __name__ == "__main__":
    main()
