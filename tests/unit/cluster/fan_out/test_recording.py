"""The metrics that a fan-out records, with Ray's replaced by ones that remember."""

from collections import defaultdict

import pytest

from cluster import metrics
from cluster.fan_out.progress import LegProgress, ProgressSnapshot
from cluster.fan_out.recording import FanOutMetrics


class Remembering:
    def __init__(self, name, description, tag_keys, boundaries=None):
        assert description
        self.tag_keys = set(tag_keys)
        self.values = defaultdict(float)

    def inc(self, amount, tags):
        self._at(tags)
        self.values[frozenset(tags.items())] += amount

    def set(self, value, tags):
        self._at(tags)
        self.values[frozenset(tags.items())] = value

    def observe(self, value, tags):
        self.set(value, tags)

    def _at(self, tags):
        assert set(tags) == self.tag_keys


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(metrics, "_KINDS", dict.fromkeys(("counter", "gauge", "histogram"), Remembering))
    return FanOutMetrics("run1")


def value(recorded, name, **tags):
    return recorded._metrics[name].values[frozenset({"run": "run1", **tags}.items())]


def test_what_is_recorded_fits_the_table(recorded):
    recorded.item_done("refine")
    recorded.item_done("refine")
    recorded.item_failed("predict")
    recorded.item_retried("predict")
    recorded.actor_lost("predict")
    recorded.batch_done("predict", 4, 2.0)
    recorded.batch_done("predict", 4, 0.0)
    leg = LegProgress("refine", 5, 3, 9, 2, 1, 1, 4)
    recorded.observe(ProgressSnapshot(1.0, 10, 2, 1, 1, 8, (leg,)))
    assert value(recorded, "wsss_items", leg="refine", status="done") == 2
    assert value(recorded, "wsss_items", leg="predict", status="failed") == 1
    assert value(recorded, "wsss_item_retries", leg="predict") == 1
    assert value(recorded, "wsss_actor_losses", leg="predict") == 1
    assert value(recorded, "wsss_leg_items", leg="predict") == 8
    assert value(recorded, "wsss_leg_busy_seconds", leg="predict") == 2.0
    assert value(recorded, "wsss_queue_items", leg="refine") == 5
    assert value(recorded, "wsss_actors_target", leg="refine") == 4
    assert value(recorded, "wsss_items_in_flight") == 8
    assert value(recorded, "wsss_items_remaining") == 7
    assert all(metric.values for metric in recorded._metrics.values()), "a row of the table that nobody records"


def test_names_are_ours_and_tags_few():
    assert all(spec.name.startswith("wsss_") for spec in metrics.METRICS)
    assert len({spec.name for spec in metrics.METRICS}) == len(metrics.METRICS)
    assert {tag for spec in metrics.METRICS for tag in spec.tags} <= {
        "leg",
        "status",
        "operation",
        "code",
        "resource",
        "stage",
        "device",
    }
