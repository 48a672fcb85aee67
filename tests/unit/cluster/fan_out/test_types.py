import pickle

import pytest

from cluster.errors import ClusterError
from cluster.fan_out import ActorResources, FanOutPolicy, FinalOutcome, Leg, fan_out
from cluster.fan_out.run import check_legs


def test_a_request_names_what_is_positive():
    assert ActorResources(0, num_gpus=0.5, memory_bytes=2**30, custom={"spot": 1}).as_request() == {
        "GPU": 0.5,
        "memory": 2**30,
        "spot": 1,
    }


@pytest.mark.parametrize("quantities", [{"num_cpus": 0}, {"num_cpus": -1}, {"num_cpus": 1, "num_gpus": -0.5}])
def test_an_actor_occupies_something(quantities):
    with pytest.raises(ValueError, match=r"negative|occupy"):
        ActorResources(**quantities)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"max_in_flight_per_actor": 0},
        {"max_actors": 0},
        {"max_actors": 1, "min_actors": 2},
        {"min_actors": -1},
        {"deadline_s": 0.0},
    ],
)
def test_a_leg_out_of_range_is_refused_by_name(options):
    with pytest.raises(ValueError, match="leg 'refine'"):
        Leg("refine", object, ActorResources(1), **options)


@pytest.mark.parametrize(
    "options",
    [{"max_deaths_per_item": 0}, {"max_in_flight_items": 0}, {"lookahead_items": 0}, {"error_budget_fraction": 1.5}],
)
def test_a_policy_out_of_range_is_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FanOutPolicy(**options)


def test_legs_are_a_chain():
    leg = Leg("a", object, ActorResources(1))
    check_legs([leg])
    for wrong in ([], [leg, leg]):
        with pytest.raises(ClusterError, match="at least one leg"):
            check_legs(wrong)


def test_without_a_connected_ray_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ClusterError, match="no Ray is connected"):
        fan_out([], [Leg("a", object, ActorResources(1))], on_outcome=print)


def test_outcomes_survive_pickling():
    outcome = FinalOutcome("a", ok=False, receipts={"leg": {"n": 1}}, reason="nan")
    assert pickle.loads(pickle.dumps(outcome)) == outcome
