"""A driver with a small fan-out that goes on until its standard input closes; says where its metrics are."""

import json
import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ray

from cluster.fan_out import ActorResources, FanOutPolicy, Leg, Outcome, WorkItem, fan_out
from cluster.session import connect
from cluster.store_metrics import StoreMetrics
from cluster.usage_metrics import UsageMetrics
from cluster.worker_metrics import WorkerMetrics


class Step:
    """Most items are done, one in 25 fails, and one in 50 takes its process along the first times."""

    def run(self, items, upstream):
        time.sleep(0.02 * len(items))
        if any(item.payload % 50 == 20 for item in items):
            os._exit(1)
        return [Outcome(item.id, item.payload % 25 != 3, {}, reason="bad", message="one in 25") for item in items]


def main() -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    store, usage, worker = StoreMetrics("watched"), UsageMetrics("watched"), WorkerMetrics("watched", "first")

    def on_outcome(outcome):
        store.operation_finished("put", 0.01)
        usage.held(0.02, 0.0)
        worker.batch_done(4, "cpu")
        if not outcome.ok:
            store.try_failed("put", "SlowDown")

    legs = [Leg(name, Step, ActorResources(0.5), max_actors=2) for name in ("first", "second")]
    with connect(num_cpus=2, object_store_mib=80) as session:
        node = ray.nodes()[0]
        metrics = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        print(json.dumps({"dashboard": session.dashboard_url, "metrics": metrics}), flush=True)
        fan_out(
            [WorkItem(str(number), number) for number in range(100_000)],
            legs,
            on_outcome=on_outcome,
            policy=FanOutPolicy(error_budget_fraction=1.0, max_deaths_per_item=2),
            should_stop=stop.is_set,
            run_id="watched",
        )


if __name__ == "__main__":
    main()
