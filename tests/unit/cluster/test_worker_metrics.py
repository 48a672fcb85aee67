"""What a worker records of its batches, with Ray's metrics replaced by ones that remember."""

from remembering_metric import RememberingMetric

from cluster import metrics
from cluster.worker_metrics import WorkerMetrics


def test_batches_are_recorded_under_run_stage_and_device(monkeypatch):
    monkeypatch.setattr(metrics, "_KINDS", {"histogram": RememberingMetric})
    recorded = WorkerMetrics("run1", "infer_cams")
    recorded.batch_done(16, "cuda")
    [(name, metric)] = recorded._metrics.items()
    assert (name, metric.values) == (
        "wsss_batch_items",
        [(16, {"run": "run1", "stage": "infer_cams", "device": "cuda"})],
    )
    assert metric.boundaries[0] == 1.0  # batches of one are told from those of two
