"""What a stage's worker records in the metrics of `cluster.metrics`, in its own process."""

from cluster.metrics import WORKER_METRICS, create_metrics


class WorkerMetrics:
    """Records under the tags of one run and stage.

    Args:
        run: Value of the tag `run`.
        stage: Value of the tag `stage`.
    """

    def __init__(self, run: str, stage: str) -> None:
        self._tags = {"run": run, "stage": stage}
        self._metrics = create_metrics(WORKER_METRICS)

    def batch_done(self, num_items: int, device: str) -> None:
        """So many items have gone through the stage in one piece, on `cpu` or `cuda`."""
        self._metrics["wsss_batch_items"].observe(num_items, tags={**self._tags, "device": device})
