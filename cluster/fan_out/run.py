"""`fan_out`: the one function that callers need."""

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import replace

from cluster.errors import ClusterError
from cluster.fan_out.backend import ActorBackend
from cluster.fan_out.loop import FanOutLoop
from cluster.fan_out.observers import Observers
from cluster.fan_out.policy import FanOutPolicy
from cluster.fan_out.progress import FanOutSummary, ProgressSnapshot
from cluster.fan_out.reporting import summary
from cluster.fan_out.state import RunState
from cluster.fan_out.types import FinalOutcome, Leg, WorkItem

_PENDING_WHERE_NODES_MAY_COME = 4


def fan_out(
    items: Iterable[WorkItem],
    legs: Sequence[Leg],
    *,
    on_outcome: Callable[[FinalOutcome], None],
    on_progress: Callable[[ProgressSnapshot], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    policy: FanOutPolicy | None = None,
    total: int | None = None,
    run_id: str = "",
) -> FanOutSummary:
    """Counts and times of a run that took every item through the legs, in a connected session.

    Every item gets exactly one `FinalOutcome`, in no particular order; what results must not depend on the order. Items
    are read lazily and sent in the order given, so put the longest first. Workers must be repeatable: an item whose
    process or node was lost runs again.

    Ctrl-C and exceptions of the callbacks end the actors at once and propagate. What the workers have stored by then
    is the caller's truth; items in flight get no outcome.

    Args:
        items: The work; may be an iterator of millions.
        legs: The chain of pools, first to last. Names must differ.
        on_outcome: Called on this thread with the last word on each item.
        on_progress: Called on this thread now and then, and at the end.
        should_stop: Asked many times a second; True ends the run early, `FanOutSummary.stopped` says so.
        policy: Limits; the defaults suit most jobs.
        total: Number of items where `items` has no length; for progress and the error budget.
        run_id: Named in log lines, and the tag of the metrics; empty records none.

    Raises:
        ResourceError: The cluster never gave a worker that a leg needs.
        WorkerStartError: A factory raised, or workers keep dying while they start.
        ErrorBudgetExceededError: Too many items failed.
        ClusterError: The legs are not a chain, no Ray is connected, or a factory cannot be pickled.
    """
    import ray

    from cluster.fan_out.ray_backend import RayBackend
    from cluster.fan_out.recording import FanOutMetrics
    from cluster.session import may_grow

    check_legs(legs)
    if not ray.is_initialized():
        raise ClusterError("no Ray is connected: call fan_out inside `with cluster.session.connect():`")
    policy = policy or FanOutPolicy()
    if policy.max_pending_actors is None:
        policy = replace(policy, max_pending_actors=_PENDING_WHERE_NODES_MAY_COME if may_grow() else 0)
    observers = Observers(
        on_outcome,
        on_progress or _ignore_progress,
        should_stop or _never,
        FanOutMetrics(run_id) if run_id else None,
    )
    return run_on(RayBackend(legs), items, legs, policy=policy, total=total, observers=observers, run_id=run_id)


def run_on(
    backend: ActorBackend,
    items: Iterable[WorkItem],
    legs: Sequence[Leg],
    *,
    policy: FanOutPolicy,
    total: int | None,
    observers: Observers,
    run_id: str = "",
) -> FanOutSummary:
    """The same on a given backend, which is closed in any case."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    state = RunState(items, legs, policy, total, backend.now(), run_id)
    try:
        finished = FanOutLoop(state, backend, observers).run()
    finally:
        backend.close()
    return summary(state, backend.now(), stopped=not finished)


def check_legs(legs: Sequence[Leg]) -> None:
    """Raise ClusterError unless the legs are a chain: at least one, with names that differ."""
    names = [leg.name for leg in legs]
    if not names or len(set(names)) < len(names):
        raise ClusterError(f"a fan-out needs at least one leg, and legs need different names; found {names}")


def _ignore_progress(_: ProgressSnapshot) -> None: ...


def _never() -> bool:
    return False
