"""What an operation on a store records, with Ray's metrics replaced by ones that remember."""

from remembering_metric import RememberingMetric

from cluster import metrics
from cluster.store_metrics import StoreMetrics


def test_operations_and_failed_tries_are_recorded_under_the_run(monkeypatch):
    monkeypatch.setattr(metrics, "_KINDS", dict.fromkeys(("counter", "gauge", "histogram"), RememberingMetric))
    recorded = StoreMetrics("run1")
    recorded.operation_finished("get", 0.25)
    recorded.try_failed("put", "SlowDown")
    values = {name: metric.values for name, metric in recorded._metrics.items()}
    assert values == {
        "wsss_store_seconds": [(0.25, {"run": "run1", "operation": "get"})],
        "wsss_store_errors": [(1, {"run": "run1", "operation": "put", "code": "SlowDown"})],
    }
