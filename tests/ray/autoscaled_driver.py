"""A driver on a cluster whose nodes come from zero: says as JSON what its session finds, where its items ran, and when
the nodes had gone again. Arguments: GPUs an actor, seconds to wait for the first worker.
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ray

from cluster.errors import ResourceError
from cluster.fan_out import ActorResources, FanOutPolicy, Leg, Outcome, WorkItem, fan_out
from cluster.resources import choose_device
from cluster.session import connect


class Look:
    """Says what an actor sees of GPUs."""

    def run(self, items, upstream):
        time.sleep(0.05)
        return [Outcome(item.id, True, {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}) for item in items]


def main(num_gpus: float, timeout_s: float) -> None:
    found, outcomes, waited = {}, [], set()
    with connect(os.environ["RAY_ADDRESS"]) as session:
        found["nodes_before"] = session.resources().num_nodes
        try:
            found["auto"] = choose_device("auto", session.resources()).device
        except ResourceError as error:
            found["auto"] = str(error)
        try:
            fan_out(
                [WorkItem(str(number)) for number in range(40)],
                [Leg("gpu", Look, ActorResources(0, num_gpus=num_gpus)), Leg("cpu", Look, ActorResources(1))],
                on_outcome=outcomes.append,
                on_progress=lambda snapshot: waited.add(snapshot.waiting_for),
                policy=FanOutPolicy(first_worker_timeout_s=timeout_s, max_pending_actors=1, progress_interval_s=0.2),
            )
        except ResourceError as error:
            found["error"] = str(error)
        found["num_done"] = sum(outcome.ok for outcome in outcomes)
        found["gpus_seen"] = sorted({outcome.receipts["gpu"]["gpus"] for outcome in outcomes})
        found["waited_for"] = sorted(waited - {""})
        while sum(node["Alive"] for node in ray.nodes()) > found["nodes_before"]:  # bounded by the test's timeout
            time.sleep(0.2)
        found["nodes_that_came"] = len(ray.nodes()) - found["nodes_before"]
    print(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
