"""Sums and means over all workers of a training; on one worker, the value itself.

DDP averages the gradients of the workers' losses. A mean over the pixels of the global batch is no average of the
workers' means, because each has another number of labelled pixels: such a loss divides by what all workers have
together (`share_of_global_mean`).
"""

from collections.abc import Mapping

import torch
from torch import distributed


def num_workers() -> int:
    """Returns how many workers train together."""
    return distributed.get_world_size() if _is_distributed() else 1


def worker_rank() -> int:
    """Returns this worker's number, from 0."""
    return distributed.get_rank() if _is_distributed() else 0


def sum_over_workers(values: torch.Tensor) -> torch.Tensor:
    """Returns the sum; no gradient runs through it."""
    total = values.detach().clone()
    if num_workers() > 1:
        distributed.all_reduce(total)
    return total


def mean_over_workers(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Returns the mean of each value; all workers have the same names, in the same order."""
    if num_workers() == 1:
        return dict(values)
    local = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    means = sum_over_workers(local) / num_workers()
    return dict(zip(values, means.tolist(), strict=True))


def share_of_global_mean(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns a scalar whose mean over workers, and so its gradient under DDP, is the global weighted mean of `losses`.

    0 where all weights of all workers are 0.

    Args:
        losses: Any shape.
        weights: Of the same shape, at least 0; 0 where a loss does not count.
    """
    total = sum_over_workers(weights.sum())
    return (losses * weights).sum() * num_workers() / total.clamp(min=torch.finfo(total.dtype).tiny)


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()
