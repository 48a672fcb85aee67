"""Stochastic remnant feeding (ACR, section 4.2.2): cells in which the reconstructor sees both segments.

A random grid of `cells` x `cells` is 1 with probability q; there, each segment's features leak into the other's. The
paper gives the symbols s and q; the released code takes s = 16 and q = 0.80 - 0.01 an epoch.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from models.errors import InvalidInputError


@dataclass(frozen=True)
class RemnantFeeding:
    """How much leaks.

    Attributes:
        cells: Cells of the grid a side, s. 16: released.
        probability: q in the first epoch. 0.8: released. 0 switches the leaks off (the paper's ablation).
        decay_per_epoch: How much q falls every epoch, down to 0. 0.01: released, so 0.41 in the last of 40 epochs. 0:
            the constant q of the paper's text.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    cells: int = 16
    probability: float = 0.8
    decay_per_epoch: float = 0.01

    def __post_init__(self) -> None:
        if self.cells < 1:
            raise InvalidInputError(f"remnant feeding: cells must be at least 1; got {self.cells}")
        if not 0.0 <= self.probability <= 1.0:
            raise InvalidInputError(f"remnant feeding: probability must be in [0, 1]; got {self.probability}")
        if self.decay_per_epoch < 0:
            raise InvalidInputError(f"remnant feeding: decay_per_epoch must be 0 or more; got {self.decay_per_epoch}")

    def probability_at(self, epoch: int) -> float:
        """Returns q of the 0-based epoch."""
        return max(self.probability - self.decay_per_epoch * epoch, 0.0)

    def draw(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """Returns the grid g of one image, `[1, cells, cells]` float32 of 0 and 1."""
        return (rng.random((1, self.cells, self.cells)) < self.probability_at(epoch)).astype(np.float32)
