"""The fan-out on real actor processes, with real deaths."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle

from cluster.errors import ErrorBudgetExceededError, ResourceError, WorkerBrokenError, WorkerStartError
from cluster.fan_out import ActorResources, FanOutPolicy, Leg, Outcome, WorkItem, fan_out

STORE_BYTES = 100 * 1024**2
pytestmark = [pytest.mark.ray, pytest.mark.timeout(120), pytest.mark.usefixtures("ray_cluster")]

# The workers below live in this file, which the actors' processes cannot import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

CPU = ActorResources(0.5)
POLICY = FanOutPolicy(max_pending_actors=0, first_worker_timeout_s=60.0, progress_interval_s=0.2)


class Predict:
    """First leg: turns an item's number into an array of 200 kB, which goes through the object store."""

    def run(self, items, upstream):
        assert len(upstream) == 0
        return [self.one(item) for item in items]

    def one(self, item):
        match item.payload.get("first"):
            case "raise":
                raise ValueError("bad image")
            case "exit":
                os._exit(139)
            case "hang":
                time.sleep(1000)
            case "broken":
                raise WorkerBrokenError("device-side assert")
            case "unpicklable":
                return Outcome(item.id, True, {}, payload=threading.Lock())
        time.sleep(item.payload.get("seconds", 0.0))
        array = np.full(50_000, item.payload["number"], np.float32)
        return Outcome(item.id, True, {"pid": os.getpid()}, payload=array)


class Refine:
    """Second leg: adds up the array."""

    def run(self, items, upstream):
        outcomes = []
        for item, array in zip(items, upstream, strict=True):
            if item.payload.get("second") == "exit":
                os._exit(1)
            if item.payload.get("second") == "refuse":
                outcomes.append(Outcome(item.id, False, {}, reason="nan_in_input", message="found NaN"))
                continue
            time.sleep(item.payload.get("seconds", 0.0))
            outcomes.append(Outcome(item.id, True, {"sum": float(array.sum()), "pid": os.getpid()}))
        return outcomes


def work(num_items, faults=None, **payload) -> list[WorkItem]:
    faults = faults or {}
    return [
        WorkItem(f"i{number}", {"number": number, **payload, **faults.get(number, {})}) for number in range(num_items)
    ]


def two_legs(**options) -> list[Leg]:
    first = {"max_actors": 2, "batch_size": 4, "deadline_s": 30.0, **options}
    return [
        Leg("predict", Predict, CPU, **first),
        Leg("refine", Refine, CPU, max_actors=2, batch_size=2, deadline_s=30.0),
    ]


def run(items, legs, *, watch: Callable = lambda outcome: None, policy=POLICY, **options):
    outcomes = {}

    def receive(outcome):
        assert outcome.item_id not in outcomes, "a second last word"
        outcomes[outcome.item_id] = outcome
        watch(outcome)

    summary = fan_out(items, legs, on_outcome=receive, policy=policy, **options)
    return outcomes, summary


def assert_rest_is_right(outcomes, num_items, failed):
    assert set(outcomes) == {f"i{number}" for number in range(num_items)}
    assert {item_id for item_id, outcome in outcomes.items() if not outcome.ok} == failed
    for number in range(num_items):
        outcome = outcomes[f"i{number}"]
        if outcome.ok:
            assert outcome.receipts["refine"]["sum"] == 50_000.0 * number


def test_items_go_through_two_legs_and_payloads_arrive():
    progress = []
    outcomes, summary = run(work(40), two_legs(), on_progress=progress.append, run_id="test")
    assert_rest_is_right(outcomes, 40, set())
    assert summary.num_done == 40
    assert summary.num_retried == 0
    assert progress[-1].num_done == 40
    assert progress[-1].total == 40
    first_pids = {outcome.receipts["predict"]["pid"] for outcome in outcomes.values()}
    second_pids = {outcome.receipts["refine"]["pid"] for outcome in outcomes.values()}
    assert not first_pids & second_pids
    assert os.getpid() not in first_pids | second_pids


def test_bad_items_fail_and_spare_their_neighbours():
    faults = {
        3: {"first": "raise"},
        9: {"first": "exit"},
        17: {"first": "broken"},
        20: {"second": "refuse"},
        26: {"second": "exit"},
    }
    policy = FanOutPolicy(max_deaths_per_item=2, max_pending_actors=0)
    outcomes, _ = run(work(32, faults), two_legs(), policy=policy)
    assert_rest_is_right(outcomes, 32, {"i3", "i9", "i17", "i20", "i26"})
    assert outcomes["i3"].reason == "worker_raised"
    assert "ValueError: bad image" in outcomes["i3"].message
    assert outcomes["i9"].reason == outcomes["i26"].reason == "worker_died"
    assert outcomes["i26"].failed_leg == "refine"
    assert "device-side assert" in outcomes["i17"].message
    assert (outcomes["i20"].reason, outcomes["i20"].message) == ("nan_in_input", "found NaN")
    assert outcomes["i20"].receipts.keys() == {"predict"}


def test_a_hung_item_is_killed_at_its_deadline():
    policy = FanOutPolicy(max_deadlines_per_item=1, max_pending_actors=0)
    outcomes, _ = run(work(12, {5: {"first": "hang"}}), two_legs(deadline_s=1.0, batch_size=2), policy=policy)
    assert_rest_is_right(outcomes, 12, {"i5"})
    assert outcomes["i5"].reason == "deadline_exceeded"


