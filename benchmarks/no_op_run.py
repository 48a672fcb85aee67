"""The no-op stage as a job's driver runs it, on a data set and a ledger in a folder; and how they come there."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.no_op_stage import NoOp, NoOpConfig, no_op_items
from cluster.fan_out import ProgressSnapshot
from cluster.session import connect
from wsss_jobs.config.recipe import JobResources, StageEntry
from wsss_jobs.datasets.dataset_store import load_dataset, save_dataset
from wsss_jobs.datasets.item_table import ItemTable
from wsss_jobs.datasets.records import Dataset, DatasetItem, make_dataset
from wsss_jobs.executor import RunContext, run_plan
from wsss_jobs.pipeline import Plan, PlannedStage, build_plan
from wsss_jobs.progress import LogObserver
from wsss_jobs.receipt_buffer import ReceiptBuffer
from wsss_jobs.records import LabelMap
from wsss_jobs.stage_io import StageFolder, stage_folder
from wsss_jobs.stages.base import StageResources
from wsss_jobs.storage.uris import open_store

_CLASS_NAMES = tuple(f"class {number}" for number in range(1, 21))
_DATASET = "dataset"
_LABEL_HW = np.zeros((1, 1), dtype=np.uint8)


class Milestones(LogObserver):
    """Notes when a stage's steps happen."""

    def __init__(self) -> None:
        super().__init__()
        self.started = time.monotonic()
        self.counts: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def stage_started(self, stage: PlannedStage, num_todo: int, num_done: int, num_failed: int) -> None:
        """What is left is known."""
        del stage, num_failed
        self.counts = {"num_todo": num_todo, "num_done_before": num_done}
        self._note("know_what_is_left_s")

    def items_progress(self, stage: PlannedStage, snapshot: ProgressSnapshot) -> None:
        """Items are done."""
        del stage
        if snapshot.num_done and "first_item_s" not in self.seconds:
            self._note("first_item_s")
        self._note("last_item_s")

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """The stage is complete."""
        del stage, seconds
        assert num_failed == 0
        self.counts["num_done"] = num_done
        self._note("complete_s")

    def _note(self, name: str) -> None:
        self.seconds[name] = round(time.monotonic() - self.started, 2)


def run_stage(store: str, batch_size: int, memory_mb: Callable[[str], int]) -> dict[str, Any]:
    """Returns seconds from the start of the run, memory of this process, and how many items there were to do."""
    imported_mb = memory_mb("VmRSS")
    opened, cpu_s = time.monotonic(), time.process_time()
    folder = open_store(store)
    dataset = load_dataset(folder.child(_DATASET))
    opened_s = time.monotonic() - opened
    with connect(None) as session:
        observer = Milestones()
        run = RunContext(
            plan=_plan(dataset, batch_size),
            dataset=dataset,
            store=folder,
            session=session,
            device="cpu",
            seed=0,
            resources=JobResources(),
            error_budget=0.0,
            observer=observer,
        )
        assert run_plan(run) == 0
    return {
        **observer.counts,
        "load_dataset_s": round(opened_s, 2),
        **observer.seconds,
        "driver_cpu_s": round(time.process_time() - cpu_s, 2),
        "memory_of_imports_mb": imported_mb,
        "memory_mb": memory_mb("VmHWM"),
    }


def run_ledger(store: str, memory_mb: Callable[[str], int]) -> dict[str, Any]:
    """Returns seconds of the steps that grow with a stage, without Ray: what is left to do is done right here."""
    imported_mb, seconds = memory_mb("VmRSS"), StepTimes()
    folder = open_store(store)
    with seconds.of("load_dataset"):
        dataset = load_dataset(folder.child(_DATASET))
    outputs = stage_folder(_plan(dataset, 1).stages[0], folder)
    with seconds.of("know_what_is_left"):
        todo = ItemTable.of(dataset.items).where(~outputs.outputs.done(dataset.items))
    with seconds.of("do_the_rest"):
        outputs.outputs.write_receipts([_receipt(item, outputs) for item in todo])
    with seconds.of("complete"):
        manifest = outputs.outputs.finalise(dataset.items, "masks")
    assert manifest.num_items == len(dataset.items)
    return {
        "num_items": len(dataset.items),
        "num_todo": len(todo),
        **seconds.seconds,
        "memory_of_imports_mb": imported_mb,
        "memory_mb": memory_mb("VmHWM"),
    }


class StepTimes:
    """Wall and CPU seconds of named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Times a block."""
        wall, cpu = time.monotonic(), time.process_time()
        yield
        self.seconds[f"{name}_s"] = round(time.monotonic() - wall, 2)
        self.seconds[f"{name}_cpu_s"] = round(time.process_time() - cpu, 2)


def prepare(store: str, num_items: int, share_done: float) -> None:
    """Writes a data set, and the ledger of a run that was killed when this share of it was done.

    By the product's own writers: masks, and receipts a few hundred at a time.
    """
    save_dataset(open_store(store).child(_DATASET), make_dataset(_CLASS_NAMES, list(no_op_items(num_items))))
    if share_done:
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=_do_part, args=(store, share_done, part)) for part in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0


def _do_part(store: str, share_done: float, part: int) -> None:
    folder = open_store(store)
    dataset = load_dataset(folder.child(_DATASET))
    outputs = stage_folder(_plan(dataset, 1).stages[0], folder)
    buffer = ReceiptBuffer(outputs.outputs)
    for item in dataset.items[part : int(share_done * len(dataset.items)) : 2]:
        buffer.add(_receipt(item, outputs))
    buffer.flush()


def _receipt(item: DatasetItem, outputs: StageFolder) -> dict[str, Any]:
    """Commits an item, and returns what the driver would have noted."""
    return {
        "item_id": item.item_id,
        "source_key": item.source_key,
        "ok": True,
        "attempt": 1,
        "node_id": "0" * 56,
        "actor_id": "0" * 32,
        "no_op_seconds": 0.001,
        "no_op_device": "cpu",
        **outputs.commit(item, LabelMap(_LABEL_HW)),
    }


def num_masks(store: str) -> int:
    """Returns how many masks lie in a store."""
    return sum(1 for _ in Path(store).glob("no_op-*/masks/**/*.png"))


def _plan(dataset: Dataset, batch_size: int) -> Plan:
    entry = StageEntry("no_op", NoOp, NoOpConfig(), {}, StageResources(batch_size=batch_size))
    return build_plan([entry], dataset.fingerprint, seed=0)
