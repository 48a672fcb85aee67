"""The scheduler on a simulated cluster: what must hold whatever happens to actors, nodes and items."""

from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cluster.errors import ErrorBudgetExceededError, ResourceError, WorkerStartError
from cluster.fan_out import ActorResources, Leg, WorkItem

CPU = ActorResources(1)
GPU = ActorResources(0, num_gpus=0.25)


def leg(name, resources=CPU, **options) -> Leg:
    return Leg(name, object, resources, **{"deadline_s": 20.0, **options})


TWO_LEGS = [leg("predict", GPU, batch_size=4), leg("refine", batch_size=2)]
BOX = {"n0": {"CPU": 4, "GPU": 1}}


def test_every_item_goes_through_every_leg(sim):
    run = sim(50, TWO_LEGS, BOX)
    assert len(run.outcomes) == 50
    assert all(o.ok and o.receipts == {"predict": {"leg": 0}, "refine": {"leg": 1}} for o in run.outcomes.values())
    assert run.summary.num_done == 50
    assert run.summary.num_retried == 0
    assert run.cluster.num_submitted == 100


def test_the_last_word_carries_what_the_caller_gave(sim, behave):
    run = sim(0, TWO_LEGS, BOX, behave(fails={(0, "b")}), items=[WorkItem("a", {"n": 1}), WorkItem("b", "key")])
    assert {name: outcome.payload for name, outcome in run.outcomes.items()} == {"a": {"n": 1}, "b": "key"}


def test_nothing_to_do_starts_no_actor(sim):
    run = sim(0, TWO_LEGS, BOX)
    assert not run.outcomes
    assert not run.cluster.peak_actors


def test_failed_items_never_reach_the_next_leg(sim, behave):
    run = sim(20, TWO_LEGS, BOX, behave(fails={(0, "i3"), (1, "i5")}))
    assert run.failed == {"i3": "bad", "i5": "bad"}
    assert run.outcomes["i3"].receipts == {}
    assert run.outcomes["i3"].failed_leg == "predict"
    assert run.outcomes["i5"].receipts == {"predict": {"leg": 0}}
    assert run.cluster.num_submitted == 39


def test_an_item_that_kills_its_process_is_quarantined_after_n_lonely_deaths(sim, behave):
    run = sim(30, TWO_LEGS, BOX, behave(kills={(0, "i6"): 99}))
    assert run.failed == {"i6": "worker_died"}
    # One death in company makes it a suspect and does not count, three alone do.
    assert run.cluster.num_deaths[0, "i6"] == 4
    assert run.summary.num_actor_deaths == 4


def test_a_batch_of_one_is_blamed_at_once(sim, behave):
    run = sim(10, [leg("one")], BOX, behave(kills={(0, "i4"): 99}))
    assert run.failed == {"i4": "worker_died"}
    assert run.cluster.num_deaths[0, "i4"] == 3


def test_losses_repeats_and_failures_leave_a_line_each_with_run_leg_and_item(sim, behave, caplog):
    caplog.set_level("INFO", "cluster.fan_out")
    run = sim(30, TWO_LEGS, BOX, behave(kills={(0, "i6"): 99}, fails={(1, "i9")}))
    lines = [record.getMessage() for record in caplog.records]
    died = "actor lost run=simulated leg=predict cause=process_died node=n0 "
    lost = [line for line in lines if line.startswith(died)]
    assert len(lost) == run.summary.num_actor_deaths
    assert all("exit code 139" in line for line in lost)
    again = [line for line in lines if line.startswith("item sent again run=simulated leg=predict item=i")]
    assert len(again) == run.summary.num_retried
    failed = [line.partition(" attempts=")[0] for line in lines if line.startswith("item failed")]
    assert sorted(failed) == [
        "item failed run=simulated leg=predict item=i6 reason=worker_died",
        "item failed run=simulated leg=refine item=i9 reason=bad",
    ]


def test_an_item_that_kills_twice_is_done_in_the_end(sim, behave):
    run = sim(30, TWO_LEGS, BOX, behave(kills={(1, "i6"): 3}))
    assert run.failed == {}
    assert run.outcomes["i6"].attempts == 1 + 4


def test_a_hung_item_is_killed_at_its_deadline(sim, behave):
    run = sim(30, TWO_LEGS, BOX, behave(hangs={(0, "i6"): 99, (1, "i9"): 1}))
    assert run.failed == {"i6": "deadline_exceeded"}
    assert run.outcomes["i9"].ok


