"""What a run's workers hold of the cluster, in the metrics of `cluster.metrics`, from the driver alone."""

from cluster.metrics import USAGE_METRICS, create_metrics


class UsageMetrics:
    """Records resources times seconds under one run's tag.

    Args:
        run: Value of the tag `run`.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._metrics = create_metrics(USAGE_METRICS)

    def held(self, cpu_s: float, gpu_s: float) -> None:
        """So many core-seconds and GPU-seconds more."""
        for resource, seconds in (("cpu", cpu_s), ("gpu", gpu_s)):
            if seconds > 0:  # Ray refuses to add nothing
                self._metrics["wsss_held_seconds"].inc(seconds, tags={"run": self._run, "resource": resource})
