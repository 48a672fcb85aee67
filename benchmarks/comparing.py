"""What every comparison on the real images does: its options, its runs, its scores, its file of figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.real_voc import HALVES, PARTS, circumstances
from benchmarks.stopwatch import Stopwatch
from cluster.interruption import sigterm_as_ctrl_c
from wsss_jobs.cli.compare import parse_seeds
from wsss_jobs.cli.tables import print_text_table
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.comparison.config import Comparison, load_comparison
from wsss_jobs.comparison.jobs import VariantJob, prepare_comparison
from wsss_jobs.comparison.published import Column, MetricName
from wsss_jobs.comparison.results import result_tables, write_results
from wsss_jobs.comparison.run import VariantOutcome, run_variants
from wsss_jobs.comparison.scores import Figure, MethodScores, score_parts
from wsss_jobs.comparison.sharing import shared_stages
from wsss_jobs.job import PreparedJob, RunResult, run_job
from wsss_jobs.report.training_curves import METRICS, METRICS_KEY
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.tables import read_table

METRIC_NAMES: Mapping[str, MetricName] = {"miou": "miou", "precision": "mean_precision", "recall": "mean_recall"}
T = TypeVar("T")
Places = Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Benchmark:
    """A comparison on the real images.

    Attributes:
        script: Beside it lies the comparison, `<name>.yaml`; its figures go to `results/<name>.json`.
        description: For `--help`.
        places: Where data set, store and weights are, as overrides of every recipe, from `--data` and `--store`.
        every_seed: Variants that run with every seed, the others with the first one; None: all of them.
    """

    script: Path
    description: str | None
    places: Places
    every_seed: tuple[str, ...] | None = None

    def run(self) -> None:
        """Runs, scores, prints and writes what the command line asks for; ends with 1 where a variant stopped."""
        arguments = options(self.description).parse_args()
        sigterm_as_ctrl_c()
        data, store = arguments.data, arguments.store
        store.mkdir(parents=True, exist_ok=True)
        comparison = load_comparison(str(self.script.with_suffix(".yaml")))
        if arguments.seeds:
            comparison = comparison.model_copy(update={"seeds": arguments.seeds})
        changes = [*self.places(data, store), *subset(data, store, arguments.images), *arguments.set]
        jobs = self._chosen(prepare_comparison(comparison, changes), comparison, arguments.only)
        seconds_path = store / f"seconds_{self.script.stem.removeprefix('real_voc_')}.json"
        if not compare(comparison, jobs, seconds_path, results_path(self.script, arguments)):
            sys.exit(1)

    def _chosen(
        self, jobs: Sequence[VariantJob], comparison: Comparison, only: Sequence[str] | None
    ) -> list[VariantJob]:
        check_only(comparison, only)
        chosen = [job for job in jobs if not only or job.variant in only]
        first = comparison.seeds[0]
        return [job for job in chosen if self.every_seed is None or job.variant in self.every_seed or job.seed == first]


def options(description: str | None) -> argparse.ArgumentParser:
    """Returns the options that all these benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--seeds", type=parse_seeds, help="such as 0,1,2; default: those of the comparison")
    parser.add_argument("--only", type=lambda text: text.split(","), help="variants, such as one,other")
    parser.add_argument("--images", type=int, help="only so many, for a quick check")
    parser.add_argument("--set", action="append", default=[], help="a change to every recipe, as of `wsss run`")
    parser.add_argument("--json", type=Path, help="default: the results file; with a part of all, in the store")
    return parser


def results_path(script: Path, arguments: argparse.Namespace) -> Path:
    """Returns where the figures go."""
    if arguments.json is not None:
        return Path(arguments.json)
    is_part = arguments.images is not None or arguments.only or arguments.set
    store: Path = arguments.store
    return store / f"{script.stem}_part.json" if is_part else script.parent / "results" / f"{script.stem}.json"


def check_only(comparison: Comparison, only: Sequence[str] | None) -> None:
    """Ends with a message where `--only` names what is no variant."""
    unknown = set(only or ()) - set(comparison.variants)
    if unknown:
        sys.exit(f"--only {', '.join(sorted(unknown))}: there are {', '.join(comparison.variants)}")


def compare(comparison: Comparison, jobs: Sequence[VariantJob], seconds_path: Path, path: Path) -> bool:
    """Runs and scores a comparison, prints it and writes its figures; returns whether all variants ran."""
    console = make_console()
    with Stopwatch(console, seconds_path) as watch:
        outcomes = run_all(jobs, watch)
    content = reported(console, comparison, jobs, score_parts(comparison, jobs, PARTS), outcomes, watch)
    write_json(path, content)
    return not content["failed"]


def run_all(jobs: Sequence[VariantJob], watch: Stopwatch) -> list[VariantOutcome]:
    """Runs what is left of all jobs, and says on the way which one it is."""

    def run(job: PreparedJob) -> RunResult:
        watch.message(job.recipe.name)
        return run_job(job, watch)

    return run_variants(jobs, run)


