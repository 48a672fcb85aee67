import pytest

from cluster.fan_out.error_budget import budget_message, tolerated_failures
from cluster.fan_out.policy import FanOutPolicy

POLICY = FanOutPolicy(error_budget_fraction=0.01, error_budget_min_items=10)


@pytest.mark.parametrize(
    ("num_final", "total", "tolerated"),
    [
        (0, None, 10),
        (999, None, 10),  # the floor rules small jobs
        (5000, None, 50),  # without a total, the share of what is final
        (0, 10_582, 105),
        (20_000, 10_582, 200),  # a total that proves too small
    ],
)
def test_tolerated_failures(num_final, total, tolerated):
    assert tolerated_failures(num_final, total, POLICY) == tolerated


def test_the_message_ranks_reasons_and_names_the_settings():
    message = budget_message(12, 10, {"cannot_decode": 2, "worker_died": 9, "nan": 1}, POLICY)
    assert "worker_died (9), cannot_decode (2), nan (1)" in message
    assert "error_budget_min_items 10" in message
    assert "error_budget_fraction 0.01" in message
