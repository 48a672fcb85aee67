"""A segmentation network trained on the masks of the best combination, and on those of each paper's own.

As `benchmarks.real_voc_student`: trained on the tuned half, scored on the other half and on `val`, first run seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.real_voc_best_choice import OWN, shown
from benchmarks.real_voc_student import PARTS, parts, prediction, score, student
from benchmarks.stopwatch import Stopwatch
from wsss_jobs.comparison.config import Comparison, Method
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.job import PreparedJob, run_job
from wsss_jobs.stage_io import stage_folder

BEFORE_CRF = "before_crf"


def students(
    comparison: Comparison, jobs: Sequence[VariantJob], best: str, data: Path, store: Path, watch: Stopwatch
) -> dict[str, float]:
    """Returns `student.miou.<part>.<method>` in percent; methods without finished masks are left out."""
    first = {each.variant: each.job for each in reversed(jobs)}
    found: dict[str, float] = {}
    for name in shown(best):
        method = comparison.methods[name]
        masks = masks_of(method, first[method.variant]) if method.variant in first else None
        if masks is None:
            continue
        for part, (train, test) in parts(data, store, train_on_all=False).items():
            trained = student(data, store, train, [f"stages.read_masks.source={masks}"])
            segmented = prediction(data, store, test, trained)
            watch.message(f"student of {method.title}, scored on {part}")
            for job in (trained, segmented):
                run_job(job, watch)
            found[f"student.miou.{part}.{name}"] = score(segmented)
    return found


def masks_of(method: Method, job: PreparedJob) -> Path | None:
    """Returns the folder of a method's masks, or None where they are not finished."""
    name, _, variant = method.step.partition("/")
    outputs = stage_folder(job.plan.stage(name), job.store).outputs
    if outputs.manifest() is None:
        return None
    folder = Path(outputs.folder.uri)  # of a stage: its masks behind the CRF; those before it are a folder of files
    return folder / f"masks_{BEFORE_CRF}" if variant == BEFORE_CRF else folder


def student_margins(found: Mapping[str, float], best: str) -> dict[str, dict[str, float | None]]:
    """Returns by how much the best combination's student is above that of each paper's own, on the other half."""
    margins: dict[str, dict[str, float | None]] = {}
    for paper, own in OWN.items():
        by_part = {part: _difference(found, part, best, own) for part in PARTS}
        margins[f"student_best_minus_{paper}_own"] = {"value": by_part[PARTS[0]], "aim": 0.0} | by_part
    return margins


def student_table(comparison: Comparison, found: Mapping[str, float], best: str) -> Table:
    """Returns a row a student."""
    table = Table("masks of", *PARTS, title="mIoU (%) of the students", title_justify="left")
    for name in shown(best):
        values = [found.get(f"student.miou.{part}.{name}") for part in PARTS]
        table.add_row(comparison.methods[name].title, *("" if value is None else f"{value:.2f}" for value in values))
    return table


def _difference(found: Mapping[str, float], part: str, best: str, own: str) -> float | None:
    values = [found.get(f"student.miou.{part}.{name}") for name in (best, own)]
    return None if None in values else round(values[0] - values[1], 2)  # type: ignore[operator]