def reported(
    console: Console,
    comparison: Comparison,
    jobs: Sequence[VariantJob],
    scores: Mapping[str, MethodScores],
    outcomes: Sequence[VariantOutcome],
    watch: Stopwatch,
) -> dict[str, object]:
    """Prints what a comparison found, leaves its page in the store, and returns its figures."""
    _show(console, comparison, scores, outcomes)
    console.print(f"Comparison: {write_results(comparison, jobs, scores['all'], outcomes)}", highlight=False)
    return {
        **figures(comparison, scores),
        "margins": margins(comparison, scores),
        **seconds(jobs, watch),
        **peak_memory(jobs),
        "seeds": list(comparison.seeds),
        "variants": sorted({job.variant for job in jobs}),
        "failed": {f"{each.variant}.seed{each.seed}": each.error for each in outcomes if each.error},
        **circumstances(len(jobs[0].job.dataset.items)),
    }


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Writes the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def subset(data: Path, store: Path, num_images: int | None) -> list[str]:
    """Returns the override that takes only so many images, evenly from the list; none for all of them."""
    if num_images is None:
        return []
    names = (data / "voc_subset" / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    chosen = evenly(names, num_images)
    path = store.resolve() / f"train_{num_images}.txt"
    path.write_text("\n".join(chosen) + "\n")
    return [f"dataset.splits=[{path}]"]


def evenly(values: Sequence[T], number: int) -> list[T]:
    """Returns so many of them, evenly from first to last."""
    return [values[index] for index in np.linspace(0, len(values) - 1, number).round().astype(int)]


def figures(comparison: Comparison, scores: Mapping[str, MethodScores]) -> dict[str, float]:
    """Returns mean and spread of every method in percent: mIoU on every part, precision and recall on all images."""
    found: dict[str, float] = {}
    for part, of_part in scores.items():
        for key, metric in METRIC_NAMES.items():
            if part != "all" and key != "miou":
                continue
            for name in comparison.methods:
                figure = of_part.figure(name, Column(metric=metric))
                if figure is not None:
                    prefix = "" if part == "all" else f"{part}."
                    found[f"{prefix}{key}.{name}"] = round(figure.mean, 2)
                    found |= _spread(f"{prefix}spread.{key}.{name}", figure)
    return found


def margins(comparison: Comparison, scores: Mapping[str, MethodScores]) -> dict[str, dict[str, float | None]]:
    """Returns the margins over all images with their aims, and over each half; None where a method is missing."""
    found: dict[str, dict[str, float | None]] = {}
    for name, margin in comparison.margins.items():
        by_part = {part: of_part.margin(margin) for part, of_part in scores.items()}
        value = by_part["all"]
        found[name] = {"value": None if value is None else round(value.mean, 2), "aim": margin.aim}
        if value is not None:
            found[name] |= _spread("spread", value)
        found[name] |= {half: round(each.mean, 2) for half in HALVES if (each := by_part[half]) is not None}
    return found


def seconds(jobs: Sequence[VariantJob], watch: Stopwatch) -> dict[str, float]:
    """Returns the time of every stage; stages that run as one segment are timed as their last."""
    found: dict[str, list[float]] = {}
    for shared in shared_stages(jobs):
        stage = shared.status.stage
        key = f"seconds.{shared.users[0]}.{stage.name}"
        found.setdefault(key, []).extend(watch.seconds([stage]).values())
    return {key: round(float(np.mean(values)), 1) for key, values in found.items() if values}


def peak_memory(jobs: Sequence[VariantJob]) -> dict[str, float]:
    """Returns the most memory that a worker of each training took, the mean over the seeds."""
    found: dict[str, list[float]] = {}
    for shared in shared_stages(jobs):
        stage = shared.status.stage
        folder = stage_folder(stage, jobs[0].job.store).outputs.folder  # all variants share one
        try:
            table = read_table(folder, METRICS_KEY, METRICS)
        except ObjectNotFoundError:  # no training, or one that has not ended
            continue
        if "peak_memory_mib" not in table.column_names:  # a training of before this was noted
            continue
        key = f"peak_memory_mib.{shared.users[0]}.{stage.name}"
        found.setdefault(key, []).append(max(table.column("peak_memory_mib").to_pylist()))
    return {key: round(float(np.mean(values)), 0) for key, values in found.items()}


def _spread(key: str, figure: Figure) -> dict[str, float]:
    return {} if figure.spread is None else {key: round(figure.spread, 2)}


def _show(
    console: Console,
    comparison: Comparison,
    scores: Mapping[str, MethodScores],
    outcomes: Sequence[VariantOutcome],
) -> None:
    for table in result_tables(comparison, scores["all"], outcomes):
        print_text_table(console, table)
    by_half = Table(title="Margins by half (percentage points)", title_justify="left")
    for name in ("", "all", *(half.replace("_", " ") for half in HALVES), "aim"):
        by_half.add_column(name, justify="right" if name else "left")
    for name, values in margins(comparison, scores).items():
        cells = [values.get(key) for key in ("value", *HALVES, "aim")]
        by_half.add_row(name, *("" if value is None else f"{value:+.2f}" for value in cells))
    console.print(by_half)