@pytest.mark.parametrize("leg", ["predict", "refine"])
def test_an_actor_killed_in_mid_job_costs_nothing(leg):
    killed = []

    def watch(outcome):
        if not killed:
            killed.append(outcome.receipts[leg]["pid"])
            os.kill(killed[0], signal.SIGKILL)

    outcomes, summary = run(work(60, seconds=0.02), two_legs(), watch=watch)
    assert_rest_is_right(outcomes, 60, set())
    assert summary.num_actor_deaths == 1


def test_what_cannot_be_sent_to_the_next_leg_fails_alone():
    outcomes, _ = run(work(8, {2: {"first": "unpicklable"}}), two_legs())
    assert_rest_is_right(outcomes, 8, {"i2"})
    assert outcomes["i2"].reason == "worker_raised"
    assert "lock" in outcomes["i2"].message


def test_a_factory_that_raises_ends_the_run_with_its_own_words():
    def factory():
        raise OSError("weights.pt is torn at byte 17")

    with pytest.raises(WorkerStartError, match=r"'predict'.*OSError: weights.pt is torn at byte 17"):
        run(work(4), [Leg("predict", factory, CPU)])


def test_a_factory_that_kills_its_process_is_not_an_endless_loop():
    with pytest.raises(WorkerStartError, match=r"'predict': 2 workers in a row failed to start"):
        run(work(4), [Leg("predict", lambda: os._exit(1), CPU)], policy=FanOutPolicy(max_start_failures=2))


def test_resources_that_no_node_has_are_named():
    progress = []
    policy = FanOutPolicy(first_worker_timeout_s=1.5, progress_interval_s=0.2)
    with pytest.raises(ResourceError, match=r"8 GPU.*no node has enough GPU \(asked 8, the largest node has 1\)"):
        run(work(4), [Leg("a", Predict, ActorResources(0, num_gpus=8))], policy=policy, on_progress=progress.append)
    assert "a waits for a worker with 8 GPU" in progress[-1].waiting_for


def test_actors_share_a_gpu_and_see_their_threads_and_devices():
    class Look:
        def run(self, items, upstream):
            time.sleep(0.2)
            names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MINE")
            return [Outcome(item.id, True, {name: os.environ.get(name) for name in names}) for item in items]

    shared = Leg("gpu", Look, ActorResources(0, num_gpus=0.5), env_vars={"MINE": "yes"})
    outcomes, _ = run(work(8), [shared, Leg("cpu", Look, ActorResources(2), max_actors=1)])
    receipts = [outcome.receipts for outcome in outcomes.values()]
    assert {r["gpu"]["CUDA_VISIBLE_DEVICES"] for r in receipts} == {"0"}
    assert {r["gpu"]["MINE"] for r in receipts} == {"yes"}
    assert {(r["cpu"]["CUDA_VISIBLE_DEVICES"], r["cpu"]["OMP_NUM_THREADS"]) for r in receipts} == {("", "2")}
    assert {r["gpu"]["OMP_NUM_THREADS"] for r in receipts} == {"1"}


def test_too_many_failures_stop_the_job():
    faults = {number: {"first": "raise"} for number in range(100)}
    with pytest.raises(ErrorBudgetExceededError, match=r"4 items failed, 3 are tolerated.*worker_raised \(4\)"):
        run(work(100, faults), two_legs(), policy=FanOutPolicy(error_budget_min_items=3))


def test_a_node_that_dies_takes_nothing_with_it(ray_cluster):
    """Its actors are replaced, and payloads that it held are made again, without blame."""
    spots = [ray_cluster.add_node(num_cpus=1, resources={"spot": 1}, object_store_memory=STORE_BYTES) for _ in range(2)]
    legs = [
        Leg("predict", Predict, ActorResources(0, custom={"spot": 0.5}), batch_size=4),
        Leg("refine", Refine, ActorResources(0, custom={"steady": 1}), max_actors=1),
    ]
    done = []

    def watch(outcome):
        done.append(outcome.node_id)
        if len(done) == 10:
            ray_cluster.remove_node(spots[0], allow_graceful=False)

    outcomes, summary = run(work(60, seconds=0.05), legs, watch=watch, policy=FanOutPolicy(max_deaths_per_item=1))
    ray_cluster.remove_node(spots[1], allow_graceful=False)
    assert_rest_is_right(outcomes, 60, set())
    assert summary.num_retried > 0
    assert summary.num_actor_deaths >= 1


def test_an_exception_of_the_callback_ends_the_actors():
    pids = []

    def watch(outcome):
        pids.extend([outcome.receipts["predict"]["pid"], outcome.receipts["refine"]["pid"]])
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        run(work(100), two_legs(), watch=watch)
    assert_gone(pids)


def test_should_stop_ends_the_actors():
    pids = []

    def watch(outcome):
        pids.append(outcome.receipts["predict"]["pid"])

    outcomes, summary = run(work(1000, seconds=0.01), two_legs(), watch=watch, should_stop=lambda: len(pids) >= 10)
    assert summary.stopped
    assert 10 <= len(outcomes) < 1000
    assert_gone(pids)


def assert_gone(pids):
    """Wait until none of the processes is left."""
    while any(Path(f"/proc/{pid}").exists() for pid in set(pids)):  # bounded by the test's timeout
        time.sleep(0.05)
