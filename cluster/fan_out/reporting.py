"""Snapshots of a running fan-out, for the caller and for the metrics."""

from cluster.fan_out.observers import Observers
from cluster.fan_out.pools import waiting_for
from cluster.fan_out.progress import FanOutSummary, LegProgress, ProgressSnapshot
from cluster.fan_out.state import LegState, RunState


def report(state: RunState, observers: Observers, now: float) -> None:
    """Give everyone a snapshot."""
    taken = snapshot(state, now)
    if observers.metrics:
        observers.metrics.observe(taken)
    observers.on_progress(taken)


def snapshot(state: RunState, now: float) -> ProgressSnapshot:
    """The run as it is now."""
    return ProgressSnapshot(
        elapsed_s=now - state.started_at,
        total=state.total,
        num_done=state.num_done,
        num_failed=state.num_failed,
        num_retried=state.num_retried,
        num_in_flight=state.num_in_flight,
        legs=tuple(_leg_progress(leg) for leg in state.legs),
        waiting_for=waiting_for(state),
    )


def summary(state: RunState, now: float, *, stopped: bool) -> FanOutSummary:
    """The run at its end."""
    return FanOutSummary(
        num_done=state.num_done,
        num_failed=state.num_failed,
        num_retried=state.num_retried,
        num_actor_deaths=state.num_actor_deaths,
        failed_reasons=dict(state.failed_reasons),
        leg_seconds={leg.leg.name: leg.seconds for leg in state.legs},
        elapsed_s=now - state.started_at,
        stopped=stopped,
    )


def _leg_progress(leg: LegState) -> LegProgress:
    actors = leg.actors.values()
    num_ready = sum(actor.is_ready for actor in actors)
    num_placed = sum(actor.is_placed for actor in actors)
    return LegProgress(
        name=leg.leg.name,
        num_waiting=leg.num_waiting,
        num_running=leg.num_running,
        num_done=leg.num_done,
        num_ready_actors=num_ready,
        num_starting_actors=num_placed - num_ready,
        num_pending_actors=len(actors) - num_placed,
        target_actors=leg.target,
    )
