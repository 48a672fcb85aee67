"""Which actors to let go: those above the target, and those that stand in the way of a leg that has none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ActorIdleness:
    """One actor, as far as releasing it is concerned.

    Attributes:
        key: The actor's number.
        is_ready: False while it waits for a place or makes its worker.
        idle_s: Seconds without work; None while it has some.
    """

    key: int
    is_ready: bool
    idle_s: float | None


def surplus(actors: Sequence[ActorIdleness], target: int, idle_release_s: float) -> list[int]:
    """Actors to release so that the pool approaches its target; never one that has work.

    Those that are not ready go first, latest first; then those that have idled longest, if for `idle_release_s`.
    """
    excess = len(actors) - target
    if excess <= 0:
        return []
    unready = sorted((actor.key for actor in actors if not actor.is_ready), reverse=True)
    idle = [(actor.idle_s, actor.key) for actor in actors if actor.is_ready and actor.idle_s is not None]
    rested = [key for idle_s, key in sorted(idle, reverse=True) if idle_s >= idle_release_s]
    return (unready + rested)[:excess]


def make_room_patience_s(*, all_fit: bool, make_room_after_s: float) -> float:
    """Seconds that a leg waits for its first place before others make room.

    Args:
        all_fit: The cluster should be able to hold every actor that was requested, placed or not. Then a place is
            probably on its way, and only something outside this run can stand in its way.
        make_room_after_s: The patience otherwise.
    """
    return make_room_after_s * (30.0 if all_fit else 1.0)


@dataclass(frozen=True)
class LegSeat:
    """One leg in the contest for places.

    Attributes:
        request: What one actor occupies, by resource name.
        unplaced_for_s: Seconds that it has had work and no placed actor, although it asked for one; None when it is
            not so.
        has_sendable_work: True when an idle actor of the leg would get work now.
        num_idle: Ready actors without work.
    """

    request: Mapping[str, float]
    unplaced_for_s: float | None
    has_sendable_work: bool
    num_idle: int


def leg_to_shrink(seats: Sequence[LegSeat], make_room_after_s: float) -> int | None:
    """Index of the leg that should release one idle actor so that another leg can be placed, or None.

    On a cluster that cannot hold one actor of every leg, legs must take turns; without this, upstream actors that
    wait for downstream to drain would hold the very places that downstream waits for.
    """
    starved = [seat for seat in seats if seat.unplaced_for_s is not None and seat.unplaced_for_s >= make_room_after_s]
    candidates = [
        (seat.num_idle, index)
        for index, seat in enumerate(seats)
        if seat.num_idle
        and not seat.has_sendable_work
        and any(seat is not other and seat.request.keys() & other.request.keys() for other in starved)
    ]
    return max(candidates)[1] if candidates else None
