"""What becomes of an item whose actor was lost: again, again alone, or quarantine."""

from dataclasses import dataclass
from enum import Enum

from cluster.fan_out.policy import FanOutPolicy


@dataclass(frozen=True)
class ItemHistory:
    """What one leg holds against an item. Each leg has its own: what is deadly to one is not to the other.

    Attributes:
        deaths: Worker processes that died while it ran alone.
        deadlines: Deadlines that it exceeded alone.
        is_suspect: True once a process died, or a deadline passed, with the item at the head of the queue.
    """

    deaths: int = 0
    deadlines: int = 0
    is_suspect: bool = False


class Fate(Enum):
    """What to do with the item next. The values of the last three are reason codes."""

    RETRY = "retry"
    RETRY_ALONE = "retry_alone"
    WORKER_DIED = "worker_died"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    TOO_MANY_ATTEMPTS = "too_many_attempts"

    @property
    def is_quarantine(self) -> bool:
        """True when the item is given up."""
        return self not in (Fate.RETRY, Fate.RETRY_ALONE)


def fate_of(history: ItemHistory, attempts: int, policy: FanOutPolicy) -> Fate:
    """The fate of an item after a loss.

    Args:
        history: What the leg holds against it, the latest loss included.
        attempts: Calls that it was part of, over all legs.
        policy: Gives the limits.
    """
    if history.deaths >= policy.max_deaths_per_item:
        return Fate.WORKER_DIED
    if history.deadlines >= policy.max_deadlines_per_item:
        return Fate.DEADLINE_EXCEEDED
    if attempts >= policy.max_attempts_per_item:
        return Fate.TOO_MANY_ATTEMPTS
    return Fate.RETRY_ALONE if history.is_suspect else Fate.RETRY
