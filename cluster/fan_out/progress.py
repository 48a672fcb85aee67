"""How far a fan-out is, as plain data for a progress bar, a log line or a status file."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LegProgress:
    """One leg at one moment.

    Attributes:
        name: The leg's name.
        num_waiting: Items that wait for a worker here (for the first leg: those read ahead).
        num_running: Items handed to workers here.
        num_done: Items that this leg has finished, repeats after losses included.
        num_ready_actors: Actors that can take work.
        num_starting_actors: Actors that have a place and make their worker (load weights).
        num_pending_actors: Actors that the cluster has not placed yet.
        target_actors: What the pool aims at.
    """

    name: str
    num_waiting: int
    num_running: int
    num_done: int
    num_ready_actors: int
    num_starting_actors: int
    num_pending_actors: int
    target_actors: int


@dataclass(frozen=True)
class ProgressSnapshot:
    """A fan-out at one moment.

    Attributes:
        elapsed_s: Seconds since it began.
        total: Number of items, None when the caller gave an iterator without length.
        num_done: Items that are done in every leg.
        num_failed: Items that failed.
        num_retried: Times that an item was sent again, for whatever cause.
        num_in_flight: Items dispatched and not final.
        legs: The legs in order.
        waiting_for: A sentence such as "propagate waits for a worker with 1 GPU" while a leg has work and no worker,
            else empty.
    """

    elapsed_s: float
    total: int | None
    num_done: int
    num_failed: int
    num_retried: int
    num_in_flight: int
    legs: tuple[LegProgress, ...]
    waiting_for: str = ""

    @property
    def items_per_s(self) -> float:
        """Final items a second since the beginning."""
        return (self.num_done + self.num_failed) / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True)
class FanOutSummary:
    """A fan-out at its end.

    Attributes:
        num_done: Items that are done in every leg.
        num_failed: Items that failed.
        num_retried: Times that an item was sent again.
        num_actor_deaths: Actors lost, by whatever cause, without those that were released.
        failed_reasons: Number of failed items by reason code.
        leg_seconds: Seconds of work by leg, summed over actors.
        elapsed_s: Wall seconds.
        stopped: True when `should_stop` ended it; items in flight then have no final outcome.
    """

    num_done: int
    num_failed: int
    num_retried: int
    num_actor_deaths: int
    failed_reasons: Mapping[str, int]
    leg_seconds: Mapping[str, float]
    elapsed_s: float
    stopped: bool
