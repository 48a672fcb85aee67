"""What each event does to the run."""

from typing import assert_never

from cluster.errors import WorkerStartError
from cluster.fan_out.backend import (
    ActorBackend,
    ActorLost,
    ActorPlaced,
    BatchDone,
    BatchLost,
    Event,
    NodesView,
    WorkerNotMade,
    WorkerReady,
)
from cluster.fan_out.blame import LossCause, cause_of_loss
from cluster.fan_out.finishing import finish_done, finish_failed
from cluster.fan_out.observers import Observers
from cluster.fan_out.recovery import recover_actor, recover_batch, recover_payloads, recover_upstream
from cluster.fan_out.state import ActorState, LegState, RunState, SentBatch


class Listener:
    """Applies events to the run.

    Args:
        state: The run.
        backend: Asked for the nodes after a loss, and told to end actors of no use.
        observers: Who is told of finished items.
    """

    def __init__(self, state: RunState, backend: ActorBackend, observers: Observers) -> None:
        self._state = state
        self._backend = backend
        self._observers = observers
        self._node_lost_at = float("-inf")

    def handle(self, event: Event) -> None:
        """Apply one event. Those of actors that are gone are ignored: their items are already on their way again.

        Raises:
            WorkerStartError: A leg cannot start workers.
            ErrorBudgetExceededError: Too many items failed.
        """
        leg = next((leg for leg in self._state.legs if event.actor in leg.actors), None)
        if leg is None:
            return
        actor = leg.actors[event.actor]
        match event:
            case ActorPlaced():
                actor.node_id, actor.actor_id = event.node_id, event.actor_id
                if not self._state.nodes.lives(event.node_id):
                    self.look_at_nodes()  # it is new
            case WorkerReady():
                actor.is_ready, actor.idle_since = True, self._backend.now()
                leg.has_started, leg.num_failed_starts = True, 0
            case WorkerNotMade():
                self._not_made(leg, actor, event.message)
            case BatchDone():
                self._batch_done(leg, actor, event)
            case BatchLost():
                self._batch_lost(leg, actor, event)
            case ActorLost():
                self._actor_lost(leg, actor, event)
            case _:
                assert_never(event)

    def look_at_nodes(self) -> None:
        """Drop the actors of nodes that are gone, mark those of nodes that will go, make lost payloads again."""
        nodes = self._refresh_nodes()
        for leg in self._state.legs:
            for actor in list(leg.actors.values()):
                actor.is_draining = actor.node_id in nodes.draining
                if actor.is_placed and not nodes.lives(actor.node_id):
                    self._backend.kill(actor.number)
                    self._recover(leg, actor, LossCause.NODE_LOST, f"node {actor.node_id} is gone")
        recover_payloads(self._state, self._observers)

    def enforce_deadlines(self, heard_until: float) -> None:
        """Kill every actor whose running batch is over its deadline.

        A batch that waits for a payload of a dead node is nobody's fault.

        Args:
            heard_until: All that was answered before this time has been handled; a batch is judged by it, not by now,
                so that a driver that was held up kills nobody for its own delay.
        """
        for leg in self._state.legs:
            for actor in [actor for actor in leg.actors.values() if _is_overdue(leg, actor, heard_until)]:
                has_lost_payload = any(self._state.payload_is_lost(item) for item in actor.batches[0].items)
                cause = LossCause.NODE_LOST if has_lost_payload else LossCause.DEADLINE
                self._backend.kill(actor.number)
                self._recover(leg, actor, cause, f"deadline_s {leg.leg.deadline_s:g} an item")

    def _batch_done(self, leg: LegState, actor: ActorState, event: BatchDone) -> None:
        batch = self._take_batch(leg, actor, event.batch)
        leg.num_done += len(batch.items)
        leg.seconds += event.seconds
        seconds = event.seconds / len(batch.items)
        if self._observers.metrics:
            self._observers.metrics.batch_done(leg.leg.name, len(batch.items), event.seconds)
        is_last = leg.index + 1 == len(self._state.legs)
        for number, (item, outcome) in enumerate(zip(batch.items, event.outcomes, strict=True)):
            if not outcome.ok:
                reason = outcome.reason or "worker_gave_no_reason"
                finish_failed(self._state, leg, item, reason, outcome.message, self._observers)
                continue
            item.receipts[leg.leg.name] = outcome.receipt
            item.seconds[leg.leg.name] = seconds
            if is_last:
                finish_done(self._state, item, self._observers)
            else:
                item.payload, item.payload_node = event.payloads[number], actor.node_id
                self._state.legs[leg.index + 1].enqueue(item)

    def _take_batch(self, leg: LegState, actor: ActorState, number: int) -> SentBatch:
        """Take a batch out of the actor's queue; the next one's clock starts."""
        batch = next(batch for batch in actor.batches if batch.number == number)
        actor.batches.remove(batch)
        leg.num_running -= len(batch.items)
        now = self._backend.now()
        if not actor.batches:
            actor.idle_since = now
        elif actor.batches[0].started_at is None:
            actor.batches[0].started_at = now
        return batch

    def _batch_lost(self, leg: LegState, actor: ActorState, event: BatchLost) -> None:
        batch = self._take_batch(leg, actor, event.batch)
        if event.upstream_lost:
            self._refresh_nodes()
            recover_upstream(self._state, leg, batch, event.message, self._observers)
        else:
            recover_batch(self._state, leg, batch, event.message, self._observers)

    def _actor_lost(self, leg: LegState, actor: ActorState, event: ActorLost) -> None:
        nodes = self._refresh_nodes()
        cause = LossCause.PROCESS_DIED
        if not event.broken:
            cause = cause_of_loss(
                node_id=actor.node_id,
                live_nodes=frozenset(nodes.usable),
                preempted=event.preempted,
                unreachable=event.unreachable,
            )
        self._recover(leg, actor, cause, event.message)
        if cause is LossCause.PROCESS_DIED or self._never_placed_for_its_own_reasons(actor, event):
            self._count_failed_start(leg, actor, event.message)

    def _never_placed_for_its_own_reasons(self, actor: ActorState, event: ActorLost) -> bool:
        """True when an actor was lost before it said where it is, and no node that it may have been on was lost."""
        return not actor.is_placed and not event.preempted and self._node_lost_at < actor.asked_at

    def _refresh_nodes(self) -> NodesView:
        before, self._state.nodes = self._state.nodes, self._backend.nodes()
        if any(not self._state.nodes.lives(node_id) for node_id in (*before.usable, *before.draining)):
            self._node_lost_at = self._backend.now()
        return self._state.nodes

    def _not_made(self, leg: LegState, actor: ActorState, message: str) -> None:
        """A factory that raises before any worker of its leg was made is wrong; later, it may be one bad node."""
        leg.actors.pop(actor.number)
        self._backend.kill(actor.number)
        if not leg.has_started:
            raise WorkerStartError(f"leg {leg.leg.name!r}: its worker could not be made: {message}")
        self._count_failed_start(leg, actor, message)

    def _count_failed_start(self, leg: LegState, actor: ActorState, message: str) -> None:
        if actor.is_ready:
            return
        leg.num_failed_starts += 1
        leg.last_start_error = message
        if leg.num_failed_starts >= self._state.policy.max_start_failures:
            raise WorkerStartError(
                f"leg {leg.leg.name!r}: {leg.num_failed_starts} workers in a row failed to start; last: {message}"
            )

    def _recover(self, leg: LegState, actor: ActorState, cause: LossCause, message: str) -> None:
        recover_actor(self._state, leg, actor, cause, message, self._observers)


def _is_overdue(leg: LegState, actor: ActorState, now: float) -> bool:
    if not actor.batches or actor.batches[0].started_at is None:
        return False
    head = actor.batches[0]
    return head.started_at is not None and now - head.started_at > leg.leg.deadline_s * len(head.items)
