"""What a worker makes of items that do not fit into memory, and of a store that fails."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from cluster.fan_out import WorkItem
from wsss_jobs import worker
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StorageError
from wsss_jobs.records import ClassScores
from wsss_jobs.stage_io import StageInputs
from wsss_jobs.stages.base import ItemStage, Ok, StageConfig, guarded
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError, TornObjectError


class Hungry(ItemStage):
    """Takes as much memory as its items have pixels, of which the accelerator has 10 and the CPU 100."""

    NAME: ClassVar[str] = "hungry"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = StageConfig
    READS: ClassVar[dict] = {}
    WRITES: ClassVar[type] = ClassScores
    made_on: ClassVar[list[str]] = []

    def __init__(self, config, context):
        self.device = context.device
        self.made_on.append(context.device)
        self.sizes = []

    def process(self, batch):
        self.sizes.append(len(batch))
        if self.device == "cuda" and sum(entry.image.size for entry in batch) > 10:
            raise torch.OutOfMemoryError("too much")
        return [guarded(lambda entry=entry: self.one(entry)) for entry in batch]

    def one(self, entry):
        if entry.image.size > 100:
            raise MemoryError("cannot allocate")
        return Ok(ClassScores((0,), np.zeros((1, 1, 1), np.float32), "activation", corner_aligned=False))


@pytest.fixture
def made(monkeypatch):
    """A function that makes a worker whose images have the sizes of their items' names."""
    monkeypatch.setattr(worker, "read_image", lambda item: np.zeros(int(item.source_key)))
    Hungry.made_on.clear()
    inputs = StageInputs({}, {}, "")
    arguments = ("eat", Hungry, StageConfig(), inputs, None, None, ())  # stores nothing, and names no weights
    return lambda device="cuda": worker.StageJob(*arguments, 0, device, 1, "run")()


def work(*names):
    return [WorkItem(name, DatasetItem(name, name, f"/images/{name}", 1, 1, (1,), "train")) for name in names]


def test_a_batch_that_does_not_fit_is_halved_then_the_cpu_takes_the_item_then_it_fails(made, monkeypatch, caplog):
    running = made()
    passed = []
    monkeypatch.setattr(running._metrics, "batch_done", lambda *batch: passed.append(batch))
    outcomes = running.run(work("4", "4", "50", "4", "60", "200"), ())
    assert [outcome.ok for outcome in outcomes] == [True] * 5 + [False]
    assert [outcome.receipt.get("eat_device") for outcome in outcomes[:5]] == ["cuda", "cuda", "cpu", "cuda", "cpu"]
    assert (outcomes[5].reason, outcomes[5].item_id) == ("out_of_memory", "200")
    assert "cannot allocate" in outcomes[5].message
    assert Hungry.made_on == ["cuda", "cpu"], "weights are loaded on the CPU once, when they are needed"
    assert running._stage.sizes == [6, 3, 1, 2, 1, 1, 3, 1, 2, 1, 1]
    assert passed == [(1, "cuda"), (1, "cuda"), (1, "cpu"), (1, "cuda"), (1, "cpu"), (1, "cpu")]
    lines = [record.getMessage() for record in caplog.records]
    memory = [line for line in lines if line.startswith("out of the accelerator's memory run=run stage=eat item=")]
    sizes = [line.partition(" batch=")[2] for line in memory]
    assert sizes == ["6: halved", "3: halved", "2: halved", "1: goes to the CPU"]


@pytest.mark.parametrize("error", [StorageError, ObjectNotFoundError, TornObjectError, AccessDeniedError])
def test_an_image_that_cannot_be_had_is_an_item_s_failure_and_a_dead_store_is_not(made, monkeypatch, error):
    running = made("cpu")
    monkeypatch.undo()

    def read_uri(uri):
        raise error(f"{uri}: no")

    monkeypatch.setattr(worker, "read_uri", read_uri)
    outcomes = running.run(work("1", "2"), ())
    reasons = {ObjectNotFoundError: "missing_image", StorageError: worker.STORE_FAILED}
    assert [outcome.reason for outcome in outcomes] == [reasons.get(error, "unreadable_image")] * 2
    assert all("/images/" in outcome.message for outcome in outcomes)
