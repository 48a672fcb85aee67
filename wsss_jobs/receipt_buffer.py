"""Receipts on their way to the store: written a few hundred at a time, or when the oldest has waited long enough."""

import time
from typing import Any

from wsss_jobs.storage.stage_outputs import StageOutputs

_MAX_ROWS = 256
_MAX_AGE_S = 30.0


class ReceiptBuffer:
    """Collects receipts of one stage. What is lost with a killed driver is derived again from the masks themselves."""

    def __init__(self, outputs: StageOutputs) -> None:
        self._outputs = outputs
        self._rows: list[dict[str, Any]] = []
        self._oldest_s = 0.0

    def add(self, row: dict[str, Any]) -> None:
        """Adds one receipt, and writes all when it is time."""
        if not self._rows:
            self._oldest_s = time.monotonic()
        self._rows.append(row)
        if len(self._rows) >= _MAX_ROWS or time.monotonic() - self._oldest_s > _MAX_AGE_S:
            self.flush()

    def flush(self) -> None:
        """Writes what has been collected."""
        if self._rows:
            self._outputs.write_receipts(self._rows)
            self._rows = []
