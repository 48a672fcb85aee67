"""Which combination is best, what it takes, and by how much it is above what each paper combines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from benchmarks.real_voc import HALVES
from benchmarks.real_voc_best_recipes import BEST_THRESHOLD
from benchmarks.stopwatch import Stopwatch
from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.comparison.published import Column, Margin
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.job_progress import Usage

TUNED, OTHER = HALVES
OWN = {  # as the shipped recipes of each paper have it; a CRF behind a walk where that has one
    "irn": "cam_irn_walk",
    "psa": "cam_psa_walk",
    "wsgcn_i": "cam_wsgcn_i_crf",
    "wsgcn_p": "cam_wsgcn_p_crf",
    "acr": "acr_irn_walk",
    "groupwise": "groupwise_irn_walk_crf",
    "isim": "isim_irn_walk_crf",
}
RIVALS = {f"{paper}_own": own for paper, own in OWN.items()} | {
    f"{paper}_own_with_crf": f"{own}_crf" for paper, own in OWN.items() if not own.endswith("_crf")
}

Mious = Mapping[str, Mapping[str, float]]  # part -> method -> mean over the seeds, percent


def mious(comparison: Comparison, scores: Mapping[str, MethodScores]) -> dict[str, dict[str, float]]:
    """Returns the mIoU of every combination on every part; nothing whose threshold the truth has chosen."""
    names = [name for name in comparison.methods if not name.endswith(f"_{BEST_THRESHOLD}")]
    return {
        part: {name: figure.mean for name in names if (figure := of_part.figure(name, Column())) is not None}
        for part, of_part in scores.items()
    }


def best_of(values: Mapping[str, float]) -> str | None:
    """Returns the method with the highest value."""
    return max(values, key=values.__getitem__, default=None)


def with_margins(comparison: Comparison, best: str | None) -> Comparison:
    """Returns the comparison with the margins of the best combination over each paper's own, which plots show too."""
    if best is None:
        return comparison
    margins = {f"best_minus_{key}": Margin(above=best, below=rival, aim=0.0) for key, rival in RIVALS.items()}
    return comparison.model_copy(
        update={"margins": margins, "plots": tuple(dict.fromkeys([best, *RIVALS.values()])), "examples": shown(best)}
    )


def shown(best: str) -> tuple[str, ...]:
    """Returns the best combination and each paper's own, each once."""
    return tuple(dict.fromkeys([best, *OWN.values()]))


def total_seconds(comparison: Comparison, jobs: Sequence[VariantJob], watch: Stopwatch) -> dict[str, float]:
    """Returns how long all stages take that a method needs, the median over the seeds.

    A method without CRF takes as long as that with it: one stage makes both masks. Methods with a stage whose time is
    not known are missing.
    """
    found = {
        name: [_seconds(each, method.step, watch) for each in jobs if each.variant == method.variant]
        for name, method in comparison.methods.items()
    }
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {name: round(float(np.median(values)), 1) for name, values in known.items() if values}


def costs(seconds: Mapping[str, float], price: float) -> dict[str, float]:
    """Returns the price of all cores of this machine for as long, at a price of one core an hour."""
    cores = os.cpu_count() or 1
    return {name: round(Usage(cpu_s=value * cores).cost({"cpu": price}), 4) for name, value in seconds.items()}


def choice(comparison: Comparison, values: Mious, seconds: Mapping[str, float], cost: Mapping[str, float]) -> object:
    """Returns the combination that is best on the tuned half, and that of the other half, with what they reach."""
    return {
        f"best_of_{part}": {
            "method": name,
            "title": comparison.methods[name].title,
            "miou": {part: round(of_part[name], 2) for part, of_part in values.items() if name in of_part},
            "seconds": seconds.get(name),
            "cost": cost.get(name),
        }
        for part in HALVES
        if (name := best_of(values[part])) is not None
    }


def combination_table(
    comparison: Comparison, values: Mious, seconds: Mapping[str, float], cost: Mapping[str, float]
) -> Table:
    """Returns a row a combination, the best on the tuned half first."""
    table = Table(title="Every combination: mIoU (%), time and cost", title_justify="left")
    for name in ("", "tuned half", "other half", "all", "minutes", "cost", "own of"):
        table.add_column(name, justify="left" if name in ("", "own of") else "right")
    owners = {own: paper for paper, own in OWN.items()}
    for name in sorted(values[TUNED], key=values[TUNED].__getitem__, reverse=True):
        scored = [f"{values[part][name]:.2f}" if name in values[part] else "" for part in (TUNED, OTHER, "all")]
        minutes = f"{seconds[name] / 60:.0f}" if name in seconds else ""
        price = f"{cost[name]:.3f}" if name in cost else ""
        table.add_row(comparison.methods[name].title, *scored, minutes, price, owners.get(name, ""))
    return table


def _seconds(each: VariantJob, step: str, watch: Stopwatch) -> float | None:
    plan = each.job.plan
    sink = plan.stage_of(step)
    needed = [plan.stage(name) for name in (*plan.upstream(sink), sink.name)]
    stored = [stage for stage in needed if not stage.is_streamed]
    known = watch.seconds(stored)
    return sum(known.values()) if len(known) == len(stored) else None
