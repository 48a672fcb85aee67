"""Reading items ahead and sending batches, as `dispatch.py` decides."""

import itertools
from collections.abc import Iterator

from cluster.fan_out.backend import ActorBackend
from cluster.fan_out.dispatch import ActorLoad, Assignment, LegLoad, assign
from cluster.fan_out.state import LegState, RunState, SentBatch, TrackedItem


def read_ahead(state: RunState) -> None:
    """Take items from the caller until the look-ahead is full."""
    fresh = state.legs[0].fresh
    while not state.source_is_empty and len(fresh) < state.policy.lookahead_items:
        item = next(state.source, None)
        if item is None:
            state.source_is_empty = True
        else:
            fresh.append(TrackedItem(state.num_read, item))
            state.num_read += 1


class Sender:
    """Sends batches to actors and numbers them."""

    def __init__(self, state: RunState, backend: ActorBackend) -> None:
        self._state = state
        self._backend = backend
        self._numbers: Iterator[int] = itertools.count()

    def send_all(self) -> None:
        """Send what can be sent, the last leg first: what is nearly done frees places and memory."""
        for leg in reversed(self._state.legs):
            if self._state.has_work(leg):
                for assignment in assign(self._load_of(leg)):
                    self._send(leg, assignment)

    def _load_of(self, leg: LegState) -> LegLoad:
        actors = [
            ActorLoad(actor.number, len(actor.batches), any(batch.alone for batch in actor.batches))
            for actor in leg.actors.values()
            if actor.is_ready and not actor.is_draining
        ]
        return LegLoad(
            num_waiting=self._state.num_sendable(leg),
            num_solo=len(leg.solo),
            more_to_come=self._state.more_to_come(leg),
            batch_size=leg.leg.batch_size,
            max_batches=leg.leg.max_in_flight_per_actor,
            actors=actors,
        )

    def _send(self, leg: LegState, assignment: Assignment) -> None:
        actor = leg.actors[assignment.actor]
        items = [self._take(leg, alone=assignment.alone) for _ in range(assignment.num_items)]
        for item in items:
            item.attempts += 1
            item.node_id, item.actor_id = actor.node_id, actor.actor_id
        started_at = None if actor.batches else self._backend.now()
        batch = SentBatch(next(self._numbers), items, assignment.alone, started_at)
        actor.batches.append(batch)
        leg.num_running += len(items)
        upstream = [item.payload for item in items] if leg.index else []
        self._backend.submit(actor.number, batch.number, [item.item for item in items], upstream)

    def _take(self, leg: LegState, *, alone: bool) -> TrackedItem:
        if alone:
            return leg.solo.popleft()
        if leg.returned:
            return leg.returned.popleft()
        if leg.index == 0:
            self._state.num_in_flight += 1
        return leg.fresh.popleft()
