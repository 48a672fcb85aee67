"""Which items when, and at what learning rate: pure functions of seed, epoch and step."""

import numpy as np


def num_steps_per_epoch(num_items: int, global_batch_size: int) -> int:
    """Returns full batches an epoch; the rest is dropped, as released. A set smaller than a batch is one batch."""
    return max(num_items // global_batch_size, 1)


def epoch_order(num_items: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the item order of one epoch, the same on every worker."""
    return np.random.default_rng([seed, epoch]).permutation(num_items)


def worker_batches(
    num_items: int, global_batch_size: int, seed: int, epoch: int, rank: int, num_workers: int
) -> list[list[int]]:
    """Returns one worker's share of every global batch; all shares together are the batches of a single worker.

    Raises:
        ValueError: The global batch cannot be shared out evenly.
    """
    size = min(global_batch_size, num_items)
    if size % num_workers:
        msg = f"a global batch of {size} cannot be shared by {num_workers} workers: change one of them"
        raise ValueError(msg)
    order = epoch_order(num_items, seed, epoch)
    starts = range(0, num_steps_per_epoch(num_items, global_batch_size) * size, size)
    return [order[start + rank : start + size : num_workers].tolist() for start in starts]


def poly_factor(step: int, num_steps: int, power: float) -> float:
    """Returns the learning-rate factor of step 0, 1, ...: (1 - step / num_steps) ** power; step 0 has the full rate."""
    return float((1.0 - min(step, num_steps) / num_steps) ** power)


def item_generator(seed: int, item_id: str, epoch: int, purpose: str) -> np.random.Generator:
    """Returns a generator that depends on nothing but its arguments."""
    words = np.frombuffer(f"{item_id}/{purpose}".encode(), dtype=np.uint8)
    return np.random.default_rng([seed, epoch, *words.tolist()])
