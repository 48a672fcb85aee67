"""The Grafana dashboard of the service, made from the table of metrics.

`python -m cluster.monitoring.dashboard > cluster/monitoring/grafana/wsss.json` after any change of the table; a test
compares.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

from cluster.metrics import METRICS
from cluster.monitoring.metric_panels import metric_panel
from cluster.monitoring.overview_panels import machine_panels, overview_panels
from cluster.monitoring.panels import DATASOURCE, Panel

UID = "wsss-jobs"
_COLUMNS = 24


def build_dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's format: overview, one panel a metric, machines."""
    sections = (
        ("Run", overview_panels()),
        ("Every metric of the service", tuple(metric_panel(spec) for spec in METRICS)),
        ("Machines", machine_panels()),
    )
    return {
        "uid": UID,
        "title": "wsss-jobs",
        "description": "Made by cluster.monitoring.dashboard; changes made by hand are lost.",
        "tags": ["ray", "wsss"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource_variable(), _run_variable(), *_price_variables()]},
        "panels": _placed(sections),
    }


def dashboard_text() -> str:
    """The dashboard as it is stored."""
    return json.dumps(build_dashboard(), indent=2) + "\n"


def _placed(sections: Iterable[tuple[str, tuple[Panel, ...]]]) -> list[dict[str, Any]]:
    """The sections one below the other, each with a headline, its panels from left to right."""
    placed: list[dict[str, Any]] = []
    y = 0
    for title, panels in sections:
        placed.append(_headline(title, len(placed) + 1, y))
        y, x, row_height = y + 1, 0, 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                y, x, row_height = y + row_height, 0, 0
            placed.append(panel.to_grafana(len(placed) + 1, x, y))
            x, row_height = x + panel.width, max(row_height, panel.height)
        y += row_height
    return placed


def _headline(title: str, panel_id: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
    return {"id": panel_id, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _run_variable() -> dict[str, Any]:
    """Runs that reported in the chosen time."""
    series = next(spec.series for spec in METRICS if spec.name == "wsss_leg_items")
    return {
        "name": "run",
        "label": "Run",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({series}, run)", "refId": "runs"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _price_variables() -> list[dict[str, Any]]:
    """Prices an hour, which only the reader knows; they start at the order of spot instances."""
    prices = (("cpu_price", "Price of a core, an hour", "0.02"), ("gpu_price", "Price of a GPU, an hour", "0.5"))
    return [
        {"name": name, "label": label, "type": "textbox", "query": price, "current": {"text": price, "value": price}}
        for name, label, price in prices
    ]


if __name__ == "__main__":
    sys.stdout.write(dashboard_text())
