"""How trainings went: one small curve for each loss of each training stage."""

from dataclasses import dataclass

import pyarrow as pa

from wsss_jobs.job import PreparedJob
from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.report.charts import Curve, curve
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.tables import TableKind, read_table

METRICS_KEY = "metrics.parquet"
METRICS = TableKind("training_metrics", 1)
_NOT_LOSSES = ("epoch", "step", "seconds", "peak_memory_mib")


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        curves: `loss` first, then its parts by name.
        seconds: Of all epochs, or None where that was not recorded.
    """

    stage: str
    num_epochs: int
    num_steps: int
    seconds: float | None
    curves: tuple[Curve, ...]


def trainings(job: PreparedJob) -> tuple[Training, ...]:
    """Returns the trainings of a job that have left metrics, in the order of the plan."""
    found = (training(stage, job) for stage in job.plan.stages if stage.is_training)
    return tuple(one for one in found if one is not None)


def training(stage: PlannedStage, job: PreparedJob) -> Training | None:
    """Returns what a training stage recorded, or None while there is nothing."""
    try:
        table = read_table(stage_folder(stage, job.store).outputs.folder, METRICS_KEY, METRICS)
    except ObjectNotFoundError:
        return None
    if table.num_rows == 0:
        return None
    names = sorted((name for name in table.column_names if name not in _NOT_LOSSES), key=lambda n: (n != "loss", n))
    curves = (curve(name, _numbers(table, name)) for name in names)
    seconds = sum(_numbers(table, "seconds")) if "seconds" in table.column_names else None
    steps = _numbers(table, "step") if "step" in table.column_names else [0.0]
    return Training(stage.name, table.num_rows, int(max(steps)), seconds, tuple(c for c in curves if c is not None))


def _numbers(table: pa.Table, name: str) -> list[float]:
    return [float("nan") if value is None else float(value) for value in table.column(name).to_pylist()]
