"""The best of all: every way of making CAMs with every way of refining them, on real images; which pair is best?

    python -m benchmarks.real_voc_best --data ../shared/data --seeds 0 --finished <store>   # hours
    python -m benchmarks.real_voc_best --data ../shared/data --images 12 --seeds 0 --only cam_i     # does it work?

CAMs: plain, ACR's, group-wise, ISIM's. Refined by: nothing, IRN's walk, WSGCN-I, PSA's walk (as published, and as tuned
in `benchmarks.real_voc_compare`), WSGCN-P; each without and with dense CRF. The recipes are composed of those of the
other benchmarks (`benchmarks.real_voc_best_recipes`), so equal stages are done once; `--finished` takes over what any
run in a store has done. Masks are read for scoring alone. Thresholds of CAMs and of IRN's walk are as tuned for the
plain CAM, and chosen without masks for all others (`benchmarks.real_voc_best_thresholds`); all other settings behind
the CAMs are those tuned on the plain CAM, which is in its favour.

`--data` and the halves are as in `benchmarks.real_voc`. `best.best_of_tuned_half` is the combination with the highest
mIoU on the half that settings were tuned on, and what it reaches on the other; `margins.best_minus_*` are by how much
it is above what each paper combines (its shipped recipe; `_with_crf` where that has no CRF), in percentage points.
`miou.*_best_threshold` are of CAMs at the threshold that the truth has chosen, and never the best. `total_seconds.*` is
the time of all stages that a combination needs, as if it ran alone, and `cost.*` that of all cores of this machine at
`--price`. `--students` trains segmentation networks on the best masks and on each paper's own. A run that was
interrupted goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.comparing import check_only, options, reported, results_path, run_all, subset, write_json
from benchmarks.real_voc import PARTS
from benchmarks.real_voc_best_choice import (
    TUNED,
    best_of,
    choice,
    combination_table,
    costs,
    mious,
    total_seconds,
    with_margins,
)
from benchmarks.real_voc_best_recipes import NAME, best_comparison, places
from benchmarks.real_voc_best_reuse import reuse
from benchmarks.real_voc_best_students import student_margins, student_table, students
from benchmarks.real_voc_best_thresholds import Known, find_thresholds, with_thresholds
from benchmarks.stopwatch import Stopwatch
from cluster.interruption import sigterm_as_ctrl_c
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.jobs import VariantJob, prepare_comparison
from wsss_jobs.comparison.run import VariantOutcome
from wsss_jobs.comparison.scores import score_parts

ALL_SEEDS = (0, 1, 2)
PRICE = 0.05


@dataclass(frozen=True)
class Work:
    """What is common to all runs of this benchmark.

    Attributes:
        arguments: The command line.
    """

    arguments: argparse.Namespace
    console: Console
    watch: Stopwatch
    seconds_path: Path

    def prepare(self, comparison: Comparison) -> list[VariantJob]:
        """Returns all jobs of the comparison."""
        data, store = self.arguments.data, self.arguments.store
        return prepare_comparison(
            comparison, [*places(data, store), *subset(data, store, self.arguments.images), *self.arguments.set]
        )

    def run(self, jobs: Sequence[VariantJob]) -> list[VariantOutcome]:
        """Takes over what other benchmarks have finished, and runs the rest."""
        if not jobs:
            return []
        for name in reuse(jobs, [self.arguments.store, *self.arguments.finished], self.seconds_path):
            self.watch.message(f"taken over: {name}")
        return run_all(jobs, self.watch)


def main() -> None:
    """Runs, scores, chooses, prints and writes; ends with 1 where a variant stopped."""
    arguments = parsed()
    sigterm_as_ctrl_c()
    store: Path = arguments.store
    store.mkdir(parents=True, exist_ok=True)
    written = best_comparison(store / f"{NAME}_recipes", arguments.seeds or ALL_SEEDS)
    check_only(written, arguments.only)
    only = arguments.only or list(written.variants)
    console, seconds_path = make_console(), store / "seconds_best.json"
    with Stopwatch(console, seconds_path) as watch:
        work = Work(arguments, console, watch, seconds_path)
        known = Known(store / f"{NAME}_thresholds.json")
        thresholds = find_thresholds(written, only, work.prepare, work.run, known)
        comparison = with_thresholds(written, thresholds)
        jobs = [each for each in work.prepare(comparison) if each.variant in only]
        outcomes = work.run(jobs)
    content = findings(work, comparison, jobs, outcomes) | {"thresholds": thresholds}
    write_json(results_path(Path(__file__), arguments), content)
    if content["failed"]:
        sys.exit(1)


def parsed() -> argparse.Namespace:
    """Returns what the command line asks for."""
    parser = options(__doc__)
    parser.add_argument("--finished", type=Path, action="append", default=[], help="a store with stages to take over")
    parser.add_argument("--price", type=float, default=PRICE, help="of one core an hour")
    parser.add_argument("--students", action="store_true", help="train a network on the best masks and each paper's")
    return parser.parse_args()


def findings(
    work: Work, comparison: Comparison, jobs: Sequence[VariantJob], outcomes: Sequence[VariantOutcome]
) -> dict[str, object]:
    """Scores, chooses and prints; returns all figures."""
    scores = score_parts(comparison, jobs, PARTS)
    values = mious(comparison, scores)
    best = best_of(values[TUNED])
    seconds = total_seconds(comparison, jobs, work.watch)
    cost = costs(seconds, work.arguments.price)
    content = reported(work.console, with_margins(comparison, best), jobs, scores, outcomes, work.watch)
    content |= {f"total_seconds.{name}": value for name, value in seconds.items()}
    content |= {f"cost.{name}": value for name, value in cost.items()}
    content |= {"price_per_core_hour": work.arguments.price, "best": choice(comparison, values, seconds, cost)}
    work.console.print(combination_table(comparison, values, seconds, cost))
    if work.arguments.students and best is not None:
        content = with_students(work, comparison, jobs, best, content)
    return content


def with_students(
    work: Work, comparison: Comparison, jobs: Sequence[VariantJob], best: str, content: dict[str, object]
) -> dict[str, object]:
    """Returns the figures and margins with those of the students."""
    data, store = work.arguments.data, work.arguments.store.resolve()
    with Stopwatch(work.console, work.seconds_path) as watch:
        found = students(comparison, jobs, best, data, store, watch)
    work.console.print(student_table(comparison, found, best))
    margins = content["margins"]
    assert isinstance(margins, dict)
    return content | found | {"margins": margins | student_margins(found, best)}


if __name__ == "__main__":
    main()
