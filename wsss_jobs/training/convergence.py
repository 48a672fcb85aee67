"""When a training has learnt what there is to learn: a pure function of its losses."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field


class ConvergenceRule(BaseModel):
    """A training ends when its loss stops falling. No published source: ISIM tries it and names no criterion.

    Attributes:
        patience_epochs: So many epochs in a row must bring too little.
        min_improvement: Share by which the loss has to fall below the lowest of the epochs before to count.
        max_epochs: The training ends after so many epochs in any case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience_epochs: int = Field(default=3, ge=1)
    min_improvement: float = Field(default=0.01, ge=0, lt=1)
    max_epochs: int = Field(default=20, ge=1)

    def is_met(self, losses: Sequence[float]) -> bool:
        """Returns whether a training with these losses, one an epoch, all at least 0, has converged."""
        before, latest = losses[: -self.patience_epochs], losses[-self.patience_epochs :]
        return bool(before) and min(latest) > (1.0 - self.min_improvement) * min(before)
