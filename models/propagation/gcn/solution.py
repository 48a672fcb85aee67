"""What a backend hands back for one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from models.propagation.gcn.problem import Parameters

CONVERGENCE_WINDOW = 10
"""Steps over which the loss is averaged before it is compared: dropout makes single values jump."""


@dataclass(frozen=True)
class GCNTrace:
    """How a training went.

    Attributes:
        losses: total loss at each step that was run, before the step's update.
        first_gradients: of the loss at the first step, without weight decay.
        final: weights after the last step.
    """

    losses: tuple[float, ...]
    first_gradients: Parameters
    final: Parameters


@dataclass(frozen=True)
class GCNSolution:
    """Class probabilities of one image, and how they came about where that was asked for.

    Shapes:
        prob_hwC: [h, w, C] float32 on the CPU, rows sum to 1.
    """

    prob_hwC: Tensor
    num_steps: int
    trace: GCNTrace | None = None


def has_converged(losses: Sequence[float], tolerance: float | None) -> bool:
    """Whether the mean loss of the last window is within `tolerance`, relatively, of that of the window before."""
    if tolerance is None or len(losses) < 2 * CONVERGENCE_WINDOW:
        return False
    last = sum(losses[-CONVERGENCE_WINDOW:])
    before = sum(losses[-2 * CONVERGENCE_WINDOW : -CONVERGENCE_WINDOW])
    return abs(last - before) <= tolerance * abs(before)
