import pytest

from cluster.fan_out.policy import FanOutPolicy
from cluster.fan_out.retry import Fate, ItemHistory, fate_of

POLICY = FanOutPolicy(max_deaths_per_item=3, max_deadlines_per_item=2, max_attempts_per_item=10)


@pytest.mark.parametrize(
    ("history", "attempts", "fate"),
    [
        (ItemHistory(), 1, Fate.RETRY),
        (ItemHistory(), 9, Fate.RETRY),
        (ItemHistory(), 10, Fate.TOO_MANY_ATTEMPTS),
        (ItemHistory(is_suspect=True), 2, Fate.RETRY_ALONE),
        (ItemHistory(deaths=2, is_suspect=True), 3, Fate.RETRY_ALONE),
        (ItemHistory(deaths=3, is_suspect=True), 4, Fate.WORKER_DIED),
        (ItemHistory(deadlines=1, is_suspect=True), 3, Fate.RETRY_ALONE),
        (ItemHistory(deadlines=2, is_suspect=True), 3, Fate.DEADLINE_EXCEEDED),
        (ItemHistory(deaths=3, deadlines=2, is_suspect=True), 10, Fate.WORKER_DIED),
    ],
)
def test_fate(history, attempts, fate):
    assert fate_of(history, attempts, POLICY) is fate
    assert fate.is_quarantine == (fate not in (Fate.RETRY, Fate.RETRY_ALONE))
