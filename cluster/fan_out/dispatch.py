"""Which actor gets which work next, in one leg. Decisions only: nothing is sent from here."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ActorLoad:
    """A ready actor of the leg.

    Attributes:
        key: The actor's number.
        num_batches: Batches that it has not answered.
        runs_alone: True while one of them is an item of the solo lane.
    """

    key: int
    num_batches: int
    runs_alone: bool = False


@dataclass(frozen=True)
class LegLoad:
    """A leg at one moment, as far as dispatch is concerned.

    Attributes:
        num_waiting: Items of the normal lane that may be sent now.
        num_solo: Suspects that wait to run alone.
        more_to_come: False when no further item can reach this leg from upstream.
        batch_size: Items a batch, at most.
        max_batches: Unanswered batches an actor may have.
        actors: The ready actors that may get work.
    """

    num_waiting: int
    num_solo: int
    more_to_come: bool
    batch_size: int
    max_batches: int
    actors: Sequence[ActorLoad]


@dataclass(frozen=True)
class Assignment:
    """Send `num_items` of a lane to an actor."""

    actor: int
    num_items: int
    alone: bool = False


def assign(load: LegLoad) -> list[Assignment]:
    """What to send now, in order.

    A suspect gets an actor with nothing else in its queue, and nothing is put behind it. While normal work waits, one
    actor at a time serves the solo lane, so a deadly item costs one actor; then all idle ones do.
    """
    solo, held_back = _assign_solo(load)
    busy = held_back | {assignment.actor for assignment in solo}
    actors = [actor for actor in load.actors if not actor.runs_alone and actor.key not in busy]
    return solo + _assign_batches(load, actors)


def _assign_solo(load: LegLoad) -> tuple[list[Assignment], set[int]]:
    """Assignments of the solo lane, and the actor (if any) that must run empty for it."""
    if not load.num_solo:
        return [], set()
    num_lanes = len(load.actors) if not load.num_waiting else 1
    num_free_lanes = num_lanes - sum(actor.runs_alone for actor in load.actors)
    if num_free_lanes <= 0:
        return [], set()
    idle = [actor.key for actor in load.actors if actor.num_batches == 0]
    chosen = idle[: min(num_free_lanes, load.num_solo)]
    if not chosen and load.actors:
        least = min(load.actors, key=lambda actor: (actor.num_batches, actor.key))
        return [], {least.key}
    return [Assignment(key, 1, alone=True) for key in chosen], set()


def _assign_batches(load: LegLoad, actors: Sequence[ActorLoad]) -> list[Assignment]:
    """Assignments of the normal lane, least loaded actor first.

    An idle actor takes whatever waits. One that has work gets full batches only, while more may come to fill them.
    """
    free = [(actor.num_batches, actor.key) for actor in actors if actor.num_batches < load.max_batches]
    heapq.heapify(free)
    num_left = load.num_waiting
    num_slots = sum(load.max_batches - num_batches for num_batches, _ in free)
    sent: list[Assignment] = []
    while num_left and free:
        num_batches, key = heapq.heappop(free)
        size = _batch_size(load, num_left, num_slots)
        if num_batches and load.more_to_come and size < load.batch_size:
            break  # the heap's other actors have at least as much work
        sent.append(Assignment(key, size))
        num_left -= size
        num_slots -= 1
        if num_batches + 1 < load.max_batches:
            heapq.heappush(free, (num_batches + 1, key))
    return sent


def _batch_size(load: LegLoad, num_left: int, num_slots: int) -> int:
    """Items of the next batch; at the end of a leg the rest is spread over all free slots."""
    size = min(load.batch_size, num_left)
    return size if load.more_to_come else min(size, -(-num_left // num_slots))
