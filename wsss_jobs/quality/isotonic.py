"""Monotone regression by pooling adjacent violators (Ayer et al., Annals of Mathematical Statistics, 1955)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MonotoneFit:
    """A function that never falls: straight between its knots, constant outside.

    Attributes:
        knots: Ascending.
        values: Of the knots, never falling.
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, scores: np.ndarray | Sequence[float]) -> np.ndarray:
        """Returns the function's values, of the same shape."""
        return np.interp(np.asarray(scores, dtype=np.float64), self.knots, self.values)


def monotone_fit(scores: np.ndarray | Sequence[float], targets: np.ndarray | Sequence[float]) -> MonotoneFit:
    """Returns the function of the scores that never falls and is nearest to the targets, in least squares.

    Args:
        scores: `[N]`, N >= 1; equal ones get one value.
        targets: `[N]`.
    """
    knots, index, counts = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=np.asarray(targets, dtype=np.float64)) / counts
    blocks: list[tuple[float, int, int]] = []  # mean, images, knots
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        block = (mean, count, 1)
        while blocks and blocks[-1][0] >= block[0]:
            block = _pooled(blocks.pop(), block)
        blocks.append(block)
    values = np.repeat([mean for mean, _, _ in blocks], [num_knots for _, _, num_knots in blocks])
    return MonotoneFit(tuple(knots.tolist()), tuple(values.tolist()))


def _pooled(left: tuple[float, int, int], right: tuple[float, int, int]) -> tuple[float, int, int]:
    count = left[1] + right[1]
    return (left[0] * left[1] + right[0] * right[1]) / count, count, left[2] + right[2]
