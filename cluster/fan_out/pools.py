"""Growing and shrinking the pools, as `pool_size.py` and `release.py` decide."""

import logging

from cluster.errors import ResourceError, WorkerStartError
from cluster.fan_out.backend import ActorBackend
from cluster.fan_out.placement import describe_request, describe_shortage
from cluster.fan_out.pool_size import PoolDemand, fit_together, num_that_fit, plan_pools
from cluster.fan_out.release import ActorIdleness, LegSeat, leg_to_shrink, make_room_patience_s, surplus
from cluster.fan_out.state import ActorState, LegState, RunState

logger = logging.getLogger(__name__)

_ITEMS_A_TURN = 32


class PoolManager:
    """Keeps every leg's pool at its target.

    Args:
        state: The run.
        backend: Makes and ends actors.
    """

    def __init__(self, state: RunState, backend: ActorBackend) -> None:
        self._state = state
        self._backend = backend
        self._max_pending = state.policy.max_pending_actors or 0
        self._made_room_at = float("-inf")

    def adjust(self) -> None:
        """Follow pending work and the cluster.

        Raises:
            ResourceError: A leg has waited too long for a place.
            WorkerStartError: A leg's first worker has taken too long to start.
        """
        self._state.in_flight_limit = self._bound_in_flight()
        capacity = self._state.nodes.capacity
        targets = plan_pools([self._demand(leg) for leg in self._state.legs], capacity, self._max_pending)
        for leg, target in zip(self._state.legs, targets, strict=True):
            leg.target = target
            self._shrink(leg)
            self._grow(leg)
            self._note_shortage(leg)
            self._check_patience(leg)
        self._make_room()

    def _bound_in_flight(self) -> int:
        """Items that fill the queues of all pools at the size that they could reach; no more, for memory's sake.

        Where legs must take turns, a turn should be worth the making of a worker.
        """
        limit, nodes = 0, list(self._state.nodes.usable.values())
        for state in self._state.legs:
            leg = state.leg
            reachable = num_that_fit(leg.resources.as_request(), nodes) + self._max_pending
            num_actors = max(1, reachable if leg.max_actors is None else min(reachable, leg.max_actors))
            limit += num_actors * leg.batch_size * leg.max_in_flight_per_actor
        one_of_each = [leg.leg.resources.as_request() for leg in self._state.legs]
        if not fit_together(one_of_each, self._state.nodes.capacity):
            limit = max(limit, _ITEMS_A_TURN)
        return min(limit, self._state.policy.max_in_flight_items or limit)

    def _demand(self, state: LegState) -> PoolDemand:
        leg = state.leg
        return PoolDemand(
            request=leg.resources.as_request(),
            num_items=self._state.num_sendable(state) + len(state.solo) + state.num_running,
            batch_size=leg.batch_size,
            num_busy=sum(bool(actor.batches) for actor in state.actors.values()),
            min_actors=leg.min_actors,
            max_actors=leg.max_actors,
            may_get_work=self._state.may_get_work(state),
        )

    def _grow(self, leg: LegState) -> None:
        num_staying = sum(not actor.is_draining for actor in leg.actors.values())
        now = self._backend.now()
        for _ in range(leg.target - num_staying):
            number = self._backend.create(leg.index)
            leg.actors[number] = ActorState(number, asked_at=now, idle_since=now)

    def _shrink(self, leg: LegState) -> None:
        """Release what is above the target; at once when no work can come, and always on nodes that will go."""
        now = self._backend.now()
        patience = self._state.policy.idle_release_s if self._state.may_get_work(leg) else 0.0
        idle = [
            ActorIdleness(actor.number, actor.is_ready, None if actor.batches else now - actor.idle_since)
            for actor in leg.actors.values()
            if not actor.is_draining
        ]
        leaving = [actor.number for actor in leg.actors.values() if actor.is_draining and not actor.batches]
        for number in [*leaving, *surplus(idle, leg.target, patience)]:
            self._release(leg, number)

    def _release(self, leg: LegState, number: int) -> None:
        leg.actors.pop(number)
        self._backend.kill(number)

    def _make_room(self) -> None:
        """Let one idle actor go where it stands in another leg's way, and give that leg time to take the place."""
        now = self._backend.now()
        requests = [leg.leg.resources.as_request() for leg in self._state.legs for _ in leg.actors]
        all_fit = fit_together(requests, self._state.nodes.capacity)
        patience = make_room_patience_s(all_fit=all_fit, make_room_after_s=self._state.policy.make_room_after_s)
        if now - self._made_room_at < patience:
            return
        index = leg_to_shrink([self._seat(leg, now) for leg in self._state.legs], patience)
        if index is None:
            return
        leg = self._state.legs[index]
        self._made_room_at = now
        number = next(actor.number for actor in leg.actors.values() if actor.is_ready and not actor.batches)
        logger.info("leg=%s releases an idle actor: another leg has work and no place", leg.leg.name)
        self._release(leg, number)

    def _seat(self, leg: LegState, now: float) -> LegSeat:
        return LegSeat(
            request=leg.leg.resources.as_request(),
            unplaced_for_s=None if leg.no_place_since is None else now - leg.no_place_since,
            has_sendable_work=self._state.has_work(leg),
            num_idle=sum(actor.is_ready and not actor.batches for actor in leg.actors.values()),
        )

    def _note_shortage(self, leg: LegState) -> None:
        now, has_work = self._backend.now(), self._state.has_work(leg)
        has_place = any(actor.is_placed for actor in leg.actors.values())
        has_worker = any(actor.is_ready for actor in leg.actors.values())
        leg.no_place_since = None if has_place or not has_work else leg.no_place_since or now
        leg.no_worker_since = None if has_worker or not has_work else leg.no_worker_since or now

    def _check_patience(self, leg: LegState) -> None:
        limit_s = self._state.policy.first_worker_timeout_s
        if leg.no_worker_since is None or self._backend.now() - leg.no_worker_since < limit_s:
            return
        request = leg.leg.resources.as_request()
        if leg.no_place_since is not None:
            shortage = describe_shortage(request, list(self._state.nodes.usable.values()))
            raise ResourceError(
                f"leg {leg.leg.name!r} has waited {limit_s:g} s for a worker with {describe_request(request)}: "
                f"{shortage}. Ask for less in the leg's resources, add nodes, or raise first_worker_timeout_s."
            )
        raise WorkerStartError(
            f"leg {leg.leg.name!r} has had a place but no ready worker for {limit_s:g} s: its factory is still "
            f"running, or its process keeps dying ({leg.last_start_error or 'no error so far'}). "
            "Raise first_worker_timeout_s if loading takes that long."
        )


def waiting_for(state: RunState) -> str:
    """What the run waits for, in one sentence, or nothing."""
    for leg in state.legs:
        if leg.no_place_since is not None:
            request = leg.leg.resources.as_request()
            shortage = describe_shortage(request, list(state.nodes.usable.values()))
            return f"{leg.leg.name} waits for a worker with {describe_request(request)}: {shortage}"
        if leg.no_worker_since is not None:
            return f"{leg.leg.name} waits for its first worker to load"
    return ""
