"""The threshold that parts a distribution in two best (Otsu, IEEE Transactions on SMC, 1979, equation 18)."""

import numpy as np

NUM_BINS = 1000
SEPARATION = "separation"
"""The receipt column in which a stage of streamed scores leaves an image's own threshold."""


def score_histogram(scores_KHW: np.ndarray) -> np.ndarray:
    """Returns how many pixels have each highest score of a class, `[NUM_BINS]` int64 over [0, 1]."""
    counts, _ = np.histogram(np.clip(scores_KHW.max(axis=0), 0.0, 1.0), bins=NUM_BINS, range=(0.0, 1.0))
    return counts.astype(np.int64)


def otsu_threshold(counts: np.ndarray) -> float | None:
    """Returns the value in (0, 1) at which the variance between "below" and "above" is largest.

    None where there is nothing to part: all values are in one bin, or none is counted.

    Args:
        counts: `[B]`, of equal bins over [0, 1]. Of empty bins between the two parts, the cut is in the middle.
    """
    if np.count_nonzero(counts) < 2:
        return None
    num_bins = len(counts)
    share = counts / counts.sum()
    below = share.cumsum()[:-1]
    mass = (share * (np.arange(num_bins) + 0.5)).cumsum()
    parted = (below > 0) & (below < 1)
    weight = np.where(parted, below * (1 - below), 1.0)
    between = np.where(parted, (mass[-1] * below - mass[:-1]) ** 2 / weight, 0.0)
    same_parts = np.flatnonzero(below == below[between.argmax()])
    return float((same_parts.mean() + 1) / num_bins)
