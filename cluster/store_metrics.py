"""What operations on an object store record in the metrics of `cluster.metrics`, in the process that does them."""

from cluster.metrics import STORE_METRICS, create_metrics


class StoreMetrics:
    """Records operations under one run's tag; may be called from several threads.

    Args:
        run: Value of the tag `run`.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._metrics = create_metrics(STORE_METRICS)

    def operation_finished(self, operation: str, seconds: float) -> None:
        """An operation such as `get` or `put` has ended, well or not."""
        self._metrics["wsss_store_seconds"].observe(seconds, tags={"run": self._run, "operation": operation})

    def try_failed(self, operation: str, code: str) -> None:
        """A try of an operation went wrong, with a code such as `SlowDown` or `ENOSPC`."""
        self._metrics["wsss_store_errors"].inc(1, tags={"run": self._run, "operation": operation, "code": code})
