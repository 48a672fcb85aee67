"""What a fan-out records in the metrics of `cluster.metrics`, from the driver alone."""

from cluster.fan_out.progress import ProgressSnapshot
from cluster.metrics import FAN_OUT_METRICS, create_metrics


class FanOutMetrics:
    """What a fan-out records, under one run's tag.

    Args:
        run: Value of the tag `run`.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._metrics = create_metrics(FAN_OUT_METRICS)

    def item_done(self, leg: str) -> None:
        """An item left the last leg."""
        self._count("wsss_items", 1, leg=leg, status="done")

    def item_failed(self, leg: str) -> None:
        """An item failed in a leg."""
        self._count("wsss_items", 1, leg=leg, status="failed")

    def item_retried(self, leg: str) -> None:
        """An item goes to a leg again."""
        self._count("wsss_item_retries", 1, leg=leg)

    def actor_lost(self, leg: str) -> None:
        """An actor of a leg is gone that was not released."""
        self._count("wsss_actor_losses", 1, leg=leg)

    def batch_done(self, leg: str, num_items: int, seconds: float) -> None:
        """A leg answered a batch."""
        self._count("wsss_leg_items", num_items, leg=leg)
        self._count("wsss_leg_busy_seconds", seconds, leg=leg)
        self._metrics["wsss_item_seconds"].observe(seconds / num_items, tags={"run": self._run, "leg": leg})

    def observe(self, snapshot: ProgressSnapshot) -> None:
        """Set the gauges."""
        self._metrics["wsss_items_in_flight"].set(snapshot.num_in_flight, tags={"run": self._run})
        if snapshot.total is not None:
            remaining = snapshot.total - snapshot.num_done - snapshot.num_failed
            self._metrics["wsss_items_remaining"].set(remaining, tags={"run": self._run})
        for leg in snapshot.legs:
            gauges = {
                "wsss_queue_items": leg.num_waiting,
                "wsss_running_items": leg.num_running,
                "wsss_actors_ready": leg.num_ready_actors,
                "wsss_actors_target": leg.target_actors,
            }
            for name, value in gauges.items():
                self._metrics[name].set(value, tags={"run": self._run, "leg": leg.name})

    def _count(self, name: str, amount: float, **tags: str) -> None:
        if amount > 0:  # Ray refuses to add nothing
            self._metrics[name].inc(amount, tags={"run": self._run, **tags})
