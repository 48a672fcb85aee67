"""Means over workers: what each worker minimises, averaged, is the mean over all pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.training import over_workers
from wsss_jobs.training.over_workers import mean_over_workers, share_of_global_mean


def shares(losses, weights, num_workers):
    """What each of several workers computes; the sum over workers is that of all their parts."""
    parts = list(zip(losses.chunk(num_workers), weights.chunk(num_workers), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(over_workers, "num_workers", lambda: num_workers)
        patch.setattr(over_workers, "sum_over_workers", lambda value: weights.sum())
        return [share_of_global_mean(own, weight) for own, weight in parts]


@settings(deadline=None)
@given(seed=st.integers(0, 999), num_workers=st.sampled_from([1, 2, 4]))
def test_the_mean_of_the_shares_is_the_weighted_mean_of_all(seed, num_workers):
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(8, 3, 3, generator=generator, requires_grad=True)
    weights = torch.rand(8, 3, 3, generator=generator) * (torch.rand(8, 1, 1, generator=generator) < 0.5)
    mean = torch.stack(shares(losses, weights, num_workers)).mean()
    mean.backward()
    total = float(weights.sum())
    expected = float((losses.detach() * weights).sum()) / total if total else 0.0
    assert float(mean.detach()) == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(losses.grad, weights / total if total else torch.zeros_like(weights), atol=1e-6)


def test_one_worker_keeps_its_values():
    assert mean_over_workers({"loss": 0.25}, torch.device("cpu")) == {"loss": 0.25}
    assert float(share_of_global_mean(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 0.5]))) == pytest.approx(2.0)
