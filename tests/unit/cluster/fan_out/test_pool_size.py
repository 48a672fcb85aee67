import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.fan_out.pool_size import PoolDemand, fit_together, num_that_fit, plan_pools

ONE_CPU = {"CPU": 1.0}
QUARTER_GPU = {"GPU": 0.25}


def demand(request, num_items, *, batch_size=1, num_busy=0, min_actors=0, max_actors=None, may_get_work=True):
    return PoolDemand(request, num_items, batch_size, num_busy, min_actors, max_actors, may_get_work)


@pytest.mark.parametrize(
    ("demands", "capacity", "max_pending", "targets"),
    [
        # Enough of everything: work decides. A leg without work yet has one actor ready.
        ([demand(QUARTER_GPU, 20, batch_size=4), demand(ONE_CPU, 0)], {"CPU": 8, "GPU": 2}, 0, (5, 1)),
        # The cluster decides.
        ([demand(QUARTER_GPU, 99), demand(ONE_CPU, 99)], {"CPU": 3, "GPU": 1}, 0, (4, 3)),
        # The caller decides.
        ([demand(ONE_CPU, 99, max_actors=2)], {"CPU": 8}, 4, (2,)),
        # Two legs share: each one first, then by need.
        ([demand(ONE_CPU, 2), demand(ONE_CPU, 100)], {"CPU": 4}, 0, (1, 3)),
        ([demand(ONE_CPU, 50), demand(ONE_CPU, 50)], {"CPU": 4}, 0, (2, 2)),
        # No place for one of each: who has work gets its request in, the other waits.
        ([demand(ONE_CPU, 9), demand(ONE_CPU, 0)], {"CPU": 1}, 0, (1, 0)),
        ([demand(ONE_CPU, 9), demand(ONE_CPU, 3)], {"CPU": 1}, 0, (1, 1)),
        # No GPU yet: one request is made, which an autoscaler sees; more with leave to wait.
        ([demand(QUARTER_GPU, 99)], {"CPU": 2}, 0, (1,)),
        ([demand(QUARTER_GPU, 99)], {"CPU": 2}, 4, (5,)),
        ([demand(QUARTER_GPU, 2)], {"CPU": 2}, 4, (2,)),
        # The end: who is busy stays, the rest goes.
        ([demand(ONE_CPU, 0, may_get_work=False, min_actors=3)], {"CPU": 8}, 4, (0,)),
        ([demand(ONE_CPU, 3, batch_size=8, num_busy=3, may_get_work=False)], {"CPU": 8}, 4, (3,)),
        # Kept ready.
        ([demand(ONE_CPU, 0, min_actors=3)], {"CPU": 8}, 0, (3,)),
    ],
)
def test_targets(demands, capacity, max_pending, targets):
    assert plan_pools(demands, capacity, max_pending) == targets


def test_fit_together():
    assert fit_together([ONE_CPU, ONE_CPU], {"CPU": 2.0})
    assert not fit_together([ONE_CPU, ONE_CPU, ONE_CPU], {"CPU": 2.0})
    assert not fit_together([ONE_CPU, QUARTER_GPU], {"CPU": 2.0})
    assert fit_together([], {})


def test_num_that_fit_counts_node_by_node():
    nodes = [{"CPU": 3.0, "GPU": 1.0}, {"CPU": 3.0}]
    assert num_that_fit({"CPU": 2.0}, nodes) == 2  # not 3: an actor does not span nodes
    assert num_that_fit({"CPU": 1.0, "GPU": 0.1}, nodes) == 3
    assert num_that_fit({"GPU": 0.1}, nodes) == 10
    assert num_that_fit({"TPU": 1.0}, nodes) == 0


DEMAND = st.builds(
    demand,
    st.sampled_from([ONE_CPU, QUARTER_GPU, {"CPU": 2.0, "GPU": 0.5}]),
    st.integers(0, 50),
    batch_size=st.integers(1, 8),
    min_actors=st.integers(0, 2),
    max_actors=st.none() | st.integers(2, 9),
    may_get_work=st.booleans(),
)


@given(st.lists(DEMAND, min_size=1, max_size=4), st.integers(0, 12), st.integers(0, 3), st.integers(0, 4))
def test_rules_of_sizing(demands, num_cpus, num_gpus, max_pending):
    capacity = {"CPU": float(num_cpus), "GPU": float(num_gpus)}
    targets = plan_pools(demands, capacity, max_pending)
    without_pending = plan_pools(demands, capacity, 0)
    used = {"CPU": 0.0, "GPU": 0.0}
    for target, fitting, wanted in zip(targets, without_pending, demands, strict=True):
        assert (target > 0) or not wanted.num_items, "a leg with work always asks for an actor"
        assert target <= max(1, wanted.num_useful)
        assert fitting <= target <= fitting + max_pending
        for name, quantity in wanted.request.items():
            used[name] += quantity * max(0, fitting - 1)
    assert all(used[name] <= capacity[name] + 1e-6 for name in used), "beyond the first of each, only what fits"
