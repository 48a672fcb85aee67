"""Item order and learning rates: the numbers of the papers, and independence of the number of workers."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.training.schedule import (
    epoch_order,
    item_generator,
    num_steps_per_epoch,
    poly_factor,
    worker_batches,
)


@pytest.mark.parametrize(
    ("num_items", "batch", "epochs", "steps"),
    [(10582, 16, 5, 3305), (10582, 32, 3, 990), (10582, 16, 15, 9915), (10582, 8, 8, 10576), (5, 16, 2, 2)],
)
def test_steps_are_those_of_the_released_schedules(num_items, batch, epochs, steps):
    assert num_steps_per_epoch(num_items, batch) * epochs == steps


@given(
    num_items=st.integers(1, 200),
    batch=st.sampled_from([4, 8, 12]),
    num_workers=st.sampled_from([1, 2, 4]),
    epoch=st.integers(0, 3),
)
def test_shares_of_all_workers_are_the_batches_of_one(num_items, batch, num_workers, epoch):
    if min(batch, num_items) % num_workers:
        with pytest.raises(ValueError, match="cannot be shared"):
            worker_batches(num_items, batch, 7, epoch, 0, num_workers)
        return
    whole = worker_batches(num_items, batch, 7, epoch, 0, 1)
    shares = [worker_batches(num_items, batch, 7, epoch, rank, num_workers) for rank in range(num_workers)]
    for step, one in enumerate(whole):
        together = [share[step] for share in shares]
        assert sorted(chain(*together)) == sorted(one)
        assert len({len(part) for part in together}) == 1


def test_every_item_is_seen_at_most_once_an_epoch_and_orders_differ():
    seen = list(chain(*worker_batches(50, 8, 0, 0, 0, 1)))
    assert len(seen) == len(set(seen)) == 48
    assert epoch_order(50, 0, 0).tolist() != epoch_order(50, 0, 1).tolist()
    assert epoch_order(50, 0, 1).tolist() == epoch_order(50, 0, 1).tolist()


def test_poly_schedule():
    assert poly_factor(0, 100, 0.9) == 1.0
    assert poly_factor(50, 100, 0.9) == pytest.approx(0.5**0.9)
    assert poly_factor(99, 100, 0.9) == pytest.approx(0.01**0.9)
    assert poly_factor(100, 100, 0.9) == 0.0


def test_draws_depend_on_all_of_seed_item_epoch_and_purpose():
    base = (0, "abc", 1, "crop")
    others = [(1, "abc", 1, "crop"), (0, "abd", 1, "crop"), (0, "abc", 2, "crop"), (0, "abc", 1, "flip")]
    draw = item_generator(*base).random(4)
    assert np.array_equal(draw, item_generator(*base).random(4))
    assert all(not np.array_equal(draw, item_generator(*other).random(4)) for other in others)
