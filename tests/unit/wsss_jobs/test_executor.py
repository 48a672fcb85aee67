"""What the outcomes of items mean for the run."""

from types import SimpleNamespace

import pytest

from cluster.fan_out import FinalOutcome
from wsss_jobs import executor
from wsss_jobs.config.recipe import JobResources
from wsss_jobs.datasets.item_table import ItemTable
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StorageError


@pytest.mark.parametrize(("reason", "is_recorded"), [("nan_in_input", True), (executor.STORE_FAILED, False)])
def test_a_bad_item_is_recorded_and_a_store_that_failed_stops_the_run(monkeypatch, reason, is_recorded):
    item = DatasetItem("a1", "a", "a.jpg", 8, 8, (1,), "train")
    recorded, receipts = [], []
    outputs = SimpleNamespace(
        commit_failure=lambda item, reason, message: recorded.append((item.item_id, reason)),
        write_receipts=receipts.extend,
    )
    run = SimpleNamespace(error_budget=0.5, resources=JobResources(), observer=None, run_id="r")
    segment = SimpleNamespace(sink=SimpleNamespace(name="masks"), stages=[])

    def fan_out(items, legs, *, on_outcome, **_):
        [work] = items
        message = "on each of 5 tries"
        on_outcome(FinalOutcome(work.id, False, work.payload, failed_leg="masks", reason=reason, message=message))

    monkeypatch.setattr(executor, "fan_out", fan_out)
    work = lambda: executor._fan_out(run, segment, SimpleNamespace(outputs=outputs), ItemTable.of([item]))  # noqa: E731
    if is_recorded:
        work()
    else:
        with pytest.raises(StorageError, match=r"stage masks stopped.*run again: on each of 5 tries"):
            work()
    assert recorded == ([("a1", reason)] if is_recorded else [])
    assert len(receipts) == int(is_recorded)
