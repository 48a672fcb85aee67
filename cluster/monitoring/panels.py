"""Grafana's panels as plain data: what is asked of Prometheus, and how it is shown."""

from dataclasses import dataclass
from typing import Any, Literal

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""The Prometheus that the dashboard's own variable names, so that one file serves every Grafana."""


@dataclass(frozen=True)
class Query:
    """One question to Prometheus.

    Attributes:
        expr: PromQL; `$run` is the dashboard's choice of runs.
        legend: Name of its lines, with labels in double braces.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel, without a place.

    Attributes:
        title: What it shows.
        queries: What it asks.
        unit: Grafana's name of the unit.
        description: Text behind the panel's (i).
        kind: A course over time, or the latest number.
        width: Columns, of the dashboard's 24.
        height: Rows; a row is 30 pixels or so.
        warn_above: Values above this are red; None colours nothing.
    """

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    description: str = ""
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    height: int = 7
    warn_above: float | None = None

    def to_grafana(self, panel_id: int, x: int, y: int) -> dict[str, Any]:
        """The panel in Grafana's format, its upper left corner at column x and row y."""
        defaults: dict[str, Any] = {"unit": self.unit, "min": 0}
        if self.kind == "timeseries":
            defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", "spanNulls": False}
        if self.warn_above is not None:
            steps = [{"color": "green", "value": None}, {"color": "red", "value": self.warn_above}]
            defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        return {
            "id": panel_id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": self._options(),
            "targets": [_target(query, "ABCDEF"[index]) for index, query in enumerate(self.queries)],
        }

    def _options(self) -> dict[str, Any]:
        if self.kind == "stat":
            reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            return {"colorMode": "value", "graphMode": "area", "reduceOptions": reduce, "textMode": "auto"}
        legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
        return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _target(query: Query, reference: str) -> dict[str, Any]:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": True,
        "refId": reference,
    }
