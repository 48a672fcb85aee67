"""A driver with an item that eats memory until Ray's memory monitor kills its process; says as JSON what came of it."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cluster.fan_out import ActorResources, FanOutPolicy, Leg, Outcome, WorkItem, fan_out
from cluster.session import connect

PIECE_BYTES = 64 << 20


class Eat:
    """Eats until it is killed, where the item asks for it."""

    def run(self, items, upstream):
        eaten = []
        while any(item.payload == "eat" for item in items):
            eaten.append(b"x" * PIECE_BYTES)
            time.sleep(0.03)
        return [Outcome(item.id, True) for item in items]


def main() -> None:
    outcomes = []
    items = [WorkItem(str(number), "eat" if number == 5 else None) for number in range(16)]
    with connect(num_cpus=1, object_store_mib=80, dashboard=False):
        policy = FanOutPolicy(max_deaths_per_item=2)
        leg = Leg("eat", Eat, ActorResources(1), batch_size=4)
        summary = fan_out(items, [leg], on_outcome=outcomes.append, policy=policy)
    failed = {outcome.item_id: [outcome.reason, outcome.message] for outcome in outcomes if not outcome.ok}
    print(json.dumps({"num_done": summary.num_done, "failed": failed, "deaths": summary.num_actor_deaths}))


if __name__ == "__main__":
    main()
