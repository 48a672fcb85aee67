"""Numbers of single items that stages left in their receipts."""

from typing import Any

import pyarrow as pa

from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.receipts import RECEIPTS, RECEIPTS_KEY, latest_by_item
from wsss_jobs.storage.tables import read_table


class StageReceipts:
    """The receipts of one segment of a plan: those of the stage that stores, with columns of all its stages."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def total(self, column: str) -> float | None:
        """Returns the sum of a column over all attempts, or None where it has no number."""
        values = self._known(column)
        return sum(values) if values else None

    def distinct(self, column: str) -> tuple[str, ...]:
        """Returns the values of a text column, sorted."""
        return tuple(sorted(set(self._known(column))))

    def latest(self, column: str) -> dict[str, float]:
        """Returns a number of each item, from its last attempt, by item id."""
        if column not in self._table.column_names:
            return {}
        values = self._table.column(column).to_pylist()
        rows = latest_by_item(self._table.select([n for n in ("item_id", "attempt") if n in self._table.column_names]))
        return {item_id: values[row] for item_id, row in rows.items() if values[row] is not None}

    def _known(self, column: str) -> list[Any]:
        if column not in self._table.column_names:
            return []
        return [value for value in self._table.column(column).to_pylist() if value is not None]


def read_receipts(stage: PlannedStage, run_store: ObjectStore) -> StageReceipts:
    """Returns the receipts of a complete stage; empty ones while there are none."""
    folder = stage_folder(stage, run_store).outputs.folder
    try:
        return StageReceipts(read_table(folder, RECEIPTS_KEY, RECEIPTS))
    except ObjectNotFoundError:
        return StageReceipts(pa.table({"item_id": pa.array([], type=pa.string())}))


def storing_stages(stage: PlannedStage, plan: Plan) -> tuple[PlannedStage, ...]:
    """Returns the stages under which a stage's receipts lie: itself, or those that its stream ends in."""
    return tuple(segment.sink for segment in plan.segments if stage in segment.stages)