def test_time_in_an_actors_queue_does_not_count(sim, behave):
    # Each batch takes 18 of 20 s; the second waits 18 s in the queue first.
    slow = {(0, f"i{number}"): 18.0 for number in range(8)}
    run = sim(8, [leg("slow", max_actors=1, max_in_flight_per_actor=2)], BOX, behave(seconds=slow))
    assert run.failed == {}
    assert run.summary.num_actor_deaths == 0


def test_a_driver_that_was_held_up_kills_nobody_for_its_own_delay(sim):
    def store_slowly(cluster, outcome):
        cluster.time += 50.0  # longer than the deadline of what runs meanwhile

    run = sim(24, [leg("predict", GPU, deadline_s=20.0), leg("refine")], BOX, watch=store_slowly)
    assert run.failed == {}
    assert run.summary.num_actor_deaths == 0


def test_waiting_for_a_payload_of_a_dead_node_is_nobodys_fault(sim, behave):
    nodes = {"gpu": {"GPU": 1}, "gpu2": {"GPU": 1}, "cpu": {"CPU": 1}}
    slow = behave(lost_payloads_stall=True, seconds={(1, f"i{number}"): 5.0 for number in range(20)})

    def prepare(cluster):
        cluster.at(10.0, lambda: cluster.lose_node("gpu"))

    run = sim(20, [leg("predict", GPU), leg("refine")], nodes, slow, prepare=prepare, max_deadlines_per_item=1)
    assert run.failed == {}
    assert len(run.outcomes) == 20
    assert run.summary.num_retried > 0
    # What waited was sent back at once; only the batch that an actor already had waited in vain.
    assert run.cluster.num_created[1] <= 2


def test_a_batch_that_cannot_be_answered_is_tried_item_by_item(sim, behave):
    run = sim(12, TWO_LEGS, BOX, behave(breaks_answer={(0, "i2")}))
    assert run.failed == {"i2": "worker_raised"}
    assert run.summary.num_actor_deaths == 0


def test_losing_nodes_is_nobodys_fault_and_lost_payloads_are_made_again(sim):
    nodes = {f"n{number}": {"CPU": 2, "GPU": 1} for number in range(3)}

    def prepare(cluster):
        cluster.at(9.0, lambda: cluster.lose_node("n0"))
        cluster.at(14.0, lambda: cluster.lose_node("n1", preempted=True))

    run = sim(200, TWO_LEGS, nodes, prepare=prepare, max_deaths_per_item=1)
    assert run.failed == {}
    assert len(run.outcomes) == 200
    assert run.summary.num_retried > 0


def test_a_draining_node_gets_no_new_work_and_is_left(sim):
    def prepare(cluster):
        cluster.at(8.0, lambda: cluster.draining.add("n0"))
        cluster.at(30.0, lambda: cluster.lose_node("n0"))

    run = sim(200, TWO_LEGS, {"n0": {"CPU": 2, "GPU": 1}, "n1": {"CPU": 2, "GPU": 1}}, prepare=prepare)
    assert run.failed == {}
    # Left in time, so the loss of the node costs payloads at most, no actor.
    assert run.summary.num_actor_deaths == 0


def test_a_node_that_always_dies_with_an_item_is_not_an_endless_loop(sim, behave):
    def prepare(cluster):
        for number in range(60):
            cluster.at(5.0 * number, lambda: cluster.lose_node("n0", preempted=True))
            cluster.at(5.0 * number + 0.5, lambda: cluster.bring_node("n0", {"CPU": 1}))

    slow = [WorkItem("slow")]
    legs, seconds = [leg("one", deadline_s=1e4)], behave(seconds={(0, "slow"): 50.0})
    run = sim(1, legs, {"n0": {"CPU": 1}}, seconds, prepare=prepare, items=slow, max_attempts_per_item=5)
    assert run.failed == {"slow": "too_many_attempts"}
    assert run.outcomes["slow"].attempts == 5


def test_upstream_actors_are_released_while_downstream_drains(sim, behave):
    slow = {(1, f"i{number}"): 30.0 for number in range(16)}
    legs = [leg("predict", GPU, batch_size=4), leg("refine", deadline_s=100.0)]
    run = sim(16, legs, BOX, behave(seconds=slow))
    draining = [p for p in run.progress if p.legs[0].num_done == 16 and p.num_done < 16]
    assert len(draining) > 5
    assert all(p.legs[0].num_ready_actors == 0 for p in draining[2:])


