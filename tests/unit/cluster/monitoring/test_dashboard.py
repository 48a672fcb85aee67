"""The stored dashboard, and whether it asks for what the service counts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.metrics import METRICS, MetricSpec
from cluster.monitoring import dashboard
from cluster.monitoring.metric_panels import metric_panel

MONITORING = Path(dashboard.__file__).parent
STORED = MONITORING / "grafana" / "wsss.json"


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard.build_dashboard()["panels"] for target in panel.get("targets", [])]


def test_the_stored_dashboard_is_what_the_table_gives():
    assert STORED.read_text() == dashboard.dashboard_text(), (
        "run: python -m cluster.monitoring.dashboard > cluster/monitoring/grafana/wsss.json"
    )


def test_every_metric_is_asked_for_and_no_unknown_one():
    known = {spec.series for spec in METRICS}
    asked = {re.sub(r"_bucket$", "", name) for query in queries() for name in re.findall(r"ray_wsss_\w+", query)}
    assert asked == known


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_a_new_row_of_the_table_has_a_panel(kind, monkeypatch):
    new = MetricSpec("wsss_new_seconds", kind, "Something new", ("leg",), (1.0,) if kind == "histogram" else ())
    monkeypatch.setattr(dashboard, "METRICS", (*METRICS, new))
    panel = next(panel for panel in dashboard.build_dashboard()["panels"] if "Something new" in panel["title"])
    expr = panel["targets"][0]["expr"]
    assert new.series in expr
    assert ("rate(" in expr) == (kind != "gauge")
    assert ("histogram_quantile" in expr) == (kind == "histogram")


def test_tags_reach_query_and_legend():
    spec = replace(METRICS[0], tags=("leg", "status"))
    query = metric_panel(spec).queries[0]
    assert "by (run, leg, status)" in query.expr
    assert query.legend == "{{run}} {{leg}} {{status}}"


def test_panels_do_not_overlap_and_fit():
    taken = set()
    panels = dashboard.build_dashboard()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_variable_in_a_query_is_one_of_the_dashboard_or_of_grafana():
    text = json.dumps(dashboard.build_dashboard())
    own = {variable["name"] for variable in dashboard.build_dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text))
    assert used - {"__rate_interval", "__all"} == own
