"""Nodes that get notice, and nodes that freeze: real processes, as `ray start` makes them."""

import itertools
import os
import sys
import time

import pytest
import ray
from ray import cloudpickle
from ray_head import RayNode

from cluster.fan_out import ActorResources, FanOutPolicy, Leg, Outcome, WorkItem, fan_out

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

# The worker below lives in this file, which the actors' processes cannot import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DRAIN_S = 60
BRIEF = ActorResources(0, custom={"brief": 0.5})  # two actors a node


class Step:
    """Takes a moment an item."""

    def run(self, items, upstream):
        time.sleep(0.05 * len(items))
        return [Outcome(item.id, True, {"number": item.payload}) for item in items]


@pytest.fixture
def add_node(ray_cluster, tmp_path):
    """A function that adds a node for two actors: (node, its id)."""
    nodes = []

    def add():
        before = alive()
        node = RayNode(ray_cluster.address, os.environ, tmp_path, 0, resources={"brief": 1}, drain_s=DRAIN_S)
        nodes.append(node)
        while not alive() - before:  # bounded by the test's timeout
            time.sleep(0.1)
        [node_id] = alive() - before
        return node, node_id

    yield add
    for node in nodes:
        node.kill()


def alive():
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def test_a_node_that_gets_notice_finishes_what_it_has_and_nothing_is_done_twice(add_node):
    """Spot nodes and Kubernetes give notice: the node drains, gets no more work, and goes when its actors are free."""
    (going, going_id), (_, staying_id) = add_node(), add_node()
    outcomes = []

    def watch(outcome):
        outcomes.append(outcome)
        if outcome.node_id == going_id and going.process.poll() is None and len(outcomes) % 10 == 9:
            going.give_notice()

    items = (WorkItem(str(number), number) for number in itertools.count())
    summary = fan_out(
        items,
        [Leg("step", Step, BRIEF)],
        on_outcome=watch,
        should_stop=lambda: going_id not in alive() and outcomes[-1].node_id == staying_id,
    )
    assert {outcome.node_id for outcome in outcomes} == {going_id, staying_id}
    assert all(outcome.ok and outcome.attempts == 1 for outcome in outcomes)
    assert summary.num_retried == summary.num_actor_deaths == 0
    assert going.process.wait(timeout=30) is not None


def test_what_a_frozen_node_holds_is_done_elsewhere(add_node):
    """A node that answers nothing and is not dead: at the deadline its items go elsewhere, each at most once."""
    (frozen, frozen_id), _ = add_node(), add_node()
    outcomes = {}

    def watch(outcome):
        assert outcome.item_id not in outcomes, "a second last word"
        outcomes[outcome.item_id] = outcome
        if len(outcomes) == 10:
            frozen.freeze()

    items = [WorkItem(str(number), number) for number in range(60)]
    leg = Leg("step", Step, BRIEF, deadline_s=2.0)
    summary = fan_out(items, [leg], on_outcome=watch, policy=FanOutPolicy(max_pending_actors=0))
    assert set(outcomes) == {item.id for item in items}
    assert all(outcome.ok for outcome in outcomes.values())
    num_in_flight = 2 * leg.max_in_flight_per_actor
    assert 0 < summary.num_retried <= num_in_flight
    assert sum(outcome.node_id == frozen_id for outcome in outcomes.values()) < 30