def test_actors_stay_while_items_wait_for_room_in_flight(sim, behave):
    # Everything is read ahead and the second leg is slow, so the first one idles now and then.
    slow = {(1, f"i{number}"): 4.0 for number in range(40)}
    run = sim(40, [leg("predict", GPU, max_actors=1), leg("refine", max_actors=1)], BOX, behave(seconds=slow))
    assert len(run.outcomes) == 40
    assert run.cluster.num_created == {0: 1, 1: 1}


def test_legs_take_turns_where_the_cluster_cannot_hold_one_actor_of_each(sim):
    legs = [leg("a", batch_size=3), leg("b"), leg("c", batch_size=2)]
    run = sim(25, legs, {"n0": {"CPU": 1}}, max_seconds=3000)
    assert len(run.outcomes) == 25
    # A turn is worth the making of a worker.
    assert max(run.cluster.num_created.values()) <= 3
    assert run.failed == {}


def test_legs_take_turns_where_others_hold_a_part_of_the_cluster(sim):
    # By the node's size both legs fit; by what another job has left, one does.
    def prepare(cluster):
        cluster.used_by_others = {"CPU": 1}

    run = sim(12, [leg("a"), leg("b")], {"n0": {"CPU": 2}}, prepare=prepare, max_seconds=3000)
    assert len(run.outcomes) == 12
    assert run.failed == {}


def test_pools_grow_only_as_far_as_work_justifies(sim):
    wide = {"n0": {"CPU": 64, "GPU": 8}}
    run = sim(6, [leg("predict", GPU, batch_size=2), leg("refine", max_actors=2)], wide)
    assert run.cluster.peak_actors == {0: 3, 1: 2}


def test_pending_actors_never_block_those_that_are_there(sim):
    # Beyond what fits, four more are asked for and never come.
    run = sim(40, [leg("only")], {"n0": {"CPU": 1}}, max_pending_actors=4)
    assert len(run.outcomes) == 40
    assert run.cluster.peak_actors == {0: 5}


def test_a_leg_that_can_never_be_placed_ends_with_a_clear_error_and_says_that_it_waits(sim):
    seen = []
    with pytest.raises(ResourceError, match=r"'predict'.*0\.25 GPU.*no node has enough GPU.*first_worker_timeout_s"):
        sim(5, TWO_LEGS, {"n0": {"CPU": 4}}, first_worker_timeout_s=60, should_stop=seen.append)
    assert "predict waits for a worker with 0.25 GPU" in seen[-1].progress[-1].waiting_for


def test_a_gpu_node_that_comes_late_is_used(sim):
    def prepare(cluster):
        cluster.at(300.0, lambda: cluster.bring_node("gpu", {"CPU": 2, "GPU": 1}))

    run = sim(20, TWO_LEGS, {"head": {"CPU": 2}}, prepare=prepare)
    assert len(run.outcomes) == 20


def test_a_factory_that_raises_ends_the_run_at_once(sim, behave):
    with pytest.raises(WorkerStartError, match=r"'refine': its worker could not be made.*weights are torn"):
        sim(5, TWO_LEGS, BOX, behave(factory_error={1: "ValueError: weights are torn"}))


def test_workers_that_keep_dying_while_they_start_end_the_run(sim, behave):
    with pytest.raises(WorkerStartError, match="3 workers in a row"):
        sim(5, TWO_LEGS, BOX, behave(dies_loading={0: 99}))


def test_a_worker_that_dies_once_while_it_starts_is_replaced(sim, behave):
    run = sim(5, TWO_LEGS, BOX, behave(dies_loading={0: 1}))
    assert len(run.outcomes) == 5


def test_the_error_budget_stops_a_hopeless_job(sim, behave):
    fails = {(0, f"i{number}") for number in range(100)}
    with pytest.raises(ErrorBudgetExceededError, match=r"6 items failed, 5 are tolerated.*bad \(6\)"):
        sim(500, TWO_LEGS, BOX, behave(fails=fails), error_budget_fraction=0.01, error_budget_min_items=1)


def test_should_stop_ends_early_and_reports_what_was_done(sim):
    run = sim(500, TWO_LEGS, BOX, should_stop=lambda run: len(run.outcomes) >= 40)
    assert run.summary.stopped
    assert 40 <= run.summary.num_done == len(run.outcomes) < 80


