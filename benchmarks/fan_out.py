"""What the service itself costs an item: a stage that does nothing, at 10,582 images (VOC) and at a million.

    python -m benchmarks.fan_out --items 10582 1000000 --json benchmarks/results/fan_out.json

- `dispatch`: `cluster.fan_out` alone with two workers that do nothing, against `ray.util.ActorPool` with the same two,
  and against a loop in one process; items a second between the first and the last result.
- `stage`: the whole service. An `ItemStage` whose mask is one pixel, run by the executor on a folder: data set, ledger,
  commit of every item, receipts, completion.
- `resume`: the same after a kill when 99 % were done: until it is known what is left, and until the stage is complete.
- `ledger`: the steps of `resume` that grow with the number of items, without Ray, in wall and CPU seconds.
- `scaling`: items that sleep, 1 to N workers, against N times one item's rate.

Every measurement is a process of its own, so that its memory (the most that was resident) is its alone. The store is a
fresh folder below `--store`: on a disk, flushing each file sets the pace of `stage`; in memory, the service does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from wsss_jobs.cli.terminal import make_console

PARTS = ("dispatch", "stage", "resume", "ledger", "scaling")
BATCH_SIZES = (1, 64)
STAGE_BATCH_SIZE = 16
ITEM_MS = 20.0
ITEMS_A_WORKER = 200
MAX_ITEMS_ONE_BY_ONE = 100_000
SHARE_DONE = 0.99

Results = dict[str, Any]


def measured(**settings: Any) -> Results:
    """Returns what a driver process measures."""
    command = [sys.executable, "-m", "benchmarks.fan_out_driver", json.dumps(settings)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: Results = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def dispatch(num_items: int) -> Results:
    """Returns the speed of the fan-out and of its baselines, by batch size."""
    results: Results = {"loop": measured(measure="loop", num_items=num_items)}
    for batch_size in BATCH_SIZES:
        if batch_size == 1 and num_items > MAX_ITEMS_ONE_BY_ONE:
            continue
        for name in ("actor_pool", "fan_out"):
            results[f"{name}_{batch_size}"] = measured(measure=name, num_items=num_items, batch_size=batch_size)
        pool, ours = (results[f"{name}_{batch_size}"]["items_per_s"] for name in ("actor_pool", "fan_out"))
        results[f"ratio_{batch_size}"] = round(ours / pool, 2)
    return results


def in_fresh_folder(num_items: int, below: Path, share_done: float, **settings: Any) -> Results:
    """Returns what a driver takes on a store in which this share of the items is done."""
    from benchmarks.no_op_run import num_masks, prepare

    folder = Path(tempfile.mkdtemp(prefix="fan-out-", dir=below))
    try:
        prepare(str(folder), num_items, share_done)
        result = measured(store=str(folder), **settings)
        assert num_masks(str(folder)) == num_items
    finally:
        shutil.rmtree(folder)
    return result


def stage(num_items: int, below: Path, share_done: float) -> Results:
    """Returns what the executor takes for a stage of which this share is done."""
    result = in_fresh_folder(num_items, below, share_done, measure="stage", batch_size=STAGE_BATCH_SIZE)
    seconds = result["last_item_s"] - result["first_item_s"]
    return result | {"items_per_s": round(result["num_todo"] / max(seconds, 1.0), 1)}


def scaling(workers: list[int]) -> Results:
    """Returns items a second by number of workers, and the share of the ideal."""
    results: Results = {"item_ms": ITEM_MS}
    for count in workers:
        num_items = ITEMS_A_WORKER * count
        result = measured(measure="fan_out", num_items=num_items, batch_size=1, item_ms=ITEM_MS, num_workers=count)
        ideal = count * 1000 / ITEM_MS
        results[str(count)] = {**result, "ideal": ideal, "share_of_ideal": round(result["items_per_s"] / ideal, 3)}
    return results


def tables(results: Results) -> list[Table]:
    """Returns what was measured, for people."""
    speed = Table("items", "what", "items/s", "driver CPU µs an item", "memory MB", title="dispatch")
    for num_items, rows in results.get("dispatch", {}).items():
        for name, row in rows.items():
            if isinstance(row, dict):
                figures = [row["items_per_s"], row["driver_cpu_us_an_item"], row["memory_mb"]]
                speed.add_row(num_items, name, *(f"{figure:,.0f}" for figure in figures))
    whole = Table("items", "to do", "load", "left known", "last item", "complete", "items/s", "MB", "of it imports")
    whole.title = "stage and resume, seconds"
    names = ("load_dataset_s", "know_what_is_left_s", "last_item_s", "complete_s", "items_per_s")
    for num_items, row in [*results.get("stage", {}).items(), *results.get("resume", {}).items()]:
        figures = [f"{row[name]:,.1f}" for name in names]
        whole.add_row(
            num_items, str(row["num_todo"]), *figures, str(row["memory_mb"]), str(row["memory_of_imports_mb"])
        )
    ledger = Table("items", "to do", "load", "left known", "complete", "MB", "of it imports")
    ledger.title = "ledger, wall seconds (CPU seconds)"
    for num_items, row in results.get("ledger", {}).items():
        steps = ("load_dataset", "know_what_is_left", "complete")
        figures = [f"{row[f'{name}_s']:,.1f} ({row[f'{name}_cpu_s']:,.1f})" for name in steps]
        ledger.add_row(
            num_items, str(row["num_todo"]), *figures, str(row["memory_mb"]), str(row["memory_of_imports_mb"])
        )
    ideal = Table("workers", "items/s", "ideal", "share", title=f"scaling, items of {ITEM_MS:g} ms")
    for count, row in results.get("scaling", {}).items():
        if isinstance(row, dict):
            ideal.add_row(count, *(f"{row[name]:,.2f}" for name in ("items_per_s", "ideal", "share_of_ideal")))
    return [table for table in (speed, whole, ledger, ideal) if table.row_count]


def main() -> None:
    """Measures, prints and writes; parts that are not asked for keep what the file says of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_582, 1_000_000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    known = arguments.json is not None and arguments.json.is_file()
    results: Results = json.loads(arguments.json.read_text()) if known else {}
    for num_items in arguments.items:
        if "dispatch" in arguments.parts:
            results.setdefault("dispatch", {})[str(num_items)] = dispatch(num_items)
        for part, share_done in (("stage", 0.0), ("resume", SHARE_DONE)):
            if part in arguments.parts:
                results.setdefault(part, {})[str(num_items)] = stage(num_items, arguments.store, share_done)
        if "ledger" in arguments.parts:
            steps = in_fresh_folder(num_items, arguments.store, SHARE_DONE, measure="ledger")
            results.setdefault("ledger", {})[str(num_items)] = steps
    if "scaling" in arguments.parts:
        results["scaling"] = scaling(arguments.workers)
    console = make_console()
    for table in tables(results):
        console.print(table)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
