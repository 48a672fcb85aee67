"""One measured driver of `benchmarks.fan_out`, in a process of its own: what it takes is its alone.

Its argument is a JSON object: which measurement, and its settings. The last line that it prints is the result.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.no_op_worker import NoOpFactory, NoOpWorker
from cluster.fan_out import ActorResources, FinalOutcome, Leg, WorkItem, fan_out
from cluster.session import connect


def memory_mb(field: str = "VmHWM") -> int:
    """Returns this process's resident memory in MB: the most that it had (VmHWM), or what it has (VmRSS)."""
    return round(int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024)  # type: ignore[index]


class Clock:
    """Wall and CPU time of this process from the first finished item to the last: starting actors does not count."""

    def __init__(self) -> None:
        self.num_done = 0
        self._first = self._last = (0.0, 0.0)

    def item_done(self, num_items: int = 1) -> None:
        """Counts items."""
        self._last = (time.monotonic(), time.process_time())
        if not self.num_done:
            self._first = self._last
            self._num_first = num_items
        self.num_done += num_items

    def result(self) -> dict[str, float]:
        """Returns items a second, and what one costs the driver."""
        wall_s, cpu_s = (last - first for first, last in zip(self._first, self._last, strict=True))
        counted = max(self.num_done - self._num_first, 1)
        return {
            "items_per_s": round(counted / wall_s, 1),
            "driver_cpu_us_an_item": round(1e6 * cpu_s / counted, 1),
            "num_items": self.num_done,
            "memory_mb": memory_mb(),
        }


def measure_fan_out(num_items: int, batch_size: int, item_ms: float = 0.0, num_workers: int = 2) -> dict[str, float]:
    """Returns the speed of `cluster.fan_out` alone: no store, no stage."""
    clock = Clock()

    def on_outcome(outcome: FinalOutcome) -> None:
        assert outcome.ok
        clock.item_done()

    # Sleeping takes no core: more workers than cores can be asked for.
    resources = ActorResources(num_cpus=min(1.0, 2 / num_workers))
    leg = Leg("no_op", NoOpFactory(item_ms / 1000), resources, max_actors=num_workers, batch_size=batch_size)
    with connect(None):
        before_mb = memory_mb("VmRSS")
        fan_out((WorkItem(f"{n:08d}", n) for n in range(num_items)), [leg], on_outcome=on_outcome, total=num_items)
    assert clock.num_done == num_items
    return clock.result() | {"memory_before_mb": before_mb}


def measure_actor_pool(num_items: int, batch_size: int) -> dict[str, float]:
    """Returns the speed of `ray.util.ActorPool` with two actors around the same worker: the named baseline."""
    import ray
    from ray.util import ActorPool

    clock = Clock()
    with connect(None):
        before_mb = memory_mb("VmRSS")
        actor_class = ray.remote(num_cpus=1)(NoOpWorker)
        actors = [actor_class.remote() for _ in range(2)]
        ray.get([actor.run.remote([], []) for actor in actors])
        batches = _batches((WorkItem(f"{n:08d}", n) for n in range(num_items)), batch_size)
        pool = ActorPool(actors)
        for outcomes in pool.map_unordered(lambda actor, batch: actor.run.remote(batch, []), batches):
            clock.item_done(len(outcomes))
    return clock.result() | {"memory_before_mb": before_mb}


def measure_loop(num_items: int) -> dict[str, float]:
    """Returns the speed of the same worker called in this process."""
    clock, worker = Clock(), NoOpWorker()
    for number in range(num_items):
        worker.run([WorkItem(f"{number:08d}", number)], [])
        clock.item_done()
    return clock.result()


def measure_stage(store: str, batch_size: int) -> dict[str, Any]:
    """Returns what a driver takes to bring the stage in a store to its end, from wherever it is."""
    from benchmarks.no_op_run import run_stage

    started = time.monotonic()
    return run_stage(store, batch_size, memory_mb) | {"all_s": round(time.monotonic() - started, 2)}


def measure_ledger(store: str) -> dict[str, Any]:
    """Returns what the same takes without Ray."""
    from benchmarks.no_op_run import run_ledger

    return run_ledger(store, memory_mb)


def _batches(items: Iterator[WorkItem], size: int) -> Iterator[Sequence[WorkItem]]:
    return iter(lambda: list(islice(items, size)), [])


MEASUREMENTS = {
    "fan_out": measure_fan_out,
    "actor_pool": measure_actor_pool,
    "loop": measure_loop,
    "stage": measure_stage,
    "ledger": measure_ledger,
}


def main() -> None:
    """Measures what the argument says."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(MEASUREMENTS[settings.pop("measure")](**settings)))


if __name__ == "__main__":
    main()
