"""ACR on real images: is a classifier that plays against a reconstructor better than one that learns from tags alone?

    python -m benchmarks.real_voc_acr --data ../shared/data               # three seeds: hours on 2 cores
    python -m benchmarks.real_voc_acr --data ../shared/data --images 40 --seeds 0    # does it work?

Runs the comparison `benchmarks/real_voc_acr.yaml`: the baseline, a reconstructor that was trained first, one that
learns in turns with the classifier, each with and without stochastic remnant feeding, and the classifier's losses one
by one (Tables 1 and 2 of Kweon et al., CVPR 2023). Equal stages are done once. Masks are read for scoring alone; no
setting was tuned on them.

`miou.*`, `precision.*`, `recall.*` are of CAMs at their best threshold, means over the seeds, in percent; `spread.*`
the sample standard deviation. `margins` are differences of two methods, seed by seed, as measured, beside the paper's
as aims. A run that was interrupted goes on; `seconds.<variant>.<stage>` is of the run that did the work, and
`peak_memory_mib.<variant>.<stage>` the most that a worker of a training took.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.real_voc import circumstances, weights
from benchmarks.real_voc_compare import failures, run, seconds, spread, subset
from benchmarks.stopwatch import Stopwatch
from cluster.interruption import sigterm_as_ctrl_c
from wsss_jobs.cli.compare import parse_seeds
from wsss_jobs.cli.tables import print_text_table
from wsss_jobs.comparison.config import Comparison, load_comparison
from wsss_jobs.comparison.jobs import VariantJob, prepare_comparison
from wsss_jobs.comparison.published import Column, MetricName
from wsss_jobs.comparison.results import result_tables, write_results
from wsss_jobs.comparison.run import run_variants
from wsss_jobs.comparison.scores import MethodScores, score_methods
from wsss_jobs.comparison.sharing import shared_stages
from wsss_jobs.report.training_curves import METRICS, METRICS_KEY
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.tables import read_table

COMPARISON = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).parent / "results" / "real_voc_acr.json"
METRIC_NAMES: Mapping[str, MetricName] = {"miou": "miou", "precision": "mean_precision", "recall": "mean_recall"}
TRAININGS = ("train_baseline", "train_reconstructor", "train_acr")


def main() -> None:
    """Runs, scores, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--seeds", type=parse_seeds, help="such as 0,1,2; default: those of the comparison")
    parser.add_argument("--images", type=int, help="only so many, for a quick check; leaves the results file alone")
    parser.add_argument("--set", action="append", default=[], help="a change to every recipe, as `wsss run` takes it")
    parser.add_argument("--json", type=Path, help=f"default: {RESULTS.name}; with --images or --set, in the store")
    arguments = parser.parse_args()
    sigterm_as_ctrl_c()
    store, num_images = arguments.store, arguments.images
    store.mkdir(parents=True, exist_ok=True)
    comparison = load_comparison(str(COMPARISON))
    if arguments.seeds:
        comparison = comparison.model_copy(update={"seeds": arguments.seeds})
    changes = [*places(arguments.data, store), *subset(arguments.data, store, num_images), *arguments.set]
    jobs = prepare_comparison(comparison, changes)

    console = Console()
    with Stopwatch(console, store / "seconds_acr.json") as watch:
        outcomes = run_variants(jobs, lambda job: run(job, watch))
    scores = score_methods(comparison, jobs)
    for table in result_tables(comparison, scores, outcomes):
        print_text_table(console, table)
    console.print(f"Comparison: {write_results(comparison, jobs, scores, outcomes)}", highlight=False)
    content = {
        **figures(comparison, scores),
        "margins": margins(comparison, scores),
        **seconds(jobs, watch),
        **peak_memory(jobs),
        "seeds": list(comparison.seeds),
        "failed": failures(outcomes),
        **circumstances(len(jobs[0].job.dataset.items)),
    }
    is_partial = num_images is not None or bool(arguments.set)
    path = arguments.json or (store / "real_voc_acr_partial.json" if is_partial else RESULTS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    if content["failed"]:
        sys.exit(1)


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the weights of all networks are, as overrides of the recipes."""
    networks = {
        "train_baseline": ("classifier", "reconstructor"),
        "train_reconstructor": ("reconstructor",),
        "train_acr": ("classifier", "reconstructor"),
    }
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        *(f"stages.{stage}.{part}.encoder.weights={weights(data)}" for stage in networks for part in networks[stage]),
    ]


def figures(comparison: Comparison, scores: MethodScores) -> dict[str, float]:
    """Returns mean and spread of every metric of every method, in percent."""
    found: dict[str, float] = {}
    for key, metric in METRIC_NAMES.items():
        for name in comparison.methods:
            figure = scores.figure(name, Column(metric=metric))
            if figure is not None:
                found[f"{key}.{name}"] = round(figure.mean, 2)
                found |= spread(f"spread.{key}.{name}", figure)
    return found


def margins(comparison: Comparison, scores: MethodScores) -> dict[str, dict[str, float | None]]:
    """Returns each margin as measured beside its aim; None where a method is missing."""
    found: dict[str, dict[str, float | None]] = {}
    for name, margin in comparison.margins.items():
        figure = scores.margin(margin)
        found[name] = {"value": None if figure is None else round(figure.mean, 2), "aim": margin.aim}
        found[name] |= {} if figure is None else spread("spread", figure)
    return found


def peak_memory(jobs: Sequence[VariantJob]) -> dict[str, float]:
    """Returns the most memory that each training took, the mean over the seeds."""
    found: dict[str, list[float]] = {}
    for shared in shared_stages(jobs):
        stage = shared.status.stage
        if stage.name not in TRAININGS:
            continue
        for each in jobs:
            if each.variant == shared.users[0] and each.job.plan.stage(stage.name).fingerprint == stage.fingerprint:
                found.setdefault(f"peak_memory_mib.{each.variant}.{stage.name}", []).extend(_peak(each, stage.name))
    return {key: round(float(np.mean(values)), 0) for key, values in found.items() if values}


def _peak(each: VariantJob, stage_name: str) -> list[float]:
    folder = stage_folder(each.job.plan.stage(stage_name), each.job.store).outputs.folder
    try:
        table = read_table(folder, METRICS_KEY, METRICS)
    except ObjectNotFoundError:
        return []
    return [max(table.column("peak_memory_mib").to_pylist())]


if __name__ == "__main__":
    main()
