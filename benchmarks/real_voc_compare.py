"""WSGCN against the random walks it builds on, on real images: IRN, PSA, WSGCN-I, WSGCN-P, and the losses of the GCN.

    python -m benchmarks.real_voc_compare --data ../shared/data               # three seeds: hours on 2 cores
    python -m benchmarks.real_voc_compare --data ../shared/data --images 60 --seeds 0    # does it work?

Runs the comparison `benchmarks/real_voc_compare.yaml`, whose variants share every stage that they have in common (the
classifier among them), and writes means over the seeds. `--data` is as in `benchmarks.real_voc`, and so are the halves:
settings were tuned on `tuned_half`, and `other_half.*` is the honest one. Masks are read for scoring alone.

`margins.*` are differences of two methods in percentage points of mIoU, as measured, beside the paper's. `spread.*` is
the sample standard deviation over the seeds. A run that was interrupted goes on; `seconds.<variant>.<stage>` is of the
run that did the work, the mean over the seeds, under the first variant that needs the stage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.real_voc import HALVES, PARTS, all_places, circumstances
from benchmarks.stopwatch import Stopwatch
from cluster.interruption import sigterm_as_ctrl_c
from wsss_jobs.cli.compare import parse_seeds
from wsss_jobs.cli.tables import print_text_table
from wsss_jobs.comparison.config import Comparison, load_comparison
from wsss_jobs.comparison.jobs import VariantJob, prepare_comparison
from wsss_jobs.comparison.published import Column
from wsss_jobs.comparison.results import result_tables, write_results
from wsss_jobs.comparison.run import VariantOutcome, run_variants
from wsss_jobs.comparison.scores import Figure, MethodScores, score_parts
from wsss_jobs.comparison.sharing import shared_stages
from wsss_jobs.job import PreparedJob, RunResult, run_job

COMPARISON = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).parent / "results" / "real_voc_compare.json"


def main() -> None:
    """Runs, scores, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--seeds", type=parse_seeds, help="such as 0,1,2; default: those of the comparison")
    parser.add_argument("--images", type=int, help="only so many, for a quick check; leaves the results file alone")
    parser.add_argument("--json", type=Path, help=f"default: {RESULTS.name}; with --images, in the store")
    arguments = parser.parse_args()
    sigterm_as_ctrl_c()
    data, store, num_images = arguments.data, arguments.store, arguments.images
    store.mkdir(parents=True, exist_ok=True)
    comparison = load_comparison(str(COMPARISON))
    if arguments.seeds:
        comparison = comparison.model_copy(update={"seeds": arguments.seeds})
    jobs = prepare_comparison(comparison, [*all_places(data, store), *subset(data, store, num_images)])
    path = arguments.json or (store / f"real_voc_compare_{num_images}.json" if num_images else RESULTS)
    if not compare(comparison, jobs, store / "seconds_compare.json", path):
        sys.exit(1)


def compare(comparison: Comparison, jobs: Sequence[VariantJob], seconds_path: Path, path: Path) -> bool:
    """Runs and scores a comparison, prints it and writes its figures; returns whether all variants ran."""
    console = Console()
    with Stopwatch(console, seconds_path) as watch:
        outcomes = run_variants(jobs, lambda job: run(job, watch))
    scores = score_parts(comparison, jobs, PARTS)
    show(console, comparison, scores, outcomes)
    console.print(f"Comparison: {write_results(comparison, jobs, scores['all'], outcomes)}", highlight=False)
    content = {
        **figures(comparison, scores),
        "margins": margins(comparison, scores),
        **seconds(jobs, watch),
        "seeds": list(comparison.seeds),
        "failed": failures(outcomes),
        **circumstances(len(jobs[0].job.dataset.items)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return not content["failed"]


def subset(data: Path, store: Path, num_images: int | None) -> list[str]:
    """Returns the override that takes only so many images, evenly from the list; none for all of them."""
    if num_images is None:
        return []
    names = (data / "voc_subset" / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    chosen = [names[index] for index in np.linspace(0, len(names) - 1, num_images).round().astype(int)]
    path = store.resolve() / f"train_{num_images}.txt"
    path.write_text("\n".join(chosen) + "\n")
    return [f"dataset.splits=[{path}]"]


def run(job: PreparedJob, watch: Stopwatch) -> RunResult:
    """Runs what is left of one job."""
    watch.message(job.recipe.name)
    return run_job(job, watch)


def figures(comparison: Comparison, scores: Mapping[str, MethodScores]) -> dict[str, float]:
    """Returns mean and spread of the mIoU of every method, in percent."""
    found: dict[str, float] = {}
    for part, of_part in scores.items():
        prefix = "" if part == "all" else f"{part}."
        for name in comparison.methods:
            figure = of_part.figure(name, Column())
            if figure is not None:
                found[f"{prefix}miou.{name}"] = round(figure.mean, 2)
                found |= spread(f"{prefix}spread.miou.{name}", figure)
    return found


def margins(comparison: Comparison, scores: Mapping[str, MethodScores]) -> dict[str, dict[str, float | None]]:
    """Returns the margins over all images with their aims, and over each half; None where a method is missing."""
    found: dict[str, dict[str, float | None]] = {}
    for name, margin in comparison.margins.items():
        by_part = {part: of_part.margin(margin) for part, of_part in scores.items()}
        value = by_part["all"]
        found[name] = {"value": None if value is None else round(value.mean, 2), "aim": margin.aim}
        if value is not None:
            found[name] |= spread("spread", value)
        found[name] |= {half: round(each.mean, 2) for half in HALVES if (each := by_part[half]) is not None}
    return found


def spread(key: str, figure: Figure) -> dict[str, float]:
    """Returns the spread over the seeds, where there are several."""
    return {} if figure.spread is None else {key: round(figure.spread, 2)}


def seconds(jobs: Sequence[VariantJob], watch: Stopwatch) -> dict[str, float]:
    """Returns the time of every stage; stages that run as one segment are timed as their last."""
    found: dict[str, list[float]] = {}
    for shared in shared_stages(jobs):
        stage = shared.status.stage
        key = f"seconds.{shared.users[0]}.{stage.name}"
        found.setdefault(key, []).extend(watch.seconds([stage]).values())
    return {key: round(float(np.mean(values)), 1) for key, values in found.items() if values}


def failures(outcomes: Sequence[VariantOutcome]) -> dict[str, str]:
    """Returns why variants stopped, by variant and seed."""
    return {f"{each.variant}.seed{each.seed}": each.error for each in outcomes if each.error}


def show(
    console: Console,
    comparison: Comparison,
    scores: Mapping[str, MethodScores],
    outcomes: Sequence[VariantOutcome],
) -> None:
    """Prints the tables over all images, and the margins over each half."""
    for table in result_tables(comparison, scores["all"], outcomes):
        print_text_table(console, table)
    by_half = Table(title="Margins by half (percentage points)", title_justify="left")
    for name in ("", "all", *(half.replace("_", " ") for half in HALVES), "aim"):
        by_half.add_column(name, justify="right" if name else "left")
    for name, values in margins(comparison, scores).items():
        cells = [values.get(key) for key in ("value", *HALVES, "aim")]
        by_half.add_row(name, *("" if value is None else f"{value:+.2f}" for value in cells))
    console.print(by_half)


if __name__ == "__main__":
    main()