def test_items_are_read_lazily_and_bounded_in_flight(sim):
    num_read = 0

    def endless():
        nonlocal num_read
        while True:
            num_read += 1
            yield WorkItem(f"i{num_read}")

    run = sim(0, TWO_LEGS, BOX, items=endless(), lookahead_items=16, should_stop=lambda run: len(run.outcomes) >= 100)
    assert num_read < 100 + 16 + 2 * max(p.num_in_flight for p in run.progress) + 10
    # 4 GPU actors of 2 x 4 items and 4 CPU actors of 2 x 2.
    assert max(p.num_in_flight for p in run.progress) <= 48


def test_max_in_flight_items_is_an_upper_bound(sim):
    run = sim(60, TWO_LEGS, BOX, max_in_flight_items=3)
    assert len(run.outcomes) == 60
    assert max(p.num_in_flight for p in run.progress) <= 3


ITEM = st.integers(0, 39).map(lambda number: f"i{number}")
LEG_AND_ITEM = st.tuples(st.integers(0, 1), ITEM)


CALM = {"poison": (), "hanging": (), "bad": (), "kills": (), "lost_nodes": (), "seconds": {}}
# Found by thousands of examples, and mended: a suspect whose payload is lost comes back as a suspect; nodes that are
# lost while actors are placed are no failed starts.
LOST_WITH_A_SUSPECT = {"poison": {(1, "i0")}, "lost_nodes": [(6.0, 0, False)]}
LOST_AT_THE_START = {"lost_nodes": [(0.0, 0, False), (0.0, 1, False)]}


@settings(max_examples=40, deadline=None)
@example(**{**CALM, **LOST_WITH_A_SUSPECT, "batch_sizes": (1, 2), "depth": 1})
@example(**{**CALM, **LOST_WITH_A_SUSPECT, "batch_sizes": (1, 1), "depth": 2})
@example(**{**CALM, **LOST_AT_THE_START, "batch_sizes": (1, 1), "depth": 1})
@given(
    poison=st.sets(LEG_AND_ITEM, max_size=3),
    hanging=st.sets(LEG_AND_ITEM, max_size=2),
    bad=st.sets(LEG_AND_ITEM, max_size=4),
    kills=st.lists(st.tuples(st.floats(3, 40), st.integers(0, 9)), max_size=2),
    lost_nodes=st.lists(st.tuples(st.floats(0, 40), st.integers(0, 2), st.booleans()), max_size=4),
    batch_sizes=st.tuples(st.integers(1, 5), st.integers(1, 3)),
    depth=st.integers(1, 3),
    seconds=st.dictionaries(LEG_AND_ITEM, st.floats(0.01, 19), max_size=15),
)
def test_nothing_is_lost_doubled_or_blamed_wrongly(
    sim, behave, poison, hanging, bad, kills, lost_nodes, batch_sizes, depth, seconds
):
    """Done and quarantined items are the plan, disjoint, and the quarantined ones are exactly those planted."""

    def prepare(cluster):
        for time, index in kills:
            cluster.at(time, partial(cluster.kill_some_actor, index))
        for time, node, preempted in lost_nodes:
            cluster.at(time, partial(cluster.replace_some_node, node, 5.0, preempted=preempted))

    legs = [
        leg("predict", GPU, batch_size=batch_sizes[0], max_in_flight_per_actor=depth),
        leg("refine", batch_size=batch_sizes[1], max_in_flight_per_actor=depth),
    ]
    behaviour = behave(
        seconds=seconds,
        fails=set(bad),
        kills=dict.fromkeys(poison, 999),
        hangs=dict.fromkeys(hanging, 999),
    )
    nodes = {f"n{number}": {"CPU": 2, "GPU": 0.5} for number in range(3)}
    run = sim(40, legs, nodes, behaviour, prepare=prepare, max_deaths_per_item=3, max_seconds=20_000)

    assert run.progress[-1].num_in_flight == 0
    assert all(at_end.num_running == at_end.num_waiting == 0 for at_end in run.progress[-1].legs)
    assert set(run.outcomes) == {f"i{number}" for number in range(40)}
    for item_id, outcome in run.outcomes.items():
        deadly = {leg for leg, planted in {*poison, *hanging} if planted == item_id}
        failing = {leg for leg, planted in bad if planted == item_id}
        first = min(deadly | failing, default=None)
        assert outcome.ok == (first is None)
        if first is not None:
            assert outcome.failed_leg == legs[first].name
            reasons = {"worker_died", "deadline_exceeded"} if first in deadly else {"bad"}
            assert outcome.reason in reasons
